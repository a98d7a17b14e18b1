# shellcheck shell=bash disable=SC2154,SC2034 # scratch, lab ... are kit.sh's; from, to, case_dir ... the campaign's
# SPDX-License-Identifier: GPL-2.0-or-later
# What the cases of the fault campaign share: a hop that something is done to, the proof that it was done, and what must hold
# afterwards. Nothing here ends the campaign: what is wrong is noted in the case's folder.
#
#	hop_start, hop_reaches, hop_wait	the hop from $from to $to
#	arm, wait_hit				named fault points (common/fault.h)
#	forced TEXT				the proof; a case without it does not count
#	bad KIND TEXT				something that must not be; KIND: lost twice bytes place status message
#						traces journal other

# The host's files, as seen from here: cheaper than a process in the host for each look.
root_of()
{
	echo "/proc/$(cat "/run/edgehop-lab/$lab_instance/hosts/$1/pid")/root"
}

side_host()
{
	if [ "$1" = source ]; then echo "$from"; else echo "$to"; fi
}

forced()
{
	echo "$*" >>"$case_dir/forced"
}

bad()
{
	echo "$*" >>"$case_dir/bad"
}

# arm HOST "POINT ACTION"...
arm()
{
	local host=$1 root

	root=$(root_of "$host")
	shift
	mkdir -p "$root/run/edgehop"
	chmod 700 "$root/run/edgehop"
	rm -f "$root"/run/edgehop/fault-hit-*
	printf '%s\n' "$@" >"$root/run/edgehop/faults"
}

disarm()
{
	rm -f "$(root_of "$1")/run/edgehop/faults"
}

hit()
{
	[ -e "$(root_of "$1")/run/edgehop/fault-hit-$2" ]
}

# wait_hit HOST POINT: until it has struck
wait_hit()
{
	if wait_for 60 hit "$1" "$2"; then
		forced "fault point $2 struck at $1"
	else
		bad other "the hop never came to $2 at $1"
		return 1
	fi
}

# hop_start [OPTION...]: its exit status comes into $case_dir/status
hop_start()
{
	rm -f "$case_dir/status"
	: >"$case_dir/hop.out"
	: >"$case_dir/hop.err"
	hop_begun=yes
	# shellcheck disable=SC2086 # words
	(
		status=0
		"$repo/scripts/edgehop-lab" -i "$lab_instance" exec "$from" timeout 400 \
			edgehop migrate $hop_options "$@" web "$to" >>"$case_dir/hop.out" 2>>"$case_dir/hop.err" || status=$?
		echo "$status" >"$case_dir/status"
	) </dev/null &
}

hop_reaches()
{
	wait_for "${2:-60}" grep -q "^phase [0-9]  $1" "$case_dir/hop.err" || {
		bad other "the hop never came to $1"
		return 1
	}
}

hop_over()
{
	[ -s "$case_dir/status" ]
}

hop_wait()
{
	wait_for "${1:-60}" hop_over || bad status "the command has not ended ${1:-60} s after the hop"
}

power_cycle()
{
	lab power-off "$1"
	forced "$1 lost its power"
	sleep "${2:-1}"
	lab power-on "$1"
}

# look HOST: asks a host everything at once, since each question costs processes; sets what the functions behind it read
look()
{
	seen=$(lab exec "$1" sh -c '
		echo "{\"hops\": $(edgehop status --json 2>/dev/null | grep . || echo []), \"vms\": $(edgehop list --json 2>/dev/null || echo []),"
		workers=$(pgrep -c -x "edgehop-[wkd].*")
		qemus=$(pgrep -c -x -f "qemu-system-x86_64 .*guest=web,.*")
		echo "\"workers\": $workers, \"qemus\": $qemus}"' |
		jq -r '(.vms | map(select(.name == "web")) | .[0] // {}) as $vm |
			"\(.hops | length) \(.workers) \(.qemus) \($vm.state // "none") \($vm.here // false)"') || seen=
	read -r seen_hops seen_workers seen_qemus seen_state seen_here <<<"${seen:-1 1 0 unknown false}"
}

# Brings hops to their end as an operator would: nothing while somebody works on them, `recover` where nobody does.
settle_hops()
{
	local deadline=$((SECONDS + ${1:-240})) host open
	local -A idle=()

	for (( ; ; )); do
		open=
		for host in east west; do
			look "$host"
			[ "$seen_hops" != 0 ] || continue
			open+="$host "
			[ "$seen_workers" = 0 ] || idle[$host]=0
			[ "$seen_workers" != 0 ] || idle[$host]=$((${idle[$host]:-0} + 1))
			if [ "${idle[$host]}" -ge 3 ]; then
				echo "$host" >>"$case_dir/recovered"
				lab exec "$host" timeout 100 edgehop recover >>"$case_dir/recover.out" 2>&1 || true
				idle[$host]=0
			fi
		done
		[ -n "$open" ] || return 0
		if [ "$SECONDS" -ge "$deadline" ]; then
			bad journal "not final: $(lab exec east edgehop status) / $(lab exec west edgehop status)"
			return 1
		fi
		sleep 0.3
	done
}

# Where the VM runs ($running: a host, both or none), whose it is ($owner, the same) and where a QEMU is ($qemus).
locate()
{
	local host

	running='' owner='' qemus='' states=''
	for host in east west; do
		look "$host"
		states+="$seen_state at $host; "
		[ "$seen_state" != running ] || running+=$host
		[ "$seen_here" != true ] || owner+=$host
		[ "$seen_qemus" = 0 ] || qemus+=$host
	done
	running=${running:-none} owner=${owner:-none} qemus=${qemus:-none}
	running=${running/eastwest/both} owner=${owner/eastwest/both} qemus=${qemus/eastwest/both}
}

found_at()
{
	locate
	echo "$running"
}

runs_somewhere()
{
	locate
	[ "$running" != none ]
}

# guest_counter SITE: the highest number on the guest's disk; it also shows that the VM answers
guest_counter()
{
	timeout 20 "$repo/scripts/edgehop-lab" -i "$lab_instance" exec client ssh -o BatchMode=yes -o HostKeyAlias=web -o ConnectTimeout=8 \
		"root@$(site_address "$1")" /usr/local/bin/counter --check /var/counter/log \
		</dev/null >"$case_dir/counter" 2>"$case_dir/counter.err" || [ -s "$case_dir/counter" ]
}

# judge: what the observer heard since the last time. Beats of one incarnation never go back or come twice, and none beats
# again after a later one has begun. Prints what is wrong.
judge()
{
	local from_byte size

	from_byte=$(cat "$scratch/judged" 2>/dev/null || echo 0)
	size=$(stat -c %s "$scratch/observed")
	touch "$scratch/judge.state"
	tail -c "+$((from_byte + 1))" "$scratch/observed" | head -c "$((size - from_byte))" |
		awk -v state="$scratch/judge.state" '
			BEGIN { while ((getline line <state) > 0) { split(line, f, " "); last[f[2]] = f[3]; id = f[2]; } close(state) }
			/^beat [0-9a-f]+ [0-9]+ [0-9]+$/ {
				if ($2 != id) {
					if ($2 in last) { print "guest " $2 " beats again after " id }
					id = $2
				} else if ($3 < last[id] - 50) {
					print "guest " id " beats " $3 " after " last[id]
				}
				if (seen[$3 % 4096] == $2 " " $3 && ++twice == 20) { print "20 beats of guest " id " came twice" }
				seen[$3 % 4096] = $2 " " $3
				if ($3 > last[$2]) last[$2] = $3
			}
			/^counter [0-9]+$/ && $2 > promised { promised = $2 }
			END {
				for (i in last) if (i != id) print "beat " i " " last[i] >state
				print "beat " id " " last[id] >state
				print promised + 0 >(state ".promised")
			}' | head -n 5
	echo "$size" >"$scratch/judged"
	if [ "$(cat "$scratch/judge.state.promised")" -gt "$(cat "$scratch/promised" 2>/dev/null || echo 0)" ]; then
		cp "$scratch/judge.state.promised" "$scratch/promised"
	fi
}

# traces_at HOST: what is left of hops there
traces_at()
{
	lab exec "$1" sh -c '
		ip -o link | grep -o "ehx[0-9a-f]*"
		ip rule | grep "^946:"
		ip -6 rule | grep "^946:"
		ip neigh show proxy
		ip mptcp endpoint
		ip route show | grep -E "^10\.80\.[12]\.10 "
		pgrep -a -x "edgehop-[wkd].*"
		true'
}

no_trace_at()
{
	[ -z "$(traces_at "$1")" ]
}

check_traces()
{
	local host

	for host in east west; do
		wait_for 20 no_trace_at "$host" || bad traces "$host: $(traces_at "$host" | tr '\n' ';')"
	done
}

# The exit status and the place of the VM have to agree, and a failure is one line.
check_command()
{
	local where=$1 message=$2 status lines

	[ "${hop_begun-}" = yes ] || return 0
	[ "${command_gone-}" != yes ] || return 0
	hop_wait 60
	status=$(cat "$case_dir/status" 2>/dev/null || echo none)
	case $status in
	0) [ "$where" = "$to" ] || bad status "exit status 0, but the VM is at $where, where it was" ;;
	1) [ "$where" = "$from" ] || bad status "exit status 1, but the VM is at $where" ;;
	3) ;;
	*) bad status "exit status $status, expected 0, 1 or 3" ;;
	esac
	# only a command that said so may need an operator
	[ ! -e "$case_dir/recovered" ] || [ "$status" = 3 ] || [ "${may_recover-}" = yes ] ||
		bad status "exit status $status, but recover was needed at $(tr '\n' ' ' <"$case_dir/recovered")"
	[ "$status" != 0 ] || return 0
	lines=$(grep -c '^edgehop: ' "$case_dir/hop.err" || true)
	[ "$lines" = 1 ] || bad message "$lines lines of error, expected one"
	[ -z "$message" ] || grep '^edgehop: ' "$case_dir/hop.err" | grep -Eq -- "$message" ||
		bad message "expected one with: $message"
}

# A VM that may be down: owned by exactly one host, which starts it.
check_startable()
{
	local host=$1

	locate
	[ "$owner" = "$host" ] || { bad lost "the VM should be $host's, it is $owner's"; return 1; }
	[ "$running" = none ] || bad place "the VM runs at $running, expected it to be down"
	! lab exec "$(other_site "$host")" timeout 60 edgehop start web >"$case_dir/start-other" 2>&1 ||
		bad twice "$(other_site "$host") starts a VM that is not its own"
	lab exec "$host" timeout 150 edgehop start web >"$case_dir/start" 2>&1 || {
		bad lost "$host can't start it: $(cat "$case_dir/start")"
		return 1
	}
}

# check_place EXPECTED: sets where
check_place()
{
	local expected=$1 host=

	case $expected in
	source | stopped-source) host=$from ;;
	destination | stopped-destination) host=$to ;;
	esac
	if [[ $expected == stopped-* ]]; then
		check_startable "$host" || return 0
	fi
	wait_for 60 runs_somewhere || true
	where=$running
	case $where in
	none) bad lost "it runs nowhere: $states" ;;
	both) bad twice "it runs at both hosts" ;;
	*)
		[ -z "$host" ] || [ "$where" = "$host" ] || bad place "the VM runs at $where, expected $host"
		[ "$qemus" = "$where" ] || bad traces "QEMUs of it: $qemus"
		[ "$owner" = "$where" ] || bad place "it runs at $where, its owner: $owner"
		[ "$owner" != both ] || bad twice "both own it"
		wait_for 90 guest_counter "$where" || bad lost "it does not answer at $where"
		;;
	esac
}

# What guest_counter found
check_bytes()
{
	local have want

	[ -e "$case_dir/counter" ] || return 0
	want=$(cat "$scratch/promised" 2>/dev/null || echo 0)
	have=$(cat "$case_dir/counter")
	[ ! -s "$case_dir/counter.err" ] || bad bytes "the counter's log: $(head -n 1 "$case_dir/counter.err")"
	[ "${have:-0}" -ge "$want" ] || bad bytes "counter $want was promised as durable, the disk has ${have:-none}"
}

# Everything that must hold after a case. Sets where.
check_all()
{
	local expected=$1 message=$2 heard

	where=none
	settle_hops 240 || true
	# what was promised until now has to be on the disk that is looked at then
	heard=$(judge)
	check_place "$expected"
	check_bytes
	heard+=$(judge)
	[ -z "$heard" ] || bad twice "$heard"
	check_command "$where" "$message"
	check_traces
}

# A lab with fast lines, an observer, and destinations which decide soon after they lost their source, so that a case takes
# less time. Sets where, the VM's place.
campaign_lab()
{
	local host

	export EDGEHOP_LAB_LINES=wanline # it counts what it cuts off, and damages bytes
	case_dir=$scratch/case
	mkdir -p "$case_dir"
	if [ -n "${LAB_INSTANCE-}" ] && [ -e "/run/edgehop-lab/$LAB_INSTANCE/hosts/west/booted" ]; then
		for host in east west; do
			lab put "$host" "$build/edgehop" /usr/sbin/edgehop
		done
	else
		lab_up
	fi
	lab path wan1 --rate 400 --delay 2
	lab path wan2 --rate 400 --delay 2
	for host in east west; do
		lab exec "$host" sh -c 'grep -q ^hold: /etc/edgehop/edgehop.yaml || echo "hold: 5s" >>/etc/edgehop/edgehop.yaml'
	done
	locate
	where=$running
	wait_for 30 guest_counter "$where" || fail "no ssh to the guest at $where"
	observe
}

# run_case FAMILY SIDE POINT ACTION EXPECTED MESSAGE: a hop from $from to $to, the fault, and what must hold then
run_case()
{
	side=$2 point=$3 action=$4 expected=$5 message=$6
	host=$(side_host "$side")
	"force_$1"
	[ -s "$case_dir/forced" ] || bad other "no proof that the fault struck"
	check_all "$expected" "$message"
	echo "$where" >"$case_dir/where"
}

# one_case FAMILY SIDE POINT ACTION EXPECTED: the same as a test of its own
one_case()
{
	from=$where
	to=$(other_site "$from")
	say "$1: $3 at the $2, $4 (from $from to $to)"
	rm -rf "$case_dir"
	mkdir -p "$case_dir"
	hop_begun=no command_gone=no may_recover=no
	run_case "$1" "$2" "$3" "$4" "$5" ""
	cat "$case_dir/forced"
	[ ! -s "$case_dir/bad" ] || fail "$(cat "$case_dir/bad")"
	say "the VM is at $where"
}
