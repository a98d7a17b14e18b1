# shellcheck shell=bash disable=SC2154,SC2034 # point, action, host ... are the campaign's
# SPDX-License-Identifier: GPL-2.0-or-later
# No space, and no writing: a small tmpfs of the host's own lies over a folder of edgehop's, or becomes read-only in the middle.
# POINT is FOLDER or FOLDER@FAULT-POINT, where it happens; back-N makes it writable again after N seconds.

storage_cases()
{
	cat <<-'END'
		destination vms full-8k source available,.the.VM.s.disks.hold
		destination vms full-20m source available,.the.VM.s.disks.hold
		destination vms@disk-copy full source
		destination vms read-only source Read-only
		destination journal full-0 source No.space
		destination journal read-only source Read-only
		destination journal@memory-copy read-only source
		destination journal@loaded back-8 source
		destination journal@prepared back-8 either
		destination journal@released-seen back-8 either
		destination vms@released-seen sealed-8 destination
		destination history read-only destination
		destination run full source
		source journal full-0 source No.space
		source journal read-only source Read-only
		source journal@memory-copy back-8 source
		source journal@prepared-seen back-8 source
		source journal@released back-8 destination
		source journal@redirected back-8 destination
		source vms@prepared-seen sealed-8 source
		source history read-only destination
		source run full source No.space
	END
}

folder_of()
{
	if [ "$1" = run ]; then echo /run; else echo "/var/lib/edgehop/$1"; fi
}

# A tmpfs with the folder's files in it, and so much room beside them; not the disk that an earlier stay left
cover()
{
	lab exec "$host" sh -ec '
		mkdir -p "$1" /run/covered
		mount -t tmpfs -o mode=0700,size=1g covered /run/covered
		[ "$1" = /var/lib/edgehop/vms ] || cp -a "$1/." /run/covered/
		mount -o "remount,size=$(($(du -sk /run/covered | cut -f1) + $2))k" /run/covered
		mount --move /run/covered "$1"' cover "$1" "$2"
}

# What was written there in the meantime is the hop's: it is kept. No VM runs from such a folder: the cases see to that.
uncover()
{
	lab exec "$host" sh -c '
		mountpoint -q "$1" || exit 0
		mount -o remount,rw,size=1g "$1"
		[ "$1" != /var/lib/edgehop/vms ] || { umount -l "$1"; exit 0; }
		mkdir -p /tmp/kept && cp -a --sparse=always "$1/." /tmp/kept/ && umount -l "$1" && cp -a --sparse=always /tmp/kept/. "$1/"
		rm -rf /tmp/kept' uncover "$1"
}

fill()
{
	lab exec "$host" sh -c 'cat /dev/zero >"$1/filler" 2>"$1.why"; cat "$1.why" >&2; ! grep -qi space "$1.why"; s=$?; rm -f "$1.why"; [ $s = 1 ]' \
		fill "$1" >/dev/null 2>&1
}

unwritable()
{
	! lab exec "$host" sh -c 'dd if=/dev/zero of="$1/probe" bs=64k count=1 2>/dev/null' probe "$1"
}

strike_storage()
{
	local folder=$1

	case $action in
	full*)
		[ "$point" != run ] || lab exec "$host" mount -o remount,size=1m /run
		# the undo may have made room again when one looks a moment later
		fill "$folder" && forced "$folder was full at $host"
		return 0
		;;
	read-only | back-*) lab exec "$host" mount -o remount,ro "$folder" ;;
	sealed-*) lab exec "$host" chattr +i "$folder/web" ;;
	esac
	if [[ $action == sealed-* ]]; then
		lab exec "$host" lsattr -d "$folder/web" | grep -q i && forced "$folder/web was sealed at $host"
	else
		unwritable "$folder" && forced "$folder could not be written at $host"
	fi
}

heal_storage()
{
	local folder=$1

	if [ "$folder" = /run ]; then
		lab exec "$host" sh -c 'rm -f /run/filler /run/probe; mount -o remount,size=50% /run'
	elif [[ $action == sealed-* ]]; then
		lab exec "$host" chattr -i "$folder/web"
	else
		lab exec "$host" sh -c 'mountpoint -q "$1" && mount -o remount,rw,size=1g "$1"; rm -f "$1/filler" "$1/probe"' heal "$folder"
	fi
}

force_storage()
{
	local folder kib=1000000 at= # more than the VM's disk can hold

	may_recover=yes
	[[ $point != *@* ]] || at=${point#*@}
	folder=$(folder_of "${point%@*}")
	case $action in
	full-8k) kib=8 ;;
	full-20m) kib=20480 ;;
	full-0) kib=64 ;;
	esac
	[[ $folder == /run || $action == sealed-* ]] || cover "$folder" "$kib"
	if [ -z "$at" ]; then
		case $action in
		full-8k) forced "$folder had 8 KiB at $host" ;;
		full-20m) forced "$folder had 20 MiB at $host" ;;
		*) strike_storage "$folder" ;;
		esac
		hop_start
	else
		arm "$host" "$at slow"
		hop_start
		wait_hit "$host" "$at" || { heal_storage "$folder" && uncover "$folder" && return 0; }
		rm "$case_dir/forced"
		strike_storage "$folder"
	fi
	case $action in
	back-* | sealed-*) sleep "${action#*-}" ;;
	*) hop_wait 150 ;;
	esac
	heal_storage "$folder"
	settle_hops 240 || true
	[ "$folder" = /run ] || uncover "$folder"
}
