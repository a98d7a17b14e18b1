# shellcheck shell=bash disable=SC2154 # scratch, vm ... are kit.sh's and hop.sh's
# SPDX-License-Identifier: GPL-2.0-or-later
# What the tests of hops between Xen hosts share. A test sets lab_program=edgehop-xenlab, and sources this after kit.sh and hop.sh.
#
#	xen_vm shared|drbd [LINE...]	VM "web" is defined at east, on a disk that both hosts have, or that DRBD carries
#	xen_start			and runs
#
# xen_machine: pvh (if nothing else is said) or hvm
xen_machine=pvh

# The guest's beats and counts are rarer than elsewhere: each costs an emulated host some milliseconds.

# Patient: in emulation on a busy machine the guest's sshd takes its time.
guest()
{
	local site=$1

	shift
	lab exec client ssh -o BatchMode=yes -o ConnectTimeout=40 -o HostKeyAlias=web "root@$(site_address "$site")" "$@"
}

domain_at()
{
	lab exec "$1" xl domid web >/dev/null 2>&1
}

# runs_only_at SITE: as hop.sh's, with Xen's word for what is left
runs_only_at()
{
	wait_for 60 runs_at "$1" || fail "VM web is $(vm_state "$1") at $1, it should run"
	! domain_at "$(other_site "$1")" || fail "a domain of VM web is left at $(other_site "$1")"
}

boot_id()
{
	guest "$1" cat /proc/sys/kernel/random/boot_id
}

# xen_definition DISK LINE...: vm.yaml; DISK is "device: NAME" or "file: NAME"
xen_definition()
{
	local disk=$1

	shift
	cat <<-END
		name: web
		uuid: 6c1d8f5e-3b0a-4d6e-9a51-0e6d67656801
		hypervisor: xen
		machine: $xen_machine
		memory: 128M
		vcpus: 1
		boot:
		  kernel: vmlinuz
		  initrd: initrd.img
		  cmdline: "console=hvc0 net.ifnames=0 mitigations=off loglevel=4 panic=5"
		disks:
		  - {name: disk0, $disk}
		nics:
		  - {name: nic0, mac: "52:54:00:eb:00:01"}
		  - {name: nic1, mac: "52:54:00:eb:00:02"}
		sites:
		  east: {addresses: [{address: 10.80.1.10/24, gateway: 10.80.1.1}]}
		  west: {addresses: [{address: 10.80.2.10/24, gateway: 10.80.2.1}]}
	END
	[ $# -eq 0 ] || printf '%s\n' "$@"
}

# The disk is the lab's shared one, made for a guest without an agent. udev keeps links in /dev only as long as it likes.
xen_share_disk()
{
	local host

	for host in east west; do
		lab ssh "$host" 'mkdir -p /dev/edgehop && ln -sf ../disk/by-id/virtio-shared /dev/edgehop/web'
	done
}

# xen_shrink_disk: emulated hosts copy a megabyte or two a second, so the guest's disk has no more in it than it needs. Here and
# not there, for the same reason; nobody there has looked at it yet.
xen_disk_mib=80
xen_shrink_disk()
{
	local disk=/var/lib/$lab_program/$lab_instance/shared.img small=$scratch/small.img

	cp --sparse=always "$disk" "$small"
	head -c 6M /dev/urandom >"$scratch/big"
	debugfs -w -f - "$small" <<-END >/dev/null 2>&1
		rm /srv/www/big
		write $scratch/big /srv/www/big
	END
	e2fsck -fy "$small" >/dev/null 2>&1 || true
	resize2fs "$small" "${xen_disk_mib}M" >/dev/null 2>&1 || fail "the guest's disk can't be made smaller"
	dd if="$small" of="$disk" bs=1M count="$xen_disk_mib" conv=notrunc status=none
	rm "$small" "$scratch/big"
	lab ssh east 'blockdev --flushbufs /dev/disk/by-id/virtio-shared'
}

xen_vm()
{
	local kind=$1 disk='device: web'

	shift
	[ "$kind" = shared ] || disk='file: disk0.img'
	[ "$kind" = shared ] || xen_shrink_disk
	xen_share_disk
	xen_definition "$disk" "$@" >"$scratch/web.yaml"
	lab put east "$scratch/web.yaml" /root/web/web.yaml
	lab put east "$("$repo/scripts/lab/build-guest")/vmlinuz" /root/web/vmlinuz
	lab ssh east 'mkdir -p /mnt/web && mount /dev/edgehop/web /mnt/web &&
		install -m 755 /usr/sbin/edgehop-guest /mnt/web/usr/sbin/edgehop-guest &&
		rm -f /mnt/web/etc/network.conf && echo "10.90.0.2 7001 100" >/mnt/web/etc/heartbeat.conf &&
		echo "10.90.0.2 7002 500" >/mnt/web/etc/counter.conf && umount /mnt/web' || fail "the guest's disk can't be prepared"
	[ "$kind" = shared ] || lab ssh east 'dd if=/dev/edgehop/web of=/root/web/disk0.img bs=1M count='"$xen_disk_mib"' conv=sparse status=none'
	lab exec east edgehop define /root/web/web.yaml
	[ "$kind" = shared ] || lab ssh east 'rm /root/web/disk0.img && edgehop disk prepare web && sync' ||
		fail "the disk can't be put on DRBD"
}

xen_start()
{
	lab exec east edgehop start web 2>"$scratch/err" || fail "start: $(cat "$scratch/err")"
	wait_for 150 guest east true || fail "no ssh to the guest"
}

# disk_field HOST FIELD: what edgehop says of the disk there
disk_field()
{
	lab exec "$1" edgehop disk status --json web 2>/dev/null | jq -r ".[0].$2 // empty"
}

# The disk can be written to at that host, and at no other.
disk_is_at()
{
	wait_for 30 test "$(disk_field "$1" role)" = Primary || fail "the disk is $(disk_field "$1" role) at $1"
	[ "$(disk_field "$1" data)" = UpToDate ] || fail "the disk is $(disk_field "$1" data) at $1"
	[ "$(disk_field "$(other_site "$1")" role)" != Primary ] || fail "the disk is Primary at both hosts"
}

# disk_is_clean SITE: as hop.sh's, through the device that the guest used
disk_is_clean()
{
	local device

	lab exec "$1" edgehop stop --timeout 4m web >/dev/null || fail "the VM did not power off"
	device=$(disk_field "$1" device)
	lab exec "$1" e2fsck -fn "${device:-/dev/edgehop/web}" >"$scratch/fsck" 2>&1 || fail "fsck: $(cat "$scratch/fsck")"
}
