# shellcheck shell=bash disable=SC2154,SC2034 # point, action, host ... are the campaign's
# SPDX-License-Identifier: GPL-2.0-or-later
# Bytes that a WAN damages so that TCP does not notice, and connections that somebody resets. SIDE says who sends what is
# damaged, or who gets the reset's answer: the proof is the line's count, or the packet filter's.

bytes_cases()
{
	cat <<-'END'
		source disk-copy flip-large destination
		source disk-copy flip-small destination
		source memory-copy flip-large destination
		source memory-copy flip-small destination
		source prepared-seen flip-small either
		source owner-written flip-small either
		source released flip-small either
		source redirected flip-small destination
		destination disk-copy flip-small destination
		destination memory-copy flip-small destination
		destination loaded flip-small either
		destination prepared flip-small either
		destination accepted flip-small destination
		source disk-copy reset-one destination
		source disk-copy reset-all destination
		source memory-copy reset-one destination
		source memory-copy reset-all destination
		source prepared-seen reset-all either
		source released reset-all either
		source redirected reset-all destination
		destination prepared reset-all either
		destination accepted reset-all destination
	END
}

line_tell()
{
	local line=$1

	shift
	echo "$*" | socat -t 5 - "UNIX-CONNECT:/run/edgehop-lab/$lab_instance/lines/$line/ctl" >/dev/null
}

frames_flipped()
{
	echo $(($(line_stat wan1 9) + $(line_stat wan2 9)))
}

# east is end "a" of the WAN lines
flip_frames()
{
	local end=b least=1 before line

	[ "$host" != east ] || end=a
	[ "$action" != flip-large ] || least=1000
	before=$(frames_flipped)
	for line in wan1 wan2; do
		line_tell "$line" flip "$end" 3 "$least"
	done
	hop_wait 120
	for line in wan1 wan2; do
		line_tell "$line" flip "$end" 0 0
	done
	[ "$(frames_flipped)" -le "$before" ] || forced "$(($(frames_flipped) - before)) frames from $host were damaged"
}

# Everything but SSH that comes in over these lines is answered with a reset, for a second.
reset_connections()
{
	local interfaces='"wan*"' packets

	[ "$action" != reset-one ] || interfaces=wan1
	lab exec "$host" nft -f - <<-END
		table ip campaign {
			chain in {
				type filter hook input priority 0;
				iifname $interfaces tcp sport 22 accept
				iifname $interfaces tcp dport 22 accept
				iifname $interfaces meta l4proto tcp counter reject with tcp reset
			}
		}
	END
	sleep 1
	packets=$(lab exec "$host" nft -j list ruleset | jq '[.. | .counter? // empty | .packets] | add')
	[ "${packets:-0}" = 0 ] || forced "$packets packets to $host were answered with a reset"
	lab exec "$host" nft flush ruleset
}

force_bytes()
{
	may_recover=yes
	arm "$host" "$point slow"
	hop_start
	wait_hit "$host" "$point" || return 0
	rm "$case_dir/forced"
	case $action in
	flip-*) flip_frames ;;
	reset-*) reset_connections ;;
	esac
}
