/* SPDX-License-Identifier: GPL-2.0-or-later */
#include "common/uuid.h"

#include <ctype.h>
#include <errno.h>
#include <fcntl.h>
#include <stdint.h>
#include <stdio.h>
#include <string.h>
#include <sys/random.h>

#include "common/bytes.h"
#include "common/cleanup.h"
#include "common/places.h"

#define UUID_NIL "00000000-0000-0000-0000-000000000000"

int uuid_make(char uuid[UUID_SIZE], struct error **err)
{
	uint8_t b[16];

	if (getrandom(b, sizeof(b), 0) != (ssize_t)sizeof(b))
		return error_errno(err, "getrandom");
	b[6] = (uint8_t)((b[6] & 0x0f) | 0x40); /* version 4 */
	b[8] = (uint8_t)((b[8] & 0x3f) | 0x80); /* the variant of RFC 9562 */
	snprintf(uuid, UUID_SIZE,
		 "%02x%02x%02x%02x-%02x%02x-%02x%02x-%02x%02x-%02x%02x%02x%02x%02x%02x", b[0], b[1],
		 b[2], b[3], b[4], b[5], b[6], b[7], b[8], b[9], b[10], b[11], b[12], b[13], b[14],
		 b[15]);
	return 0;
}

bool uuid_parse(const char *text, char uuid[UUID_SIZE])
{
	char lower[UUID_SIZE];

	if (strlen(text) != UUID_SIZE - 1)
		return false;
	for (int i = 0; i < UUID_SIZE; i++) {
		bool dash = i == 8 || i == 13 || i == 18 || i == 23;

		if (dash ? text[i] != '-' : text[i] && !isxdigit((unsigned char)text[i]))
			return false;
		lower[i] = (char)tolower((unsigned char)text[i]);
	}
	if (strcmp(lower, UUID_NIL) == 0)
		return false;
	memcpy(uuid, lower, UUID_SIZE);
	return true;
}

static int read_host_uuid(const char *path, char uuid[UUID_SIZE], struct error **err)
{
	auto_free char *text = read_file(path, 64, NULL, err);

	if (!text)
		return -1;
	text[strcspn(text, "\n")] = '\0';
	if (!uuid_parse(text, uuid))
		return error_set(err, EINVAL, "%s: found \"%s\", expected this host's UUID", path,
				 text);
	return 0;
}

/* link() rather than rename(): who comes second must not replace what the first already uses. */
static int make_host_uuid(const char *path, struct error **err)
{
	char temporary[PATH_MAX], line[UUID_SIZE + 1];

	if (place(temporary, err, PLACE_STATE "/.host-uuid.%d", (int)getpid()) < 0 ||
	    uuid_make(line, err) < 0)
		return -1;
	strcat(line, "\n");
	if (write_file_durably(temporary, line, strlen(line), err) < 0)
		return -1;
	if (link(temporary, path) < 0 && errno != EEXIST) {
		error_errno(err, "%s", path);
		unlink(temporary);
		return -1;
	}
	unlink(temporary);
	return sync_parent(path, err);
}

bool uuid_of_file(const char *file, const char *suffix, char uuid[UUID_SIZE])
{
	char name[UUID_SIZE] = "";

	if (strlen(file) < UUID_SIZE - 1 || strcmp(file + UUID_SIZE - 1, suffix) != 0)
		return false;
	memcpy(name, file, UUID_SIZE - 1);
	return uuid_parse(name, uuid);
}

int uuid_of_host(char uuid[UUID_SIZE], struct error **err)
{
	char folder[PATH_MAX], path[PATH_MAX];

	if (place(folder, err, PLACE_STATE) < 0 || place(path, err, PLACE_STATE "/host-uuid") < 0)
		return -1;
	if (access(path, F_OK) < 0 && (make_dirs(folder, err) < 0 || make_host_uuid(path, err) < 0))
		return -1;
	return read_host_uuid(path, uuid, err);
}
