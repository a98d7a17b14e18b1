/* SPDX-License-Identifier: GPL-2.0-or-later */
#include "migrate/transport/local.h"

#include <errno.h>
#include <poll.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/un.h>
#include <unistd.h>

#include "common/cleanup.h"
#include "common/clock.h"

static int name_of(const char *path, struct sockaddr_un *name, struct error **err)
{
	memset(name, 0, sizeof(*name));
	name->sun_family = AF_UNIX;
	if (strlen(path) >= sizeof(name->sun_path))
		return error_set(err, ENAMETOOLONG, "%s: longer than a socket's name may be", path);
	strcpy(name->sun_path, path);
	return 0;
}

int local_listen(const char *path, struct error **err)
{
	auto_close fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0);
	struct sockaddr_un name;

	if (name_of(path, &name, err) < 0)
		return -1;
	unlink(path);
	if (fd < 0 || bind(fd, (struct sockaddr *)&name, sizeof(name)) < 0 ||
	    chmod(path, 0600) < 0 || listen(fd, 4) < 0)
		return error_errno(err, "%s", path);
	return steal_fd(&fd);
}

int local_accept(int listen_fd, int64_t deadline_ns, struct error **err)
{
	struct pollfd p = {.fd = listen_fd, .events = POLLIN};

	for (;;) {
		int64_t left = deadline_ns - clock_ns();
		int n = poll(&p, 1, left > 0 ? (int)(left / NS_PER_MS) + 1 : 0);
		int fd;

		if (n < 0 && errno == EINTR)
			continue;
		if (n < 0)
			return error_errno(err, "poll");
		if (n == 0)
			return error_set(err, ETIMEDOUT, "the hypervisor did not connect in time");
		fd = accept4(listen_fd, NULL, NULL, SOCK_CLOEXEC);
		return fd >= 0 ? fd : error_errno(err, "accept");
	}
}

int local_connect(const char *path, struct error **err)
{
	auto_close fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0);
	struct sockaddr_un name;

	if (name_of(path, &name, err) < 0)
		return -1;
	if (fd < 0 || connect(fd, (struct sockaddr *)&name, sizeof(name)) < 0)
		return error_errno(err, "%s", path);
	return steal_fd(&fd);
}
