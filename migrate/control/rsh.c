/* SPDX-License-Identifier: GPL-2.0-or-later */
#include "migrate/control/remote_link.h"

#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <signal.h>
#include <spawn.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/wait.h>
#include <unistd.h>

#include "common/cleanup.h"
#include "common/clock.h"

extern char **environ;

#define WORDS_MOST 32

/* The command's standard input and output are our socket; its complaints go to our own stderr. */
struct rsh {
	pid_t pid;
	int fd; /* non-blocking */
};

/* Splits at blanks (no quoting, as rsync), then appends the target and the command. */
static int fill_argv(char *text, const struct remote_target *target, char *who, size_t who_size,
		     char **argv)
{
	char ip[IP_TEXT];
	char *rest = NULL;
	int n = 0;

	for (char *word = strtok_r(text, " \t", &rest); word; word = strtok_r(NULL, " \t", &rest)) {
		if (n == WORDS_MOST)
			return -1;
		argv[n++] = word;
	}
	if (n == 0)
		return -1;
	ip_format_host(target->address, ip);
	snprintf(who, who_size, "%s@%s", target->user, ip);
	argv[n++] = who;
	argv[n++] = (char *)(uintptr_t)target->command;
	argv[n] = NULL;
	return 0;
}

static void *rsh_open(const struct remote_target *target, int64_t deadline_ns, struct error **err)
{
	auto_free char *text = strdup(target->rsh);
	auto_free struct rsh *rsh = calloc(1, sizeof(*rsh));
	char who[128];
	char *argv[WORDS_MOST + 3];
	posix_spawn_file_actions_t actions;
	int ends[2];
	int n;

	(void)deadline_ns; /* the command connects while we write */
	if (!text || !rsh || fill_argv(text, target, who, sizeof(who), argv) < 0) {
		error_set(err, EINVAL, "--rsh: found \"%s\", expected a command of 1 to %d words",
			  target->rsh, WORDS_MOST);
		return NULL;
	}
	if (socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, ends) < 0) {
		error_errno(err, "socket pair");
		return NULL;
	}
	posix_spawn_file_actions_init(&actions);
	posix_spawn_file_actions_adddup2(&actions, ends[1], STDIN_FILENO);
	posix_spawn_file_actions_adddup2(&actions, ends[1], STDOUT_FILENO);
	n = posix_spawnp(&rsh->pid, argv[0], &actions, NULL, argv, environ);
	posix_spawn_file_actions_destroy(&actions);
	close(ends[1]);
	if (n != 0) {
		close(ends[0]);
		errno = n;
		error_errno(err, "--rsh: %s", argv[0]);
		return NULL;
	}
	rsh->fd = ends[0];
	fcntl(rsh->fd, F_SETFL, O_NONBLOCK);
	return steal_ptr(rsh);
}

static int wait_for_fd(int fd, short events, int64_t deadline_ns, struct error **err)
{
	struct pollfd p = {.fd = fd, .events = events};
	int64_t left = deadline_ns - clock_ns();

	if (left <= 0)
		return error_set(err, ETIMEDOUT, "no answer in time");
	if (poll(&p, 1, left > NS_PER_SEC ? 1000 : (int)(left / NS_PER_MS) + 1) < 0 &&
	    errno != EINTR)
		return error_errno(err, "poll");
	return 0;
}

static int rsh_write(void *link, const void *data, size_t size, int64_t deadline_ns,
		     struct error **err)
{
	struct rsh *rsh = link;
	const char *p = data;

	while (size > 0) {
		ssize_t n = send(rsh->fd, p, size, MSG_NOSIGNAL);

		if (n < 0 && errno != EAGAIN && errno != EINTR)
			return error_errno(err, "write to the remote shell");
		if (n < 0) {
			if (wait_for_fd(rsh->fd, POLLOUT, deadline_ns, err) < 0)
				return -1;
			continue;
		}
		p += n;
		size -= (size_t)n;
	}
	return 0;
}

static ssize_t rsh_read(void *link, void *data, size_t size, int64_t deadline_ns,
			struct error **err)
{
	struct rsh *rsh = link;

	for (;;) {
		ssize_t n = recv(rsh->fd, data, size, 0);

		if (n > 0)
			return n;
		if (n == 0)
			return error_set(err, ECONNRESET, "the remote shell ended");
		if (errno != EAGAIN && errno != EINTR)
			return error_errno(err, "read from the remote shell");
		if (wait_for_fd(rsh->fd, POLLIN, deadline_ns, err) < 0)
			return -1;
	}
}

static void rsh_close(void *link)
{
	struct rsh *rsh = link;

	close(rsh->fd); /* the end of its input ends it */
	for (int i = 0; waitpid(rsh->pid, NULL, WNOHANG) == 0; i++) {
		if (i == 100)
			kill(rsh->pid, SIGTERM);
		if (i == 200)
			kill(rsh->pid, SIGKILL);
		clock_sleep_ms(10);
	}
	free(rsh);
}

const struct remote_link_ops remote_link_rsh = {
	.open = rsh_open,
	.write = rsh_write,
	.read = rsh_read,
	.close = rsh_close,
};
