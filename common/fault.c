/* SPDX-License-Identifier: GPL-2.0-or-later */
#include "common/fault.h"

#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <stdbool.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

#include "common/cleanup.h"
#include "common/clock.h"
#include "common/log.h"
#include "common/places.h"

#define LOG_MODULE "fault"

/* The action armed for the point, or NULL. */
static const char *armed_action(const char *name, char line[128])
{
	char path[PATH_MAX];

	if (place(path, NULL, PLACE_RUN "/faults") < 0)
		return NULL;

	auto_file file = fopen(path, "re");

	while (file && fgets(line, 128, file)) {
		char *rest = NULL;
		const char *point = strtok_r(line, " \n", &rest);
		const char *action = strtok_r(NULL, " \n", &rest);

		if (point && action && strcmp(point, name) == 0)
			return action;
	}
	return NULL;
}

/* The other lines stay; a file without any is removed. */
static void disarm(const char *name)
{
	char path[PATH_MAX], fresh[PATH_MAX], line[128];
	size_t length = strlen(name);
	bool empty = true;

	if (place(path, NULL, PLACE_RUN "/faults") < 0 ||
	    place(fresh, NULL, PLACE_RUN "/faults.new") < 0)
		return;

	auto_file file = fopen(path, "re");
	auto_file rest = fopen(fresh, "we");

	while (file && rest && fgets(line, sizeof(line), file)) {
		if (strncmp(line, name, length) == 0 && line[length] == ' ')
			continue;
		fputs(line, rest);
		empty = false;
	}
	unlink(path);
	if (rest && (empty ? unlink(fresh) < 0 : fflush(rest) != 0 || rename(fresh, path) < 0))
		log_warn("%s: %s", path, strerror(errno));
}

static void show(const char *name)
{
	char path[PATH_MAX];

	if (place(path, NULL, PLACE_RUN "/fault-hit-%s", name) < 0)
		return;

	auto_close fd = open(path, O_WRONLY | O_CREAT | O_CLOEXEC, 0600);

	(void)fd;
}

int fault_point(const char *name, struct error **err)
{
	char line[128];
	const char *action = armed_action(name, line);

	if (!action)
		return 0;
	log_warn("fault point %s: %s", name, action);
	disarm(name);
	show(name);
	if (strcmp(action, "kill") == 0)
		raise(SIGKILL);
	while (strcmp(action, "hang") == 0)
		pause();
	if (strcmp(action, "slow") == 0)
		clock_sleep_ms(2000);
	if (strcmp(action, "fail") == 0)
		return error_set(err, EIO, "fault point %s", name);
	return 0;
}
