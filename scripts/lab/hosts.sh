# shellcheck shell=bash disable=SC2154 # lab, run, store, hosts ... are the lab's program's
# SPDX-License-Identifier: GPL-2.0-or-later
# The hosts: start, power, commands on them, their network.
#
# A host's first process holds a set of namespaces: the lines end in its network, and its end is the host's power cut.
# What such a set contains is the host's kind, host_kind HOST: "space", the host itself (here), or "xen", the machine that
# it is (xen.sh). Functions KIND_exec, KIND_shell, KIND_put, KIND_write, KIND_boot, KIND_mgmt do what differs.

host_known()
{
	[ -n "$1" ] || usage_error "expected a host: ${hosts[*]}"
	[[ " ${hosts[*]} " == *" $1 "* ]] || die "unknown host '$1': expected one of ${hosts[*]}"
}

is_site()
{
	[[ " ${sites[*]} " == *" $1 "* ]]
}

# Number of a site in its addresses
site_number()
{
	case $1 in
	east) echo 1 ;;
	west) echo 2 ;;
	esac
}

host_pid()
{
	cat "$run/hosts/$1/pid"
}

host_running()
{
	[ -e "$run/hosts/$1/pid" ] && process_is "$(host_pid "$1")" "$run/hosts/$1"
}

# host_exec HOST COMMAND...: replaces this shell; the command's exit status is ours
host_exec()
{
	host_running "$1" || die "host '$1' is off"
	[ $# -gt 1 ] || usage_error "exec: expected a command"
	"$(host_kind "$1")_exec" "$@"
}

# The same for our own use
host_run()
{
	(host_exec "$@")
}

host_shell()
{
	host_running "$1" || die "host '$1' is off"
	"$(host_kind "$1")_shell" "$1"
}

# host_put HOST FILE PATH MODE: copies a file of this machine
host_put()
{
	host_running "$1" || die "host '$1' is off"
	"$(host_kind "$1")_put" "$@"
}

# host_write HOST PATH [MODE]: writes standard input to a file
host_write()
{
	"$(host_kind "$1")_write" "$@"
}

# A signal to us reaches the command. It ends when nsenter is killed, else it would stay behind on the host.
space_exec()
{
	local host=$1

	shift
	exec nsenter --target "$(host_pid "$host")" --mount --uts --ipc --net --pid -- \
		env -i HOME=/root TERM="${TERM:-dumb}" LANG=C.UTF-8 \
		PATH=/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin \
		setpriv --pdeathsig TERM "$@"
}

space_shell()
{
	space_exec "$1" bash -l
}

space_root()
{
	echo "/proc/$(host_pid "$1")/root"
}

space_put()
{
	file_put "$2" "$(space_root "$1")$3" "$4"
}

space_write()
{
	file_write "$(space_root "$1")$2" "${3-}"
}

# Starts the first process and waits until the host's namespaces are ready.
host_start()
{
	local dir=$run/hosts/$1

	mkdir -p "$dir"
	rm -f "$dir/pid" "$dir/pid.new" "$dir/booted" "$dir/log"
	setsid unshare --net --mount --pid --uts --ipc --fork --kill-child --propagation private \
		"$lab_dir/host-init" "$1" "$dir" "$store/$1" </dev/null >"$dir/log" 2>&1 9>&- &
	wait_until 10 grep -qx ready "$dir/log" || die "host '$1' did not start: $(cat "$dir/log")"
	mv "$dir/pid.new" "$dir/pid"
}

# Everything a host needs from power-on until it answers. One that is marked as booted is complete; any other, which a
# command that was interrupted left behind, is made again.
host_boot()
{
	local line

	host_kill "$1"
	host_start "$1"
	for line in $(host_lines "$1"); do
		line_attach "$line" "$1"
	done
	"$(host_kind "$1")_boot" "$1"
	: >"$run/hosts/$1/booted"
}

space_boot()
{
	local site

	host_sysctls "$1" | nsenter --target "$(host_pid "$1")" --net --mount --pid sh
	space_files "$1"
	host_network "$1" | host_run "$1" ip -batch -
	case $1 in
	inet)
		! host_running client || client_line
		for site in "${sites[@]}"; do
			! host_running "$site" || mgmt_line "$site"
		done
		dhcp_server
		;;
	client) ! host_running inet || client_line ;;
	*)
		! host_running inet || mgmt_line "$1"
		host_run "$1" sh -c "$host_sshd"
		;;
	esac
}

# The kernel ends all processes of a PID namespace before its first one is gone.
host_kill()
{
	local pid

	host_running "$1" || return 0
	pid=$(host_pid "$1")
	kill -KILL "$pid"
	wait_until 20 test ! -d "/proc/$pid" || die "processes of host '$1' don't end"
	rm -f "$run/hosts/$1/pid"
}

host_booted()
{
	host_running "$1" && [ -e "$run/hosts/$1/booted" ]
}

# A machine without power does not say good-bye: the lines fall silent first, so that no FIN or RST of dying processes gets
# out, and none of them sees an interface go away. What was written but not synced is kept, unlike on a real machine: the
# page cache is the lab machine's.
host_power_off()
{
	local line

	for line in $(host_lines "$1"); do
		line_silence "$line"
	done
	if [ "$1" = client ]; then
		host_run inet ip link set client0 down
	else
		host_run inet ip link set "mgmt-$1" down
	fi
	host_kill "$1"
	for line in $(host_lines "$1"); do
		line_detach "$line" "$1"
		line_apply "$line"
	done
}

# A kernel need not have all of them. No process for each: on an emulated host they take their time.
sysctl_try()
{
	echo "{ echo '$2' >/proc/sys/$1; } 2>/dev/null || true"
}

# A shell script for the host. rp_filter: VMs' addresses come and go by two ways while they move. Memory: a WAN's bandwidth-delay product, doubled.
host_sysctls()
{
	{
		sysctl_try net/ipv4/ip_forward 1
		sysctl_try net/ipv4/conf/all/rp_filter 0
		sysctl_try net/ipv4/conf/default/rp_filter 0
		sysctl_try net/ipv4/conf/all/accept_redirects 0
		sysctl_try net/ipv4/conf/all/send_redirects 0
		sysctl_try net/ipv6/conf/all/forwarding 1
		sysctl_try net/ipv6/conf/all/accept_dad 0
		sysctl_try net/ipv6/conf/default/accept_dad 0
		sysctl_try net/ipv4/tcp_rmem "4096 131072 16777216"
		sysctl_try net/ipv4/tcp_wmem "4096 131072 16777216"
		sysctl_try net/ipv4/tcp_no_metrics_save 1
		sysctl_try net/mptcp/enabled 1
		[ "$1" != client ] || sysctl_try net/mptcp/add_addr_timeout 1
	}
}

# Orders for the host's "ip -batch"
host_network()
{
	"network_$([ "$1" = client ] || [ "$1" = inet ] && echo "$1" || echo site)" "$1"
}

# MAC addresses are fixed, so that neighbours need not learn a host anew after it was off.
network_site()
{
	local n

	n=$(site_number "$1")
	cat <<-END
		link add br-site address 02:80:00:00:00:0$n type bridge forward_delay 0
		link set uplink address 02:80:00:00:01:0$n master br-site up
		link set br-site up
		address add 10.80.$n.2/24 dev br-site
		address add fd80:$n::2/64 dev br-site
		route add default via 10.80.$n.1
		route add default via fd80:$n::1
		link add br-mgmt address 02:82:00:00:00:0$n type bridge forward_delay 0
		link set br-mgmt up
		address add 10.82.$n.2/24 dev br-mgmt
		link set wan1 address 02:81:01:00:00:0$n up
		link set wan2 address 02:81:02:00:00:0$n up
		address add 10.81.1.$n/24 dev wan1
		address add 10.81.2.$n/24 dev wan2
		address add fd81:1::$n/64 dev wan1
		address add fd81:2::$n/64 dev wan2
	END
}

network_inet()
{
	cat <<-END
		link set site-east address 02:80:00:00:02:01 up
		link set site-west address 02:80:00:00:02:02 up
		address add 10.80.1.1/24 dev site-east
		address add 10.80.2.1/24 dev site-west
		address add fd80:1::1/64 dev site-east
		address add fd80:2::1/64 dev site-west
	END
}

network_client()
{
	echo "mptcp limits set subflows 8 add_addr_accepted 8"
}

# Client and internet are joined by a plain cable: the delay is that of the access lines.
client_line()
{
	nsenter --target "$(host_pid inet)" --net ip -batch - <<-END
		link add client0 type veth peer name eth0 netns $(host_pid client)
		link set client0 address 02:90:00:00:00:01 up
		address add 10.90.0.1/24 dev client0
		address add fd90::1/64 dev client0
	END
	nsenter --target "$(host_pid client)" --net ip -batch - <<-END
		link set eth0 address 02:90:00:00:00:02 up
		address add 10.90.0.2/24 dev eth0
		address add fd90::2/64 dev eth0
		route add default via 10.90.0.1
		route add default via fd90::1
	END
}

# A site's second network for VMs, by a plain cable to the router: it has no part in a hop's load.
mgmt_line()
{
	local n

	n=$(site_number "$1")
	# the cable of a host that was off a moment ago may still be going
	nsenter --target "$(host_pid inet)" --net ip link del "mgmt-$1" 2>/dev/null || true
	nsenter --target "$(host_pid inet)" --net ip -batch - <<-END
		link add mgmt-$1 type veth peer name mgmt netns $(host_pid "$1")
		link set mgmt-$1 address 02:82:00:00:02:0$n up
		address add 10.82.$n.1/24 dev mgmt-$1
	END
	"$(host_kind "$1")_mgmt" "$1"
}

# The host's end of it, as orders for ip
mgmt_port()
{
	echo "link set mgmt address 02:82:00:00:01:0$(site_number "$1") master br-mgmt up"
}

space_mgmt()
{
	mgmt_port "$1" | nsenter --target "$(host_pid "$1")" --net ip -batch -
}

# The router gives addresses .100 to .199 of each of the sites' networks to who asks.
dhcp_server()
{
	local net ranges=()

	[ -x "/proc/$(host_pid inet)/root/usr/sbin/dnsmasq" ] || return 0
	for net in 10.80.1 10.80.2 10.82.1 10.82.2; do
		ranges+=("--dhcp-range=$net.100,$net.199,255.255.255.0,1h")
	done
	host_run inet dnsmasq --conf-file=/dev/null --port=0 --user=root --bind-dynamic --interface='site-*' \
		--interface='mgmt-*' --dhcp-authoritative --no-ping --dhcp-leasefile=/run/dnsmasq.leases --pid-file=/run/dnsmasq.pid \
		--log-facility=/run/dnsmasq.log "${ranges[@]}" 9>&-
}

# What starts sshd on a host
host_sshd="mkdir -p /run/sshd && mptcpize run /usr/sbin/sshd -f /etc/ssh/edgehop_lab_sshd_config"
