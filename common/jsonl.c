/* SPDX-License-Identifier: GPL-2.0-or-later */
#include "common/jsonl.h"

#include <errno.h>
#include <inttypes.h>
#include <poll.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#include "common/cleanup.h"
#include "common/clock.h"

struct jsonl {
	size_t most;
	size_t used;	/* bytes in data */
	size_t scanned; /* of these, known to hold no newline */
	char *data;	/* most + 1 bytes */
};

struct jsonl *jsonl_create(size_t most)
{
	struct jsonl *reader = calloc(1, sizeof(*reader));

	if (!reader)
		return NULL;
	reader->most = most;
	reader->data = malloc(most + 1);
	if (!reader->data) {
		free(reader);
		return NULL;
	}
	return reader;
}

void jsonl_destroy(struct jsonl *reader)
{
	if (!reader)
		return;
	free(reader->data);
	free(reader);
}

int jsonl_feed(struct jsonl *reader, const void *data, size_t size, struct error **err)
{
	if (size > reader->most - reader->used)
		return error_set(err, EMSGSIZE, "a line of more than %zu bytes was received",
				 reader->most);
	memcpy(reader->data + reader->used, data, size);
	reader->used += size;
	return 0;
}

json_t *jsonl_next(struct jsonl *reader, struct error **err)
{
	for (;;) {
		char *end = memchr(reader->data + reader->scanned, '\n',
				   reader->used - reader->scanned);
		json_error_t why;
		json_t *object;
		size_t length;

		if (!end) {
			reader->scanned = reader->used;
			return NULL;
		}
		length = (size_t)(end - reader->data);
		object = json_loadb(reader->data, length, JSON_REJECT_DUPLICATES, &why);
		reader->used -= length + 1;
		reader->scanned = 0;
		memmove(reader->data, end + 1, reader->used);
		if (!object && length == 0)
			continue;
		if (!json_is_object(object)) {
			json_decref(object);
			error_set(err, EPROTO, "received a line that is not a JSON object: %s",
				  object ? "another type" : why.text);
			return NULL;
		}
		return object;
	}
}

/* Milliseconds for poll(), rounded up. */
static int poll_time(int64_t deadline_ns)
{
	int64_t left;

	if (deadline_ns == INT64_MAX)
		return -1;
	left = deadline_ns - clock_ns();
	if (left <= 0)
		return 0;
	left = (left + NS_PER_MS - 1) / NS_PER_MS;
	return left > 1000000 ? 1000000 : (int)left;
}

static int wait_until(int fd, short events, int64_t deadline_ns, struct error **err)
{
	struct pollfd p = {.fd = fd, .events = events};

	for (;;) {
		int n = poll(&p, 1, poll_time(deadline_ns));

		if (n > 0)
			return 0;
		if (n < 0 && errno != EINTR)
			return error_errno(err, "poll");
		if (n == 0)
			return error_set(err, ETIMEDOUT, "no answer in time");
	}
}

json_t *jsonl_read(struct jsonl *reader, int fd, int64_t deadline_ns, struct error **err)
{
	for (;;) {
		struct error *bad = NULL;
		json_t *object = jsonl_next(reader, &bad);
		char chunk[4096];
		ssize_t n;

		if (object)
			return object;
		if (bad) {
			error_propagate(err, bad);
			return NULL;
		}
		if (wait_until(fd, POLLIN, deadline_ns, err) < 0)
			return NULL;
		n = read(fd, chunk, sizeof(chunk));
		if (n < 0 && (errno == EINTR || errno == EAGAIN))
			continue;
		if (n < 0) {
			error_errno(err, "read");
			return NULL;
		}
		if (n == 0) {
			error_set(err, ECONNRESET, "the other side closed the connection");
			return NULL;
		}
		if (jsonl_feed(reader, chunk, (size_t)n, err) < 0)
			return NULL;
	}
}

int jsonl_write(int fd, const json_t *object, int64_t deadline_ns, struct error **err)
{
	auto_free char *text = json_dumps(object, JSON_COMPACT);
	size_t left, done = 0;

	if (!text)
		return error_set(err, ENOMEM, "can't encode a JSON line");
	left = strlen(text);
	text[left++] = '\n'; /* in place of the NUL: the line is not a string any more */
	while (left > 0) {
		ssize_t n = send(fd, text + done, left, MSG_NOSIGNAL);

		if (n < 0 && errno == ENOTSOCK)
			n = write(fd, text + done, left);
		if (n < 0 && errno == EINTR)
			continue;
		if (n < 0 && errno == EAGAIN) {
			if (wait_until(fd, POLLOUT, deadline_ns, err) < 0)
				return -1;
			continue;
		}
		if (n < 0)
			return error_errno(err, "write");
		done += (size_t)n;
		left -= (size_t)n;
	}
	return 0;
}

static const char *type_name(const json_t *value)
{
	static const char *const names[] = {
		[JSON_OBJECT] = "an object", [JSON_ARRAY] = "a list", [JSON_STRING] = "a string",
		[JSON_INTEGER] = "a number", [JSON_REAL] = "a real",  [JSON_TRUE] = "true",
		[JSON_FALSE] = "false",	     [JSON_NULL] = "null",
	};

	return value ? names[json_typeof(value)] : "nothing";
}

const char *json_get_string(const json_t *object, const char *key, struct error **err)
{
	const json_t *value = json_object_get(object, key);

	if (!json_is_string(value)) {
		error_set(err, EPROTO, "field %s: found %s, expected a string", key,
			  type_name(value));
		return NULL;
	}
	return json_string_value(value);
}

int json_get_int(const json_t *object, const char *key, int64_t least, int64_t most, int64_t *value,
		 struct error **err)
{
	const json_t *field = json_object_get(object, key);

	if (!json_is_integer(field))
		return error_set(err, EPROTO, "field %s: found %s, expected a whole number", key,
				 type_name(field));
	if (json_integer_value(field) < least || json_integer_value(field) > most)
		return error_set(err, EPROTO,
				 "field %s: found %" JSON_INTEGER_FORMAT ", expected %" PRId64
				 " to %" PRId64,
				 key, json_integer_value(field), least, most);
	*value = json_integer_value(field);
	return 0;
}
