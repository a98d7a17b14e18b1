/* SPDX-License-Identifier: GPL-2.0-or-later */
#include "netswitch/guest/port.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "common/bytes.h"
#include "common/cleanup.h"
#include "common/clock.h"
#include "common/jsonl.h"
#include "common/log.h"

#define LOG_MODULE "port"

/*
 * Theory of operation
 *
 * A virtio-serial port is a byte stream that has no connections: hosts come and go behind it.
 * While none is there poll() says POLLHUP at once, and read() returns 0; so the port is looked at
 * every HOST_AWAY_MS then. What a host left unfinished when it went may stand before the first
 * line of the next one. Therefore a line that makes no sense is dropped and the next one begins
 * anew, a host begins with an empty line, and after a hang-up what was left is forgotten.
 *
 * A line of more than AGENT_LINE_MOST bytes is dropped up to its end.
 *
 * Nothing is queued: one order is read, carried out and answered, then the next is read. A host
 * that does not read its answer within REPLY_MS loses it, and may ask again.
 */
#define NOTHING_MS   10
#define HOST_AWAY_MS 100
#define REPLY_MS     5000

static int find_by_name(char path[PATH_MAX])
{
	static const char class[] = "/sys/class/virtio-ports";
	DIR *dir = opendir(class);
	const struct dirent *entry;
	int found = -1;

	while (dir && found < 0 && (entry = readdir(dir))) {
		char name_path[PATH_MAX];
		auto_free char *name = NULL;

		snprintf(name_path, sizeof(name_path), "%s/%s/name", class, entry->d_name);
		name = read_file(name_path, 256, NULL, NULL);
		if (!name || strcspn(name, "\n") != strlen(PORT_NAME) ||
		    strncmp(name, PORT_NAME, strlen(PORT_NAME)) != 0)
			continue;
		snprintf(path, PATH_MAX, "/dev/%s", entry->d_name);
		found = 0;
	}
	if (dir)
		closedir(dir);
	return found;
}

int port_find(char path[PATH_MAX], struct error **err)
{
	snprintf(path, PATH_MAX, "/dev/virtio-ports/%s", PORT_NAME);
	if (access(path, F_OK) == 0 || find_by_name(path) == 0)
		return 0;
	return error_set(err, ENOENT, "this VM has no virtio-serial port %s", PORT_NAME);
}

int port_open(const char *path, struct error **err)
{
	int fd = open(path, O_RDWR | O_NONBLOCK | O_NOCTTY | O_CLOEXEC);

	return fd < 0 ? error_errno(err, "%s", path) : fd;
}

struct reading {
	struct jsonl *lines;
	bool skipping; /* within a line that was too long */
};

static void answer(int fd, struct agent *agent, const json_t *order)
{
	auto_json reply = agent_answer(agent, order);
	auto_error err = NULL;

	if (reply && jsonl_write(fd, reply, clock_ns() + REPLY_MS * NS_PER_MS, &err) < 0)
		log_warn("a reply was lost: %s", error_text(err));
}

static int begin_anew(struct reading *reading, bool skipping, struct error **err)
{
	jsonl_destroy(reading->lines);
	reading->skipping = skipping;
	reading->lines = jsonl_create(AGENT_LINE_MOST);
	if (!reading->lines)
		return error_set(err, ENOMEM, "no memory for %d bytes", AGENT_LINE_MOST);
	return 0;
}

/* Takes in what was read and answers the orders that became whole. */
static int take(struct reading *reading, const char *data, size_t size, int fd, struct agent *agent,
		struct error **err)
{
	if (!reading->skipping && jsonl_feed(reading->lines, data, size, NULL) < 0) {
		log_warn("an order of more than %d bytes is dropped", AGENT_LINE_MOST);
		if (begin_anew(reading, true, err) < 0)
			return -1;
	}
	if (reading->skipping) {
		const char *end = memchr(data, '\n', size);

		if (!end)
			return 0;
		reading->skipping = false;
		size -= (size_t)(end + 1 - data);
		if (jsonl_feed(reading->lines, end + 1, size, err) < 0)
			return -1;
	}
	for (;;) {
		struct error *why = NULL;
		auto_json order = jsonl_next(reading->lines, &why);

		if (order) {
			answer(fd, agent, order);
		} else if (why) {
			log_info("a line is dropped: it is not a JSON object");
			error_free(why);
		} else {
			return 0;
		}
	}
}

static int serve(int fd, struct reading *reading, struct agent *agent, bool is_socket,
		 const volatile sig_atomic_t *stop, struct error **err)
{
	while (!*stop) {
		struct pollfd p = {.fd = fd, .events = POLLIN};
		char data[4096];
		ssize_t n;

		if (poll(&p, 1, 1000) < 0 && errno != EINTR)
			return error_errno(err, "poll of the port");
		if (!p.revents)
			continue;
		n = read(fd, data, sizeof(data));
		if (n > 0) {
			if (take(reading, data, (size_t)n, fd, agent, err) < 0)
				return -1;
			continue;
		}
		if (n < 0 && errno != EAGAIN && errno != EINTR)
			return error_errno(err, "read of the port");
		if (n == 0 && is_socket)
			return 0;
		if ((p.revents & POLLHUP) && begin_anew(reading, false, err) < 0)
			return -1;
		/* Whatever poll() saw, there was nothing to read: not the time to ask again at
		 * once. */
		clock_sleep_ms(p.revents & POLLHUP ? HOST_AWAY_MS : NOTHING_MS);
	}
	return 0;
}

int port_serve(int fd, struct agent *agent, const volatile sig_atomic_t *stop, struct error **err)
{
	struct reading reading = {0};
	struct stat info;
	int rc;

	if (begin_anew(&reading, false, err) < 0)
		return -1;
	if (fstat(fd, &info) < 0 || fcntl(fd, F_SETFL, O_NONBLOCK) < 0)
		rc = error_errno(err, "the port");
	else
		rc = serve(fd, &reading, agent, S_ISSOCK(info.st_mode), stop, err);
	jsonl_destroy(reading.lines);
	return rc;
}
