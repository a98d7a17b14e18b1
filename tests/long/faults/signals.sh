# shellcheck shell=bash disable=SC2154,SC2034 # point, action, host ... are the campaign's
# SPDX-License-Identifier: GPL-2.0-or-later
# Processes that stand still for 5 and 30 s, or only for 2 s at a fault point; signals that people and wrappers send; the
# terminal that is closed.

signals_cases()
{
	cat <<-'END'
		source memory-copy stop-worker-5 destination
		source memory-copy stop-worker-30 either
		source released stop-worker-30 either
		destination memory-copy stop-worker-5 destination
		destination memory-copy stop-worker-30 either
		destination prepared stop-worker-30 either
		destination released-seen stop-worker-30 either
		destination accepted stop-worker-5 destination
		source memory-copy stop-keeper-5 destination
		source disk-copy stop-qemu-5 destination
		source memory-copy stop-qemu-5 destination
		source memory-copy stop-qemu-30 either
		destination disk-copy stop-qemu-5 destination
		destination memory-copy stop-qemu-5 destination
		destination memory-copy stop-qemu-30 either
		destination prepared stop-qemu-5 destination
		source prepared-seen slow destination
		source owner-written slow destination
		destination loaded slow destination
		destination decided slow destination
		destination retired slow destination
		source memory-copy TERM-worker source worker.died
		source prepared-seen TERM-worker source worker.died
		source released TERM-worker destination
		destination memory-copy TERM-worker source
		destination accepted TERM-worker destination
		source disk-copy INT-command source aborted
		source memory-copy TERM-command source aborted
		source released INT-command destination
		source disk-copy HUP-command destination
		source memory-copy HUP-command destination
	END
}

signal_to()
{
	case $2 in
	worker) lab exec "$host" pkill "-$1" -x edgehop-worker ;;
	keeper) lab exec "$host" pkill "-$1" -x edgehop-keeper ;;
	command) lab exec "$host" pkill "-$1" -x edgehop ;;
	qemu) lab exec "$host" pkill "-$1" -x -f 'qemu-system-x86_64 .*guest=web,.*' ;;
	esac && forced "SIG$1 to $2 at $host"
}

force_signals()
{
	local who seconds

	arm "$host" "$point slow"
	hop_start
	wait_hit "$host" "$point" || return 0
	[ "$action" != slow ] || return 0
	rm "$case_dir/forced"
	case $action in
	stop-*)
		who=${action#stop-} seconds=${action##*-}
		who=${who%-*}
		signal_to STOP "$who"
		sleep "$seconds"
		signal_to CONT "$who" || true # it may have been ended by then
		;;
	*-command)
		[ "$action" != HUP-command ] || command_gone=yes
		signal_to "${action%-*}" command
		;;
	*) signal_to "${action%-*}" "${action#*-}" ;;
	esac
}
