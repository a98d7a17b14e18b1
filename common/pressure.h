/* SPDX-License-Identifier: GPL-2.0-or-later */
#ifndef COMMON_PRESSURE_H
#define COMMON_PRESSURE_H

#include <stdint.h>

/*
 * Microseconds, since the boot, in which some process of this host was ready to run and had no CPU
 * (the kernel's pressure stall information). Of two readings the difference, by the time between
 * them, is a share: how busy the host is. -1: the kernel does not tell.
 */
int64_t pressure_cpu_us(void);

#endif
