/* SPDX-License-Identifier: GPL-2.0-or-later */
#include "migrate/hop/source_internal.h"

#include <errno.h>
#include <string.h>

#include "common/cleanup.h"
#include "common/clock.h"
#include "common/jsonl.h"
#include "common/log.h"
#include "netswitch/tunnel-watch.h"

#define LOG_MODULE "source"

/*
 * Phase 5 at the source: the destination switches the vNICs and says what comes of it. Meanwhile,
 * and for as long as connections hold the tunnel, this side sees to it that the tunnel goes over a
 * path that is alive: the destination moves its end when it is asked to, this side when that has
 * been done. Packets are lost until both have.
 */
#define LOOK_NS	   (500 * NS_PER_MS)
#define SILENCE_NS (4 * NS_PER_SEC)
#define AGAIN_NS   (10 * NS_PER_SEC) /* between two attempts to find a better path */

struct keeping {
	struct source *s;
	struct tunnel_watch *watch; /* NULL: there is none */
	char wanted[NAME_SIZE];	    /* path that the destination was asked to take; "": none */
	int64_t asked_ns;
};

/* The tunnel is kept for connections that did not join. The hop is over for people; we stay. */
static void report_held(struct source *s, const json_t *event)
{
	report_set(s->report, "vnic", json_incref(json_object_get(event, "vnic")));
	source_end(s, 0, "held", NULL);
}

/* The path after the present one, of those that both hosts are on; NULL: there is no other. */
static const char *next_path(const struct source *s)
{
	const struct fleet_host *self = s->env.self;
	const char *first = NULL;
	bool passed = false;

	for (size_t i = 0; i < self->address_count; i++) {
		const char *path = self->addresses[i].path;

		if (strcmp(path, s->tunnel_path) == 0) {
			passed = true;
			continue;
		}
		if (!fleet_address(s->env.peer, path))
			continue;
		if (passed)
			return path;
		if (!first)
			first = path;
	}
	return first;
}

/* Asks the destination for another path when nothing gets through any more. */
static int look_at_tunnel(struct keeping *k, struct error **err)
{
	const char *path;
	auto_json request = NULL;
	int64_t now = clock_ns();

	if (!k->watch || tunnel_watch_good(k->watch, SILENCE_NS) || now - k->asked_ns < AGAIN_NS)
		return 0;
	path = next_path(k->s);
	if (!path)
		return 0;
	log_warn("nothing gets through the tunnel over path %s; trying %s", k->s->tunnel_path,
		 path);
	k->asked_ns = now;
	memcpy(k->wanted, path, strlen(path) + 1);
	request = json_pack("{s:s, s:s}", "do", "move-tunnel", "tunnel-path", path);
	return control_send(k->s->control, request, err);
}

static void follow_destination(struct keeping *k)
{
	auto_error why = NULL;

	memcpy(k->s->tunnel_path, k->wanted, NAME_SIZE);
	k->wanted[0] = '\0';
	if (source_move_tunnel(k->s, &why) < 0)
		log_warn("the tunnel was not moved: %s", error_text(why));
	tunnel_watch_again(k->watch);
}

/* 1: the vNICs are switched; 0: not yet; -1. */
static int take_message(struct keeping *k, const json_t *message, struct error **err)
{
	const char *event = json_get_string(message, "event", NULL);

	if (json_object_get(message, "failed")) {
		/* The tunnel's move is all that was asked for. */
		auto_error why = NULL;

		(void)control_check(message, k->s->env.peer->name, &why);
		log_warn("%s", error_text(why));
		return 0;
	}
	if (json_object_get(message, "done")) {
		if (*k->wanted)
			follow_destination(k);
		return 0;
	}
	if (!event)
		return error_set(err, EPROTO, "host %s: found no event", k->s->env.peer->name);
	if (strcmp(event, "held") == 0)
		report_held(k->s, message);
	if (strcmp(event, "switched") != 0)
		return 0;
	report_set(k->s->report, "vnic", json_incref(json_object_get(message, "vnic")));
	return 1;
}

static int keep(struct keeping *k, struct error **err)
{
	int result = 0;

	while (result == 0) {
		struct error *why = NULL;
		auto_json message = control_receive(k->s->control, clock_ns() + LOOK_NS, &why);

		if (!message && why->code != ETIMEDOUT)
			return error_propagate(err, why);
		error_free(why);
		result = message ? take_message(k, message, err) : source_tick(k->s, err);
		if (result == 0)
			result = look_at_tunnel(k, err);
	}
	return result < 0 ? -1 : 0;
}

int source_vnic(struct source *s, struct error **err)
{
	struct keeping k = {.s = s};
	auto_error why = NULL;
	int result;

	if (hop_has_tunnel(s->env.facts))
		k.watch = tunnel_watch_start(&s->env.tunnel, &why);
	if (why)
		log_warn("the tunnel is not watched: %s", error_text(why));
	result = keep(&k, err);
	tunnel_watch_stop(k.watch);
	return result < 0 ? error_wrap(err, "host %s", s->env.peer->name) : 0;
}
