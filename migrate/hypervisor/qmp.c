/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * Theory of operation
 *
 * QEMU sends a greeting, then answers commands in order; events come between them at any time.
 * Each command carries a number, and an answer with another number is that of a command whose
 * time limit had passed: it is dropped. Events go into a queue, oldest first.
 *
 *     greeting -> qmp_capabilities -> { command -> answer | event ... }
 *
 * QEMU runs commands in its main loop, which stands still while it drains a disk or sends the last
 * round of memory, for ever if the other side does not read. "Out of band" commands are run all the
 * same, on a monitor whose handshake was done before.
 *
 * Limits: a line of 4 MiB (query-named-block-nodes is the longest that is asked for), 256 queued
 * events.
 */
#include "migrate/hypervisor/qmp.h"

#include <errno.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/un.h>

#include "common/cleanup.h"
#include "common/clock.h"
#include "common/jsonl.h"
#define LOG_MODULE "qmp"
#include "common/log.h"

#define LINE_MOST      (4 << 20)
#define CHANGE_WAIT_NS (100 * NS_PER_MS)

struct qmp {
	int fd;
	struct jsonl *reader;
	json_t *events; /* array, oldest first */
	json_int_t last_id;
	bool urgent; /* out-of-band commands were agreed on */
};

static int connect_unix(const char *path, struct error **err)
{
	struct sockaddr_un address = {.sun_family = AF_UNIX};
	auto_close fd = -1;

	if (strlen(path) >= sizeof(address.sun_path))
		return error_set(err, ENAMETOOLONG, "%s: longer than a socket's path may be", path);
	strcpy(address.sun_path, path);
	fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0);
	if (fd < 0 || connect(fd, (struct sockaddr *)&address, sizeof(address)) < 0)
		return error_errno(err, "%s", path);
	return steal_fd(&fd);
}

static bool has_word(const json_t *list, const char *word)
{
	const json_t *entry;
	size_t i;

	json_array_foreach (list, i, entry)
		if (json_is_string(entry) && strcmp(json_string_value(entry), word) == 0)
			return true;
	return false;
}

static int greet(struct qmp *qmp, int64_t deadline_ns, struct error **err)
{
	auto_json greeting = jsonl_read(qmp->reader, qmp->fd, deadline_ns, err);
	auto_json agreed = NULL;
	const json_t *hello;
	bool urgent;

	if (!greeting)
		return error_wrap(err, "QEMU's greeting");
	hello = json_object_get(greeting, "QMP");
	if (!json_is_object(hello))
		return error_set(err, EPROTO, "expected QEMU's greeting, found another message");
	urgent = has_word(json_object_get(hello, "capabilities"), "oob");
	agreed = qmp_command(qmp, "qmp_capabilities",
			     urgent ? json_pack("{s:[s]}", "enable", "oob") : NULL, deadline_ns,
			     err);
	qmp->urgent = urgent;
	return agreed ? 0 : -1;
}

struct qmp *qmp_create(int fd, int64_t deadline_ns, struct error **err)
{
	struct qmp *qmp = calloc(1, sizeof(*qmp));

	if (!qmp) {
		close(fd);
		error_set(err, ENOMEM, "out of memory");
		return NULL;
	}
	qmp->fd = fd;
	qmp->reader = jsonl_create(LINE_MOST);
	qmp->events = json_array();
	if (!qmp->reader || !qmp->events)
		error_set(err, ENOMEM, "out of memory");
	else if (greet(qmp, deadline_ns, err) == 0)
		return qmp;
	qmp_destroy(qmp);
	return NULL;
}

struct qmp *qmp_connect(const char *path, int64_t deadline_ns, struct error **err)
{
	int fd = connect_unix(path, err);
	struct qmp *qmp;

	if (fd < 0)
		return NULL;
	qmp = qmp_create(fd, deadline_ns, err);
	if (!qmp)
		error_wrap(err, "%s", path);
	return qmp;
}

void qmp_destroy(struct qmp *qmp)
{
	if (!qmp)
		return;
	close(qmp->fd);
	jsonl_destroy(qmp->reader);
	json_decref(qmp->events);
	free(qmp);
}

static void queue_event(struct qmp *qmp, json_t *event)
{
	log_debug("event %s", json_string_value(json_object_get(event, "event")));
	if (json_array_size(qmp->events) >= QMP_EVENTS_MOST)
		json_array_remove(qmp->events, 0);
	json_array_append(qmp->events, event);
}

/* The answer with this number; events are queued on the way, late answers dropped. */
static json_t *read_answer(struct qmp *qmp, json_int_t id, int64_t deadline_ns, struct error **err)
{
	for (;;) {
		auto_json message = jsonl_read(qmp->reader, qmp->fd, deadline_ns, err);
		json_t *answered;

		if (!message)
			return NULL;
		if (json_object_get(message, "event")) {
			queue_event(qmp, message);
			continue;
		}
		answered = json_object_get(message, "id");
		if (json_is_integer(answered) && json_integer_value(answered) == id)
			return steal_ptr(message);
	}
}

static int refusal(const json_t *why, const char *command, struct error **err)
{
	const char *class = json_string_value(json_object_get(why, "class"));
	const char *words = json_string_value(json_object_get(why, "desc"));
	bool unknown = class && strcmp(class, "CommandNotFound") == 0;

	return error_set(err, unknown ? ENOTSUP : EREMOTEIO, "QEMU refused %s: %s", command,
			 words ? words : "no reason given");
}

/* how: "execute" or "exec-oob". */
static json_t *execute(struct qmp *qmp, const char *how, const char *command, json_t *arguments,
		       int64_t deadline_ns, struct error **err)
{
	auto_json taken = arguments;
	auto_json message = json_pack("{s:s s:I}", how, command, "id", ++qmp->last_id);
	auto_json answer = NULL;
	json_t *value;

	if (taken && message)
		json_object_set(message, "arguments", taken);
	if (!message) {
		error_set(err, ENOMEM, "can't encode %s", command);
		return NULL;
	}
	log_debug("%s", command);
	if (jsonl_write(qmp->fd, message, deadline_ns, err) == 0)
		answer = read_answer(qmp, qmp->last_id, deadline_ns, err);
	if (!answer) {
		error_wrap(err, "QEMU's monitor, command %s", command);
		return NULL;
	}
	value = json_object_get(answer, "return");
	if (!value) {
		refusal(json_object_get(answer, "error"), command, err);
		return NULL;
	}
	return json_incref(value);
}

json_t *qmp_command(struct qmp *qmp, const char *command, json_t *arguments, int64_t deadline_ns,
		    struct error **err)
{
	return execute(qmp, "execute", command, arguments, deadline_ns, err);
}

json_t *qmp_command_urgent(struct qmp *qmp, const char *command, json_t *arguments,
			   int64_t deadline_ns, struct error **err)
{
	if (!qmp->urgent) {
		json_decref(arguments);
		error_set(err, ENOTSUP, "QEMU's monitor knows no urgent commands");
		return NULL;
	}
	return execute(qmp, "exec-oob", command, arguments, deadline_ns, err);
}

static bool has_name(const json_t *event, const char *name)
{
	const char *its = json_string_value(json_object_get(event, "event"));

	return its && (!name || strcmp(its, name) == 0);
}

json_t *qmp_event(struct qmp *qmp, const char *name, int64_t deadline_ns, struct error **err)
{
	size_t next = 0; /* of the queue, the first that was not looked at */

	for (;;) {
		auto_json message = NULL;

		for (; next < json_array_size(qmp->events); next++) {
			json_t *event = json_array_get(qmp->events, next);

			if (!has_name(event, name))
				continue;
			json_incref(event);
			json_array_remove(qmp->events, next);
			return event;
		}
		message = jsonl_read(qmp->reader, qmp->fd, deadline_ns, err);
		if (!message)
			return NULL;
		if (!json_object_get(message, "event"))
			continue;
		queue_event(qmp, message);
		next = json_array_size(qmp->events) - 1; /* also when the oldest made room */
	}
}

void qmp_forget_events(struct qmp *qmp)
{
	json_array_clear(qmp->events);
}

int qmp_wait_change(struct qmp *qmp, int64_t deadline_ns, struct error **err)
{
	int64_t now = clock_ns(), until = now + CHANGE_WAIT_NS;
	auto_error why = NULL;
	auto_json event = NULL;

	if (now >= deadline_ns)
		return error_set(err, ETIMEDOUT, "no answer in time");
	event = qmp_event(qmp, NULL, until < deadline_ns ? until : deadline_ns, &why);
	if (event || why->code == ETIMEDOUT)
		return 0;
	return error_propagate(err, steal_ptr(why));
}
