/* SPDX-License-Identifier: GPL-2.0-or-later */
#include "netswitch/endpoint-state.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <string.h>
#include <sys/file.h>
#include <unistd.h>

#include "common/bytes.h"
#include "common/cleanup.h"
#include "common/places.h"

#define STATE_MOST (1024 * 1024)

void endpoint_state_close(struct endpoint_state *state)
{
	json_decref(state->root);
	if (state->lock >= 0)
		close(state->lock);
}
json_t *endpoint_list_of(json_t *object, const char *key)
{
	json_t *list = json_object_get(object, key);

	if (json_is_array(list))
		return list;
	if (json_object_set_new(object, key, json_array()) < 0)
		return NULL;
	return json_object_get(object, key);
}

static int state_lock(struct error **err)
{
	char path[PATH_MAX];
	int rc;

	if (place(path, err, PLACE_RUN) < 0 || make_dirs(path, err) < 0 ||
	    place(path, err, PLACE_RUN "/endpoints.lock") < 0)
		return -1;

	auto_close fd = open(path, O_RDWR | O_CREAT | O_CLOEXEC, 0600);

	if (fd < 0)
		return error_errno(err, "%s", path);
	do {
		rc = flock(fd, LOCK_EX);
	} while (rc < 0 && errno == EINTR);
	if (rc < 0)
		return error_errno(err, "lock of %s", path);
	return steal_fd(&fd);
}

int endpoint_state_open(struct endpoint_state *state, struct error **err)
{
	auto_free char *text = NULL;
	struct error *why = NULL;
	char path[PATH_MAX];

	state->lock = state_lock(err);
	if (state->lock < 0 || place(path, err, PLACE_RUN "/endpoints.json") < 0)
		return -1;
	text = read_file(path, STATE_MOST, NULL, &why);
	if (text) {
		state->root = json_loads(text, JSON_REJECT_DUPLICATES, NULL);
	} else if (why->code == ENOENT) {
		error_free(why);
		state->root = json_pack("{s:i}", "edgehop", 1);
	} else {
		return error_propagate(err, why);
	}
	if (!json_is_object(state->root))
		return error_set(err, EPROTO, "%s is damaged: remove it when no hop is under way",
				 path);
	if (!endpoint_list_of(state->root, "ours") || !endpoint_list_of(state->root, "holders"))
		return error_set(err, ENOMEM, "%s: no memory", path);
	return 0;
}

int endpoint_state_save(const struct endpoint_state *state, struct error **err)
{
	auto_free char *text = json_dumps(state->root, JSON_INDENT(1));
	char path[PATH_MAX];

	if (!text)
		return error_set(err, ENOMEM, "no memory for the state of the MPTCP endpoints");
	if (place(path, err, PLACE_RUN "/endpoints.json") < 0)
		return -1;
	return write_file_durably(path, text, strlen(text), err);
}

/* When a process started, in ticks since boot; -1: there is no such process (any more). */
static json_int_t process_start(json_int_t pid)
{
	auto_free char *text = NULL;
	char path[64], state;
	const char *after_name;
	unsigned long long start;

	snprintf(path, sizeof(path), "/proc/%" JSON_INTEGER_FORMAT "/stat", pid);
	text = read_file(path, 4096, NULL, NULL);
	after_name = text ? strrchr(text, ')') : NULL;
	if (!after_name ||
	    sscanf(after_name,
		   ") %c %*d %*d %*d %*d %*d %*u %*u %*u %*u %*u %*u %*u %*d %*d %*d %*d %*d %*d "
		   "%llu",
		   &state, &start) != 2 ||
	    state == 'Z')
		return -1;
	return (json_int_t)start;
}

bool endpoint_holder_alive(const json_t *holder)
{
	json_int_t pid = json_integer_value(json_object_get(holder, "pid"));
	json_int_t start = json_integer_value(json_object_get(holder, "start"));

	return pid > 0 && process_start(pid) == start;
}

const char *endpoint_holder_hop(const json_t *holder)
{
	const char *hop = json_string_value(json_object_get(holder, "hop"));

	return hop ? hop : "";
}

bool endpoint_list_has(const json_t *list, const char *text)
{
	const json_t *item;
	size_t i;

	json_array_foreach (list, i, item) {
		if (json_is_string(item) && strcmp(json_string_value(item), text) == 0)
			return true;
	}
	return false;
}

int endpoint_list_add(json_t *list, const char *text, struct error **err)
{
	if (endpoint_list_has(list, text))
		return 0;
	if (!list || json_array_append_new(list, json_string(text)) < 0)
		return error_set(err, ENOMEM, "no memory for the list of MPTCP endpoints");
	return 0;
}

json_t *endpoint_holder_of(struct endpoint_state *state, const char *hop, struct error **err)
{
	json_t *holders = endpoint_list_of(state->root, "holders"), *holder;
	json_int_t pid = getpid();
	size_t i = 0;

	while (i < json_array_size(holders) &&
	       strcmp(endpoint_holder_hop(json_array_get(holders, i)), hop) != 0)
		i++;
	if (i == json_array_size(holders))
		json_array_append_new(holders, json_pack("{s:s}", "hop", hop));
	holder = json_array_get(holders, i);
	if (json_object_set_new(holder, "pid", json_integer(pid)) < 0 ||
	    json_object_set_new(holder, "start", json_integer(process_start(pid))) < 0 ||
	    !endpoint_list_of(holder, "addresses")) {
		error_set(err, ENOMEM, "no memory for the holder of MPTCP endpoints");
		return NULL;
	}
	return holder;
}
