# shellcheck shell=bash disable=SC2154 # scratch, repo ... are kit.sh's
# SPDX-License-Identifier: GPL-2.0-or-later
# What the tests of programs' surface share: what programs, parsers and pages say that there is.

program=$repo/build/edgehop

# Subcommands that are for people
commands()
{
	"$program" --help | sed -n 's/^  \([a-z]\+\)  .*/\1/p'
}

# help_options PROGRAM [COMMAND]: -x and --long of its --help, without --help itself: in the usage, or at the start of a line
help_options()
{
	"$@" --help | sed -nE '/^(usage:|   +edgehop)/p; s/^(  -[a-zA-Z-]+(, --[a-z-]+)?).*/\1/p' |
		grep -oE -- '(^|[[ ,|])(--[a-z][a-z-]+|-[a-zA-Z])\b' | grep -oE -- '--?[a-zA-Z][a-z-]*' |
		sort -u | grep -vx -e --help -e --version || true
}

# page_options PAGE [SECTION]: options that have an entry of their own in a page, or in one of its subsections
page_options()
{
	awk -v want="${2-}" '
		/^\.S[sh] / { here = want == "" || ($1 == ".Ss" && $2 == want) }
		here && /^\.It Fl / {
			for (i = 2; i < NF; i++)
				if ($i == "Fl") print "-" $(i + 1)
		}' "$repo/docs/man/$1" | sort -u | grep -vx -e --help -e --version || true
}

# parser_keys WHAT: the keys that the parsers of that part of the configuration know
parser_keys()
{
	cat "$repo/migrate/config/$1"_*.c | tr '\n\t' '  ' |
		grep -oE '(YAML_(VALUE|OPTIONAL|ITEMS)\([^"]*|\.key = )"[a-z_-]+"' | grep -oE '[a-z_-]+"$' | tr -d '"' | sort -u
}

# page_keys PAGE: the keys that have an entry in it
page_keys()
{
	sed -n 's/^\.It Ic \([a-z_-]*\)$/\1/p' "$repo/docs/man/$1" | sort -u
}

# A host that is nothing but files, for what needs no hypervisor: VMs "web", which is ours, and "db", which belongs to west; a
# hop of web that waits for a recovery, and one that is over.
export EDGEHOP_ROOT=$scratch/root EDGEHOP_HOST=east
open_hop=a2e27b1c-5c36-45e0-9678-c4640120336f
past_hop=05e81c2b-460e-4ef6-bba6-a7bbee6cc7ce
self_uuid=11111111-2222-4333-8444-555555555555
west_uuid=11111111-2222-4333-8444-666666666666

make_host()
{
	local state=$EDGEHOP_ROOT/var/lib/edgehop

	mkdir -p "$EDGEHOP_ROOT"/etc/edgehop "$state"/{vms/web,vms/db,journal,history}
	cp "$repo/docs/examples/edgehop.yaml" "$EDGEHOP_ROOT/etc/edgehop/"
	echo "$self_uuid" >"$state/host-uuid"
	make_vm web 6c1d8f5e-3b0a-4d6e-9a51-0e6d67656801 "$self_uuid" east
	make_vm db 6c1d8f5e-3b0a-4d6e-9a51-0e6d67656802 "$west_uuid" west
	make_journal "$open_hop" OPEN
	make_journal "$past_hop" DONE
	make_report "$past_hop" >"$state/history/$past_hop.json"
}

# make_vm NAME UUID OWNER SITE
make_vm()
{
	local folder=$EDGEHOP_ROOT/var/lib/edgehop/vms/$1

	sed "s/^name: web/name: $1/; s/^uuid: .*/uuid: $2/" "$repo/docs/examples/web.yaml" >"$folder/vm.yaml"
	echo "{\"edgehop-owner\":1,\"vm\":\"$2\",\"epoch\":2,\"owner\":\"$3\",\"nic\":\"nic0\",\"site\":\"$4\",\"owner-name\":\"$4\"}" \
		>"$folder/owner.json"
}

# make_journal HOP STATE [SIDE]: of a hop of web that is in this state; this host is its source
make_journal()
{
	jq -nc --arg hop "$1" --arg state "$2" --arg side "${3:-source}" --arg east "$self_uuid" --arg west "$west_uuid" \
		--rawfile vm "$repo/docs/examples/web.yaml" '{journal: "edgehop", version: 1, compatible: 1, features: [],
		hop: $hop, state: $state, time: "2026-03-01T10:00:00Z", facts: {side: $side, epoch: 1, vm: $vm, hop: $hop,
		source: "east", destination: "west", "source-site": "east", "destination-site": "west", "source-uuid": $east,
		"destination-uuid": $west, "old-nic": "nic0", "new-nic": "nic1", "first-path": "wan1"}}' \
		>"$EDGEHOP_ROOT/var/lib/edgehop/journal/$1.jsonl"
}

make_report()
{
	jq -n --arg hop "$1" '{edgehop: "report", version: 1, hop: $hop, vm: "web", side: "source",
		started: "2026-03-01T10:00:00.000Z", from: {site: "east", host: "east"}, to: {site: "west", host: "west"},
		stages: [{phase: 1, stage: "reach", seconds: 0.5}], subflows: [], channels: {}, downtime_ms: 123.4,
		paths: {wan1: {bytes: 1500000, share: 0.6}, wan2: {bytes: 1000000, share: 0.4}}, seconds: 12.3, result: "done"}'
}
