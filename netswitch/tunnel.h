/* SPDX-License-Identifier: GPL-2.0-or-later */
#ifndef NETSWITCH_TUNNEL_H
#define NETSWITCH_TUNNEL_H

#include <net/if.h>
#include <stddef.h>
#include <stdint.h>

#include "common/error.h"
#include "netswitch/ip.h"

/*
 * The tunnel of a hop: while a VM runs at its new site and has connections on the address of the
 * old one, packets to and from that address pass through here.
 *
 *   client --- gateway --- [bridge  SOURCE  ehx]=====VXLAN=====[ehx  DESTINATION  tap] --- VM
 *                            answers for the old address        answers for the whole old network
 *
 * A VM that is on several networks has one tunnel all the same: the functions that connect it are
 * called once for each of its networks, with the vNIC's tap, or the network's bridge.
 *
 * Everything is named by the hop's UUID, so that any process can undo it knowing no more than the
 * journal does: functions take the description and keep nothing. All are idempotent.
 *
 * Packets are as readable within as they would have been on the way to the VM without a hop, and
 * VXLAN does not ask who sends: a firewall should let TUNNEL_PORT in from the other hosts only. It
 * must also let fragments pass, and forwarded packets between the bridge, taps and ehx devices.
 */
#define TUNNEL_PORT	     9461 /* UDP, both ends */
#define TUNNEL_RULE_PRIORITY 946  /* of our routing rules: after `local`, before all usual ones */
#define TUNNEL_ADDRESSES     16	  /* of a VM, over all its networks, that a tunnel can carry */

enum tunnel_side {
	TUNNEL_SOURCE,
	TUNNEL_DESTINATION
};

struct tunnel {
	const char *hop; /* its UUID, lower case */
	enum tunnel_side side;
	struct ip_addr local, remote; /* the two hosts' addresses on the WAN path in use */
	uint32_t mtu;		      /* of the VM's networks; 0: 1500 */
};

/* The name of the tunnel's device, for messages. Fails (EINVAL) when hop is no UUID. */
int tunnel_device(const char *hop, char dev[IF_NAMESIZE], struct error **err);

/* Creates the device, or changes it to another path; addresses it and sets it up. */
int tunnel_open(const struct tunnel *tunnel, struct error **err);

/*
 * Undoes tunnel_open, and of the other functions' work the routes and rules. What they set on the
 * VM's tap or the bridge is theirs to undo: call those first.
 */
int tunnel_close(const struct tunnel *tunnel, struct error **err);

/* Path died: the tunnel goes over another. Both ends do it; packets are lost until both have. */
int tunnel_move(const struct tunnel *tunnel, const struct ip_addr *local,
		const struct ip_addr *remote, struct error **err);

/*
 * Destination. Connects the vNIC that keeps its old address: its tap, which must exist, leaves
 * its bridge and becomes a point-to-point link to this host, which answers for every address of
 * the VM's old network and sends what the VM sends through the tunnel. mac: that of the vNIC.
 * old: the VM's addresses on it; one that is this host's own is refused (EADDRINUSE).
 */
int tunnel_guest_attach(const struct tunnel *tunnel, const char *tap, const uint8_t mac[MAC_SIZE],
			const struct ip_config *old, size_t n, struct error **err);

/* Undoes it, but leaves the tap up and bridgeless: tap_place_*() has it next. */
int tunnel_guest_detach(const struct tunnel *tunnel, const char *tap, const struct ip_config *old,
			size_t n, struct error **err);

/*
 * Source, when the VM is paused. Packets for its addresses go into the tunnel; this host answers
 * for them on the bridge and tells the network so. What the VM sends comes out of the tunnel and
 * leaves on the bridge, through its old gateway where that is known, as if the VM were there.
 * first: how many addresses of the VM on networks before this one the tunnel carries.
 */
int tunnel_redirect(const struct tunnel *tunnel, const char *bridge, size_t first,
		    const struct ip_config *old, size_t n, struct error **err);

/*
 * Undoes it. For a VM that resumes here call garp_send(bridge, address, its vNIC's MAC) next; it
 * is unreachable until then, for as long as its gateway remembers this host's MAC.
 */
int tunnel_redirect_undo(const struct tunnel *tunnel, const char *bridge, size_t first,
			 const struct ip_config *old, size_t n, struct error **err);

#endif
