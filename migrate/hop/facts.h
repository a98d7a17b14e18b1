/* SPDX-License-Identifier: GPL-2.0-or-later */
#ifndef HOP_FACTS_H
#define HOP_FACTS_H

#include <jansson.h>

#include "common/error.h"
#include "common/uuid.h"
#include "migrate/config/fleet.h"
#include "migrate/config/vm_def.h"
#include "migrate/hop/leg.h"
#include "migrate/vm/owner.h"

/*
 * What a hop is: fixed when it is opened, the same on both hosts, kept in both journals. With the
 * configuration it is enough to undo or to finish the hop after any crash.
 */
struct hop_facts {
	char hop[UUID_SIZE];
	char source[NAME_SIZE], destination[NAME_SIZE]; /* hosts */
	char source_site[NAME_SIZE], destination_site[NAME_SIZE];
	char source_uuid[UUID_SIZE], destination_uuid[UUID_SIZE]; /* hosts' */
	char first_path[NAME_SIZE];    /* on which connections and the tunnel begin */
	uint64_t epoch;		       /* of the source's ownership */
	struct vm_def *vm;	       /* owned */
	struct leg legs[VM_NICS_MOST]; /* one for each network, in the order of the vNICs */
	size_t leg_count;
	/* VM without an agent: the site that its addresses are from, "": the source's. */
	char home[NAME_SIZE];
	/* The hop whose tunnel this one, which leads back home, makes needless; "": none. */
	char supersedes[UUID_SIZE];
};

enum hop_side {
	HOP_SOURCE,
	HOP_DESTINATION
};

const char *hop_side_name(enum hop_side side); /* "source" */

/*
 * JSON: "legs" as leg.h says. The first version had "old-nic" and "new-nic" in their place, those
 * of the network DEFAULT_NETWORK; its journals can be read.
 *
 * side: whose journal or message it is. The caller decrefs.
 */
json_t *hop_facts_to_json(const struct hop_facts *facts, enum hop_side side, struct error **err);

/* Every field is checked: they come from the network or from a disk. *side may be NULL. */
struct hop_facts *hop_facts_from_json(const json_t *json, enum hop_side *side, struct error **err);
void hop_facts_free(struct hop_facts *facts); /* takes NULL */

/* Is there anything for a tunnel to carry? */
bool hop_has_tunnel(const struct hop_facts *facts);

/* The ownership before the hop, after it was accepted, and after it was refused. */
struct owner hop_owner_source(const struct hop_facts *facts);
struct owner hop_owner_accepted(const struct hop_facts *facts);
struct owner hop_owner_retaken(const struct hop_facts *facts);

static inline void hop_facts_cleanup(struct hop_facts **facts)
{
	hop_facts_free(*facts);
}
#define auto_facts __attribute__((cleanup(hop_facts_cleanup))) struct hop_facts *

#endif
