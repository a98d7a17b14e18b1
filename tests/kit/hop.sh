# shellcheck shell=bash disable=SC2154 # scratch, lab ... are kit.sh's
# SPDX-License-Identifier: GPL-2.0-or-later
# What the tests of hops share: the VM's clients, an observer outside, and what must hold whatever happened.

site_address()
{
	case $1 in
	east) echo 10.80.1.10 ;;
	west) echo 10.80.2.10 ;;
	esac
}

other_site()
{
	case $1 in
	east) echo west ;;
	west) echo east ;;
	esac
}

# The observer at the client: every beat and every counter that was promised as durable, with the time of arrival.
observe()
{
	lab exec client sh -c 'socat -u -b 256 UDP-RECV:7001 - & socat -u -b 256 UDP-RECV:7002 - & wait' \
		>"$scratch/observed" 2>/dev/null &
	cleanup_with lab exec client pkill -x socat
	wait_for 20 grep -q '^beat' "$scratch/observed" || fail "no heartbeat arrives at the client"
}

# never_twice: one incarnation's beats never go back, and no incarnation beats again after a later one has begun
never_twice()
{
	awk '/^beat/ {
		if ($2 != id) {
			if ($2 in last) { print "guest " $2 " beats again after " id; bad = 1 }
			id = $2
		} else if ($3 < last[id] - 50) {
			print "guest " id " beats " $3 " after " last[id]; bad = 1
		}
		if ($3 > last[id]) last[id] = $3
	} END { exit bad }' "$scratch/observed"
}

# The highest counter that was promised to be on the disk.
promised()
{
	awk '/^counter/ && $2 > max { max = $2 } END { print max + 0 }' "$scratch/observed"
}

guest()
{
	local site=$1

	shift
	lab exec client ssh -o BatchMode=yes -o ConnectTimeout=10 "root@$(site_address "$site")" "$@"
}

# nothing_lost SITE: the VM, which runs there, has every counter on its disk that was ever promised
nothing_lost()
{
	local want have

	want=$(promised)
	have=$(guest "$1" /usr/local/bin/counter --check /var/counter/log) || fail "the counter's log is damaged: $have"
	[ "$have" -ge "$want" ] || fail "counter $want was promised as durable, the disk has $have"
}

vm_state()
{
	lab exec "$1" edgehop list --json | jq -r '.[] | select(.name == "web") | .state'
}

runs_at()
{
	[ "$(vm_state "$1")" = running ]
}

# No hop is open on either host.
settled()
{
	local host

	for host in east west; do
		[ "$(lab exec "$host" edgehop status --json | jq length)" = 0 ] || return 1
	done
}

# runs_only_at SITE: there, and nothing of it anywhere else
runs_only_at()
{
	wait_for 10 runs_at "$1" || fail "the VM is $(vm_state "$1") at $1, it should run"
	! lab exec "$(other_site "$1")" pgrep -x -f 'qemu-system-x86_64 .*guest=web.*' >/dev/null ||
		fail "something of the VM is left at $(other_site "$1")"
}

# no_traces HOST...: of a hop that is over, nothing is left on these hosts
no_traces()
{
	local host left

	wait_for 30 settled || fail "a hop is open still: $(lab exec east edgehop status; lab exec west edgehop status)"
	for host in "$@"; do
		left=$(lab exec "$host" sh -c '
			ip -o link | grep -o "ehx[0-9a-f]*"
			ip rule | grep "^946:"
			ip -6 rule | grep "^946:"
			ip neigh show proxy
			ip mptcp endpoint
			pgrep -a edgehop-worker; pgrep -a edgehop-keeper
			edgehop status --json | grep "\"hop\"" || true')
		[ -z "$left" ] || fail "left over at $host: $left"
	done
}

# hop FROM TO: a hop that must end well; its report lies in $scratch/report.json
hop()
{
	say "hop $1 -> $2"
	lab exec "$1" edgehop migrate --json web "$2" >"$scratch/report.json" 2>"$scratch/hop.err" ||
		fail "the hop $1 -> $2 ended with $?: $(cat "$scratch/hop.err")"
}

# disk_is_clean SITE: the VM is powered off there and its file system is sound
disk_is_clean()
{
	lab exec "$1" edgehop stop web >/dev/null || fail "the VM did not power off"
	lab exec "$1" e2fsck -fn /var/lib/edgehop/vms/web/disk0.img >"$scratch/fsck" 2>&1 ||
		fail "fsck: $(cat "$scratch/fsck")"
}
