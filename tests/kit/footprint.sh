# shellcheck shell=bash disable=SC2154 # scratch, lab ... are kit.sh's
# SPDX-License-Identifier: GPL-2.0-or-later
# What a host and the guest have: text that is equal when nothing was left behind, so that diff tells what was.
#
#	host_footprint east >"$scratch/before"
#	...
#	same_footprint "east" "$scratch/before" "$scratch/after"
#
# Numbers that differ though the thing is the same (indexes, ports, MACs of taps, inodes) are left out.

# Of the network namespace that it runs in. Taps have random MACs, and so link-local addresses.
footprint_of_network=$(
	cat <<-'END'
		PATH=/usr/sbin:/usr/bin:/sbin:/bin
		ip=/usr/sbin/ip
		[ -x "$ip" ] || ip=ip
		echo "-- links"
		$ip -o link | sed 's/^[0-9]*: //; s/ link.*//; s/qlen .*//'
		echo "-- addresses"
		$ip -o addr | sed 's/^[0-9]*: //; s/ valid_lft.*//' | grep -v '^eh.*inet6 fe80'
		echo "-- rules"
		$ip -4 rule
		$ip -6 rule
		echo "-- routes"
		$ip -4 route show table all
		$ip -6 route show table all | grep -v 'dev eh'
		echo "-- proxied neighbours"
		$ip -4 neigh show proxy
		$ip -6 neigh show proxy
		echo "-- mptcp"
		$ip mptcp endpoint | sed 's/ id [0-9]*//'
		$ip mptcp limits
		echo "-- kernel"
		for f in /proc/sys/net/ipv4/ip_forward /proc/sys/net/ipv4/conf/*/* /proc/sys/net/ipv6/conf/*/forwarding \
			/proc/sys/net/mptcp/*; do
			case $f in */stable_secret) continue ;; esac
			echo "$f $(cat "$f" 2>/dev/null)"
		done
	END
)

# Of a host: also filters, processes, files and sockets. QEMU's own are qemu_things.
host_footprint()
{
	lab exec "$1" sh -c "$footprint_of_network"
	lab exec "$1" bash -c '
		echo "-- bridge and filters"
		bridge link 2>/dev/null | sed "s/^[0-9]*: //"
		for dev in $(ls /sys/class/net); do
			tc qdisc show dev "$dev" | sed "s/^/$dev /"
			tc filter show dev "$dev" ingress 2>/dev/null | sed "s/^/$dev /"
		done
		echo "-- processes"
		ps -eo comm= | grep -Evx "ps|grep|sort|bash|sleep" | sort
		echo "-- files"
		for dir in /run/edgehop /tmp /dev/shm /var/lib/edgehop/vms; do
			find "$dir" -not -path "*/hops/*" 2>/dev/null | sort
		done
		edgehop status --json
		echo "-- sockets"
		ss -Hanp -A tcp,mptcp,udp,raw,packet,unix_stream,unix_dgram,vsock_stream | grep -v TIME-WAIT |
			sed "s/pid=[0-9]*,fd=[0-9]*//g" | awk "{ \$3 = \"\"; sub(/ [0-9]+ \\* 0/, \"\"); print }" | sort'
}

guest_footprint()
{
	guest "$1" sh <<<"$footprint_of_network"
	guest "$1" sh <<-'END'
		echo "-- processes"
		ps -o comm | grep -Ev '^(ps|grep|sort|sh|kworker.*|COMMAND)$' | sort
		echo "-- files"
		find /run /tmp | grep -v '^/tmp/body\|^/run/sshd'| sort
	END
}

# same_footprint OF FILE FILE
same_footprint()
{
	diff -U 0 "$2" "$3" >"$scratch/footprint.diff" ||
		fail "left over or gone at $1 (- before, + after): $(grep -v '^@@' "$scratch/footprint.diff" | head -n 40)"
}

# qemu_things HOST: what the VM's QEMU has open
qemu_things()
{
	lab exec "$1" bash -c 'pid=$(cat /run/edgehop/vms/web/pid)
		echo "fds $(ls /proc/$pid/fd | wc -l)"; ls -l /proc/$pid/fd | sed "s/.* -> //; s/\[[0-9]*\]//" | sort | uniq -c'
}

# agent_things SITE: "KIB FDS" of the agent in the guest, then the KiB that the guest could still use
agent_things()
{
	guest "$1" sh <<-'END'
		pid=$(pidof edgehop-guest)
		echo "$(sed -n 's/^VmRSS:[^0-9]*\([0-9]*\).*/\1/p' "/proc/$pid/status") $(ls "/proc/$pid/fd" | wc -l)" \
			"$(sed -n 's/^MemAvailable:[^0-9]*\([0-9]*\).*/\1/p' /proc/meminfo)"
	END
}
