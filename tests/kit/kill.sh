# shellcheck shell=bash disable=SC2154 # from, to, scratch ... are the sourcing test's
# SPDX-License-Identifier: GPL-2.0-or-later
# Something dies at a named fault point of a hop; then what must hold, does.
#
#	killed worker|host source|destination POINT source|destination
#
# The process, or the whole host's power, goes when the hop has reached the point there. In the end the VM runs at the hop's
# source or destination, as the last word says, and nowhere else; it never ran twice; nothing that was fsynced is lost.

# The VM is at $from; a hop to the other site is what the cases interrupt.
kill_set_up()
{
	lab_up
	lab path wan1 --rate 400 --delay 5
	lab path wan2 --rate 400 --delay 5
	# a destination that lost its source decides soon, so that the cases take less time
	for host in east west; do
		lab exec "$host" sh -c 'echo "hold: 5s" >>/etc/edgehop/edgehop.yaml'
	done
	wait_for 30 guest east true || fail "no ssh to the guest"
	observe
	from=east
	to=west
}

arm()
{
	lab exec "$1" sh -c "mkdir -p -m 700 /run/edgehop; rm -f /run/edgehop/fault-hit-*; echo '$2 $3' >/run/edgehop/faults"
}

hit()
{
	lab exec "$1" test -e "/run/edgehop/fault-hit-$2"
}

worker_dies()
{
	arm "$1" "$2" kill
	lab exec "$from" edgehop migrate web "$to" >"$scratch/hop.out" 2>&1 || true
	hit "$1" "$2" || fail "the hop never came to $2: $(cat "$scratch/hop.out")"
}

# While a host is off, and beside what its boot does: nothing. Tests have others.
power_is_off()
{
	:
}
power_returns()
{
	:
}

host_dies()
{
	local hop

	arm "$1" "$2" hang
	lab exec "$from" edgehop migrate web "$to" >"$scratch/hop.out" 2>&1 &
	hop=$!
	wait_for "${kill_patience:-90}" hit "$1" "$2" || fail "the hop never came to $2: $(cat "$scratch/hop.out")"
	lab power-off "$1"
	power_is_off "$1"
	sleep 1
	lab power-on "$1" # recovers, and starts what this host owns
	power_returns "$1"
	kill "$hop" 2>/dev/null || true
	wait "$hop" || true
}

killed()
{
	local what=$1 side=$2 point=$3 expected=$4 host where

	host=$from
	[ "$side" = source ] || host=$to
	where=$from
	[ "$expected" = source ] || where=$to
	say "$what of the $side ($host) dies at $point: the VM should run at $where"
	"${what}_dies" "$host" "$point"
	wait_for "${kill_patience:-150}" settled || fail "not settled: $(lab exec east edgehop status; lab exec west edgehop status)"
	wait_for "${kill_patience:-90}" runs_at "$where" || fail "the VM is $(vm_state east) at east and $(vm_state west) at west"
	runs_only_at "$where"
	wait_for "${kill_patience:-90}" guest "$where" true || fail "the VM does not answer at $where"
	never_twice || fail "the VM ran twice"
	nothing_lost "$where"
	no_traces east west
	from=$where
	to=$(other_site "$from")
}
