/* SPDX-License-Identifier: GPL-2.0-or-later */
#ifndef HOP_HOPS_H
#define HOP_HOPS_H

#include <jansson.h>

#include "common/error.h"
#include "common/uuid.h"

/*
 * The hops of this host as an operator sees and names them. A hop is described as an object of
 * edgehop-json(7), "hop entry": what the journal says, and what its worker says if one lives.
 */

/*
 * Those that are under way or need a recovery; the caller decrefs. Never NULL: when a journal can't
 * be read, *err names it, and the list has all the others.
 */
json_t *hops_open(struct error **err);

/*
 * Everything known of one hop, over or not: as in hops_open, and "journal", "end", "log". ENOENT:
 * nothing is known of it. The caller decrefs.
 */
json_t *hops_describe(const char *hop, struct error **err);

/* How short the beginning of a UUID may be, characters. */
#define HOPS_PREFIX 4

/*
 * Whether the text means the hop: the VM's name, the hop's UUID, or the beginning of that. vm may
 * be NULL.
 */
bool hops_match(const char *what, const char *hop, const char *vm);

/* The open hop that the text means. ENOENT: there is none; ENOTUNIQ: several, the error lists them.
 */
int hops_find_open(const char *what, char hop[UUID_SIZE], struct error **err);

/* The same among all hops that this host knows, where a VM's name means its open one only. */
int hops_find(const char *what, char hop[UUID_SIZE], struct error **err);

/* The one in a list of objects with "hop" and "vm"; nothing: what the error calls the list. */
int hops_choose(const json_t *list, const char *what, const char *nothing, char hop[UUID_SIZE],
		struct error **err);

#endif
