# shellcheck shell=bash disable=SC2154,SC2034 # point, action, host ... are the campaign's
# SPDX-License-Identifier: GPL-2.0-or-later
# Scenes of several acts. lose-power: the destination loses power one second after the VM runs there; the source is booted again
# meanwhile, with autostart, and stays down; then the destination boots cold. idle, hot: lines of 10 Mbit/s, and all paths, SSH's
# too, cut for 60 s after the last byte of memory, before or after RELEASED, with a guest that idles or writes to its memory.

scenes_cases()
{
	cat <<-'END'
		destination accepted lose-power destination
		source prepared-seen idle either
		source released hot either
	END
}

# What autostart makes of a VM that is another host's
stays_down()
{
	sleep 8
	! qemu_at "$1" || bad twice "autostart at $1 started a VM that $2 had accepted"
	! lab exec "$1" timeout 60 edgehop start web >"$case_dir/start-other" 2>&1 || bad twice "$1 starts a VM that $2 had accepted"
}

qemu_at()
{
	lab exec "$1" pgrep -x -f 'qemu-system-x86_64 .*guest=web,.*' >/dev/null
}

cold_destination()
{
	command_gone=yes may_recover=yes
	arm "$to" "accepted slow"
	hop_start
	wait_hit "$to" accepted || return 0
	rm "$case_dir/forced"
	sleep 1
	lab power-off "$to"
	forced "$to lost its power 1 s after the VM ran there"
	lab power-off "$from"
	sleep 1
	lab power-on "$from"
	stays_down "$from" "$to"
	lab power-on "$to"
}

# Twice a second 200 kB of the guest's memory change: a link of 20 Mbit/s carries that.
make_hot()
{
	timeout 20 "$repo/scripts/edgehop-lab" -i "$lab_instance" exec client ssh -o BatchMode=yes -o HostKeyAlias=web "root@$(site_address "$1")" '
		head -c 200k /dev/urandom >/tmp/hot
		(while :; do cat /tmp/hot >/tmp/again; sleep 0.5; done) </dev/null >/dev/null 2>&1 & echo $! >/tmp/hot.pid' </dev/null
}

make_idle()
{
	timeout 20 "$repo/scripts/edgehop-lab" -i "$lab_instance" exec client ssh -o BatchMode=yes -o HostKeyAlias=web "root@$(site_address "$1")" '
		kill "$(cat /tmp/hot.pid)"; rm -f /tmp/hot /tmp/again /tmp/hot.pid' </dev/null || true
}

slow_lines()
{
	lab path wan1 --rate "$1" --delay "$2"
	lab path wan2 --rate "$1" --delay "$2"
}

cut_after_memory()
{
	local pause=300ms

	# at 20 Mbit/s what a hot guest and its processes write does not fit into the usual pause
	[ "$action" != hot ] || pause=2s
	[ "$action" != hot ] || make_hot "$from"
	# the disk has been copied by others often enough; the memory is to come at this pace
	arm "$from" "disk-copy slow" "$point slow"
	hop_start --max-downtime "$pause"
	hop_reaches memory 120 || return 0
	slow_lines 10 10
	wait_for 240 hit "$from" "$point" || { bad other "the hop never came to $point" && return 0; }
	may_recover=yes
	cut_for 60 all
	slow_lines 400 2
	if [ "$action" = hot ]; then
		settle_hops 200 || true
		make_idle "$(found_at)"
	fi
}

force_scenes()
{
	case $action in
	lose-power) cold_destination ;;
	idle | hot) cut_after_memory ;;
	esac
}
