# SPDX-License-Identifier: GPL-2.0-or-later
# Whether the input is as its JSON Schema says. Knows what docs/json uses of draft 2020-12, and refuses to judge by more:
# type, enum, required, properties, additionalProperties, items, $ref (to a file, and to what is in its $defs).
#
#	jq -r --arg schema list.schema.json --slurpfile schemas all-schemas.json -f json-schema.jq DOCUMENT
#
# all-schemas.json is one object, {file name: schema}. Prints a line for each thing that is wrong, nothing if all is well.

def known: ["$schema", "$defs", "$ref", "title", "description", "type", "enum", "required", "properties", "additionalProperties", "items"];

def type_is($name):
	if $name == "integer" then type == "number" and . == floor
	else type == $name end;

# {schema, file} behind a reference from a file
def follow($file; $ref):
	($ref | split("#")) as [$name, $inner]
	| (if $name == "" then $file else $name end) as $there
	| $schemas[0][$there] // error("no schema \($there)")
	| {file: $there, schema: (if ($inner // "") == "" then .
		else getpath($inner | ltrimstr("/") | split("/")) // error("nothing at \($ref)") end)};

def wrong($schema; $file; $at):
	. as $value
	| (($schema | keys) - known) as $strange
	| if $strange != [] then error("\($file): can't judge by \($strange)") else empty end,
	if $schema | has("$ref") then
		follow($file; $schema["$ref"]) as $target | wrong($target.schema; $target.file; $at)
	else empty end,
	if $schema | has("type") then
		([$schema.type] | flatten) as $types
		| if any($types[]; . as $t | $value | type_is($t)) then empty
		else "\($at): found \($value | type), expected \($types | join(" or "))" end
	else empty end,
	if ($schema | has("enum")) and ([$value] | inside($schema.enum) | not) then
		"\($at): found \($value | tojson), expected one of \($schema.enum | tojson)"
	else empty end,
	if type == "object" then
		(($schema.required // [])[] as $key | select($value | has($key) | not) | "\($at): it lacks \($key)"),
		(keys[] as $key
		| ($schema.properties // {})[$key] as $own
		| if $own then $value[$key] | wrong($own; $file; "\($at).\($key)")
		elif $schema.additionalProperties == false then "\($at): it has \($key), which is not described"
		elif $schema.additionalProperties | type == "object" then
			$value[$key] | wrong($schema.additionalProperties; $file; "\($at).\($key)")
		else empty end)
	elif type == "array" and ($schema | has("items")) then
		(range(length) as $i | $value[$i] | wrong($schema.items; $file; "\($at)[\($i)]"))
	else empty end;

wrong($schemas[0][$schema]; $schema; "")
