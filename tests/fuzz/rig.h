/* SPDX-License-Identifier: GPL-2.0-or-later */
#ifndef FUZZ_RIG_H
#define FUZZ_RIG_H

/* What the rigs of all streams need. */
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>

/* An expectation of the rig's own that does not depend on a test's framework. */
#define rig_check(CONDITION)                                                                       \
	do {                                                                                       \
		if (!(CONDITION)) {                                                                \
			fprintf(stderr, "%s:%d: %s\n", __FILE__, __LINE__, #CONDITION);            \
			abort();                                                                   \
		}                                                                                  \
	} while (0)

/* A cheap generator, so that a run can be repeated. */
static inline uint64_t rig_random(uint64_t *state)
{
	*state ^= *state << 13;
	*state ^= *state >> 7;
	*state ^= *state << 17;
	return *state;
}

#endif
