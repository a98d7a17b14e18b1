/* SPDX-License-Identifier: GPL-2.0-or-later */
#ifndef HOP_PREFLIGHT_H
#define HOP_PREFLIGHT_H

#include <jansson.h>
#include <stddef.h>
#include <stdint.h>

#include "common/error.h"
#include "migrate/hop/host_survey.h"

/*
 * Whether a hop can go, judged from plain data: no file, socket or clock. Used by `check`, and by
 * `migrate` before anything is begun.
 */
enum finding_level {
	FINDING_OK,
	FINDING_WARN,  /* the hop can go, with this drawback */
	FINDING_REFUSE /* it can't */
};
const char *finding_level_name(enum finding_level level);

#define FINDINGS_MOST 64

struct finding {
	enum finding_level level;
	char what[24]; /* "memory" */
	char text[256];
};

struct findings {
	size_t count;
	struct finding list[FINDINGS_MOST];
};

/* Adds one; when there is no room for it, only its level counts, in the last one. */
void findings_add(struct findings *findings, enum finding_level level, const char *what,
		  const char *fmt, ...) PRINTF_LIKE(4, 5);
enum finding_level findings_worst(const struct findings *findings);

/* The first refusal as an error; 0 when there is none. */
int findings_check(const struct findings *findings, struct error **err);
json_t *findings_to_json(const struct findings *findings); /* the caller decrefs */

struct preflight {
	const struct vm_def *vm;
	uint64_t epoch;	 /* of the source's ownership */
	bool comes_home; /* the held hop that works on the VM there ends with this one */
	uint64_t disk_size, disk_allocated;	/* of all disks, bytes */
	bool on_drbd[VM_DISKS_MOST];		/* each of them, at the source */
	const struct host_survey *here, *there; /* here: may be NULL */
};

void preflight_judge(const struct preflight *preflight, struct findings *findings);

#endif
