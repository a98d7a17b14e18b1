# shellcheck shell=bash disable=SC2034,SC2154 # for the benchmarks; scratch, guest ... are kit.sh's and hop.sh's
# SPDX-License-Identifier: GPL-2.0-or-later
# What guests do while they are moved, for benchmarks. Needs kit.sh, hop.sh. The programs are this machine's, which has the
# same Debian as the guest, or of packages that nobody needs here otherwise (scripts/lab/build-load): they go into a tmpfs there, with
# the libraries they need, and run in a chroot. So the guest's image is the same for all.
#
#	fresh_guest SITE MIB BEAT_MS	boots it with that much memory: no load runs there, nothing of an earlier one is in its
#				memory. Its heart beats that often, its disk is idle
#	load_sets SITE HOT PERIOD WARM RATE COLD	tests/kit/sets, with these arguments
#	load_redis SITE		a redis server with 40 MB of values, and its clients
#	load_build SITE		gcc compiles this toolkit, file by file, again and again
#	load_postgres SITE	PostgreSQL under pgbench: four clients, a database of 75 MB, transactions at a fixed rate
#	load_desktop SITE	an X desktop at which somebody reads: a browser with pages and photos open, an editor, a terminal
#	load_done SITE LOAD	prints how much of its work a load has done, in units of its own
#	guest_dirties SITE TIME	sets dirty_mib, the MiB of pages that the guest writes to in so many seconds, each counted
#				once, and nonzero_mib, what is in its memory
redis_keys=40000
redis_value=1000
redis_batch=250
redis_period=0.5 # seconds from one batch of each kind to the next, at least

# The counter would write to the disk: it stays away.
fresh_guest()
{
	local site=$1

	lab exec "$site" edgehop stop web >/dev/null || fail "the VM did not power off"
	lab exec "$site" sed -i "s/^memory: .*/memory: $2M/" /var/lib/edgehop/vms/web/vm.yaml
	lab exec "$site" edgehop start web >/dev/null || fail "the VM did not start with $2 MiB"
	wait_for 90 guest "$site" true || fail "no ssh to the guest"
	guest "$site" "echo '10.90.0.2 7001 $3' >/etc/heartbeat.conf
		sed -i /counter/d /etc/inittab && kill -HUP 1
		for p in /proc/[0-9]*; do
			case \$(tr '\\0' ' ' <\$p/cmdline) in
			*bin/counter' '* | /usr/local/bin/heartbeat' '*) kill -KILL \${p#/proc/} ;;
			esac
		done 2>/dev/null # one that has just ended
		sync"
	wait_for 10 guest "$site" sh -c "'! ps | grep -q [b]in/counter'" || fail "the guest's counter does not end"
}

load_sets()
{
	local site=$1

	shift
	guest "$site" 'cat >/tmp/sets && chmod 755 /tmp/sets' <"$build/kit/sets"
	guest "$site" "/tmp/sets $* </dev/null >/tmp/sets.log 2>&1 &"
	wait_for 120 guest "$site" grep -q steady /tmp/sets.log || fail "sets $*: $(guest "$site" cat /tmp/sets.log)"
}

# tree_take FILE...: into the tree, with what it needs to run
tree_take()
{
	local file library

	for file in "$@"; do
		[ ! -e "$scratch/tree$file" ] || continue
		install -D -m 755 "$file" "$scratch/tree$file"
		for library in $(ldd "$file" 2>/dev/null | grep -o '/[^ ]*'); do
			[ -e "$scratch/tree$library" ] || install -D -m 755 "$library" "$scratch/tree$library"
		done
	done
}

tree_begin()
{
	local dir

	rm -rf "$scratch/tree"
	mkdir -p "$scratch"/tree/{tmp,src}
	for dir in bin lib lib64; do
		mkdir -p "$scratch/tree/usr/$dir"
		ln -s "usr/$dir" "$scratch/tree/$dir"
	done
}

tree_send()
{
	tar -C "$scratch/tree" -c . | gzip -1 | guest "$1" 'mkdir -p /bench && mount -t tmpfs -o size=90% tmpfs /bench &&
		tar -xz -C /bench -f -'
	rm -rf "$scratch/tree"
}

# Debian's server is a link to the checker.
load_redis()
{
	tree_begin
	tree_take /usr/bin/redis-benchmark /usr/bin/redis-cli
	tree_take /usr/bin/redis-check-rdb
	ln -s redis-check-rdb "$scratch/tree/usr/bin/redis-server"
	tree_send "$1"
	guest "$1" "chroot /bench redis-server --save '' --appendonly no </dev/null >/tmp/redis.log 2>&1 &"
	wait_for 30 guest "$1" chroot /bench redis-cli ping || fail "redis: $(guest "$1" cat /tmp/redis.log)"
	guest "$1" "chroot /bench redis-benchmark -q -t set -P 32 -n $((4 * redis_keys)) -r $redis_keys -d $redis_value" >/dev/null
	guest "$1" "sh -c 'while :; do
			sleep $redis_period &
			chroot /bench redis-benchmark -q -t set,get -c 4 -n $redis_batch -r $redis_keys -d $redis_value
			wait
		done' </dev/null >/dev/null 2>&1 &"
}

redis_operations()
{
	guest "$1" chroot /bench redis-cli info stats | sed -n 's/^total_commands_processed:\([0-9]*\).*/\1/p'
}

load_build()
{
	local flags='-std=c11 -D_GNU_SOURCE -I. -DEDGEHOP_VERSION="bench" -O2 -g' file

	tree_begin
	tree_take "$(readlink -f "$(command -v gcc)")" "$(gcc -print-prog-name=cc1)" "$(readlink -f "$(command -v as)")"
	mv "$scratch/tree$(readlink -f "$(command -v gcc)")" "$scratch/tree/usr/bin/gcc"
	mv "$scratch/tree$(readlink -f "$(command -v as)")" "$scratch/tree/usr/bin/as"
	(
		cd "$repo"
		# what needs Xen's headers stays away
		mapfile -t sources < <(git ls-files 'common/*.c' 'hotskip/*.c' 'migrate/*.c' ':!hotskip/xen' ':!migrate/xen')
		printf '%s\n' "${sources[@]}" >"$scratch/tree/src/list"
		# shellcheck disable=SC2086 # flags
		gcc $flags -M "${sources[@]}" | tr ' \\' '\n\n' | grep -v -e ':$' -e '^$' | sort -u |
			while read -r file; do
				case $file in
				/*) install -D -m 644 "$file" "$scratch/tree$(realpath -s "$file")" ;;
				*) install -D -m 644 "$file" "$scratch/tree/src/$file" ;;
				esac
			done
	)
	build_files=$(wc -l <"$scratch/tree/src/list")
	tree_send "$1"
	guest "$1" "chroot /bench gcc --version" >/dev/null || fail "the guest's gcc does not run"
	cat <<-END | guest "$1" 'cat >/bench/build'
		while :; do
			while read -r file; do
				chroot /bench gcc $flags -I/src -c -o "/tmp/\$(echo "\$file" | tr / -).o" "/src/\$file" &&
					echo "\$file" >>/bench/built
			done </bench/src/list
		done
	END
	guest "$1" 'sh /bench/build </dev/null >/bench/log 2>&1 &'
	wait_for 120 guest "$1" test -s /bench/built || fail "gcc in the guest: $(guest "$1" cat /bench/log)"
}

# load_packaged SITE NAME
load_packaged()
{
	local site=$1 folder

	folder=$("$repo/scripts/lab/build-load" "$2")
	guest "$site" 'mkdir -p /bench && mount -t tmpfs -o size=90% tmpfs /bench && tar -xz -C /bench -f - &&
		mount -o rbind /dev /bench/dev && mount -t tmpfs -o mode=1777 tmpfs /bench/dev/shm &&
		mount -t proc proc /bench/proc' <"$folder/tree.tar.gz"
	guest "$site" '(chroot /bench /load; touch /bench/ended) </dev/null >/bench/log 2>&1 &'
	wait_for 600 guest "$site" '[ -e /bench/ready ] || [ -e /bench/ended ]' || true
	guest "$site" '[ -e /bench/ready ]' || fail "$2 in the guest: $(guest "$site" cat /bench/log)"
}

load_postgres()
{
	load_packaged "$1" postgres
}

load_desktop()
{
	load_packaged "$1" desktop
}

load_done()
{
	case $2 in
	redis) guest "$1" chroot /bench redis-cli info commandstats | sed -n 's/^cmdstat_set:calls=\([0-9]*\).*/\1/p' ;;
	build) guest "$1" 'wc -l </bench/built' ;;
	desktop) guest "$1" 'wc -l </bench/turns' ;;
	postgres) guest "$1" 'chroot /bench /usr/lib/postgresql/15/bin/psql -h /run/postgresql -U postgres -At \
		-c "select count(*) from pgbench_history" postgres' ;;
	*) fail "load '$2' does not say what it has done" ;;
	esac
}

# By what a check finds in the memory, whatever else it finds; of the times that it looks at, the nearest counts.
guest_dirties()
{
	lab exec "$1" edgehop check --json --seconds 1 web "$(other_site "$1")" >"$scratch/check.json" 2>"$scratch/check.err" ||
		say "check: $(cat "$scratch/check.err") $(jq -c '.findings[] | select(.level == "refuse")' "$scratch/check.json")"
	jq -e .survey "$scratch/check.json" >/dev/null || fail "the check has not looked at the memory"
	dirty_mib=$(jq --argjson time "$2" '.survey.dirty | min_by(.seconds - $time | fabs) | .bytes / 104857.6 | round / 10' \
		"$scratch/check.json")
	nonzero_mib=$(jq '.survey.nonzero / 104857.6 | round / 10' "$scratch/check.json")
}
