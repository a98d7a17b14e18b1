# shellcheck shell=bash disable=SC2154 # scratch, repo ... are kit.sh's
# SPDX-License-Identifier: GPL-2.0-or-later
# JSON that programs print, against docs/json.

# json_wrong SCHEMA FILE: prints what is wrong with a document, by docs/json/SCHEMA.schema.json
json_wrong()
{
	[ -e "$scratch/schemas.json" ] ||
		jq -n '[inputs | {(input_filename | split("/") | last): .}] | add' "$repo"/docs/json/*.schema.json \
			>"$scratch/schemas.json"
	jq -r --arg schema "$1.schema.json" --slurpfile schemas "$scratch/schemas.json" \
		-f "$repo/tests/kit/json-schema.jq" "$2"
}

# json_is SCHEMA FILE: fails the test if the document is not as the schema says
json_is()
{
	local wrong

	[ -s "$2" ] || fail "$2 is empty, expected JSON as $1.schema.json says"
	wrong=$(json_wrong "$1" "$2") || fail "$2 can't be judged by $1.schema.json: $wrong"
	[ -z "$wrong" ] || fail "$2 is not as $1.schema.json says: $wrong"
}
