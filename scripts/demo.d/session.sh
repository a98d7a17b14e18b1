# shellcheck shell=bash disable=SC2154 # scratch, old ... are demo's
# SPDX-License-Identifier: GPL-2.0-or-later
# The client's ssh session, and what is asked through it and from the client. Its input is descriptor 7.

# One ssh for the whole demo, whose shell reads what ask writes and remembers a word.
open_session()
{
	mkfifo "$scratch/orders"
	# for reading, too: it shall not kill us to write to a session that is dead
	exec 7<>"$scratch/orders"
	background client mptcpize run ssh -o BatchMode=yes "root@$old" sh <"$scratch/orders" >"$scratch/answers" &
	word=$RANDOM$RANDOM
	echo "word=$word" >&7
	# shellcheck disable=SC2016 # the session's
	[ "$(ask 'echo $word')" = "$word" ] || die "no ssh session to the VM"
}

# ask COMMAND: runs it in the session; prints what it says, on one line, or nothing when no answer comes
ask()
{
	local id=$EPOCHREALTIME

	echo "echo $id \$($1)" >&7
	wait_until 20 grep -q "^$id " "$scratch/answers" || return 0
	sed -n "s/^$id //p" "$scratch/answers"
}

vm_addresses()
{
	ask "ip -4 -o address show scope global | sed 's,.*inet \([0-9.]*\)/.*,\1,'"
}

# rtt ADDRESS: whole ms
rtt()
{
	lab exec client ping -q -n -i 0.2 -c 5 -W 2 "$1" | sed -n 's,^rtt .* = \([0-9]*\)\..*,\1,p' || true
}

received()
{
	lab exec client stat -c %s /root/big
}
