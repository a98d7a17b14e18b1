# shellcheck shell=bash disable=SC2154 # scratch, lab ... are kit.sh's
# SPDX-License-Identifier: GPL-2.0-or-later
# A QEMU's monitor, spoken to by hand: for the stock peers of the benchmarks, which edgehop has no part in.
#
#	qmp_open NAME HOST SOCKET	connects; what QEMU says goes to $scratch/NAME.qmp
#	qmp NAME COMMAND [ARGUMENTS]	sends a command (JSON arguments) and waits for its answer
#	qmp_answer NAME FILTER		prints, by a filter of jq's, what the last command returned
#	qmp_event NAME WORDS		prints the time, in seconds, of the first event that has these words

declare -A qmp_fd qmp_pid
qmp_id=0

qmp_open()
{
	local name=$1 fifo=$scratch/$1.fifo fd

	rm -f "$fifo"
	mkfifo "$fifo"
	: >"$scratch/$name.qmp"
	lab exec "$2" socat -t 1 - "UNIX-CONNECT:$3" <"$fifo" >"$scratch/$name.qmp" &
	qmp_pid[$name]=$!
	exec {fd}>"$fifo"
	qmp_fd[$name]=$fd
	qmp "$name" qmp_capabilities
}

qmp()
{
	local name=$1 command=$2 arguments=${3:-'{}'}

	qmp_id=$((qmp_id + 1))
	echo "{\"execute\":\"$command\",\"arguments\":$arguments,\"id\":$qmp_id}" >&"${qmp_fd[$name]}"
	wait_for 60 grep -q "\"id\": ${qmp_id}[,}]" "$scratch/$name.qmp" || fail "$command: no answer"
	! grep "\"id\": ${qmp_id}[,}]" "$scratch/$name.qmp" | grep -q '"error"' ||
		fail "$command: $(grep "\"id\": ${qmp_id}[,}]" "$scratch/$name.qmp")"
}

qmp_answer()
{
	jq -r --argjson id "$qmp_id" "select(.id == \$id) | .return | $2" "$scratch/$1.qmp"
}

qmp_event()
{
	jq -r --arg words "$2" 'select(.event) | select(tostring | contains($words)) |
		.timestamp | .seconds + .microseconds / 1e6' "$scratch/$1.qmp" | head -n 1
}

qmp_close()
{
	local fd=${qmp_fd[$1]}

	exec {fd}>&-
	wait "${qmp_pid[$1]}" 2>/dev/null || true
}
