/* SPDX-License-Identifier: GPL-2.0-or-later */
#ifndef CMD_MEMORY_OPTIONS_H
#define CMD_MEMORY_OPTIONS_H

#include "migrate/hop/source.h"

/* How `migrate` sends memory: the values of its options, each of which says what it found if it is
 * none. */
struct memory_options {
	bool hot_skip;
	struct scheduler_options pages; /* all but the downtime */
	enum hop_on_stuck on_stuck;
	bool coding;
	uint64_t coding_cache; /* bytes */
};

/* What holds where nothing is said: off; 256 MiB at most, wait; off, 256 MiB. */
extern const struct memory_options memory_options_default;

/* --hot-skip: "auto", "top[:PERCENT]", "rate:WRITES", "off". */
bool memory_options_hot_skip(const char *text, struct memory_options *options);

/* --hold-memory: bytes. */
bool memory_options_hold(const char *text, struct memory_options *options);

/* --compress: "auto", "off"; --compress-cache: bytes. */
bool memory_options_compress(const char *text, struct memory_options *options);
bool memory_options_cache(const char *text, struct memory_options *options);

/* --on-no-converge: "wait", "pause", "throttle", "abort". */
bool memory_options_on_stuck(const char *text, struct memory_options *options);

#endif
