# shellcheck shell=bash disable=SC2154,SC2034 # point, action, host ... are the campaign's
# SPDX-License-Identifier: GPL-2.0-or-later
# The wall clock of a host (as edgehop sees it there) or of the guest is set in the middle of a hop, which must
# not notice. The proof is the time in the journal, or what the guest's clock says.

clocks_cases()
{
	cat <<-'END'
		source memory-copy +3600 destination
		source memory-copy -3600 destination
		source paused +315360000 destination
		source released -3600 destination
		destination memory-copy +3600 destination
		destination memory-copy -3600 destination
		destination prepared +315360000 destination
		destination accepted -3600 destination
		guest memory-copy +3600 destination
		guest memory-copy -3600 destination
		guest disk-copy +315360000 destination
	END
}

# edgehop and its children believe a file which can change, see tests/kit/clock-step.c.
with_a_clock()
{
	lab exec "$1" mkdir -p /opt/clock
	lab put "$1" "$build/kit/clock-step.so" /opt/clock/clock-step.so
	set_clock "$1" 0
	lab exec "$1" sh -c '
		[ -e /root/edgehop.kept ] || cp -a /usr/sbin/edgehop /root/edgehop.kept
		cp -a /root/edgehop.kept /opt/clock/edgehop
		cat >/usr/sbin/edgehop.new && chmod 755 /usr/sbin/edgehop.new && mv /usr/sbin/edgehop.new /usr/sbin/edgehop' <<-END
		#!/bin/sh
		export LD_PRELOAD=/opt/clock/clock-step.so CLOCK_STEP=/run/clock-step
		exec /opt/clock/edgehop "\$@"
	END
}

# set_clock HOST SECONDS: in place, since the file is mapped
set_clock()
{
	lab exec "$1" sh -c 'printf "%-32s" "$1" | dd of=/run/clock-step conv=notrunc 2>/dev/null' clock "$2"
}

guest_date()
{
	timeout 20 "$repo/scripts/edgehop-lab" -i "$lab_instance" exec client ssh -o BatchMode=yes -o HostKeyAlias=web "root@$(site_address "$1")" \
		"$2" </dev/null
}

# Records of the newest journal there that lie an hour or more off
off_by_an_hour()
{
	# shellcheck disable=SC2012 # our own names
	lab exec "$1" sh -c 'cat "$(ls -t /var/lib/edgehop/journal/*.jsonl | head -n 1)"' |
		jq -r '.time | sub("[.][0-9]+Z"; "Z") | fromdateiso8601' | awk -v now="$(date +%s)" '{ d = $1 - now; if (d < 0) d = -d; if (d > 3000) n++ } END { exit !n }'
}

force_clocks()
{
	if [ "$side" = guest ]; then
		force_guest_clock
		return 0
	fi
	with_a_clock "$host"
	arm "$host" "$point slow"
	hop_start
	wait_hit "$host" "$point" || return 0
	rm "$case_dir/forced"
	set_clock "$host" "$action"
	hop_wait 90
	settle_hops 60 || true
	off_by_an_hour "$host" && forced "the journal at $host has the other time"
	lab exec "$host" mv /root/edgehop.kept /usr/sbin/edgehop
}

force_guest_clock()
{
	host=$from
	arm "$from" "$point slow"
	hop_start
	wait_hit "$from" "$point" || return 0
	rm "$case_dir/forced"
	# shellcheck disable=SC2016 # the guest's shell
	guest_date "$from" 'before=$(date +%s); date -s "@$((before + '"$action"'))" >/dev/null; echo "$before $(date +%s)"' \
		>"$case_dir/dates" 2>&1 || true
	hop_wait 90
	awk '{ d = $2 - $1; exit !(d > 3000 || d < -3000) }' "$case_dir/dates" && forced "the guest's clock: $(cat "$case_dir/dates")"
	# shellcheck disable=SC2016
	guest_date "$to" "date -s @$(date +%s)" >/dev/null 2>&1 || true
}
