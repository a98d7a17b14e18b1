/* SPDX-License-Identifier: GPL-2.0-or-later */
#ifndef NETSWITCH_TUNNEL_WATCH_H
#define NETSWITCH_TUNNEL_WATCH_H

#include <stdbool.h>
#include <stdint.h>

#include "netswitch/tunnel.h"

/*
 * Whether packets get through a tunnel: an ICMP echo a second to the far end's inner address. For
 * tunnels that stay, since nothing else tells when the path under one has died. An ICMP that is
 * filtered, or no socket for it, would look like a dead path: a tunnel that never answered is taken
 * for good.
 */
struct tunnel_watch;

/* tunnel: borrowed. It must be open. */
struct tunnel_watch *tunnel_watch_start(const struct tunnel *tunnel, struct error **err);
void tunnel_watch_stop(struct tunnel_watch *watch); /* takes NULL */

/* Sends and receives what is due, never blocks. false: it has answered, but not for silence_ns. */
bool tunnel_watch_good(struct tunnel_watch *watch, int64_t silence_ns);

/* The tunnel was moved: it has the full time again. */
void tunnel_watch_again(struct tunnel_watch *watch);

#endif
