/* SPDX-License-Identifier: GPL-2.0-or-later */
#include "migrate/hop/source_internal.h"

#include <stdio.h>
#include <string.h>

#include "common/cleanup.h"
#include "common/clock.h"
#include "common/log.h"

#define LOG_MODULE "source"

/*
 * When every path is lost: the channels' relays connect again by themselves (transport/relay.h).
 *
 * Theory of operation
 *
 * While the guest runs here a hop may stand still for as long as --resume says, and all waits for
 * the destination are longer by as much. Once it is paused, nobody is served until the hop has gone
 * on or was undone: then a loss is given up after SILENCE_MS, as if nothing could be resumed. After
 * RELEASED the commit protocol has its own answer to a silent link (resolve.c).
 */

/* All relays that there are, in turn; NULL where there is none, end: behind the last. */
static struct relay *relay_at(struct source *s, size_t i, bool *end)
{
	*end = i > ARRAY_SIZE(s->disks) + 1;
	if (i < ARRAY_SIZE(s->disks))
		return s->disks[i].relay;
	if (i == ARRAY_SIZE(s->disks))
		return s->memory.relay;
	return i == ARRAY_SIZE(s->disks) + 1 && s->control ? control_relay(s->control) : NULL;
}

static int64_t patience(const struct source *s)
{
	return s->paused_ns ? SILENCE_MS * NS_PER_MS : s->job->resume_ns;
}

int source_let_resume(struct source *s, struct channel *channel, struct error **err)
{
	struct channel_way way = {.port = s->port,
				  .key = s->key,
				  .buffer = strcmp(channel->name, "control") == 0 ? 0 : s->buffer,
				  .plain = channel->plain};
	int result = 0;

	way.n = source_peer_addresses(s, way.addresses);
	if (s->job->resume_ns)
		result = channel_let_resume(channel, patience(s), s->job->resume_window, &way, err);
	explicit_bzero(&way.key, sizeof(way.key));
	return result;
}

void source_hurry(struct source *s)
{
	bool end;

	for (size_t i = 0;; i++) {
		struct relay *relay = relay_at(s, i, &end);

		if (end)
			return;
		if (relay)
			relay_set_patience(relay, patience(s));
	}
}

static int64_t lost_since(struct relay *relay)
{
	struct relay_stats stats;

	if (!relay)
		return 0;
	relay_stats(relay, &stats);
	return stats.lost_ns;
}

int64_t source_lost_since(struct source *s)
{
	int64_t first = 0;
	bool end = false;

	for (size_t i = 0; !end; i++) {
		int64_t since = lost_since(relay_at(s, i, &end));

		if (since && (!first || since < first))
			first = since;
	}
	return first;
}

bool source_control_lost(const struct source *s)
{
	return !s->control || lost_since(control_relay(s->control)) != 0;
}

bool source_say_lost(struct source *s, char *text, size_t size, int64_t *lost_ns)
{
	int64_t since = source_lost_since(s);

	if (!since || s->decided)
		return false;
	*lost_ns = clock_ns() - since;
	snprintf(text, size, "all paths are lost for %.0f s, trying again for %.0f s",
		 (double)*lost_ns / 1e9, (double)patience(s) / 1e9);
	return true;
}
