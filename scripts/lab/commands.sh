# shellcheck shell=bash disable=SC2154 # lab, run, hosts ... are the lab's program's
# SPDX-License-Identifier: GPL-2.0-or-later
# The command line, and the commands that are the same whatever the hosts are. A lab's program brings its usage, its
# host_kind and lab_command, which does the others.

# A lab can do without some of the packages, so this only explains what may fail below.
say_missing()
{
	local missing

	! command -v dpkg-query >/dev/null || missing=$("$repo/scripts/setup" --list)
	[ -z "${missing-}" ] || say "packages are missing, which 'make setup' installs: ${missing//$'\n'/ }"
}

cmd_down()
{
	local host

	lab_lock || return 0
	for host in "${hosts[@]}"; do
		host_kill "$host"
	done
	lines_stop
	store_remove
	rm -rf "$run"
	rmdir --ignore-fail-on-non-empty "/run/$lab" 2>/dev/null || true
	say "lab '$instance' is down"
}

cmd_status()
{
	local host state

	[ -d "$run" ] || { echo "lab '$instance' is down"; return 0; }
	for host in "${hosts[@]}"; do
		state=off
		! host_running "$host" || state="on, first process $(host_pid "$host")"
		printf '%-12s %s\n' "$host" "$state"
	done
	lines_status
}

cmd_power_off()
{
	host_known "${1-}"
	[ "$1" != inet ] || die "inet has no power switch: cut its lines instead"
	lab_lock || die "lab '$instance' is not up"
	host_running "$1" || { say "'$1' is off already"; return 0; }
	host_power_off "$1"
}

cmd_power_on()
{
	host_known "${1-}"
	lab_lock || die "lab '$instance' is not up"
	! host_booted "$1" || { say "'$1' is on already"; return 0; }
	host_boot "$1"
	edgehop_boot "$1"
}

cmd_put()
{
	[ $# -eq 3 ] || usage_error "put: HOST FILE PATH"
	host_known "$1"
	host_put "$1" "$2" "$3" "$(stat -c %a "$2")"
}

lab_main()
{
	local command

	while getopts i:h option; do
		case $option in
		i) instance=$OPTARG ;;
		h) usage && exit 0 ;;
		*) usage_error "unknown option" ;;
		esac
	done
	shift $((OPTIND - 1))
	command=${1-help}
	shift || true
	case $command in
	help) usage && exit 0 ;;
	hosts) printf '%s\n' "${hosts[@]}" && exit 0 ;;
	esac
	[ "$(id -u)" = 0 ] || die "the lab is made of namespaces, which needs root: use sudo"
	set_instance "$instance"
	case $command in
	down | put) "cmd_$command" "$@" ;;
	exec) host_known "${1-}" && host_exec "$@" ;;
	shell) host_known "${1-}" && host_shell "$1" ;;
	path) line_command path "$@" ;;
	access) line_command access "$@" ;;
	cut | heal) line_command "$command" "$@" ;;
	power-off) cmd_power_off "$@" ;;
	power-on) cmd_power_on "$@" ;;
	*) lab_command "$command" "$@" ;;
	esac
}
