# shellcheck shell=bash disable=SC2154,SC2034 # point, action, host ... are the campaign's
# SPDX-License-Identifier: GPL-2.0-or-later
# The WAN is gone: all of it for 1, 10 and 60 s at each part of a hop, one path for good, SSH alone.

paths_cases()
{
	cat <<-'END'
		source disk-copy cut-1 destination
		source disk-copy cut-10 destination
		source disk-copy cut-60 destination
		source memory-copy cut-1 destination
		source memory-copy cut-10 destination
		source memory-copy cut-60 destination
		source paused cut-1 destination
		source paused cut-10 either
		source paused cut-60 source
		source prepared-seen cut-1 destination
		source prepared-seen cut-10 either
		source prepared-seen cut-60 either
		source released cut-1 destination
		source released cut-10 either
		source released cut-60 either
		source redirected cut-1 destination
		source redirected cut-10 destination
		source redirected cut-60 either
		destination prepared cut-10 either
		destination prepared cut-60 either
		destination accepted cut-1 destination
		destination accepted cut-10 destination
		destination accepted cut-60 destination
		destination announced cut-60 destination
		source disk-copy lose-wan1 destination
		source memory-copy lose-wan2 destination
		source prepared-seen lose-wan1 destination
		source reach ssh-blocked source
		source disk-copy ssh-blocked destination
		source released ssh-blocked either
	END
}

line_stat()
{
	echo stats | socat -t 5 - "UNIX-CONNECT:/run/edgehop-lab/$lab_instance/lines/$1/ctl" | cut -d' ' -f"$2"
}

# Frames that came to a cut line, both ways
frames_cut()
{
	echo $(($(line_stat wan1 8) + $(line_stat wan2 8)))
}

# cut_for SECONDS LINE...: the proof is what the lines threw away
cut_for()
{
	local before seconds=$1

	before=$(frames_cut)
	lab cut "$2"
	sleep "$seconds"
	[ "$(frames_cut)" -le "$before" ] || forced "$2: $(($(frames_cut) - before)) frames were cut off"
	[ "${3-}" = stay ] || lab heal "$2"
}

block_ssh()
{
	lab exec "$to" nft -f - <<-'END'
		table ip campaign {
			chain in {
				type filter hook input priority 0;
				iifname "wan*" tcp dport 22 counter drop
			}
		}
	END
}

ssh_was_blocked()
{
	[ "$(lab exec "$to" nft -j list ruleset | jq '[.. | .counter? // empty | .packets] | add')" -gt 0 ]
}

force_paths()
{
	# whoever came to UNKNOWN says so
	may_recover=yes
	case $action in
	ssh-blocked)
		force_ssh_blocked
		return 0
		;;
	esac
	arm "$host" "$point slow"
	hop_start
	wait_hit "$host" "$point" || return 0
	rm "$case_dir/forced"
	case $action in
	cut-*) cut_for "${action#cut-}" all ;;
	lose-*)
		cut_for 2 "${action#lose-}" stay
		hop_wait 90
		lab heal "${action#lose-}"
		;;
	esac
}

# In the copy nobody needs SSH. When the source's worker dies after RELEASED, its keeper asks through SSH, and asks again.
force_ssh_blocked()
{
	case $point in
	reach) block_ssh && hop_start && hop_wait 90 ;;
	disk-copy)
		arm "$host" "$point slow"
		hop_start
		wait_hit "$host" "$point" || return 0
		rm "$case_dir/forced"
		block_ssh
		lab exec "$from" timeout 3 ssh -o ConnectTimeout=2 -o BatchMode=yes -o HostKeyAlias=web west true || true
		hop_wait 60
		;;
	released)
		arm "$host" "disk-copy slow" "$point kill"
		hop_start
		wait_hit "$host" disk-copy || return 0
		block_ssh
		wait_hit "$host" "$point" || return 0
		rm "$case_dir/forced"
		sleep 8
		;;
	esac
	ssh_was_blocked && forced "SSH was blocked at $to"
	sleep 2
	lab exec "$to" nft flush ruleset
}
