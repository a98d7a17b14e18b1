/* SPDX-License-Identifier: GPL-2.0-or-later */
#ifndef COMMON_UUID_H
#define COMMON_UUID_H

#include <stdbool.h>

#include "common/error.h"

/*
 * UUIDs of VMs, hosts and hops, always as text: 36 characters, lower case, as RFC 9562 writes
 * them, and a NUL.
 */
#define UUID_SIZE 37

/* A fresh random one (version 4) from the kernel's generator. */
int uuid_make(char uuid[UUID_SIZE], struct error **err);

/* Takes upper case too. false, and uuid untouched: text is not a UUID, or is the nil UUID. */
bool uuid_parse(const char *text, char uuid[UUID_SIZE]);

/* The UUID that a file is named after: "UUID" and the suffix, which may be "". As uuid_parse. */
bool uuid_of_file(const char *file, const char *suffix, char uuid[UUID_SIZE]);

/*
 * This host's UUID, made and kept durably the first time that it is asked for. Safe against
 * another process that asks at the same moment.
 */
int uuid_of_host(char uuid[UUID_SIZE], struct error **err);

#endif
