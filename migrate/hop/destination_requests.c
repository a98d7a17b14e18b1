/* SPDX-License-Identifier: GPL-2.0-or-later */
#include "migrate/hop/destination_internal.h"

#include <errno.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

#include "common/clock.h"
#include "common/fault.h"
#include "common/jsonl.h"
#include "common/log.h"
#include "migrate/hop/held.h"
#include "migrate/hop/journal.h"
#include "migrate/hop/memory_channel.h"
#include "migrate/transport/local.h"
#include "netswitch/garp.h"
#include "netswitch/tap.h"

#define LOG_MODULE "destination"

/* What the source may ask for, one function each. */

/*
 * The source has connected before it asks. Where it is not there all the same, the source has given
 * up, and wants to be heard.
 */
#define CHANNEL_NS (10 * NS_PER_SEC)
#define LOAD_NS	   (3600 * NS_PER_SEC) /* a channel's silence ends it sooner */

int destination_tunnel(struct destination *d, const json_t *request, struct error **err)
{
	(void)request;
	if (hop_has_tunnel(d->env.facts) && tunnel_open(&d->env.tunnel, err) < 0)
		return -1;
	return fault_point("tunnel", err);
}

/*
 * The tap of a vNIC whose address is the old site's leads into the tunnel, that of one which has
 * the new site's, or the same at both, to the site's network. The VM is not there yet.
 */
static int place_leg(struct destination *d, const struct hop_leg *leg, struct error **err)
{
	if (leg_in_tunnel(leg->leg) &&
	    tunnel_guest_attach(&d->env.tunnel, leg->old_tap, leg->old_mac, leg->leg->old,
				leg->leg->old_count, err) < 0)
		return -1;
	if (leg->leg->kind == LEG_TUNNEL && leg_in_tunnel(leg->leg))
		return 0;
	return tap_place_active(leg->new_tap, leg->bridge, err);
}

static int place_taps(struct destination *d, struct error **err)
{
	for (size_t i = 0; i < d->env.leg_count; i++)
		if (place_leg(d, &d->env.legs[i], err) < 0)
			return error_wrap(err, "network %s", d->env.legs[i].leg->network);
	return 0;
}

int destination_incoming(struct destination *d, const json_t *request, struct error **err)
{
	if (destination_make_disks(d, request, err) < 0 || hv_start_incoming(d->env.vm, err) < 0 ||
	    (!hv_nics_arrive_with_memory(d->env.vm) && place_taps(d, err) < 0) ||
	    destination_export_disks(d, err) < 0)
		return -1;
	return fault_point("incoming", err);
}

int destination_relay(struct destination *d, const char *channel,
		      const struct door_decoding *decoding, int fd, struct error **err)
{
	int64_t deadline = clock_ns() + CHANNEL_NS;

	d->moving = true;
	return decoding ? door_attach_coded(d->door, channel, fd, decoding, SILENCE_MS, deadline,
					    err)
			: door_attach(d->door, channel, fd, SILENCE_MS, deadline, err);
}

int destination_memory(struct destination *d, const json_t *request, struct error **err)
{
	bool coded = json_is_true(json_object_get(request, "coded"));
	struct door_decoding decoding = {0};
	char path[PATH_MAX];
	int fd;

	if (hop_env_path(&d->env, path, "memory.sock", err) < 0 ||
	    hv_memory_listen(d->env.vm, path, err) < 0)
		return -1;
	fd = local_connect(path, err);
	if (fd < 0)
		return -1;
	if (coded)
		destination_know_memory(d, &decoding);
	if (destination_relay(d, "memory", coded ? &decoding : NULL, fd, err) < 0)
		return -1;
	return fault_point("memory-copy", err);
}

int destination_move_tunnel(struct destination *d, const json_t *request, struct error **err)
{
	const char *path = json_get_string(request, "tunnel-path", err);
	const struct ip_addr *own, *far;

	if (!path)
		return -1;
	if (hop_env_ends(&d->env, path, &own, &far, err) < 0)
		return -1;
	log_info("the tunnel goes over %s", path);
	return tunnel_move(&d->env.tunnel, own, far, err);
}

/* It was opened on the first path; the source may have seen that another one is better. */
static bool tunnel_has_to_move(const struct destination *d, const json_t *request)
{
	const char *path = json_get_string(request, "tunnel-path", NULL);

	return hop_has_tunnel(d->env.facts) &&
	       (!path || strcmp(path, d->env.facts->first_path) != 0);
}

int destination_prepare(struct destination *d, const json_t *request, struct error **err)
{
	/* The guest is paused: the source gives up soon, and so must this side. */
	if (d->job->resume_ns &&
	    door_let_resume(d->door, SILENCE_MS * NS_PER_MS, d->job->resume_window, err) < 0)
		return -1;
	if ((tunnel_has_to_move(d, request) && destination_move_tunnel(d, request, err) < 0) ||
	    hv_memory_wait_loaded(d->env.vm, clock_ns() + LOAD_NS, err) < 0 ||
	    (hv_nics_arrive_with_memory(d->env.vm) && place_taps(d, err) < 0) ||
	    fault_point("loaded", err) < 0 || destination_settle_disks(d, err) < 0 ||
	    journal_advance(d->env.facts->hop, HOP_PREPARED, err) < 0)
		return -1;
	d->prepared = true;
	return fault_point("prepared", err);
}

/*
 * The guest remembers its old gateway's MAC, which nobody has on this side of the tunnel: it is
 * told that the gateway is at the tap from now on. Where the addresses belong here, the site's
 * network is told of them; and a VM that comes home still has the gateway's MAC from that tap,
 * which the gateway's own answer corrects.
 */
static int introduce_at_home(const struct hop_leg *leg, const struct ip_config *old,
			     struct error **err)
{
	if (garp_send(leg->bridge, &old->address, leg->old_mac, err) < 0)
		return -1;
	if (!old->gateway.family)
		return 0;
	return garp_ask(leg->bridge, &old->address, leg->old_mac, &old->gateway, err);
}

static void introduce(const struct hop_leg *leg)
{
	bool in_tunnel = leg_in_tunnel(leg->leg);

	for (size_t i = 0; i < leg->leg->old_count; i++) {
		const struct ip_config *old = &leg->leg->old[i];
		auto_error why = NULL;

		if ((in_tunnel && old->gateway.family != 0 &&
		     garp_send(leg->old_tap, &old->gateway, NULL, &why) < 0) ||
		    (!in_tunnel && introduce_at_home(leg, old, &why) < 0))
			log_warn("%s", error_text(why));
	}
}

static void introduce_all(const struct destination *d)
{
	for (size_t i = 0; i < d->env.leg_count; i++)
		introduce(&d->env.legs[i]);
}

int destination_accept(struct destination *d, struct error **err)
{
	struct owner owner = hop_owner_accepted(d->env.facts);

	if (!d->prepared)
		return error_set(err, EPROTO, "released before it was prepared");
	if (journal_advance(d->env.facts->hop, HOP_ACCEPTED, err) < 0)
		return -1;
	d->accepted = true;
	ctl_decided(d->ctl, hop_state_name(HOP_ACCEPTED));
	if (fault_point("decided", err) < 0 ||
	    owner_write(d->env.facts->vm->name, &owner, err) < 0 ||
	    disk_set_take(&d->carried, disk_own, err) < 0)
		return -1;
	/* while it is paused; and again where an earlier hop's tunnel was still in the way */
	introduce_all(d);
	if (hv_resume(d->env.vm, err) < 0)
		return -1;
	d->resumed = true;
	if (held_supersede(&d->env, err) < 0)
		return -1;
	introduce_all(d);
	log_info("the VM runs here");
	return fault_point("accepted", err);
}

int destination_release(struct destination *d, const json_t *request, struct error **err)
{
	(void)request;
	if (fault_point("released-seen", err) < 0)
		return -1;
	return destination_accept(d, err);
}

int destination_undo_request(struct destination *d, const json_t *request, struct error **err)
{
	(void)request;
	if (d->accepted)
		return error_set(err, EPERM, "the VM runs here already");
	d->refused = true;
	return 0;
}

int destination_close(struct destination *d, const json_t *request, struct error **err)
{
	(void)request;
	if (!d->accepted)
		return error_set(err, EPERM, "nothing was accepted");
	d->closing = true;
	return 0;
}
