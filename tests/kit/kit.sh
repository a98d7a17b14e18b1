# shellcheck shell=bash
# SPDX-License-Identifier: GPL-2.0-or-later
# The shell tests' kit: a test sources it first.
#
#	. "$(dirname "$0")/../kit/kit.sh"
#	requires curl socat
#	lab_up --no-guest
#	wait_for 10 lab exec east ping -c 1 -W 1 10.81.1.2 || fail "no answer"
#	pass
#
# A test that reaches its end without pass has failed, so nothing that goes wrong in silence can look like success.
# shellcheck disable=SC2034 # for the tests
set -Eeuo pipefail

test_name=$(basename "$0")
repo=$(cd "$(dirname "${BASH_SOURCE[0]}")/../.." && pwd)
build=$repo/build
kit_passed=no
kit_cleanups=()
scratch=$(mktemp -d)

kit_end()
{
	local status=$? i

	trap - EXIT
	trap '' INT TERM
	set +e
	for ((i = ${#kit_cleanups[@]} - 1; i >= 0; i--)); do
		eval "${kit_cleanups[i]}"
	done
	rm -rf "$scratch"
	if [ "$status" = 0 ] && [ "$kit_passed" = no ]; then
		echo "$test_name: it ended without a verdict"
		status=1
	fi
	exit "$status"
}

trap kit_end EXIT
trap 'exit 130' INT
trap 'exit 143' TERM

# A command that fails ends the test; say which one.
trap 'echo "$test_name: line $LINENO: \"$BASH_COMMAND\" failed with $?"' ERR

say()
{
	echo "$test_name: $*"
}

fail()
{
	say "FAILED: $*"
	exit 1
}

pass()
{
	kit_passed=yes
	say "ok"
	exit 0
}

skip()
{
	say "skipped: $*"
	exit 77
}

# requires COMMAND...: skips the test if one is not there
requires()
{
	local command

	for command in "$@"; do
		command -v "$command" >/dev/null || skip "'$command' is not installed"
	done
}

requires_root()
{
	[ "$(id -u)" = 0 ] || skip "it needs root"
}

# cleanup_with COMMAND...: runs it when the test ends, however it ends; the last one comes first
cleanup_with()
{
	kit_cleanups+=("$(printf '%q ' "$@")")
}

# wait_for SECONDS COMMAND...: until the command succeeds; fails when time is up. Its output is dropped.
wait_for()
{
	local deadline

	deadline=$(awk "BEGIN { printf \"%.3f\", ${EPOCHREALTIME/,/.} + $1 }")
	shift
	until "$@" >/dev/null 2>&1; do
		[ "$(awk "BEGIN { print (${EPOCHREALTIME/,/.} < $deadline) }")" = 1 ] || return 1
		sleep 0.05
	done
}

# about MEASURED EXPECTED PERCENT: whether a figure is near enough
about()
{
	awk "BEGIN { d = $1 - $2; if (d < 0) d = -d; exit !(d <= $2 * $3 / 100) }"
}

at_least()
{
	awk "BEGIN { exit !($1 >= $2) }"
}

# The test's own lab; LAB_INSTANCE in the environment names one that somebody else set up. A test that wants Xen hosts sets
# lab_program=edgehop-xenlab before it sources this.
lab_instance=${LAB_INSTANCE:-$test_name}
lab_program=${lab_program:-edgehop-lab}

lab()
{
	"$repo/scripts/$lab_program" -i "$lab_instance" "$@"
}

# lab_job HOST COMMAND...: runs it in the background; sets lab_pid, and a signal to that reaches the command (one to the $!
# of "lab exec ... &" would reach a shell between)
lab_job()
{
	"$repo/scripts/$lab_program" -i "$lab_instance" exec "$@" &
	lab_pid=$!
}

lab_down()
{
	# what the hosts said when something went wrong
	[ "$kit_passed" = yes ] || lab status || true
	lab down
}

# lab_up [--no-guest]: the test's own lab, which ends with it. A lab that LAB_INSTANCE names stays, and is only brought up
# if it's down: so one lab can serve many runs of a test while it is being written.
lab_up()
{
	requires_root
	[ -n "${LAB_INSTANCE-}" ] || cleanup_with lab_down
	lab up "$@"
}

# What a lab that has ended may have left; its hosts' network namespaces ("net:[N]") are the arguments
lab_leftovers()
{
	local namespace

	! grep "$lab_program/$lab_instance" /proc/self/mountinfo || echo "a mount"
	for namespace in "$@"; do
		! lsns -n -t net -o NS,COMMAND | grep -w "${namespace//[^0-9]/}" || echo "a network namespace"
	done
	pgrep -f "$lab_program/$lab_instance" || true
	ls -d "/run/$lab_program/$lab_instance" "/var/lib/$lab_program/$lab_instance" 2>/dev/null || true
}

# lab_ping HOST ADDRESS [COUNT]: prints the smallest round trip in ms; fails if nothing comes back
lab_ping()
{
	lab exec "$1" ping -q -n -i 0.1 -c "${3:-5}" -W 2 "$2" | sed -n 's,^rtt .* = \([0-9.]*\)/.*,\1,p' | grep .
}

# lab_rate FROM TO ADDRESS SECONDS [mptcpize run]: prints the Mbit/s that one connection carries from a host to an address of
# another. MPTCP joins more subflows only to a socket that listens still and is not bound to one address. The first second is not counted: a connection has to find the rate of the line first.
lab_rate()
{
	local from=$1 to=$2 address=$3 seconds=$4 port=$((20000 + BASHPID % 20000)) sink got

	shift 4
	got=/dev/shm/$test_name-rate-$port
	cleanup_with rm -f "$got"
	lab_job "$to" "$@" socat -u "TCP-LISTEN:$port,reuseaddr,fork" - >"$got"
	sink=$lab_pid
	wait_for 5 lab exec "$to" sh -c "ss -Hltn | grep -q ':$port '" || return 1
	lab_job "$from" "$@" socat -b 131072 -u /dev/zero "TCP:$address:$port"
	wait_for 10 test -s "$got" || return 1
	kit_rate_of "$got" "$seconds"
	kill "$lab_pid" "$sink" || true
	wait "$lab_pid" "$sink" || true
	rm -f "$got"
}

kit_rate_of()
{
	local bytes begun

	sleep 1
	bytes=$(stat -c %s "$1")
	begun=$EPOCHREALTIME
	sleep "$(($2 - 1))"
	awk "BEGIN { printf \"%.1f\n\", ($(stat -c %s "$1") - $bytes) * 8 / 1e6 / ($EPOCHREALTIME - $begun) }"
}
