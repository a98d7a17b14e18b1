/* SPDX-License-Identifier: GPL-2.0-or-later */
#include "migrate/control/control.h"

#include <errno.h>
#include <stdlib.h>
#include <unistd.h>

#include "common/clock.h"
#include "common/jsonl.h"

#define LINE_MOST    ((size_t)1 << 20)
#define SILENCE_MS   20000
#define SEND_TIME_NS (20 * NS_PER_SEC)

struct control {
	struct relay *relay;
	int fd; /* our end of it */
	struct jsonl *lines;
};

struct control *control_start(struct channel *channel, struct error **err)
{
	struct control *control = calloc(1, sizeof(*control));

	if (!control || !(control->lines = jsonl_create(LINE_MOST))) {
		free(control);
		channel_destroy(channel);
		error_set(err, ENOMEM, "no memory for the control channel");
		return NULL;
	}
	control->fd = relay_start_pair(channel, SILENCE_MS, &control->relay, err);
	if (control->fd < 0) {
		jsonl_destroy(control->lines);
		free(control);
		return NULL;
	}
	return control;
}

void control_destroy(struct control *control)
{
	if (!control)
		return;
	relay_destroy(control->relay);
	close(control->fd);
	jsonl_destroy(control->lines);
	free(control);
}

int control_fd(const struct control *control)
{
	return control->fd;
}

/* The relay knows better than the socket pair why the channel ended. */
static void explain(struct control *control, struct error **why)
{
	struct error *better = NULL;

	if (*why && (*why)->code == ETIMEDOUT)
		return;
	/* the pair is shut before the relay has told its end */
	for (int i = 0; i < 100 && relay_poll(control->relay, NULL) == RELAY_RUNNING; i++)
		clock_sleep_ms(1);
	if (relay_poll(control->relay, &better) != RELAY_FAILED)
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
