/* SPDX-License-Identifier: GPL-2.0-or-later */
#ifndef COMMON_SEAL_H
#define COMMON_SEAL_H

#include <jansson.h>
#include <stdbool.h>

#include "common/error.h"

/*
 * A sum over a JSON object that is kept on a disk, so that a damage which leaves its syntax whole
 * is noticed, too. Against disks, not against people: anybody can make it.
 */

/* Adds the field "sum", over all others. Fails for want of memory only. */
int seal_add(json_t *object, struct error **err);

/* required: an object without a sum is damaged, too; else it is taken as it is. */
int seal_check(const json_t *object, bool required, struct error **err);

#endif
