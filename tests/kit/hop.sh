# shellcheck shell=bash disable=SC2154 # scratch, lab ... are kit.sh's
# SPDX-License-Identifier: GPL-2.0-or-later
# What the tests of hops share: the VM's clients, an observer outside, and what must hold whatever happened.
#
# All of it is about the VM that the variable vm names, "web" if there's none: "vm=api hop east west". What is kept about
# a VM lies in $scratch/observed, report.json and hop.err, for others than web in observed-VM, report-VM.json, hop-VM.err.

# kept NAME[.SUFFIX]: the path of what is kept about the VM
kept()
{
	local suffix=

	[[ $1 != *.* ]] || suffix=.${1##*.}
	[ "${vm:-web}" = web ] || set -- "${1%%.*}-$vm$suffix"
	echo "$scratch/$1"
}

# Of what the lab says about the VM, one value; see "edgehop-lab vm show".
vm_value()
{
	lab vm show "${vm:-web}" | sed -n "s/^$1=//p"
}

site_address()
{
	if [ "${vm:-web}" != web ]; then
		vm_value "$1"
	elif [ "$1" = east ]; then
		echo 10.80.1.10
	else
		echo 10.80.2.10
	fi
}

other_site()
{
	case $1 in
	east) echo west ;;
	west) echo east ;;
	esac
}

# observe [--times]: the observer at the client keeps every beat and every counter that was promised as durable, on demand
# with the time of arrival as the last word (which costs some of a core)
observe()
{
	local beats=7001 counters=7002

	[ "${vm:-web}" = web ] || { beats=$(vm_value beats) && counters=$(vm_value counters); }
	lab exec client sh -c "socat -u -b 256 UDP-RECV:$beats - & socat -u -b 256 UDP-RECV:$counters - & wait" 2>/dev/null |
		if [ "${1-}" = --times ]; then
			while read -r line; do
				echo "$line $EPOCHREALTIME"
			done
		else
			exec cat
		fi >"$(kept observed)" &
	cleanup_with lab exec client pkill -f "UDP-RECV:($beats|$counters) "
	wait_for 20 grep -q '^beat' "$(kept observed)" || fail "no heartbeat of ${vm:-web} arrives at the client"
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
	} END { exit bad }' "$(kept observed)"
}

# The highest counter that was promised to be on the disk.
promised()
{
	awk '/^counter/ && $2 > max { max = $2 } END { print max + 0 }' "$(kept observed)"
}

guest()
{
	local site=$1

	shift
	lab exec client ssh -o BatchMode=yes -o ConnectTimeout=10 -o "HostKeyAlias=${vm:-web}" \
		"root@$(site_address "$site")" "$@"
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
	lab exec "$1" edgehop list --json | jq -r --arg vm "${vm:-web}" '.[] | select(.name == $vm) | .state'
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
	wait_for 10 runs_at "$1" || fail "VM ${vm:-web} is $(vm_state "$1") at $1, it should run"
	! lab exec "$(other_site "$1")" pgrep -x -f "qemu-system-x86_64 .*guest=${vm:-web},.*" >/dev/null ||
		fail "something of VM ${vm:-web} is left at $(other_site "$1")"
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
			pgrep -a "^edgehop-[wkd]"
			edgehop status --json | grep "\"hop\"" || true')
		[ -z "$left" ] || fail "left over at $host: $left"
	done
}

# no_overrun HOST...: no segment came past the receive window's end, where the kernel drops it and a hop stalls for a minute
no_overrun()
{
	local host dropped

	for host in "$@"; do
		# shellcheck disable=SC2016 # awk expands it
		dropped=$(lab exec "$host" awk '$1 == "MPTcpExt:" {
				for (i = 2; i <= NF; i++) if (name[i] == "NoDSSInWindow") print $i; else name[i] = $i
			}' /proc/net/netstat)
		[ "$dropped" = 0 ] || fail "$host dropped $dropped segments past its receive window, expected 0"
	done
}

# hop FROM TO [OPTION...]: a hop that must end well; its report is kept
hop()
{
	local from=$1 to=$2

	shift 2
	say "hop of ${vm:-web}, $from -> $to"
	lab exec "$from" edgehop migrate --json "$@" "${vm:-web}" "$to" >"$(kept report.json)" 2>"$(kept hop.err)" ||
		fail "the hop of ${vm:-web}, $from -> $to, ended with $?: $(cat "$(kept hop.err)")"
}

# disk_is_clean SITE: the VM is powered off there and its file systems are sound
disk_is_clean()
{
	lab exec "$1" edgehop stop "${vm:-web}" >/dev/null || fail "the VM did not power off"
	lab exec "$1" sh -c "for disk in /var/lib/edgehop/vms/${vm:-web}/disk*.img; do
		e2fsck -fn \$disk || exit; done" >"$(kept fsck)" 2>&1 || fail "fsck: $(cat "$(kept fsck)")"
}
