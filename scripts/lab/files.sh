# shellcheck shell=bash disable=SC2154 # lab, run, store, hosts ... are the lab's program's
# SPDX-License-Identifier: GPL-2.0-or-later
# What lies on the hosts' disks: names, SSH keys, edgehop and its configuration.

# One key for root everywhere, the guests' too. Host keys, so that no ssh in the lab asks anything.
keys_prepare()
{
	local site

	mkdir -p "$run/keys"
	[ ! -e "$run/keys/known_hosts" ] || return 0
	ssh-keygen -q -t ed25519 -N '' -C edgehop-lab -f "$run/keys/id_ed25519"
	for site in "${sites[@]}"; do
		ssh-keygen -q -t ed25519 -N '' -C "$site" -f "$run/keys/$site"
	done
	known_hosts >"$run/keys/known_hosts"
}

known_hosts()
{
	local site n

	for site in "${sites[@]}"; do
		n=$(site_number "$site")
		echo "$site,10.81.1.$n,10.81.2.$n,10.80.$n.2,fd81:1::$n,fd81:2::$n $(cut -d' ' -f1,2 "$run/keys/$site.pub")"
	done
}

# file_put FILE TARGET MODE: copies; holes stay holes. A program that runs can be replaced.
file_put()
{
	mkdir -p "${2%/*}"
	cp --sparse=always "$1" "$2.new"
	chmod "$3" "$2.new"
	mv "$2.new" "$2"
}

# file_write TARGET [MODE]: writes standard input
file_write()
{
	mkdir -p "${1%/*}"
	cat >"$1"
	chmod "${2:-644}" "$1"
}

# files_write HOST FOLDER: what a host has of its own, under a folder that is or becomes its root
files_write()
{
	file_put "$run/keys/id_ed25519" "$2/root/.ssh/id_ed25519" 600
	file_put "$run/keys/id_ed25519.pub" "$2/root/.ssh/authorized_keys" 600
	file_put "$run/keys/known_hosts" "$2/root/.ssh/known_hosts" 644
	file_write "$2/etc/hosts" <<-'END'
		127.0.0.1 localhost
		10.81.1.1 east
		10.81.1.2 west
		10.90.0.2 client
	END
	echo "$1" | file_write "$2/etc/hostname"
	if is_site "$1"; then
		file_put "$run/keys/$1" "$2/etc/ssh/edgehop_lab_host_key" 600
		sshd_config | file_write "$2/etc/ssh/edgehop_lab_sshd_config"
		edgehop_config | file_write "$2/etc/edgehop/edgehop.yaml"
	fi
	echo "$1" | file_write "$2/etc/edgehop-lab-host"
}

# At its first boot a host gets its files; they stay when its power is cut. Files of this machine which would mean
# something else there (keys, an edgehop of its own) are hidden.
space_files()
{
	local root

	root=$(space_root "$1")
	[ ! -e "$root/etc/edgehop-lab-host" ] || return 0
	host_run "$1" sh -c 'rm -rf /root/.ssh /etc/edgehop /var/lib/edgehop && mkdir -m 700 /root/.ssh &&
		mkdir -p /var/lib/edgehop/vms'
	files_write "$1" "$root"
}

sshd_config()
{
	cat <<-'END'
		HostKey /etc/ssh/edgehop_lab_host_key
		PermitRootLogin prohibit-password
		PasswordAuthentication no
		UsePAM no
		UseDNS no
		MaxStartups 100:30:200
		PidFile /run/sshd-lab.pid
		Subsystem sftp /usr/lib/openssh/sftp-server
	END
}

edgehop_config()
{
	local site n

	echo "# The lab's fleet; the same file on every host"
	echo "hosts:"
	for site in "${sites[@]}"; do
		n=$(site_number "$site")
		cat <<-END
			  $site:
			    site: $site
			    bridge: br-site
			    ssh: {user: root, identity: /root/.ssh/id_ed25519, known_hosts: /root/.ssh/known_hosts}
			    addresses: {wan1: 10.81.1.$n, wan2: 10.81.2.$n}
		END
	done
	cat <<-END
		sites:
		  east: {hosts: [east]}
		  west: {hosts: [west]}
		# what the lines can carry; "$lab path" keeps this up to date
		paths:
	END
	for n in wan1 wan2; do
		config_path_line "$n"
	done
}

config_path_line()
{
	# shellcheck disable=SC2034 # line_settings sets them all
	local rate delay loss cut

	line_settings "$1"
	echo "  $1: {rate: ${rate}M, rtt: $(awk "BEGIN { print 2 * $delay }")ms}"
}

# The configuration tells edgehop about a path, so it's told when the path changes; the rest of the file, which a test may
# have changed, stays.
config_path()
{
	local site

	for site in "${sites[@]}"; do
		! host_running "$site" || host_run "$site" \
			sed -i "s/^  $1: {rate: .*/$(config_path_line "$1")/" /etc/edgehop/edgehop.yaml
	done
}

# From the first VM that has two networks on, the hosts' bridges have names.
config_networks()
{
	local site

	for site in "${sites[@]}"; do
		! host_running "$site" || host_run "$site" \
			sed -i 's/^    bridge: br-site$/    bridges: {site: br-site, mgmt: br-mgmt}/' /etc/edgehop/edgehop.yaml
	done
}

edgehop_install()
{
	[ ! -x "$repo/build/edgehop" ] || host_put "$1" "$repo/build/edgehop" /usr/sbin/edgehop 755
}

# What a real host's service would do at the boot: settle hops that the power cut off, then start the VMs.
edgehop_boot()
{
	is_site "$1" && host_run "$1" test -x /usr/sbin/edgehop || return 0
	host_run "$1" setsid sh -c '{ edgehop recover --boot; edgehop start --autostart; } \
		</dev/null >>/var/log/edgehop-boot.log 2>&1 &' 9>&-
}
