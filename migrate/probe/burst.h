/* SPDX-License-Identifier: GPL-2.0-or-later */
#ifndef PROBE_BURST_H
#define PROBE_BURST_H

#include <signal.h>
#include <stdbool.h>
#include <stdint.h>

#include "common/error.h"
#include "migrate/transport/channel.h"
#include "migrate/transport/relay.h"

/* The channel that bursts go over has this name at both ends. */
#define BURST_CHANNEL	 "probe"
#define BURST_SILENCE_MS 5000

struct burst {
	double rate;   /* payload that reached the far side's local stream, bit/s */
	double spread; /* half of highest minus lowest, as a share of the rate */
	struct relay_stats stats;
};

/*
 * Fills the channel (taken over, also on failure) for most_ns at most; ends sooner when the rate is
 * steady. stop: may be NULL.
 */
int burst_run(struct channel *channel, int64_t most_ns, const volatile sig_atomic_t *stop,
	      struct burst *burst, struct error **err);

/* The far side: reads until a moment; false: until the stream has ended. Blocks. */
bool burst_swallow(int fd, int64_t until_ns);

/* From what was delivered at equal intervals, bytes, n > 0: rate (bytes an interval) and spread
 * once the beginning is over. Arithmetic only. */
void burst_judge(const uint64_t *delivered, size_t n, double *rate, double *spread);
bool burst_is_steady(const uint64_t *delivered, size_t n);

#endif
