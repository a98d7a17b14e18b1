/* SPDX-License-Identifier: GPL-2.0-or-later */
#ifndef COMMON_FAULT_H
#define COMMON_FAULT_H

#include "common/error.h"

/*
 * Named fault points, so that tests can force each path that only a crash at the right moment
 * takes. The file PLACE_RUN "/faults" arms them, a line each: NAME ACTION
 *
 *	fail	the point's function fails
 *	kill	this process gets SIGKILL
 *	hang	this process sleeps until it is killed
 *	slow	this process sleeps for 2 s, then goes on
 *
 * A point that is reached while armed disarms its line, so that it strikes once and spares the
 * recovery, unless another line is for that, and creates PLACE_RUN "/fault-hit-NAME", which tests
 * wait for.
 * Only root can write there; without the file a point costs one failing open().
 *
 * The names, in a hop's order (S at the source, D at the destination):
 *	serve (D), tunnel (S, D), incoming (S, D), disk-copy (S, D), memory-copy (S, D), paused (S),
 *	mirrored (S), loaded (D), prepared (D), prepared-seen (S), owner-written (S), released (S),
 *	redirected (S), released-seen (D), decided (D), accepted (D), accepted-seen (S),
 *	announced (D), retired (D), checkpoint (S), cleanup (S, D)
 * and where a hop is undone or recovered: refused (D), retaken (S), undo (S, D), recover (S, D)
 */
int fault_point(const char *name, struct error **err);

#endif
