/* SPDX-License-Identifier: GPL-2.0-or-later */
#ifndef HOTSKIP_SIM_MODEL_H
#define HOTSKIP_SIM_MODEL_H

#include <stdbool.h>
#include <stdint.h>

#include "common/error.h"

/*
 * How a simulated guest writes its memory. The simulator works on units: a unit stands for `scale`
 * pages that are written alike, and is one bit of the bitmaps. Pages of one class are independent
 * and exchangeable, so a sample of them behaves as all do; a guest of 2^28 pages (1 TiB) is
 *simulated with 2^20 units of scale 256, with the spread of a sample of that size (a set of n
 *units: 1/sqrt(n)).
 *
 * Specifications:
 *	uniform:WRITES			page writes/s, evenly over all memory
 *	zipf:WRITES:EXPONENT		the k-th page in a random order gets a part like
 *1/k^EXPONENT
 *	sets:SIZE@RATE[,SIZE@RATE...]	sets of pages, each page written RATE times/s; the rest
 *never phases:SECONDS:SIZE@RATE	one such set, of other pages every SECONDS, 8 in turn
 *	trace:FILE			what `edgehop-hotskip record` saw, again and again
 * A SIZE may be so many times what the link carries within the downtime target ("0.8t"), and a RATE
 *such that the whole set's writes would fill a part of the link ("0.3l"): guests made for the link,
 *in which a sweep over bandwidths keeps proportions. Writes are Poisson, except those of a trace: a
 *page of an interval is written at a time in it that is drawn once.
 */
struct model;

/*
 * memory: bytes (0 for a trace: its own). units_most: scale is the least power of 2 that keeps to
 * it. The seed decides which page is of which class, and all that is drawn. EINVAL for a
 * specification that can't be read.
 */
struct model_link {
	double rate;   /* bytes/s; for "l" */
	double target; /* bytes that pass within the downtime target; for "t" */
};
struct model *model_create(const char *spec, uint64_t memory, const struct model_link *link,
			   uint64_t units_most, uint64_t seed, struct error **err);

/* A SIZE as in a specification, bytes. */
bool model_parse_size(const char *text, const struct model_link *link, uint64_t *bytes);
void model_destroy(struct model *model); /* takes NULL */

uint64_t model_units(const struct model *model);
uint64_t model_memory(const struct model *model);
double model_unit_bytes(const struct model *model);

/* The same guest from its beginning, with the same draws. */
void model_rewind(struct model *model);

/* A bitmap of the units that are ever written; the model's. */
const uint64_t *model_active(const struct model *model);

/*
 * Was the unit written in [from, to), seconds? Windows of one unit must follow one another without
 * overlap: each is drawn when it is asked for.
 */
bool model_written(struct model *model, uint64_t unit, double from, double to);

#endif
