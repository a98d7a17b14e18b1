# shellcheck shell=bash disable=SC2154,SC2034 # point, action, host ... are the campaign's
# SPDX-License-Identifier: GPL-2.0-or-later
# Bytes damaged on the disk before they are read: refused with a line that names the file, nothing started, nothing lost. POINT is
# the file and who reads it; ACTION: a byte flipped, the second half gone, emptied. MESSAGE is what the reader says.

files_cases()
{
	cat <<-'END'
		source owner+start flipped stopped-source owner.json
		source owner+start digit stopped-source owner.json
		source owner+start truncated stopped-source owner.json
		source owner+start emptied stopped-source owner.json
		source definition+start flipped stopped-source vm.yaml:[0-9]+
		source definition+start truncated stopped-source vm.yaml:[0-9]+
		source definition+start emptied stopped-source vm.yaml
		source host-uuid+start emptied stopped-source host-uuid
		source owner+migrate flipped source owner.json
		source owner+migrate truncated source owner.json
		source definition+migrate flipped source vm.yaml:[0-9]+
		source definition+migrate emptied source vm.yaml
		source fleet+migrate flipped source edgehop.yaml:[0-9]+
		source fleet+migrate truncated source edgehop.yaml
		destination fleet+migrate flipped source edgehop.yaml:[0-9]+
		destination host-uuid+migrate emptied source host-uuid
		source journal+recover flipped source jsonl:1
		source journal+recover digit source jsonl:1
		source journal+recover emptied source jsonl
		source journal+recover truncated source jsonl
		source journal+redirected lost-record destination
		source journal+redirected torn destination
		destination journal+recover flipped source jsonl:1
		destination journal+recover emptied source jsonl
	END
}

path_of()
{
	case $1 in
	owner) echo /var/lib/edgehop/vms/web/owner.json ;;
	definition) echo /var/lib/edgehop/vms/web/vm.yaml ;;
	host-uuid) echo /var/lib/edgehop/host-uuid ;;
	fleet) echo /etc/edgehop/edgehop.yaml ;;
	journal) lab exec "$host" sh -c 'ls -t /var/lib/edgehop/journal/*.jsonl | head -n 1' ;;
	esac
}

# digit: a damage that leaves the syntax whole
damage()
{
	lab exec "$host" cp -a "$1" /root/whole
	case $action in
	# in YAML the first key: what is flipped in a comment, or in a value that may be another, is no damage to the syntax
	flipped)
		if [[ $1 == *.yaml ]]; then
			lab exec "$host" perl -0777 -pi -e 's/^((?:#.*\n|---.*\n|\s*\n)*)(.)/$1 . chr(ord($2) ^ 0x41)/e' "$1"
		else
			lab exec "$host" perl -0777 -pi -e 's/^(.{8})(.)/$1 . chr(ord($2) ^ 0x41)/se' "$1"
		fi
		;;
	digit) lab exec "$host" perl -0777 -pi -e 's/("epoch":\s*\d*)(\d)/$1 . ($2 ^ 1)/se' "$1" ;;
	truncated) lab exec "$host" perl -0777 -pi -e '$_ = substr($_, 0, length($_) / 2)' "$1" ;;
	lost-record) lab exec "$host" sed -i '$d' "$1" ;;
	torn) lab exec "$host" truncate -s -9 "$1" ;;
	emptied) lab exec "$host" truncate -s 0 "$1" ;;
	esac
	lab exec "$host" cmp -s "$1" /root/whole || forced "$1 was damaged at $host: $action"
}

# refused COMMAND...: fails with one line that has $message; nothing of the VM runs afterwards that did not before
refused()
{
	local status=0 lines

	lab exec "$host" timeout 60 edgehop "$@" >"$case_dir/refused" 2>&1 || status=$?
	lines=$(grep -c . "$case_dir/refused" || true)
	[ "$status" = 1 ] || [ "$status" = 3 ] || bad status "edgehop $*: exit status $status, expected 1 or 3"
	grep -Eq -- "$message" "$case_dir/refused" || bad message "edgehop $* does not name $message: $(head -c 300 "$case_dir/refused")"
	[ "$lines" -le 2 ] || bad message "edgehop $*: $lines lines"
	[ "$(found_at)" = "$1" ] || true
}

# The destination has the VM, and the source's journal has lost the record that says so: nothing but the ownership does.
force_lost_record()
{
	may_recover=yes
	arm "$host" "redirected hang"
	hop_start
	wait_hit "$host" redirected || return 0
	sleep 2 # RELEASED arrives
	kill_both "$host"
	rm "$case_dir/forced"
	damage "$(path_of journal)"
	lab exec "$host" timeout 100 edgehop recover >"$case_dir/refused" 2>&1 || true
}

force_files()
{
	local file=${point%+*} reader=${point#*+} path

	if [ "$reader" = redirected ]; then
		force_lost_record
		return 0
	fi
	[ "$reader" != recover ] || { arm "$host" "memory-copy hang" && hop_start && wait_hit "$host" memory-copy && rm "$case_dir/forced"; }
	[ "$reader" != recover ] || kill_both "$host"
	rm -f "$case_dir/forced"
	[ "$reader" != start ] || lab exec "$host" timeout 60 edgehop stop web >/dev/null
	path=$(path_of "$file")
	damage "$path"
	case $reader in
	start) refused start web ;;
	recover)
		may_recover=yes
		refused recover
		;;
	migrate)
		hop_start
		hop_wait 60
		;;
	esac
	[ "$reader" != start ] || [ "$(found_at)" = none ] || bad twice "it was started all the same"
	lab exec "$host" mv /root/whole "$path"
	# the command line has been checked already
	[ "$reader" = migrate ] || message=
}
