# shellcheck shell=bash disable=SC2154 # cache is the sourcing script's
# SPDX-License-Identifier: GPL-2.0-or-later
# What is made once from its inputs and then kept: folders $cache/KIND-HASH, a hash for each version of the inputs.

say()
{
	echo "${0##*/}: $*" >&2
}

die()
{
	say "$*"
	exit 1
}

# Lines of a list without comments
list_lines()
{
	sed 's/#.*//; s/[[:space:]]*$//; /^$/d' "$1"
}

# cached KIND HASH: prints the version's folder. If there's none yet, the function "build" makes it, in the folder $out.
# A version that was not used for three days goes when a newer one of its kind is made; until then work on several
# branches need not make each other's anew.
cached()
{
	local folder=$cache/$1-$2

	mkdir -p "$cache"
	exec 9>"$cache/lock-$1"
	flock 9
	if [ ! -e "$folder" ]; then
		out=$folder.partial
		rm -rf "$out"
		mkdir -p "$out"
		# 9>&-: nothing that the build starts may keep the lock. No "||" here: it would switch off set -e.
		(build) 9>&-
		find "$cache" -mindepth 1 -maxdepth 1 -name "$1-*" ! -path "$out" -mtime +2 -exec rm -rf {} +
		mv "$out" "$folder"
		say "made $folder ($(du -sm "$folder" | cut -f1) MiB)"
	fi
	touch "$folder"
	echo "$folder"
}
