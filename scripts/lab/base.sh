# shellcheck shell=bash disable=SC2154 # lab, run, store, hosts ... are the lab's program's
# SPDX-License-Identifier: GPL-2.0-or-later
# What all parts of the lab use: messages, places, the lock, the store of the hosts' files.

say()
{
	echo "$lab: $*" >&2
}

die()
{
	say "$*"
	exit 1
}

usage_error()
{
	say "$* (see $lab help)"
	exit 2
}

set_instance()
{
	[[ $1 =~ ^[a-z0-9][a-z0-9-]{0,40}$ ]] ||
		die "instance '$1': expected up to 41 of a-z, 0-9 and -"
	run=/run/$lab/$1
	store=/var/lib/$lab/$1
}

# Waits up to $1 seconds until a command succeeds; its messages are not shown.
wait_until()
{
	local deadline=$((SECONDS + $1 + 1))

	shift
	until "$@" >/dev/null 2>&1; do
		[ "$SECONDS" -lt "$deadline" ] || return 1
		sleep 0.05
	done
}

# process_is PID ARGUMENT: whether the process runs and has this argument. A number in a file may have become another
# process's, which nobody here may kill, let alone work on its files.
process_is()
{
	grep -qzxF -- "$2" "/proc/$1/cmdline" 2>/dev/null
}

# One command at a time changes a lab. The lock is the lab's folder itself, so that none is left behind; whoever
# waited while "down" took it away finds the descriptor to be of another folder and starts again. Whatever is
# started to stay must close descriptor 9.
# lab_lock create: makes the folder. Without: fails if there's none.
lab_lock()
{
	while :; do
		[ "${1-}" != create ] || mkdir -p "$run/hosts" "$run/lines"
		[ -d "$run" ] || return 1
		{ exec 9<"$run"; } 2>/dev/null || continue
		flock 9
		[ ! "$run" -ef /proc/$$/fd/9 ] || return 0
	done
}

# The hosts' files lie on the disk, as the VMs' do. In a container, whose root is an overlay itself, they can't: an
# overlay takes no other as its upper layer; there they lie in memory.
store_prepare()
{
	# left by a lab that ended with the machine
	[ -e "$run/store" ] || store_remove
	mkdir -p "$store"
	if [ "$(stat -f -c %T "$store")" = overlayfs ]; then
		mount -t tmpfs -o mode=0755 "$lab" "$store"
	fi
	: >"$run/store"
}

store_remove()
{
	[ -d "$store" ] || return 0
	! mountpoint -q "$store" || umount "$store"
	rm -rf "$store"
	rmdir --ignore-fail-on-non-empty "/var/lib/$lab"
}
