# shellcheck shell=bash disable=SC2154 # run, store, hosts ... are edgehop-lab's
# SPDX-License-Identifier: GPL-2.0-or-later
# The VM "web": its definition and disk at east, its start, and whether it answers.

# Whether a guest really runs under KVM: /dev/kvm may open where none does. The answer holds until the machine boots.
accel()
{
	local verdict=$guest_cache/accel boot_id

	boot_id=$(cat /proc/sys/kernel/random/boot_id)
	if [ "$(cut -d' ' -f1 "$verdict" 2>/dev/null)" != "$boot_id" ]; then
		echo "$boot_id $(accel_probe)" >"$verdict"
	fi
	cut -d' ' -f2 "$verdict"
}

accel_probe()
{
	local console pid answer=tcg

	[ -w /dev/kvm ] || { echo tcg && return; }
	console=$(mktemp)
	qemu-system-x86_64 -machine pc-q35-7.2 -accel kvm -cpu qemu64 -m 256M -nodefaults -display none -no-reboot \
		-serial "file:$console" -kernel "$guest_cache/vmlinuz" -initrd "$guest_cache/initrd.img" \
		-append "console=ttyS0 panic=-1" </dev/null >/dev/null 2>&1 9>&- &
	pid=$!
	# its own words, not the boot loader's: the init of the initramfs runs, finds no disk and says so
	! wait_until 10 sh -c "grep -q 'edgehop guest' '$console' || ! kill -0 $pid" ||
		! grep -q 'edgehop guest' "$console" || answer=kvm
	kill -KILL "$pid" 2>/dev/null || true
	wait "$pid" 2>/dev/null || true
	rm -f "$console"
	echo "$answer"
}

vm_definition()
{
	cat <<-END
		# The lab's VM
		name: web
		uuid: 6c1d8f5e-3b0a-4d6e-9a51-0e6d67656801
		hypervisor: qemu
		accel: $(accel)
		machine: pc-q35-7.2
		cpu: qemu64
		memory: ${LAB_MEMORY:-256M}
		vcpus: 1
		autostart: true
		disks:
		  - {name: disk0, file: disk0.img, format: raw}
		nics:
		  - {name: nic0, mac: "52:54:00:eb:00:01"}
		  - {name: nic1, mac: "52:54:00:eb:00:02"}
		sites:
		  east: {addresses: [{address: 10.80.1.10/24, gateway: 10.80.1.1}]}
		  west: {addresses: [{address: 10.80.2.10/24, gateway: 10.80.2.1}]}
	END
}

# The agent is put into the disk without mounting it, so the image need not be made anew for each build.
vm_disk()
{
	local disk

	disk=/proc/$(host_pid "$1")/root$2
	host_put "$1" "$guest_cache/guest.img" "$2" 600
	[ -x "$repo/build/edgehop-guest" ] || return 0
	debugfs -w -f - "$disk" >/dev/null 2>&1 <<-END
		rm /usr/sbin/edgehop-guest
		write $repo/build/edgehop-guest /usr/sbin/edgehop-guest
		sif /usr/sbin/edgehop-guest mode 0100755
	END
}

# The files of the VM, once; where it lives and runs is edgehop's from then on.
vm_define()
{
	vm_disk east /root/web/disk0.img
	vm_definition | host_write east /root/web/web.yaml
	if [ -x "$repo/build/edgehop" ]; then
		host_run east edgehop define /root/web/web.yaml
		host_run east rm /root/web/disk0.img
	fi
	: >"$run/vm"
}

vm_up()
{
	if [ ! -e "$run/vm" ]; then
		vm_define
	elif vm_answers 1 || vm_answers 2; then
		return 0
	fi
	if [ ! -x "$repo/build/edgehop" ]; then
		say "build/edgehop is not there: the VM's disk and definition lie at east in /root/web, but nothing starts it"
		return 0
	fi
	host_run east edgehop start web
	wait_until 90 vm_answers 1 || die "the VM was started, but nginx does not answer the client within 90 s"
}

# vm_answers SITE-NUMBER: the client gets a page from the VM at its address there
vm_answers()
{
	host_run client curl -sf -m 2 -o /dev/null "http://10.80.$1.10/small"
}

vm_status()
{
	local n

	[ -e "$run/vm" ] && host_running client || return 0
	for n in 1 2; do
		! vm_answers "$n" || echo "web          answers at 10.80.$n.10"
	done
}
