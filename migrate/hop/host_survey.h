/* SPDX-License-Identifier: GPL-2.0-or-later */
#ifndef HOP_HOST_SURVEY_H
#define HOP_HOST_SURVEY_H

#include <jansson.h>
#include <stdbool.h>
#include <stdint.h>

#include "common/error.h"
#include "common/uuid.h"
#include "migrate/config/fleet.h"
#include "migrate/config/vm_def.h"
#include "migrate/control/remote.h"

/*
 * What a host has room for and can do, as far as one VM is concerned; the same for both ends of a
 * hop. Nothing is written anywhere.
 */
struct host_survey {
	char host[NAME_SIZE];
	char version[32]; /* of edgehop */
	int64_t wire;	  /* version of what hosts say to each other */
	bool mptcp;
	char why_not_mptcp[96];
	uint64_t memory_available;	  /* bytes */
	uint64_t disk_available;	  /* bytes, where VMs lie */
	int64_t cpu_waited_us;		  /* pressure_cpu_us() at the end of the survey */
	bool bridge;			  /* the bridges of its networks are all there */
	char no_bridge[DEVICE_NAME_SIZE]; /* the first that is not; "": none, or not told */
	bool vm_runs;			  /* a VM of that name */
	bool vm_busy;			  /* somebody works on it: a start, a hop, a recovery */
	bool vm_owned;			  /* the host owns it */
	uint64_t vm_epoch;		  /* of the ownership that it knows of; 0: none */
	char vm_uuid[UUID_SIZE];	  /* of the VM of that name; "": none */
	char no_drbd[128];   /* why disks can't be on DRBD there; "": they can, or none is */
	char hypervisor[32]; /* its version; "": see no_hypervisor */
	char no_hypervisor[256];
	char **machines, **cpus; /* NULL-terminated, owned; NULL when there is no hypervisor */
};

/* Of this host. fleet, def: borrowed. */
struct host_survey *host_survey_here(const struct fleet *fleet, const struct vm_def *def,
				     struct error **err);

/* Of another one: {"do":"survey"} through SSH. */
struct host_survey *host_survey_there(struct remote *remote, const struct vm_def *def,
				      struct error **err);
void host_survey_free(struct host_survey *survey); /* takes NULL */

/* The answer to {"do":"survey"}, in `edgehop serve`. */
int host_survey_serve(const struct fleet *fleet, const json_t *request, json_t **answer,
		      struct error **err);

/* Every field is checked. host_survey_to_json: for people's programs, too; the caller decrefs. */
struct host_survey *host_survey_from_json(const json_t *json, struct error **err);
json_t *host_survey_to_json(const struct host_survey *survey);

static inline void host_survey_cleanup(struct host_survey **survey)
{
	host_survey_free(*survey);
}
#define auto_host_survey __attribute__((cleanup(host_survey_cleanup))) struct host_survey *

/* Bytes free where VMs lie, or will: of the nearest folder above that is there yet. 0: not known.
 */
uint64_t host_disk_available(void);

#endif
