/* SPDX-License-Identifier: GPL-2.0-or-later */
#ifndef NETSWITCH_NEIGHBOURS_H
#define NETSWITCH_NEIGHBOURS_H

#include "common/error.h"

/*
 * Answers in this host's name whatever IPv6 neighbour is asked for on dev: what proxy_arp is for
 * IPv4, and the kernel has for single addresses only. For a device with one VM at its end.
 *
 * Idempotent. EOPNOTSUPP or what the kernel says where it lacks cls_bpf. catch_all_undo() takes it
 * away.
 */
int neighbours_answer_all(const char *dev, struct error **err);

#endif
