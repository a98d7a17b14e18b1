# shellcheck shell=bash disable=SC2154,SC2034 # point, action, host ... are the campaign's
# SPDX-License-Identifier: GPL-2.0-or-later
# Named fault points: the function fails, the worker is killed, it and its keeper are killed, the host loses its power. Where
# the destination's answer depends on who asks first, its patience or the source's recovery, either end is right.

points_cases()
{
	cat <<-'END'
		source tunnel kill source worker.died
		source tunnel power source
		source incoming kill source worker.died
		source disk-copy fail source fault.point
		source disk-copy kill source worker.died
		source disk-copy kill-both source edgehop.recover
		source disk-copy power source
		source memory-copy fail source fault.point
		source memory-copy kill source worker.died
		source memory-copy kill-both source edgehop.recover
		source memory-copy power source
		source paused kill source worker.died
		source paused kill-both source edgehop.recover
		source mirrored kill source worker.died
		source mirrored power source
		source prepared-seen kill source worker.died
		source prepared-seen kill-both source edgehop.recover
		source prepared-seen power source
		source owner-written fail source fault.point
		source owner-written kill either
		source owner-written kill-both either
		source owner-written power either
		source released fail destination
		source released kill destination
		source released kill-both either
		source released power either
		source redirected fail destination
		source redirected kill destination
		source redirected kill-both either
		source redirected power either
		source accepted-seen fail destination
		source accepted-seen kill destination
		source accepted-seen kill-both destination
		source accepted-seen power destination
		source cleanup fail destination
		source cleanup kill destination
		destination tunnel kill source
		destination incoming kill source
		destination incoming power source
		destination disk-copy kill source
		destination disk-copy kill-both source
		destination disk-copy power source
		destination memory-copy fail source fault.point
		destination memory-copy kill source
		destination memory-copy kill-both source
		destination memory-copy power source
		destination loaded kill source
		destination loaded power source
		destination prepared fail source fault.point
		destination prepared kill source
		destination prepared kill-both source
		destination prepared power source
		destination released-seen fail source
		destination released-seen kill source
		destination released-seen kill-both source
		destination released-seen power source
		destination decided fail destination
		destination decided kill destination
		destination decided kill-both destination
		destination decided power destination
		destination accepted fail destination
		destination accepted kill destination
		destination accepted kill-both destination
		destination accepted power destination
		destination announced fail destination
		destination announced kill destination
		destination announced kill-both destination
		destination announced power destination
		destination retired fail destination
		destination retired kill destination
		destination cleanup fail destination
		destination cleanup kill destination
		destination cleanup kill-both destination
		destination cleanup power destination
	END
}

# The processes of a hop, the keeper first: it would begin to recover.
kill_both()
{
	lab exec "$1" pkill -KILL -x edgehop-keeper || bad other "no keeper to kill at $1"
	lab exec "$1" pkill -KILL -x edgehop-worker || bad other "no worker to kill at $1"
	forced "keeper and worker were killed at $1"
}

force_points()
{
	local armed=$action

	case $action in
	kill-both | power) armed=hang may_recover=yes ;;
	esac
	[ "$action" != fail ] || [ "$side-$expected" != destination-destination ] || may_recover=yes
	arm "$host" "$point $armed"
	hop_start
	wait_hit "$host" "$point" || return 0
	case $action in
	kill-both)
		kill_both "$host"
		;;
	power)
		[ "$side" != source ] || command_gone=yes
		power_cycle "$host"
		;;
	esac
}
