# shellcheck shell=bash disable=SC2154 # lab, run, store, hosts ... are the lab's program's
# SPDX-License-Identifier: GPL-2.0-or-later
# The lines between the hosts: each has two ends, a rate, a delay of one direction, a loss, and can be cut.
#
# netem does it where the kernel has it, tests/kit/wanline where not; EDGEHOP_LAB_LINES=netem|wanline decides
# otherwise. Either way an end comes and goes with its host while the far end stays as it is, and a line that
# is cut is silent: no carrier is lost, as it is when a WAN breaks somewhere in the middle.
#
# The queue before a line holds max(RTT of the line, 25 ms) at its rate: one bandwidth-delay product, and on short
# lines enough for a sender's bursts.

all_lines=(wan1 wan2 access-east access-west)

# The ends of a line: "HOST INTERFACE HOST INTERFACE"
line_ends()
{
	case $1 in
	wan1 | wan2) echo "east $1 west $1" ;;
	access-*) echo "inet site-${1#access-} ${1#access-} uplink" ;;
	*) die "unknown line '$1'" ;;
	esac
}

# "RATE-MBIT DELAY-MS LOSS-PERCENT"
line_defaults()
{
	case $1 in
	wan*) echo "100 10 0" ;;
	access-east) echo "200 5 0" ;;
	access-west) echo "200 40 0" ;;
	esac
}

host_lines()
{
	local line

	for line in "${all_lines[@]}"; do
		[[ " $(line_ends "$line") " != *" $1 "* ]] || echo "$line"
	done
}

lines_backend()
{
	[ ! -e "$run/lines/backend" ] || { cat "$run/lines/backend" && return; }
	if [ -n "${EDGEHOP_LAB_LINES-}" ]; then
		echo "$EDGEHOP_LAB_LINES"
	elif unshare --net sh -c 'ip link set lo up && tc qdisc add dev lo root netem delay 1ms' 2>/dev/null; then
		echo netem
	else
		echo wanline
	fi
}

lines_start()
{
	local line backend

	backend=$(lines_backend)
	echo "$backend" >"$run/lines/backend"
	"${backend}_prepare"
	for line in "${all_lines[@]}"; do
		mkdir -p "$run/lines/$line"
		[ -e "$run/lines/$line/settings" ] || echo "$(line_defaults "$line") no" >"$run/lines/$line/settings"
		"${backend}_start" "$line"
		line_apply "$line"
	done
}

lines_stop()
{
	local file

	for file in "$run"/lines/*/pid "$run"/lines/pid; do
		! process_is "$(cat "$file" 2>/dev/null)" "${file%/pid}/ctl" || kill "$(cat "$file")" 2>/dev/null || true
	done
}

# line_settings LINE: sets rate, delay, loss and cut, which the caller has declared
line_settings()
{
	# shellcheck disable=SC2034 # the caller's
	read -r rate delay loss cut <"$run/lines/$1/settings"
}

# Brings the settings on file into force.
line_apply()
{
	local rate delay loss cut

	line_settings "$1"
	"$(lines_backend)_set" "$1" "$(awk "BEGIN { printf \"%d\", $rate * 1e6 }")" \
		"$(awk "BEGIN { printf \"%d\", $delay * 1e3 }")" "$(awk "BEGIN { printf \"%d\", $loss * 1e4 }")" \
		"$(awk "BEGIN { q = 2 * $delay; printf \"%d\", (q > 25 ? q : 25) * 1e3 }")" "$cut"
}

# line_attach LINE HOST: gives a host that boots its end of the line
line_attach()
{
	local a a_if b_if side=a interface

	read -r a a_if _ b_if <<<"$(line_ends "$1")"
	interface=$a_if
	[ "$2" = "$a" ] || { side=b && interface=$b_if; }
	"$(lines_backend)_attach" "$1" "$side" "$(host_pid "$2")" "$interface"
}

line_detach()
{
	local side=a

	[[ "$(line_ends "$1")" == "$2 "* ]] || side=b
	"$(lines_backend)_detach" "$1" "$side"
}

# Cuts a line without a word in its settings: what a host sends when it loses its power shall not get out.
line_silence()
{
	"$(lines_backend)_silence" "$1"
}

lines_status()
{
	local line rate delay loss cut note

	for line in "${all_lines[@]}"; do
		line_settings "$line"
		note=
		[ "$cut" = no ] || note=', CUT'
		printf '%-12s %s Mbit/s, one way %s ms, loss %s %% (%s%s)\n' \
			"$line" "$rate" "$delay" "$loss" "$(lines_backend)" "$note"
	done
}

# Options of "path" and "access" change the settings of the caller.
line_options()
{
	while [ $# -gt 0 ]; do
		[[ ${2-} =~ ^[0-9]+(\.[0-9]+)?$ ]] || usage_error "'$1': expected a number, got '${2-}'"
		case $1 in
		--rate) rate=$2 ;;
		--delay) delay=$2 ;;
		--loss) loss=$2 ;;
		*) usage_error "unknown option '$1'" ;;
		esac
		shift 2
	done
}

# line_command path|access|cut|heal LINE-OR-SITE [OPTION...]
line_command()
{
	local verb=$1 name=${2-} rate delay loss cut line
	local lines=("$name")

	[ "$verb" != access ] || lines=("access-$name")
	[ "$verb-$name" != cut-all ] && [ "$verb-$name" != heal-all ] || lines=(wan1 wan2)
	for line in "${lines[@]}"; do
		[[ " ${all_lines[*]} " == *" $line "* ]] || usage_error "$verb: unknown line '$name'"
	done
	shift 2
	lab_lock || die "lab '$instance' is not up"
	for line in "${lines[@]}"; do
		line_settings "$line"
		case $verb in
		cut) cut=yes ;;
		heal) cut=no ;;
		*) line_options "$@" ;;
		esac
		echo "$rate $delay $loss $cut" >"$run/lines/$line/settings"
		line_apply "$line"
		[ "$verb" != path ] || config_path "$line" "$rate" "$delay"
	done
}

# --- wanline: one process for each line

wanline_prepare()
{
	[ -x "$run/lines/wanline" ] ||
		gcc -std=c11 -D_GNU_SOURCE -O2 -o "$run/lines/wanline" "$repo/tests/kit/wanline.c"
}

wanline_say()
{
	local line=$1 answer='' n

	shift
	# a line does not wait long for one who connects and says nothing, as may happen on a busy machine
	for ((n = 0; n < 5; n++)); do
		answer=$(echo "$*" | socat -t 5 - "UNIX-CONNECT:$run/lines/$line/ctl" 2>/dev/null) || true
		[ -z "$answer" ] || break
	done
	[[ $answer == ok* ]] || die "line $line: '$*': $answer"
}

wanline_start()
{
	local dir=$run/lines/$1

	! process_is "$(cat "$dir/pid" 2>/dev/null)" "$dir/ctl" || return 0
	setsid "$run/lines/wanline" "$dir/ctl" </dev/null >"$dir/log" 2>&1 9>&- &
	echo $! >"$dir/pid"
	wait_until 5 test -S "$dir/ctl" || die "line $1 did not start: $(cat "$dir/log")"
}

wanline_set()
{
	wanline_say "$1" set "$2" "$3" "$4" "$5"
	if [ "$6" = yes ]; then
		wanline_say "$1" cut
	else
		wanline_say "$1" heal
	fi
}

wanline_attach()
{
	wanline_say "$1" attach "$2" "/proc/$3/ns/net" "$4"
}

wanline_detach()
{
	wanline_say "$1" detach "$2"
}

wanline_silence()
{
	wanline_say "$1" cut
}

# --- netem: a namespace of the provider's, in it a bridge for each line; the port to a side delays what goes there

netem_provider()
{
	nsenter --target "$(cat "$run/lines/pid")" --net "$@"
}

netem_prepare()
{
	! process_is "$(cat "$run/lines/pid" 2>/dev/null)" "$run/lines/ctl" || return 0
	# the name is what this process is known by; nothing lies there
	# shellcheck disable=SC2016 # $0 is the inner shell's
	setsid unshare --net bash -c 'exec -a "$0" sleep infinity' "$run/lines/ctl" </dev/null >/dev/null 2>&1 9>&- &
	echo $! >"$run/lines/pid"
	wait_until 5 sh -c "! test /proc/self/ns/net -ef /proc/$!/ns/net" || die "no namespace for the lines"
}

netem_start()
{
	netem_provider ip link show "$1" >/dev/null 2>&1 ||
		netem_provider ip link add "$1" up type bridge forward_delay 0 mcast_snooping 0
}

# netem's limit counts what is under way as well as what waits.
netem_set()
{
	local side loss

	loss=$(awk "BEGIN { print $4 / 1e4 }")
	[ "$6" = no ] || loss=100
	for side in a b; do
		netem_provider ip link show "$1-$side" >/dev/null 2>&1 || continue
		netem_provider tc qdisc replace dev "$1-$side" root netem delay "${3}us" rate "${2}bit" \
			loss "$loss%" limit "$(awk "BEGIN { printf \"%d\", $2 * ($3 + $5) / 1e6 / 8 / 1500 + 50 }")"
	done
	netem_provider ip link set "$1" up
}

# gso_max_segs 1: chance and the queue shall see frames, not bundles of forty.
netem_attach()
{
	netem_detach "$1" "$2"
	netem_provider ip link add "$1-$2" type veth peer name "$4" netns "$3"
	netem_provider ip link set "$1-$2" master "$1" up
	nsenter --target "$3" --net ip link set "$4" gso_max_segs 1 txqueuelen 8192
	line_apply "$1"
}

netem_detach()
{
	netem_provider ip link del "$1-$2" 2>/dev/null || true
}

netem_silence()
{
	netem_provider ip link set "$1" down
}
