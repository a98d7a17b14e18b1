# shellcheck shell=bash disable=SC2154 # lab, run, store, hosts ... are the lab's program's
# SPDX-License-Identifier: GPL-2.0-or-later
# Hosts that are Xen machines of their own, each a QEMU inside the namespaces of the host.
#
#	namespaces of the host		the machine
#	line's end -- bridge -- tap ==	card, by the same name		wan1, wan2, uplink, mgmt
#	10.83.0.1 ------------- tap ==	lab0 10.83.0.2			the lab's link: ssh, for the lab alone
#
# The first start goes on where a boot that is kept in the cache ended (build-xen-warm); from then on the host has its
# own disk, $store/HOST.qcow2, from which it boots after a power cut. The shared disk is one that all hosts see, as on a
# storage network: Xen's own migration moves no disks.

# xen_prepare: what all hosts start from; sets image and warm, made if they are not there yet
xen_prepare()
{
	image=$("$lab_dir/build-xen-host")
	warm=$("$lab_dir/build-xen-warm" "$image" "$guest_cache")
	printf '%s\n' "$image" "$warm" >"$run/xen"
}

# The folders that this lab was made with
xen_folders()
{
	{ read -r image && read -r warm; } <"$run/xen"
}

# In the host's namespaces, for what runs as long as the host; file systems stay the machine's
xen_inside()
{
	local host=$1

	shift
	nsenter --target "$(host_pid "$host")" --net --pid --uts -- "$@"
}

# The lines' ends and the machine's cards are joined as by a cable.
xen_wiring()
{
	local card

	echo "link set lo up"
	xen_taps
	for card in "${xen_cards[@]:1}"; do
		echo "link add $card-br type bridge forward_delay 0 ageing_time 0 mcast_snooping 0"
		echo "link set $card-br up"
		echo "link set $card-tap master $card-br"
	done
}

xen_plug()
{
	echo "link set $1 master $1-br up"
}

# An address of the namespaces themselves would be one too many on the lines.
xen_no_addresses()
{
	sysctl_try net/ipv6/conf/default/disable_ipv6 1
	sysctl_try net/ipv6/conf/all/disable_ipv6 1
}

xen_power()
{
	local dir=$run/hosts/$1 disk=$store/$1.qcow2 memory=() start=() image warm

	xen_folders
	xen_machine "$(cat "$warm/accel")" "$image"
	if [ ! -e "$disk" ]; then
		qemu-img create -q -f qcow2 -F qcow2 -b "$warm/disk.qcow2" "$disk"
		memory=("$warm/ram" off)
		start=(-incoming defer)
	fi
	xen_machine_parts "$disk" "$store/shared.img" "$dir" "${memory[@]}"
	rm -f "$dir/monitor"
	xen_inside "$1" setsid "${machine[@]}" -name "$1" "${start[@]}" </dev/null >>"$dir/log" 2>&1 9>&- &
	wait_until 20 test -S "$dir/monitor" || die "host '$1' has no monitor: $(cat "$dir/log")"
	[ "${#start[@]}" -eq 0 ] ||
		xen_monitor "$dir/monitor" "$(xen_order cap)" "$(xen_order load "$warm/state")" >/dev/null
}

# xen_link HOST: the connection that all commands on the host go through. One that ended, with its host perhaps, has left
# its socket. The time is for the whole handshake, which an emulated host on a busy machine may need: who gives up sooner and
# tries again keeps it from ever getting there.
xen_link()
{
	local image warm

	xen_folders
	rm -f "$run/hosts/$1/link"
	xen_inside "$1" ssh -F none -MNf -S "$run/hosts/$1/link" -p 2222 -i "$image/link_key" \
		-o UserKnownHostsFile="$image/known_hosts" -o BatchMode=yes -o ConnectTimeout=120 -o LogLevel=ERROR \
		root@10.83.0.2 </dev/null >/dev/null 2>&1 9>&- 8>&-
}

xen_linked()
{
	ssh -F none -S "$run/hosts/$1/link" -O check host 2>/dev/null
}

# Of several commands that find it broken, one mends it.
xen_relink()
{
	{ flock 8 && { xen_linked "$1" || xen_link "$1"; }; } 8<"$run/hosts/$1"
}

# Replaces this shell. The host's shell gets one line, so that words stay what they are.
xen_exec()
{
	local host=$1

	shift
	xen_linked "$host" || xen_relink "$host" || die "host '$host' does not answer"
	exec ssh -F none -S "$run/hosts/$host/link" -o LogLevel=ERROR "${xen_terminal[@]}" host \
		"HOME=/root TERM=${TERM:-dumb} LANG=C.UTF-8 PATH=/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin" \
		"$(printf '%q ' "$@")"
}
xen_terminal=()

xen_shell()
{
	xen_terminal=(-t)
	xen_exec "$1" bash -l
}

xen_put()
{
	xen_write "$1" "$3" "$4" <"$2"
}

xen_write()
{
	(xen_exec "$1" sh -c "mkdir -p '${2%/*}' && cat >'$2.new' && chmod '${3:-644}' '$2.new' && mv '$2.new' '$2'")
}

xen_mgmt()
{
	xen_plug mgmt | nsenter --target "$(host_pid "$1")" --net ip -batch -
}

# Everything from power-on until the host answers and is itself.
xen_boot()
{
	local line

	xen_no_addresses | nsenter --target "$(host_pid "$1")" --net sh
	{
		xen_wiring
		for line in wan1 wan2 uplink; do
			xen_plug "$line"
		done
	} | nsenter --target "$(host_pid "$1")" --net ip -batch -
	! host_running inet || mgmt_line "$1"
	xen_power "$1"
	wait_until 600 xen_link "$1" || die "host '$1' does not come up: $(tail -n 3 "$run/hosts/$1/console")"
	xen_settle "$1"
}

# What makes a host of an image that all hosts have in common, in one go: its clock, which stood still since the boot was
# kept, files, and a script for what is not in files.
xen_settle()
{
	local parts=$run/hosts/$1/parts

	rm -rf "$parts"
	mkdir -p "$parts"
	[ -e "$store/$1.settled" ] || xen_files "$1" "$parts"
	xen_script "$1" | file_write "$parts/run/edgehop-lab/settle"
	tar -C "$parts" --owner=0 --group=0 -cz . | host_run "$1" sh -c "date -s @$EPOCHREALTIME >/dev/null &&
		tar -xz -C / --keep-directory-symlink --no-overwrite-dir --warning=no-timestamp && sh /run/edgehop-lab/settle" ||
		die "host '$1' is up, but not itself"
	: >"$store/$1.settled"
	rm -rf "$parts"
}

# As "make install" lays it out, and the VM
xen_files()
{
	files_write "$1" "$2"
	mkdir -p "$2/var/lib/edgehop/vms"
	cat /proc/sys/kernel/random/uuid | tr -d - | file_write "$2/etc/machine-id"
	[ ! -x "$repo/build/edgehop" ] || xen_edgehop "$2"
	xen_vm_config | file_write "$2/root/web/web.cfg"
}

# What was built, as it is; what only a debugger reads stays here.
xen_edgehop()
{
	make -s -C "$repo" -o all install DESTDIR="$1" >/dev/null
	strip --strip-debug "$1"/usr/sbin/edgehop{,-guest,-hotskip,-xen}
}

# Hosts that start from the same memory would also draw the same random numbers, their first UUIDs included.
xen_script()
{
	echo "set -e"
	echo "perl -e 'open(R, \">\", \"/dev/urandom\"); syswrite(R, \"$(od -An -N32 -tx1 /dev/urandom | tr -d ' \n')\");" \
		"ioctl(R, 0x5207, 0) or die'"
	echo "hostname $1"
	host_sysctls "$1"
	echo "ip -batch - <<'END'"
	host_network "$1"
	mgmt_port "$1"
	echo "END"
	echo "$host_sshd"
	echo "sync -f /etc" # what was laid down here outlives the first power cut
}

# --- the VM

# Its disk is the shared one, which looks the same to all hosts. Kernel and initramfs are there since the kept boot.
xen_vm_config()
{
	cat <<-END
		# The VM "web", for Xen's own xl
		name = "web"
		uuid = "6c1d8f5e-3b0a-4d6e-9a51-0e6d67656801"
		type = "pvh"
		kernel = "/root/web/vmlinux"
		ramdisk = "/root/web/initrd.img"
		cmdline = "console=hvc0 net.ifnames=0 mitigations=off loglevel=4 panic=5"
		memory = 256
		vcpus = 1
		disk = ["phy:/dev/disk/by-id/virtio-shared,xvda,w"]
		vif = ["mac=52:54:00:eb:00:01,bridge=br-site", "mac=52:54:00:eb:00:02,bridge=br-site"]
	END
}

# The shared disk, once for each lab: the guest's image with what is this VM's own
xen_vm_disk()
{
	local name=web at=east agent=false dual_stack=false number=10 disk=$store/shared.img

	[ ! -e "$disk" ] || return 0
	file_put "$guest_cache/guest.img" "$disk.part" 600
	vm_own_files "$run/vms/web/files"
	debugfs -w -f "$run/vms/web/files/orders" "$disk.part" >/dev/null 2>&1
	vm_make_known
	mv "$disk.part" "$disk"
}
