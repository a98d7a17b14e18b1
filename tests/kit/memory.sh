# shellcheck shell=bash disable=SC2154 # scratch, lab ... are kit.sh's
# SPDX-License-Identifier: GPL-2.0-or-later
# What is in a real guest's memory, for benchmarks of what is made of pages. Needs kit.sh, hop.sh, qmp.sh, loads.sh.
#
#	memory_take LOAD MIB SECONDS FOLDER	a guest of that size, which runs a load of loads.sh, or "files", which has read every
#						file on its disk; its memory as LOAD-1 in the folder, and SECONDS later as LOAD-2
memory_vm=/var/lib/edgehop/vms/web

memory_root()
{
	echo "/proc/$(cat "/run/edgehop-lab/$lab_instance/hosts/$1/pid")/root"
}

memory_guest()
{
	lab exec east edgehop stop web >/dev/null || fail "the VM did not power off"
	lab exec east sed -i "s/^memory: .*/memory: $1M/" $memory_vm/vm.yaml
	lab exec east edgehop start web >/dev/null || fail "the VM did not start with $1 MiB"
	wait_for 180 guest east true || fail "no ssh to the guest"
}

# Fewer pages than there are could be in a hole of the machine's, but not below 2 GiB.
memory_save()
{
	qmp monitor stop
	qmp monitor pmemsave "{\"val\":0,\"size\":$(($1 << 20)),\"filename\":\"$memory_vm/memory\"}"
	qmp monitor cont
	cp --sparse=always "$(memory_root east)$memory_vm/memory" "$2"
	lab exec east rm $memory_vm/memory
}

memory_take()
{
	local load=$1 folder=$4

	memory_guest "$2"
	case $load in
	files) guest east 'find / -xdev -type f -exec cat {} + | wc -c' >/dev/null ;;
	*) "load_$load" east ;;
	esac
	sleep "$3"
	qmp_open monitor east /run/edgehop/vms/web/qmp.sock
	memory_save "$2" "$folder/$load-1"
	sleep "$3"
	memory_save "$2" "$folder/$load-2"
	qmp_close monitor
	say "$load: two images of $2 MiB, $3 s apart"
}
