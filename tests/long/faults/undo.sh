# shellcheck shell=bash disable=SC2154,SC2034 # point, action, host ... are the campaign's
# SPDX-License-Identifier: GPL-2.0-or-later
# A second fault while the first is being undone or recovered. POINT is FIRST+SECOND; ACTION is the second one's.

undo_cases()
{
	cat <<-'END'
		source memory-copy+undo fail source
		source memory-copy+undo kill source
		source memory-copy+undo power source
		source memory-copy+recover kill source edgehop.recover
		source owner-written+undo kill source
		source owner-written+recover kill either edgehop.recover
		source released+recover kill either
		source released+recover power either
		source accepted-seen+recover kill destination edgehop.recover
		destination memory-copy+undo fail source
		destination memory-copy+undo kill source
		destination memory-copy+recover kill source
		destination loaded+refused kill source
		destination loaded+refused power source
		destination released-seen+refused fail source
		destination released-seen+refused kill source
		destination released-seen+refused power source
		destination accepted+recover kill destination
		destination announced+recover power destination
		source released-seen+retaken fail source
		source released-seen+retaken kill source
		source released-seen+retaken power source
	END
}

# How the first fault has to strike so that the second point is reached: a recovery follows a death, undoing an error.
force_undo()
{
	local first=${point%+*} second=${point#*+} kind='fail' armed=$action first_host=$host

	[ "$second" != recover ] || kind='kill'
	[ "$action" != power ] || armed=hang
	may_recover=yes
	case $second in
	retaken)
		first_host=$to
		arm "$from" "$second $armed"
		arm "$to" "$first $kind"
		;;
	*) arm "$host" "$first $kind" "$second $armed" ;;
	esac
	hop_start
	wait_hit "$first_host" "$first" || return 0
	wait_hit "$host" "$second" || return 0
	if [ "$action" = power ]; then
		[ "$side" != source ] || command_gone=yes
		power_cycle "$host"
	fi
}
