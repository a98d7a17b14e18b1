# shellcheck shell=bash disable=SC2154 # scratch, lab ... are kit.sh's and hop.sh's
# SPDX-License-Identifier: GPL-2.0-or-later
# Several hops at a time: each is that of the VM which the variable vm names, as in hop.sh, which a test sources first.
declare -A hop_pid download_pid

# hop_begin FROM TO: a hop in the background
hop_begin()
{
	say "hop of ${vm:-web}, $1 -> $2, begins"
	lab exec "$1" edgehop migrate --json "${vm:-web}" "$2" >"$(kept report.json)" 2>"$(kept hop.err)" &
	hop_pid[${vm:-web}]=$!
}

# It ends well.
hop_ends_well()
{
	wait "${hop_pid[${vm:-web}]}" || fail "the hop of ${vm:-web} ended with $?: $(cat "$(kept hop.err)")"
	say "hop of ${vm:-web}: $(jq -c '[.result, .seconds, .downtime_ms, .vnic.joined]' "$(kept report.json)")"
}

# It ends in any way, which the caller looks at.
hop_ends()
{
	wait "${hop_pid[${vm:-web}]}"
}

hop_runs()
{
	kill -0 "${hop_pid[${vm:-web}]}" 2>/dev/null
}

# hop_stage HOST: prints what the open hop of the VM does there, as "UUID STAGE"
hop_stage()
{
	lab exec "$1" edgehop status --json | jq -r --arg vm "${vm:-web}" \
		'.[] | select(.vm == $vm) | .hop + " " + (.progress.stage // "-")'
}

# hop_in HOST STAGE...: whether it is in one of these
hop_in()
{
	local host=$1 stage

	shift
	stage=$(hop_stage "$host" | cut -d' ' -f2)
	[ -n "$stage" ] && [[ " $* " == *" $stage "* ]]
}

# hop_worker_dies HOST: SIGKILL for the worker of the VM's hop there
hop_worker_dies()
{
	local hop

	hop=$(hop_stage "$1" | cut -d' ' -f1)
	# shellcheck disable=SC2016 # the host's shell expands it
	lab exec "$1" sh -c 'kill -KILL "$(cat "/run/edgehop/hops/$1/worker")"' sh "$hop" || fail "no worker to kill at $1"
}

# download_begin ADDRESS RATE [mptcpize run]: the client gets 64 MiB at so many bytes a second, in the background
download_begin()
{
	local address=$1 rate=$2

	shift 2
	lab exec client "$@" curl -sS --limit-rate "$rate" -o "/tmp/big-${vm:-web}" "http://$address/big" &
	download_pid[${vm:-web}]=$!
}

download_runs()
{
	kill -0 "${download_pid[${vm:-web}]}" 2>/dev/null || fail "a download ended before the hop did: it proves nothing"
}

# download_whole SUM
download_whole()
{
	wait "${download_pid[${vm:-web}]}" || fail "the download from ${vm:-web} broke"
	[ "$(lab exec client sha256sum "/tmp/big-${vm:-web}" | cut -d' ' -f1)" = "$1" ] ||
		fail "the download from ${vm:-web} is damaged"
}

# hop_port HOST: the port at which the door of a hop listens there
hop_port()
{
	lab exec "$1" ss -Hltnp | sed -n 's/.*:\([0-9]*\) .*"edgehop-door".*/\1/p' | head -n 1 | grep .
}

# wan_sample HOST: what its connections to other hosts' data ports have sent by now, lines of "PORT SOCKET PATH BYTES"
wan_sample()
{
	lab exec "$1" ss -Htin state established '( sport != :22 and dport != :22 )' | sed 's/\[::ffff:\([0-9.]*\)\]/\1/g' | awk '
		/^[0-9]/ { n = split($4, peer, ":"); port = peer[n]; split($4, net, "."); socket = $3 "-" $4
			path = net[1] "." net[2] == "10.81" ? "wan" net[3] : "" }
		path != "" && match($0, /bytes_sent:[0-9]+/) {
			print port, socket, path, substr($0, RSTART + 11, RLENGTH - 11); path = "" }'
}
