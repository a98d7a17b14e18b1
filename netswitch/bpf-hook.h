/* SPDX-License-Identifier: GPL-2.0-or-later */
#ifndef NETSWITCH_BPF_HOOK_H
#define NETSWITCH_BPF_HOOK_H

#include <stddef.h>
#include <stdint.h>

#include <linux/bpf.h>

#include "common/error.h"

/*
 * BPF programs that see each frame that comes in by a device, before anything else does: at the
 * ingress hook of its clsact qdisc. They are part of the device, and end with it.
 */

/* Loads a program of that type. Returns its descriptor. */
int bpf_load(enum bpf_prog_type type, const struct bpf_insn *program, size_t count,
	     struct error **err);

/* Loads the program and attaches it in place of one of that order. The lowest order is first. */
int bpf_hook_attach(int ifindex, const struct bpf_insn *program, size_t count, uint16_t order,
		    const char *name, struct error **err);

/* Takes the hook with all programs away; a device without one, or none at all, is success. */
int bpf_hook_remove(int ifindex, struct error **err);

#endif
