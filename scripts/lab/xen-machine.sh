# shellcheck shell=bash
# SPDX-License-Identifier: GPL-2.0-or-later
# The machine of a Xen host: a QEMU, its network cards, its monitor. A warm start fits only the machine that it was made
# with, so this is the one place that says what the machine is.

# A network card each for the lab's link to the host and for what a host of the lab has; their order is that of the
# MACs, by which the host names them (xen-host/files/etc/systemd/network).
xen_cards=(lab0 wan1 wan2 uplink mgmt)
xen_memory=2048M

# Under emulation each of these matters. No AVX: its registers get lost between Xen and the host, and ssh dies of a
# wrong MAC. No RDTSCP: a PVH guest dies of it. No SMAP: neither Xen nor the host comes up.
xen_cpu_tcg=qemu64,+svm,+npt,+ssse3,+sse4.1,+sse4.2,+popcnt,+aes,+pclmulqdq,+cx16,-rdtscp
xen_cpu_kvm=host,migratable=on

# bootscrub=0: memory that nobody has used takes no room in the warm start's file.
xen_options="console=com1 com1=115200,8n1 dom0_mem=768M,max:768M bootscrub=0"
xen_options_tcg="smap=off smep=off spec-ctrl=no xpti=off"
host_options="root=/dev/vda rw console=hvc0 net.ifnames=0 mitigations=off loglevel=4"

# xen_machine tcg|kvm IMAGE-FOLDER: sets the array "machine" to what does not differ between hosts and starts.
xen_machine()
{
	local accel=$1 image=$2 cpu=xen_cpu_$1 options=xen_options_$1 card n=0

	[ "$accel" = kvm ] || accel=tcg,thread=multi
	machine=(qemu-system-x86_64 -machine pc,memory-backend=ram -accel "$accel" -cpu "${!cpu}" -smp 1 -m "$xen_memory"
		-nodefaults -no-user-config -display none -no-reboot -rtc base=utc
		-kernel "$image/xen" -append "$xen_options ${!options-}"
		-initrd "$image/vmlinuz $host_options,$image/initrd.img"
		-device virtio-blk-pci,drive=root -device virtio-blk-pci,drive=shared,serial=shared,share-rw=on)
	for card in "${xen_cards[@]}"; do
		machine+=(-netdev "tap,id=$card,ifname=$card-tap,script=no,downscript=no"
			-device "virtio-net-pci,netdev=$card,mac=52:54:00:83:00:0$n,romfile=")
		n=$((n + 1))
	done
}

# xen_machine_parts DISK SHARED-DISK FOLDER [RAM-FILE on|off]: adds to "machine" what does. RAM is the file itself (on), or
# each page of it until it is written to (off); without a file it is new. Console and monitor lie in the folder.
xen_machine_parts()
{
	local memory=ram

	[ $# -eq 3 ] || memory=file,mem-path=$4,share=$5
	machine+=(-drive "if=none,id=root,file=$1,format=qcow2"
		-drive "if=none,id=shared,file=$2,format=raw,file.locking=off"
		-object "memory-backend-$memory,id=ram,size=$xen_memory"
		-chardev "file,id=console,path=$3/console,append=on" -serial chardev:console
		-qmp "unix:$3/monitor,server=on,wait=off")
}

# The far ends of the network cards, in this network namespace. They stay when the machine goes, so that nobody sees an
# interface vanish.
xen_taps()
{
	local card

	for card in "${xen_cards[@]}"; do
		echo "tuntap add $card-tap mode tap vnet_hdr"
		echo "link set $card-tap up"
	done
	echo "address add 10.83.0.1/24 dev lab0-tap"
}

# xen_monitor SOCKET COMMAND...: gives the commands (JSON) one after the other and waits for each one's end; prints the
# answers
xen_monitor()
{
	local socket=$1 command answer

	shift
	coproc QMP { exec socat - "UNIX-CONNECT:$socket"; }
	for command in '{"execute":"qmp_capabilities"}' "$@"; do
		echo "$command" >&"${QMP[1]}"
		while read -r answer <&"${QMP[0]}"; do
			case $answer in
			*'"error": {'*) say "$command: $answer" && return 1 ;;
			*'"return": '*) echo "$answer" && break ;;
			esac
		done
	done
	exec {QMP[1]}>&-
	wait "$QMP_PID" || true
}

# QEMU's words that a command with a single argument wants
xen_order()
{
	case $1 in
	cap) echo '{"execute":"migrate-set-capabilities","arguments":{"capabilities":[{"capability":"x-ignore-shared","state":true}]}}' ;;
	save) echo "{\"execute\":\"migrate\",\"arguments\":{\"uri\":\"exec:cat >'$2'\"}}" ;;
	load) echo "{\"execute\":\"migrate-incoming\",\"arguments\":{\"uri\":\"exec:cat '$2'\"}}" ;;
	*) echo "{\"execute\":\"$1\"}" ;;
	esac
}
