# shellcheck shell=bash disable=SC2154 # scratch, lab ... are kit.sh's and qmp.sh's
# SPDX-License-Identifier: GPL-2.0-or-later
# Stock QEMU as the peer of the benchmarks: it sends the memory of the VM "web" to a QEMU of its own at the other site,
# which runs on for a moment and is ended; the source then goes on as if nothing had been. Needs kit.sh, hop.sh, qmp.sh.
#
#	peer_copy_disk SOURCE			the destination has a copy of the disk: only the memory is compared
#	peer_endpoints SOURCE			a second path for its connection, if that is MPTCP
#	peer_migrate SOURCE OPTIONS DOWNTIME_MS LIMIT_S
#						OPTIONS follow the URI, such as ,mptcp=on
#	peer_endpoints_away SOURCE
#
# peer_migrate sets
#	peer_seconds	from the first byte until the destination runs; null when it did not within the limit
#	peer_begun, peer_ended		the same as times of day; ended is that of the cancellation if there was one
#	peer_bytes, peer_rounds		of the stream, as QEMU counts them
#
# Variables:
#	peer_lives		how many seconds the destination runs before it is ended
#	peer_capabilities	more of QEMU's, for both sides, such as "multifd xbzrle"
#	peer_parameters		more of them, for both sides, as JSON with a comma before: ,"multifd-channels":4
# shellcheck disable=SC2034 # for the benchmarks
peer_port=7777
peer_lives=0
peer_capabilities=
peer_parameters=
peer_vm=/var/lib/edgehop/vms/web
peer_run=/run/edgehop/vms/web
peer_pattern='qemu-system-x86_64 .*guest=web'

# wan_address SITE PATH
wan_address()
{
	case $1 in
	east) echo "10.81.$2.1" ;;
	west) echo "10.81.$2.2" ;;
	esac
}

host_root()
{
	echo "/proc/$(cat "/run/edgehop-lab/$lab_instance/hosts/$1/pid")/root"
}

peer_copy_disk()
{
	local from to

	from=$(host_root "$1")$peer_vm
	to=$(host_root "$(other_site "$1")")$peer_vm
	mkdir -p "$to"
	cp --sparse=always "$from/disk0.img" "$to/"
}

# What edgehop does for its own connections, for the peer's.
peer_endpoints()
{
	local to

	to=$(other_site "$1")
	lab exec "$to" ip mptcp endpoint add "$(wan_address "$to" 2)" dev wan2 signal
	lab exec "$1" ip mptcp limits set subflow 8 add_addr_accepted 8
}

peer_endpoints_away()
{
	lab exec "$(other_site "$1")" ip mptcp endpoint flush
	lab exec "$1" ip mptcp endpoint flush
	lab exec "$1" ip mptcp limits set subflow 2 add_addr_accepted 0
}

# The source's own command line, to wait for a stream: the same machine, as edgehop starts it.
peer_start()
{
	local from=$1 to pid n
	local -a args command=()

	to=$(other_site "$from")
	pid=$(lab exec "$from" pgrep -f "$peer_pattern")
	mapfile -d '' args < <(lab exec "$from" cat "/proc/$pid/cmdline")
	# one that came by a hop itself was told to wait
	for ((n = 0; n < ${#args[@]}; n++)); do
		case ${args[n]} in
		-S) ;;
		-incoming) n=$((n + 1)) ;;
		*) command+=("${args[n]}") ;;
		esac
	done
	lab exec "$to" mkdir -p "$peer_run"
	lab exec "$to" "${command[@]}" -incoming "tcp:0.0.0.0:$peer_port$2" >"$scratch/destination.log" 2>&1 &
	wait_for 10 lab exec "$to" test -S "$peer_run/qmp.sock" || fail "$(cat "$scratch/destination.log")"
	wait_for 10 lab exec "$to" sh -c "ss -Hltn | grep -q ':$peer_port '" || fail "$(cat "$scratch/destination.log")"
	peer_network "$from" "$to" "${command[@]}"
}

# The guest keeps the address of the site that it left: at its vNIC it finds the router that it knows there, by MAC and
# address, and what it sends goes on from the host. So its heartbeats arrive; nothing reaches it.
peer_network()
{
	local n gateway tap

	n=$([ "$1" = east ] && echo 1 || echo 2)
	gateway=10.80.$n.1
	for tap in $(printf '%s\n' "${@:3}" | sed -n 's/.*ifname=\([^,]*\),.*/\1/p'); do
		lab exec "$2" ip link set "$tap" address "02:80:00:00:02:0$n" up
		lab exec "$2" ip address add "$gateway/32" dev "$tap"
	done
}

# What was chosen by variables, at both sides; a source that had something else before is set back.
peer_options()
{
	local side name state list=''

	for name in multifd xbzrle; do
		[[ " $peer_capabilities " = *" $name "* ]] && state=true || state=false
		list+="${list:+,}{\"capability\":\"$name\",\"state\":$state}"
	done
	for side in source destination; do
		qmp "$side" migrate-set-capabilities "{\"capabilities\":[$list]}"
		[ -z "$peer_parameters" ] || qmp "$side" migrate-set-parameters "{${peer_parameters#,}}"
	done
}

peer_kill()
{
	lab exec "$1" pkill -KILL -f "$peer_pattern" || true
	lab exec "$1" rm -rf "$peer_run"
}

peer_migrate()
{
	local from=$1 to options=$2

	to=$(other_site "$from")
	peer_start "$from" "$options"
	qmp_open destination "$to" "$peer_run/qmp.sock"
	qmp_open source "$from" "$peer_run/qmp.sock"
	peer_options
	qmp source migrate-set-capabilities '{"capabilities":[{"capability":"events","state":true},
		{"capability":"return-path","state":false},{"capability":"pause-before-switchover","state":false},
		{"capability":"late-block-activate","state":false}]}'
	qmp source migrate-set-parameters "{\"max-bandwidth\":10000000000,\"downtime-limit\":$3}"
	qmp source migrate "{\"uri\":\"tcp:$(wan_address "$to" 1):$peer_port$options\"}"
	if wait_for "$4" grep -q '"RESUME"' "$scratch/destination.qmp"; then
		peer_ended=$(qmp_event destination RESUME)
		sleep "$peer_lives"
		peer_kill "$to"
		peer_figures
		peer_seconds=$(awk "BEGIN { printf \"%.3f\n\", $peer_ended - $peer_begun }")
		qmp source cont
	else
		peer_figures
		peer_ended=$EPOCHREALTIME
		qmp source migrate_cancel
		wait_for 30 grep -q '"status": *"cancelled"' "$scratch/source.qmp" ||
			fail "stock QEMU$options is not to be cancelled: $(tail -n 5 "$scratch/source.qmp" "$scratch/destination.log")"
		peer_kill "$to"
		peer_seconds=null
	fi
	qmp_close source
	qmp_close destination
}

peer_figures()
{
	qmp source query-migrate
	peer_begun=$(qmp_event source '"status":"active"')
	peer_bytes=$(qmp_answer source '.ram.transferred')
	peer_rounds=$(qmp_answer source '.ram."dirty-sync-count"')
}

median()
{
	sort -n | awk '{ v[NR] = $1 } END { print (NR % 2) ? v[(NR + 1) / 2] : (v[NR / 2] + v[NR / 2 + 1]) / 2 }'
}
