/* SPDX-License-Identifier: GPL-2.0-or-later */
#include "common/bytes.h"

#include <errno.h>
#include <fcntl.h>
#include <libgen.h>
#include <limits.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/stat.h>
#include <unistd.h>

#include "common/cleanup.h"

int write_all(int fd, const void *data, size_t size, struct error **err)
{
	const char *p = data;

	while (size > 0) {
		ssize_t n = write(fd, p, size);

		if (n < 0 && errno == EINTR)
			continue;
		if (n < 0)
			return error_errno(err, "write");
		p += n;
		size -= (size_t)n;
	}
	return 0;
}

int read_all(int fd, void *data, size_t size, struct error **err)
{
	char *p = data;

	while (size > 0) {
		ssize_t n = read(fd, p, size);

		if (n < 0 && errno == EINTR)
			continue;
		if (n < 0)
			return error_errno(err, "read");
		if (n == 0)
			return error_set(err, ECONNRESET, "read: stream ended %zu bytes early",
					 size);
		p += n;
		size -= (size_t)n;
	}
	return 0;
}

char *read_file(const char *path, size_t most, size_t *size, struct error **err)
{
	auto_close fd = open(path, O_RDONLY | O_CLOEXEC);
	auto_free char *data = NULL;
	size_t used = 0;

	if (fd < 0) {
		error_errno(err, "%s", path);
		return NULL;
	}
	data = malloc(most + 1);
	if (!data) {
		error_set(err, ENOMEM, "%s: no memory for %zu bytes", path, most);
		return NULL;
	}
	for (;;) {
		ssize_t n = read(fd, data + used, most + 1 - used);

		if (n < 0 && errno == EINTR)
			continue;
		if (n < 0) {
			error_errno(err, "%s", path);
			return NULL;
		}
		if (n == 0)
			break;
		used += (size_t)n;
		if (used > most) {
			error_set(err, EFBIG, "%s: larger than %zu bytes", path, most);
			return NULL;
		}
	}
	data[used] = '\0';
	if (size)
		*size = used;
	return steal_ptr(data);
}

int sync_parent(const char *path, struct error **err)
{
	char copy[PATH_MAX];
	const char *folder;

	snprintf(copy, sizeof(copy), "%s", path);
	folder = dirname(copy);

	auto_close fd = open(folder, O_RDONLY | O_DIRECTORY | O_CLOEXEC);

	if (fd < 0 || fsync(fd) < 0)
		return error_errno(err, "sync of folder %s", folder);
	return 0;
}

int write_file_durably(const char *path, const void *data, size_t size, struct error **err)
{
	char temporary[PATH_MAX];
	int n = snprintf(temporary, sizeof(temporary), "%s.new.%d", path, (int)getpid());

	if (n < 0 || (size_t)n >= sizeof(temporary))
		return error_set(err, ENAMETOOLONG, "%s: path too long", path);

	auto_close fd = open(temporary, O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC, 0600);

	if (fd < 0)
		return error_errno(err, "%s", temporary);
	if (write_all(fd, data, size, err) < 0) {
		unlink(temporary);
		return error_wrap(err, "%s", temporary);
	}
	if (fsync(fd) < 0 || rename(temporary, path) < 0) {
		error_errno(err, "%s", path);
		unlink(temporary);
		return -1;
	}
	return sync_parent(path, err);
}

int make_dirs(const char *path, struct error **err)
{
	char copy[PATH_MAX];

	if ((size_t)snprintf(copy, sizeof(copy), "%s", path) >= sizeof(copy))
		return error_set(err, ENAMETOOLONG, "%s: path too long", path);
	for (char *p = copy + 1;; p++) {
		char was = *p;

		if (was != '/' && was != '\0')
			continue;
		*p = '\0';
		if (mkdir(copy, 0700) < 0 && errno != EEXIST)
			return error_errno(err, "%s", copy);
		*p = was;
		if (was == '\0')
			return 0;
	}
}
