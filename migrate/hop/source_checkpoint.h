/* SPDX-License-Identifier: GPL-2.0-or-later */
#ifndef HOP_SOURCE_CHECKPOINT_H
#define HOP_SOURCE_CHECKPOINT_H

#include <stdbool.h>
#include <stdint.h>

/*
 * The checkpoint (migrate/vm/checkpoint.h) that a VM which has gone leaves here: written by a
 * thread out of its hypervisor, which stands still and is ended only then. The VM runs at its
 * destination by now and waits for nothing here; so does the hop, but for its last stage.
 */
struct source;
struct source_checkpoint;

/*
 * The destination has accepted. false: none is written (it is not wanted, or can't be had here,
 * which is logged), and the hypervisor can go at once.
 */
bool source_checkpoint_begin(struct source *s);

/* Ends the hypervisor when the checkpoint is written, or failed. To be called now and then. */
void source_checkpoint_look(struct source *s);

/*
 * The same, after at most so long a time: what is not written by then is given up. Must be called
 * before anything else ends the hypervisor, whose process the thread reads.
 */
void source_checkpoint_end(struct source *s, int64_t time_ns);

#endif
