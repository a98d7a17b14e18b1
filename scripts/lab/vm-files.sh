# shellcheck shell=bash disable=SC2154 # lab, run, store, hosts ... are the lab's program's
# SPDX-License-Identifier: GPL-2.0-or-later
# A VM's files: its definition, and its disks, made from the guest's image.

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
	local disk

	cat <<-END
		# A VM of the lab
		name: $name
		uuid: $(vm_uuid)
		hypervisor: qemu
		accel: $(accel)
		machine: pc-q35-7.2
		cpu: qemu64
		memory: $memory
		vcpus: $vcpus
		autostart: $autostart
	END
	[ -z "$hugepages" ] || echo "hugepages: $hugepages"
	[ "$agent" = true ] || echo "agent: false"
	echo "disks:"
	for ((disk = 0; disk < disks; disk++)); do
		echo "  - {name: disk$disk, file: disk$disk.img, format: raw}"
	done
	vm_definition_network
}

vm_definition_network()
{
	local site

	cat <<-END
		nics:
		  - {name: nic0, mac: "$(vm_mac 1)"}
		  - {name: nic1, mac: "$(vm_mac 2)"}
	END
	[ "$networks" = 1 ] || cat <<-END
		  - {name: nic2, mac: "$(vm_mac 3)", network: mgmt}
		  - {name: nic3, mac: "$(vm_mac 4)", network: mgmt}
	END
	echo "sites:"
	for site in "${sites[@]}"; do
		echo "  $site: {addresses: $(vm_addresses "$(site_number "$site")")}"
	done
}

# The addresses of a VM at a site, by the site's number
vm_addresses()
{
	[ "$dhcp-$dual_stack-$networks" != true-false-1 ] || { echo dhcp && return; }
	if [ "$dhcp" = true ]; then
		printf '[{dhcp: 4}'
	else
		printf '[{address: 10.80.%s.%s/24, gateway: 10.80.%s.1}' "$1" "$number" "$1"
	fi
	[ "$dual_stack" = false ] ||
		printf ', {address: "fd80:%s::%s/64", gateway: "fd80:%s::1"}' "$1" "$number" "$1"
	[ "$networks" = 1 ] ||
		printf ', {address: 10.82.%s.%s/24, gateway: 10.82.%s.1, network: mgmt}' "$1" "$number" "$1"
	echo ']'
}

# The first eight digits differ between VMs: edgehop names taps by them.
vm_uuid()
{
	printf '6c1d8f%02x-3b0a-4d6e-9a51-0e6d676568%02x\n' "$((0x5e + number - 10))" "$((number - 9))"
}

vm_mac()
{
	printf '52:54:00:eb:%02x:%02x\n' "$((number - 10))" "$1"
}

# What is a VM's own is put into the first disk without mounting it, so the image need not be made anew for each build.
# Others are blank; the guest makes file systems on them.
vm_disks()
{
	local folder disk

	folder=/proc/$(host_pid "$1")/root$2
	host_put "$1" "$guest_cache/guest.img" "$2/disk0.img" 600
	for ((disk = 1; disk < disks; disk++)); do
		truncate -s 128M "$folder/disk$disk.img"
	done
	vm_own_files "$run/vms/$name/files"
	debugfs -w -f "$run/vms/$name/files/orders" "$folder/disk0.img" >/dev/null 2>&1
}

# vm_own_files FOLDER: files of the guest, and debugfs's orders to put them there
vm_own_files()
{
	local file

	mkdir -p "$1/etc" "$1/root/.ssh"
	echo "$name" >"$1/etc/hostname"
	echo "10.90.0.2 $(vm_port beats) 10" >"$1/etc/heartbeat.conf"
	echo "10.90.0.2 $(vm_port counters)" >"$1/etc/counter.conf"
	[ "$agent" = true ] || vm_static_network >"$1/etc/network.conf"
	cp "$run/keys/id_ed25519.pub" "$1/root/.ssh/authorized_keys"
	(cd "$1" && find etc root -type f) | while read -r file; do
		printf 'rm /%s\nwrite %s /%s\n' "$file" "$1/$file" "$file"
	done >"$1/orders"
	echo 'sif /root/.ssh/authorized_keys mode 0100600' >>"$1/orders"
	[ "$agent" = true ] && [ -x "$repo/build/edgehop-guest" ] || return 0
	cat >>"$1/orders" <<-END
		rm /usr/sbin/edgehop-guest
		write $repo/build/edgehop-guest /usr/sbin/edgehop-guest
		sif /usr/sbin/edgehop-guest mode 0100755
	END
}

# The addresses that a guest without an agent has at the site where it starts, and keeps.
vm_static_network()
{
	local n

	n=$(site_number "$at")
	echo "eth0 10.80.$n.$number/24 10.80.$n.1"
	[ "$dual_stack" = false ] || echo "eth0 fd80:$n::$number/64 fd80:$n::1"
}

# Each VM's heartbeats and counters have ports of their own at the client.
vm_port()
{
	case $1 in
	beats) echo $((7001 + 10 * (number - 10))) ;;
	counters) echo $((7002 + 10 * (number - 10))) ;;
	esac
}

# The image's key is every VM's; root knows it by the VM's name and addresses everywhere.
vm_make_known()
{
	local host line n

	line=$name
	for n in 1 2; do
		line+=",10.80.$n.$number,10.82.$n.$number,fd80:$n::$number"
	done
	line+=" $(cut -d' ' -f1,2 "$guest_cache/guest-host-key.pub")"
	! grep -qxF "$line" "$run/keys/known_hosts" || return 0
	echo "$line" >>"$run/keys/known_hosts"
	for host in "${hosts[@]}"; do
		! host_running "$host" ||
			echo "$line" >>"/proc/$(host_pid "$host")/root/root/.ssh/known_hosts"
	done
}
