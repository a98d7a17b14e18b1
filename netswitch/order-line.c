/* SPDX-License-Identifier: GPL-2.0-or-later */
#include "netswitch/order-line.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/random.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <unistd.h>

#include "common/cleanup.h"
#include "common/clock.h"
#include "common/jsonl.h"
#include "common/log.h"
#include "netswitch/replies.h"

#define LOG_MODULE "orders"

/*
 * Theory of operation
 *
 * One order is under way at a time. It has a number, and is sent with an empty line before it,
 * which ends whatever an earlier client left unfinished in the guest. Then lines are read until
 * one bears the number; others are late answers to earlier orders, and skipped, as is a line that
 * is no JSON object (the rest of one whose beginning an earlier client had). After RESEND_MS of
 * silence the same order goes out again; the agent knows it by its number. A closed socket, or a
 * line that has no end, makes us connect again.
 *
 * Numbers begin at random, so that another hop's orders are never taken for repetitions of ours.
 */
#define LINE_MOST    (64 * 1024)
#define RESEND_MS    2000
#define RECONNECT_MS 100

struct orders {
	char *path;
	int fd; /* -1: not connected */
	struct jsonl *lines;
	int64_t next_id;
	int64_t uptime_ms;  /* the guest's, by its last reply; -1: it did not say */
	json_t *unanswered; /* the last order, if its reply did not come in time; else NULL */
};

struct orders *orders_open(const char *path, struct error **err)
{
	struct orders *orders = calloc(1, sizeof(*orders));
	uint32_t start = 0;

	if (orders)
		orders->uptime_ms = -1;
	if (orders)
		orders->path = strdup(path);
	if (!orders || !orders->path) {
		free(orders);
		error_set(err, ENOMEM, "no memory for orders to the guest");
		return NULL;
	}
	orders->fd = -1;
	if (getrandom(&start, sizeof(start), 0) != sizeof(start))
		start = (uint32_t)clock_ns();
	orders->next_id = ((int64_t)start << 16) + 1; /* below 2^53: exact for every JSON reader */
	return orders;
}

static void disconnect(struct orders *orders)
{
	if (orders->fd >= 0)
		close(orders->fd);
	orders->fd = -1;
	jsonl_destroy(orders->lines);
	orders->lines = NULL;
}

int64_t orders_uptime_ns(const struct orders *orders)
{
	return orders->uptime_ms < 0 ? -1 : orders->uptime_ms * NS_PER_MS;
}

void orders_close(struct orders *orders)
{
	if (!orders)
		return;
	disconnect(orders);
	json_decref(orders->unanswered);
	free(orders->path);
	free(orders);
}

static int connect_once(struct orders *orders, struct error **err)
{
	struct sockaddr_un address = {.sun_family = AF_UNIX};
	auto_close fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);

	if (strlen(orders->path) >= sizeof(address.sun_path))
		return error_set(err, ENAMETOOLONG, "%s: longer than a socket's path may be",
				 orders->path);
	memcpy(address.sun_path, orders->path, strlen(orders->path));
	if (fd < 0 || connect(fd, (const struct sockaddr *)&address, sizeof(address)) < 0)
		return error_errno(err, "%s", orders->path);
	orders->lines = jsonl_create(LINE_MOST);
	if (!orders->lines)
		return error_set(err, ENOMEM, "no memory for a line of %d bytes", LINE_MOST);
	orders->fd = steal_fd(&fd);
	return 0;
}

/* Connected in the end, or ETIMEDOUT with the last reason. */
static int ensure_connected(struct orders *orders, int64_t deadline_ns, struct error **err)
{
	while (orders->fd < 0) {
		auto_error why = NULL;

		if (connect_once(orders, &why) == 0)
			break;
		if (clock_ns() + RECONNECT_MS * NS_PER_MS >= deadline_ns)
			return error_set(err, ETIMEDOUT, "no connection to the guest: %s",
					 error_text(why));
		clock_sleep_ms(RECONNECT_MS);
	}
	return 0;
}

static int send_order(struct orders *orders, const json_t *order, int64_t deadline_ns,
		      struct error **err)
{
	ssize_t n = send(orders->fd, "\n", 1, MSG_NOSIGNAL);

	if (n < 0 && errno != EAGAIN)
		return error_errno(err, "sending to the guest");
	return jsonl_write(orders->fd, order, deadline_ns, err);
}

/* The reply with that number; ETIMEDOUT after silence. */
static json_t *read_reply(struct orders *orders, int64_t id, int64_t deadline_ns,
			  struct error **err)
{
	while (clock_ns() < deadline_ns) {
		struct error *why = NULL;
		json_t *reply = jsonl_read(orders->lines, orders->fd, deadline_ns, &why);

		if (reply && json_is_integer(json_object_get(reply, "id")) &&
		    json_integer_value(json_object_get(reply, "id")) == id)
			return reply;
		json_decref(reply);
		if (!reply && why->code != EPROTO) {
			error_propagate(err, why);
			return NULL;
		}
		error_free(why);
	}
	error_set(err, ETIMEDOUT, "no answer in time");
	return NULL;
}

/*
 * The order's number. One that is given again because its reply was late keeps the number that it
 * had: so the reply is still welcome, and the guest need not carry it out twice.
 */
static int64_t number(struct orders *orders, json_t *order)
{
	auto_json before = orders->unanswered;
	int64_t id = before ? json_integer_value(json_object_get(before, "id")) : 0;

	orders->unanswered = NULL;
	json_object_set_new(order, "edgehop", json_integer(1));
	if (before) {
		json_object_set_new(order, "id", json_integer(id));
		if (json_equal(before, order))
			return id;
	}
	id = orders->next_id++;
	json_object_set_new(order, "id", json_integer(id));
	return id;
}

json_t *order_give(struct orders *orders, json_t *order, int64_t deadline_ns, struct error **err)
{
	int64_t id = number(orders, order);
	json_t *reply = NULL;

	while (!reply) {
		struct error *why = NULL;
		int64_t until = clock_ns() + RESEND_MS * NS_PER_MS;

		if (ensure_connected(orders, deadline_ns, err) < 0)
			return NULL;
		if (until > deadline_ns)
			until = deadline_ns;
		if (send_order(orders, order, until, &why) == 0)
			reply = read_reply(orders, id, until, &why);
		if (reply)
			break;
		if (clock_ns() >= deadline_ns) {
			error_set(err, ETIMEDOUT, "the guest's agent does not answer (%s)",
				  error_text(why));
			error_free(why);
			orders->unanswered = json_incref(order);
			return NULL;
		}
		log_debug("order %lld again: %s", (long long)id, error_text(why));
		if (why->code != ETIMEDOUT) {
			disconnect(orders);
			clock_sleep_ms(RECONNECT_MS);
		}
		error_free(why);
	}
	if (json_get_int(reply, "uptime_ms", 0, INT64_MAX / NS_PER_MS, &orders->uptime_ms, NULL) <
	    0)
		orders->uptime_ms = -1;
	if (!json_is_true(json_object_get(reply, "ok"))) {
		const char *text = json_string_value(json_object_get(reply, "error"));
		char clean[256];

		reply_text(clean, sizeof(clean), text ? text : "it does not say why");
		if (json_is_true(json_object_get(reply, "again")))
			error_set(err, EAGAIN, "the guest's agent: %s", clean);
		else
			error_set(err, EREMOTEIO, "the guest's agent refuses: %s", clean);
		json_decref(reply);
		return NULL;
	}
	return reply;
}
