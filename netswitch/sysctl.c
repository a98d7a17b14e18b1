/* SPDX-License-Identifier: GPL-2.0-or-later */
#include "netswitch/sysctl.h"

#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "common/bytes.h"
#include "common/cleanup.h"

/* length: of the formatted name, as vsnprintf() told it. */
static int sysctl_path(char path[PATH_MAX], const char *name, int length, struct error **err)
{
	int n = snprintf(path, PATH_MAX, "/proc/sys/%s", name);

	if (length < 0 || n < 0 || n >= PATH_MAX || length >= n || strstr(path, "/../"))
		return error_set(err, EINVAL, "%.64s...: not the path of a sysctl", path);
	return 0;
}

static int sysctl_read(const char *path, long *value, struct error **err)
{
	auto_free char *text = read_file(path, 64, NULL, err);
	char *end;

	if (!text)
		return -1;
	*value = strtol(text, &end, 10);
	if (end == text || (*end && *end != '\n'))
		return error_set(err, EPROTO, "%s: expected a number", path);
	return 0;
}

int sysctl_set(long value, struct error **err, const char *fmt, ...)
{
	char name[PATH_MAX], path[PATH_MAX], text[24];
	long present;
	va_list ap;
	int length;

	va_start(ap, fmt);
	length = vsnprintf(name, sizeof(name), fmt, ap);
	va_end(ap);
	if (sysctl_path(path, name, length, err) < 0 || sysctl_read(path, &present, err) < 0)
		return -1;
	if (present == value)
		return 0;

	auto_close fd = open(path, O_WRONLY | O_CLOEXEC);

	if (fd < 0)
		return error_errno(err, "%s", path);
	snprintf(text, sizeof(text), "%ld\n", value);
	if (write_all(fd, text, strlen(text), err) < 0)
		return error_wrap(err, "%s to %ld", path, value);
	return 0;
}

int sysctl_get(long *value, struct error **err, const char *fmt, ...)
{
	char name[PATH_MAX], path[PATH_MAX];
	va_list ap;
	int length;

	va_start(ap, fmt);
	length = vsnprintf(name, sizeof(name), fmt, ap);
	va_end(ap);
	if (sysctl_path(path, name, length, err) < 0)
		return -1;
	return sysctl_read(path, value, err);
}

bool sysctl_has_ipv6(void)
{
	return access("/proc/sys/net/ipv6/conf/all", F_OK) == 0;
}

int sysctl_loosen_rp_filter(const char *dev, struct error **err)
{
	long all;

	if (sysctl_get(&all, err, "net/ipv4/conf/all/rp_filter") < 0)
		return -1;
	return sysctl_set(all == 0 ? 0 : 2, err, "net/ipv4/conf/%s/rp_filter", dev);
}
