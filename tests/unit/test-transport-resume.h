/* SPDX-License-Identifier: GPL-2.0-or-later */
#ifndef TEST_TRANSPORT_RESUME_H
#define TEST_TRANSPORT_RESUME_H

#include <sys/socket.h>

#include "common/clock.h"
#include "migrate/transport/channel.h"
#include "migrate/transport/relay.h"

/* What the tests of channels that are resumed share. */
#define HOP    "0d0f6c3e-9a3b-4f5e-8a57-0c2c5d0f6c3e"
#define WINDOW RELAY_WINDOW_LEAST

static const struct channel_key key = {.hop = HOP, .key = {1, 2, 3}};

static inline int64_t soon(void)
{
	return clock_ns() + 5 * NS_PER_SEC;
}

static inline struct channel_way way_to(uint16_t port)
{
	const uint8_t bytes[] = {127, 0, 0, 1};
	struct channel_way way = {.n = 1, .port = port, .key = key};

	way.addresses[0] = ip_from_bytes(AF_INET, bytes);
	return way;
}

static inline struct relay_stats stats_of(struct relay *relay)
{
	struct relay_stats stats;

	relay_stats(relay, &stats);
	return stats;
}

static inline bool ends(struct relay *relay, enum relay_end end, int64_t ms, struct error **err)
{
	enum relay_end now = RELAY_RUNNING;

	for (int64_t i = 0; i < ms && (now = relay_poll(relay, err)) == RELAY_RUNNING; i++)
		clock_sleep_ms(1);
	return now == end;
}

#endif
