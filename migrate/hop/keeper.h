/* SPDX-License-Identifier: GPL-2.0-or-later */
#ifndef HOP_KEEPER_H
#define HOP_KEEPER_H

#include <jansson.h>
#include <stdbool.h>

#include "common/error.h"

/*
 * A hop's two processes on a host. The worker does the work. The keeper is its parent and only
 * waits: when the worker dies in any way that is not an orderly end, the keeper runs the recovery.
 * Both are detached from whoever started them: own session, no terminal, no open descriptors; what
 * they say goes to PLACE_RUN "/hops/HOP/log".
 */
struct keeper_job {
	const char *hop;
	/* Runs in the worker; returns its exit status. NULL: there is none, only the recovery. */
	int (*work)(void *context);
	/*
	 * Runs in the keeper after the worker died without an end; returns the hop's exit status.
	 * *outcome: static text for people, what became of the VM.
	 */
	int (*recover)(const char *hop, void *context, const char **outcome);
	void *context; /* of both */
};

/* Returns in the caller when both run; never in them. */
int keeper_start(const struct keeper_job *job, struct error **err);

/*
 * The hop's end, kept for whoever asks after its worker is gone:
 * {"event":"end","status":EXIT,...}, in PLACE_RUN "/hops/HOP/end.json".
 */
void keeper_write_end(const char *hop, const json_t *end);

/* NULL and no error: there is none yet. The caller's to decref. */
json_t *keeper_read_end(const char *hop, struct error **err);
bool keeper_has_end(const char *hop);

/* Whether a keeper or a worker of the hop lives. If not, an end that is not there yet won't come.
 */
bool keeper_lives(const char *hop);

/* Ends the worker of a hop for good (recovery): kills it if it lives. True: none lives any more. */
bool keeper_worker_gone(const char *hop);

#endif
