/* SPDX-License-Identifier: GPL-2.0-or-later */
#include "migrate/control/control.h"

#include <errno.h>
#include <poll.h>
#include <stdlib.h>
#include <sys/socket.h>
#include <unistd.h>

#include "common/clock.h"
#include "common/jsonl.h"

#define EXPLAIN_MS   300
#define GOODBYE_MS   300
#define LINE_MOST    ((size_t)1 << 20)
#define SILENCE_MS   20000
#define SEND_TIME_NS (20 * NS_PER_SEC)

struct control {
	struct relay *relay; /* NULL: another process's */
	int (*why)(void *context, struct error **err);
	void *context;
	int fd; /* our end of the relay */
	struct jsonl *lines;
};

static struct control *create(struct error **err)
{
	struct control *control = calloc(1, sizeof(*control));

	if (control)
		control->lines = jsonl_create(LINE_MOST);
	if (control && control->lines)
		return control;
	free(control);
	error_set(err, ENOMEM, "no memory for the control channel");
	return NULL;
}

static void discard(struct control *control)
{
	jsonl_destroy(control->lines);
	free(control);
}

static int relay_failed(void *context, struct error **err)
{
	return relay_poll(context, err) == RELAY_FAILED ? -1 : 0;
}

struct control *control_start(struct channel *channel, struct error **err)
{
	struct control *control = create(err);

	if (!control) {
		channel_destroy(channel);
		return NULL;
	}
	control->fd = relay_start_pair(channel, SILENCE_MS, &control->relay, err);
	if (control->fd < 0) {
		discard(control);
		return NULL;
	}
	control->why = relay_failed;
	control->context = control->relay;
	return control;
}

struct control *control_start_on(int fd, int (*why)(void *context, struct error **err),
				 void *context, struct error **err)
{
	struct control *control = create(err);

	if (!control) {
		close(fd);
		return NULL;
	}
	control->fd = fd;
	control->why = why;
	control->context = context;
	return control;
}

void control_destroy(struct control *control)
{
	if (!control)
		return;
	relay_destroy(control->relay);
	close(control->fd);
	discard(control);
}

/* The relay ends in order once the far side has ended as well. */
void control_goodbye(struct control *control)
{
	int64_t until = clock_ns() + GOODBYE_MS * NS_PER_MS;
	char rest[256];

	if (!control)
		return;
	shutdown(control->fd, SHUT_WR);
	while (clock_ns() < until) {
		struct pollfd f = {.fd = control->fd, .events = POLLIN};

		if (poll(&f, 1, 20) > 0 && recv(control->fd, rest, sizeof(rest), MSG_DONTWAIT) <= 0)
			return;
	}
}

int control_fd(const struct control *control)
{
	return control->fd;
}

/* Whoever relays knows better than the socket pair why the channel ended. */
static void explain(struct control *control, struct error **why)
{
	struct error *better = NULL;

	if (*why && (*why)->code == ETIMEDOUT)
		return;
	/* the pair is shut before the relay has told its end */
	for (int i = 0; i < EXPLAIN_MS && control->why(control->context, &better) == 0; i++)
		clock_sleep_ms(1);
	if (!better)
		return;
	better->code = ECONNRESET; /* never ETIMEDOUT: that means "nothing yet" */
	error_free(*why);
	*why = better;
}

int control_send(struct control *control, const json_t *message, struct error **err)
{
	struct error *why = NULL;

	if (jsonl_write(control->fd, message, clock_ns() + SEND_TIME_NS, &why) == 0)
		return 0;
	explain(control, &why);
	return error_propagate(err, why);
}

json_t *control_receive(struct control *control, int64_t deadline_ns, struct error **err)
{
	struct error *why = NULL;
	json_t *message = jsonl_read(control->lines, control->fd, deadline_ns, &why);

	if (!message) {
		explain(control, &why);
		error_propagate(err, why);
	}
	return message;
}

struct relay *control_relay(struct control *control)
{
	return control->relay;
}

int control_check(const json_t *answer, const char *who, struct error **err)
{
	const char *text;

	if (!json_object_get(answer, "failed"))
		return 0;
	text = json_get_string(answer, "error", NULL);
	return error_set(err, EREMOTEIO, "%s: %s", who, text ? text : "failed");
}
