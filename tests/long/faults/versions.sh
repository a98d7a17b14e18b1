# shellcheck shell=bash disable=SC2154,SC2034 # point, action, host ... are the campaign's
# SPDX-License-Identifier: GPL-2.0-or-later
# A real second program at one side, whose versions are others: refused before anything is paused, in both directions; one that
# is newer and compatible is accepted. Journals too: an older program leaves a newer one's alone and says so.

versions_cases()
{
	cat <<-'END'
		destination wire newer source version
		source wire newer source version
		destination ssh-wire newer source version
		source ssh-wire newer source version
		destination wire compatible destination
		source wire compatible destination
		source journal newer source jsonl:1.*version
		destination journal newer source jsonl:1.*version
	END
}

# Each is a build of its own, made once.
version_flags()
{
	case $1 in
	wire-newer) echo -DHELLO_VERSION=2 -DHELLO_COMPATIBLE=2 ;;
	ssh-wire-newer) echo -DSERVE_WIRE=2 ;;
	wire-compatible) echo -DHELLO_VERSION=2 ;;
	journal-newer) echo -DJOURNAL_VERSION=2 -DJOURNAL_COMPATIBLE=2 ;;
	esac
}

other_program()
{
	local variant=$1

	# shards side by side make the same ones
	flock "$build" make -s -C "$repo" "build/versions/$variant/edgehop" VARIANT="$variant" VERSION_FLAGS="$(version_flags "$variant")" >&2 || return 1
	lab exec "$host" sh -c '[ -e /root/edgehop.kept ] || cp -a /usr/sbin/edgehop /root/edgehop.kept'
	lab put "$host" "$build/versions/$variant/edgehop" /usr/sbin/edgehop
	forced "$host has a program with $(version_flags "$variant")"
}

own_program()
{
	lab exec "$host" sh -c 'cp -a /root/edgehop.kept /usr/sbin/edgehop.new && mv /usr/sbin/edgehop.new /usr/sbin/edgehop'
}

# Whether the VM was paused, says how long nothing was heard of it.
force_versions()
{
	other_program "$point-$action" || { bad other "no such build" && return 0; }
	if [ "$point" = journal ]; then
		force_journal_version
		return 0
	fi
	hop_start
	hop_wait 90
	own_program
	[ "$expected" != source ] || ! grep -q '^phase [2-6]' "$case_dir/hop.err" || bad other "the hop went on: $(tail -n 1 "$case_dir/hop.err")"
}

force_journal_version()
{
	may_recover=yes
	arm "$host" "memory-copy hang"
	hop_start
	wait_hit "$host" memory-copy || return 0
	kill_both "$host"
	own_program
	refused recover
	message=
	lab exec "$host" sh -c 'mv /usr/sbin/edgehop /root/edgehop.own'
	other_program "$point-$action"
	lab exec "$host" timeout 100 edgehop recover >>"$case_dir/recover.out" 2>&1 || bad status "the newer program does not recover"
	# the hop is over, and the older program must not be asked about it again
	lab exec "$host" sh -c 'grep -l "\"version\":2" /var/lib/edgehop/journal/*.jsonl | xargs -r rm'
	own_program
}
