# shellcheck shell=bash disable=SC2154,SC2034 # point, action, host ... are the campaign's
# SPDX-License-Identifier: GPL-2.0-or-later
# SIGKILL of what a hop needs: the hypervisors, the SSH session, the command line, the guest's agent. A VM whose QEMU died at
# the source before it was released is down, not lost: the source owns it, with all that was fsynced.

processes_cases()
{
	cat <<-'END'
		source disk-copy qemu stopped-source edgehop.start
		source memory-copy qemu stopped-source edgehop.start
		source paused qemu stopped-source edgehop.start
		source prepared-seen qemu destination
		source released qemu destination
		destination disk-copy qemu source
		destination memory-copy qemu source
		destination prepared qemu stopped-destination
		destination released-seen qemu stopped-destination
		destination accepted qemu stopped-destination
		destination announced qemu stopped-destination
		destination serve session source
		destination disk-copy sshd destination
		destination released-seen sshd destination
		source disk-copy command destination
		source memory-copy command destination
		source prepared-seen command destination
		source released command destination
		destination announced agent destination
		destination accepted agent destination
	END
}

kill_agent()
{
	local site

	# the shell's words, not ours
	# shellcheck disable=SC2016
	for site in "$from" "$to"; do
		timeout 10 "$repo/scripts/edgehop-lab" -i "$lab_instance" exec client ssh -o BatchMode=yes -o HostKeyAlias=web -o ConnectTimeout=4 \
			"root@$(site_address "$site")" 'for p in /proc/[0-9]*; do
				[ "$(readlink "$p/exe")" = /usr/sbin/edgehop-guest ] && kill -KILL "${p#/proc/}" && exit 0
			done; exit 1' && return 0
	done
	return 1
}

force_processes()
{
	arm "$host" "$point slow"
	hop_start
	wait_hit "$host" "$point" || return 0
	rm "$case_dir/forced" # it is not the slowness that counts
	case $action in
	qemu) lab exec "$host" pkill -KILL -x -f 'qemu-system-x86_64 .*guest=web,.*' && forced "QEMU killed at $host" ;;
	session) lab exec "$host" pkill -KILL -f '^sshd: root@notty' && forced "session killed at $host" ;;
	sshd)
		lab exec "$host" pkill -KILL -x sshd && forced "sshd killed at $host"
		hop_wait 60
		lab exec "$host" mptcpize run /usr/sbin/sshd -f /etc/ssh/edgehop_lab_sshd_config
		;;
	command)
		command_gone=yes
		lab exec "$host" pkill -KILL -x edgehop && forced "command line killed"
		;;
	agent) kill_agent && forced "agent killed" ;;
	esac
	# a VM that is down where it was accepted is the operator's
	[[ $expected != stopped-* ]] || may_recover=yes
}
