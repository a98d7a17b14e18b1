# shellcheck shell=bash disable=SC2154 # lab, run, store, hosts ... are the lab's program's
# SPDX-License-Identifier: GPL-2.0-or-later
# The VMs: "web", which "up" makes at east, and others that are added. What a VM was made as stands in
# $run/vms/NAME/settings, lines of KEY=VALUE; where it lives and runs is edgehop's from then on.
#
# A VM's settings, each a variable of the function that has called vm_load or vm_options:
#	name at memory vcpus disks agent dual_stack dhcp networks autostart hugepages
#		as its definition has them
#	number	of the VM in its addresses, MACs and ports
vm_settings=(name at memory vcpus disks agent dual_stack dhcp networks autostart hugepages number)

vm_known()
{
	[ -e "$run/vms/${1:-?}/settings" ]
}

vm_load()
{
	local key value

	while IFS== read -r key value; do
		printf -v "$key" %s "$value"
	done <"$run/vms/$1/settings"
}

vm_store()
{
	local key

	mkdir -p "$run/vms/$name"
	for key in "${vm_settings[@]}"; do
		echo "$key=${!key}"
	done >"$run/vms/$name/settings.new"
	mv "$run/vms/$name/settings.new" "$run/vms/$name/settings"
}

# The least number that no other VM has; 10 is web's.
vm_free_number()
{
	local n=10

	[ "$name" != web ] || { echo 10 && return; }
	while n=$((n + 1)); do
		grep -qsx "number=$n" "$run"/vms/*/settings || break
	done
	[ "$n" -lt 100 ] || die "vm add: 90 VMs are enough"
	echo "$n"
}

vm_options()
{
	while [ $# -gt 0 ]; do
		case $1-${2-} in
		--no-agent-*) agent=false && set -- "$1" "$@" ;;
		--dual-stack-*) dual_stack=true && set -- "$1" "$@" ;;
		--dhcp-*) dhcp=true && set -- "$1" "$@" ;;
		--no-start-*) start=no && set -- "$1" "$@" ;;
		--at-east | --at-west) at=$2 ;;
		--memory-[1-9]*) memory=$2 ;;
		--vcpus-[1-9]*) vcpus=$2 ;;
		--disks-[1-7]) disks=$2 ;;
		--networks-[12]) networks=$2 ;;
		--hugepages-?*) hugepages=$2 ;;
		--autostart-yes) autostart=true ;;
		--autostart-no) autostart=false ;;
		*) usage_error "vm add: '$1 ${2-}': unknown option or value" ;;
		esac
		shift 2
	done
}

# vm_make NAME [OPTION...]: the VM's files, once
vm_make()
{
	local name=$1 at=east memory=${LAB_MEMORY:-256M} vcpus=1 disks=1 agent=true dual_stack=false dhcp=false networks=1 \
		autostart=true hugepages='' number

	shift
	vm_options "$@"
	! vm_known "$name" || return 0
	number=$(vm_free_number)
	host_running "$at" || die "host '$at' is off"
	mkdir -p "$run/vms/$name"
	vm_disks "$at" "/root/$name"
	vm_definition | host_write "$at" "/root/$name/$name.yaml"
	vm_make_known
	[ "$networks" = 1 ] || config_networks
	if [ -x "$repo/build/edgehop" ]; then
		host_run "$at" edgehop define "/root/$name/$name.yaml"
		host_run "$at" sh -c "rm /root/$name/disk*.img"
	fi
	vm_store
}

# Where the VM may be started: the host that owns it, at first the one where it was made.
vm_home()
{
	local site

	for site in "${sites[@]}"; do
		if host_running "$site" && host_run "$site" edgehop list 2>/dev/null |
			grep -q "^$1 .* this host$"; then
			echo "$site" && return
		fi
	done
	vm_setting "$1" at
}

# vm_start NAME: unless it answers already
vm_start()
{
	local at

	! vm_answers_somewhere "$1" || return 0
	at=$(vm_home "$1")
	if [ ! -x "$repo/build/edgehop" ]; then
		say "build/edgehop is not there: the VM's disk and definition lie at $at in /root/$1, but nothing starts it"
		return 0
	fi
	host_run "$at" edgehop start "$1"
}

vm_wait()
{
	[ -x "$repo/build/edgehop" ] || return 0
	wait_until 90 vm_answers_somewhere "$1" ||
		die "VM $1 was started, but nginx does not answer the client within 90 s"
}

vm_up()
{
	vm_make web
	vm_start web
	vm_wait web
}

cmd_vm()
{
	case ${1-} in
	add) vm_add "${@:2}" ;;
	show) vm_show "${2-}" ;;
	*) usage_error "vm: expected add NAME or show NAME" ;;
	esac
}

# While the guest boots, the lab is free for other commands.
vm_add()
{
	local start=yes

	[[ ${1-} =~ ^[a-z0-9][a-z0-9-]{0,31}$ ]] || usage_error "vm add: expected a name of up to 32 of a-z, 0-9 and -"
	guest_cache=$("$lab_dir/build-guest")
	lab_lock || die "lab '$instance' is not up"
	vm_make "$@"
	[ "$start" = yes ] || return 0
	vm_start "$1"
	exec 9>&-
	vm_wait "$1"
	say "VM $1 is up"
}

vm_show()
{
	local name at memory vcpus disks agent dual_stack dhcp networks autostart hugepages number

	vm_known "$1" || die "unknown VM '$1'"
	vm_load "$1"
	cat "$run/vms/$1/settings"
	echo "beats=$(vm_port beats)"
	echo "counters=$(vm_port counters)"
	echo "east=$(vm_address "$1" east)"
	echo "west=$(vm_address "$1" west)"
	[ "$dual_stack" = false ] || printf 'east6=fd80:1::%s\nwest6=fd80:2::%s\n' "$number" "$number"
	[ "$networks" = 1 ] || printf 'east-mgmt=10.82.1.%s\nwest-mgmt=10.82.2.%s\n' "$number" "$number"
}

vm_setting()
{
	sed -n "s/^$2=//p" "$run/vms/$1/settings"
}

# vm_address NAME SITE: where the VM is to be reached when it is there; nothing if DHCP has not said it yet
vm_address()
{
	local net number

	net=10.80.$(site_number "$2")
	number=$(vm_setting "$1" number)
	if [ "$(vm_setting "$1" dhcp)" = true ]; then
		# of its two vNICs the one that asked last
		sort -n "/proc/$(host_pid inet)/root/run/dnsmasq.leases" |
			awk -v macs="$(vm_mac 1) $(vm_mac 2)" -v "net=$net." \
				'index(macs, $2) && index($3, net) == 1 { last = $3 } END { print last }'
	else
		echo "$net.$number"
	fi
}

# vm_answers NAME SITE: the client gets a page from the VM at its address there
vm_answers()
{
	local address

	address=$(vm_address "$1" "$2")
	[ -n "$address" ] && host_run client curl -sf -m 2 -o /dev/null "http://$address/small"
}

# At either site; an address that nobody has takes its time to say so.
vm_answers_somewhere()
{
	local east

	vm_answers "$1" east &
	east=$!
	vm_answers "$1" west || wait "$east"
}

vm_status()
{
	local file name site

	host_running client || return 0
	for file in "$run"/vms/*/settings; do
		[ -e "$file" ] || continue
		name=$(basename "$(dirname "$file")")
		for site in "${sites[@]}"; do
			! vm_answers "$name" "$site" || printf '%-12s answers at %s\n' "$name" "$(vm_address "$name" "$site")"
		done
	done
}
