/* SPDX-License-Identifier: GPL-2.0-or-later */
#ifndef NETSWITCH_CATCH_H
#define NETSWITCH_CATCH_H

#include "common/error.h"

/*
 * Makes this host take every frame that comes in by dev for its own, whatever MAC it is addressed
 * to. A VM that has just arrived goes on sending to the MACs of the gateway and the neighbours it
 * had; without this its packets are dropped until it asks for them again, many seconds later.
 *
 * Both are idempotent. catch_all: EOPNOTSUPP or what the kernel says where it lacks cls_bpf.
 */
int catch_all(const char *dev, struct error **err);
int catch_all_undo(const char *dev, struct error **err);

#endif
