/* SPDX-License-Identifier: GPL-2.0-or-later */
#include "migrate/disk/program.h"

#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <spawn.h>
#include <stdarg.h>
#include <stdio.h>
#include <string.h>
#include <sys/wait.h>
#include <unistd.h>

#include "common/cleanup.h"
#include "common/log.h"

#define LOG_MODULE  "disk"
#define SPEECH_MOST 2048 /* of standard error; what comes after it is not kept */

extern char **environ;

void program_add(struct program *p, const char *fmt, ...)
{
	size_t room = sizeof(p->text) - p->used;
	va_list ap;
	int n;

	va_start(ap, fmt);
	n = vsnprintf(p->text + p->used, room, fmt, ap);
	va_end(ap);
	if (n < 0 || (size_t)n >= room || p->count == PROGRAM_WORDS) {
		p->overflow = true;
		return;
	}
	p->count++;
	p->used += (size_t)n + 1;
}

char *program_text(const struct program *p, char *buf, size_t size)
{
	size_t n = p->used < size ? p->used : size;

	memcpy(buf, p->text, n);
	for (size_t i = 0; i < n; i++)
		if (!buf[i])
			buf[i] = ' ';
	buf[n ? n - 1 : 0] = '\0';
	return buf;
}

/* argv: PROGRAM_WORDS + 1 */
static void split_words(const struct program *p, char **argv)
{
	const char *word = p->text;
	size_t n = 0;

	for (; n < p->count; word += strlen(word) + 1)
		argv[n++] = (char *)word;
	argv[n] = NULL;
}

/* What a program says on one descriptor, as far as it fits. */
struct ear {
	int fd;
	char *text; /* NULL: not kept */
	size_t size, used;
	bool overflow;
};

static void ear_close(struct ear *ear)
{
	close(ear->fd);
	ear->fd = -1;
}

static void listen_once(struct ear *ear)
{
	char chunk[4096];
	ssize_t n = read(ear->fd, chunk, sizeof(chunk));
	size_t room = ear->text ? ear->size - 1 - ear->used : 0;

	if (n < 0 && errno == EINTR)
		return;
	if (n <= 0) {
		ear_close(ear);
		return;
	}
	if ((size_t)n > room)
		ear->overflow = true;
	else
		room = (size_t)n;
	if (room)
		memcpy(ear->text + ear->used, chunk, room);
	ear->used += room;
}

static void listen_to_end(struct ear *a, struct ear *b)
{
	while (a->fd >= 0 || b->fd >= 0) {
		struct pollfd p[2] = {{.fd = a->fd, .events = POLLIN},
				      {.fd = b->fd, .events = POLLIN}};

		if (poll(p, 2, -1) < 0 && errno != EINTR)
			break;
		if (p[0].revents)
			listen_once(a);
		if (p[1].revents)
			listen_once(b);
	}
	if (a->text)
		a->text[a->used] = '\0';
	if (b->text)
		b->text[b->used] = '\0';
}

/* The last line that says something; text is changed. */
static const char *last_line(char *text)
{
	char *line;
	size_t n = strlen(text);

	while (n && (text[n - 1] == '\n' || text[n - 1] == ' '))
		text[--n] = '\0';
	line = strrchr(text, '\n');
	return line ? line + 1 : text;
}

static int spawn(const struct program *p, int out, int speech, pid_t *pid, struct error **err)
{
	posix_spawn_file_actions_t actions;
	char *argv[PROGRAM_WORDS + 1];
	int code;

	split_words(p, argv);
	posix_spawn_file_actions_init(&actions);
	posix_spawn_file_actions_addopen(&actions, STDIN_FILENO, "/dev/null", O_RDONLY, 0);
	posix_spawn_file_actions_adddup2(&actions, out, STDOUT_FILENO);
	posix_spawn_file_actions_adddup2(&actions, speech, STDERR_FILENO);
	code = posix_spawnp(pid, argv[0], &actions, NULL, argv, environ);
	posix_spawn_file_actions_destroy(&actions);
	return code == 0 ? 0 : error_set(err, code, "%s: %s", argv[0], strerror(code));
}

static int await(pid_t pid, int *status, struct error **err)
{
	while (waitpid(pid, status, 0) < 0)
		if (errno != EINTR)
			return error_errno(err, "waitpid");
	return 0;
}

int program_run(const struct program *p, char *output, size_t size, struct error **err)
{
	int out[2], speech[2], status;
	char said[SPEECH_MOST], line[512];
	struct ear ears[2];
	pid_t pid;

	if (p->overflow || p->count == 0)
		return error_set(err, E2BIG, "%s: its command line is too long",
				 p->count ? p->text : "program");
	log_debug("%s", program_text(p, line, sizeof(line)));
	if (pipe2(out, O_CLOEXEC) < 0)
		return error_errno(err, "pipe");
	if (pipe2(speech, O_CLOEXEC) < 0) {
		close(out[0]);
		close(out[1]);
		return error_errno(err, "pipe");
	}
	ears[0] = (struct ear){.fd = out[0], .text = output, .size = size};
	ears[1] = (struct ear){.fd = speech[0], .text = said, .size = sizeof(said)};
	status = spawn(p, out[1], speech[1], &pid, err);
	close(out[1]);
	close(speech[1]);
	if (status < 0) {
		ear_close(&ears[0]);
		ear_close(&ears[1]);
		return -1;
	}
	listen_to_end(&ears[0], &ears[1]);
	if (await(pid, &status, err) < 0)
		return -1;
	if (!WIFEXITED(status) || WEXITSTATUS(status) != 0)
		return error_set(err, EIO, "%s: %s (status %d)",
				 program_text(p, line, sizeof(line)), last_line(said),
				 WIFEXITED(status) ? WEXITSTATUS(status) : -1);
	if (output && ears[0].overflow)
		return error_set(err, EOVERFLOW, "%s: it said more than %zu bytes", p->text, size);
	return 0;
}
