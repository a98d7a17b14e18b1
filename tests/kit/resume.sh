# shellcheck shell=bash disable=SC2154 # from, to, scratch ... are the sourcing test's
# SPDX-License-Identifier: GPL-2.0-or-later
# All paths are lost at named fault points of a hop; needs kill.sh's arm and hit, and json.sh.

# hop_begin OPTION...: from $from to $to, in the background
hop_begin()
{
	# "||": else the kit's word on a failure would be in the report
	{ lab exec "$from" edgehop migrate --json --compare-memory "$@" web "$to" >"$scratch/report.json" 2>"$scratch/hop.err" ||
		exit "$?"; } &
	hop=$!
}

# lose_at SIDE POINT SECONDS: all paths, when the hop is there, for so long
lose_at()
{
	local host=$from

	[ "$1" = source ] || host=$to
	wait_for 120 hit "$host" "$2" || fail "the hop never came to $2: $(cat "$scratch/hop.err")"
	lab cut all
	sleep "$3"
	lab heal all
}

# What a hop that ended says of its losses: at least so many, and no more sent again than the window.
resumed()
{
	local times

	times=$(jq '.resumed.times // 0' "$scratch/report.json")
	at_least "$times" "$1" || fail "resumed $times times, expected $1 or more: $(cat "$scratch/report.json" "$scratch/hop.err")"
	json_is report "$scratch/report.json"
	jq -c '{result, seconds, downtime_ms, compared_pages, resumed} +
		{resent_vs_window: (if .resumed then .resumed.most_again / .resumed.window else 0 end)}' "$scratch/report.json"
	jq -e '.resumed == null or .resumed.most_again <= .resumed.window' "$scratch/report.json" >/dev/null ||
		fail "more was sent again than the window: $(jq -c .resumed "$scratch/report.json")"
}

# The hop ends at its destination, all of memory the same.
hop_arrives()
{
	wait "$hop" || fail "the hop ended with $?: $(cat "$scratch/hop.err")"
	resumed "$1"
	[ "$(jq '.compared_pages > 0' "$scratch/report.json")" = true ] || fail "memory was not compared"
	runs_only_at "$to"
	guest "$to" true || fail "the VM does not answer at $to"
	from=$to
	to=$(other_site "$from")
}

# The hop is undone, or ends: at one place, as soon as the paths are back.
hop_ends_somewhere()
{
	local status=0

	wait "$hop" || status=$?
	[ "$status" != 3 ] || { lab exec "$from" edgehop recover && lab exec "$to" edgehop recover; } || true
	wait_for 150 settled || fail "not settled: $(lab exec east edgehop status; lab exec west edgehop status)"
	! runs_at "$to" || { from=$to && to=$(other_site "$from"); }
	runs_only_at "$from"
	guest "$from" true || fail "the VM does not answer at $from"
	say "ended with $status, the VM is at $from: $(jq -r '.result // empty' "$scratch/report.json")"
}

# The hop is undone and the VM runs on at its source; the destination may not have heard of it.
hop_undone()
{
	local status=0

	wait "$hop" || status=$?
	[ "$status" = 1 ] || fail "exit status $status, expected 1: $(cat "$scratch/hop.err")"
	[ "$(jq -r .result "$scratch/report.json")" = undone ] || fail "the result is not undone: $(cat "$scratch/report.json")"
	wait_for 10 runs_at "$from" || fail "VM web is $(vm_state "$from") at $from, it should run"
}
