/* SPDX-License-Identifier: GPL-2.0-or-later */
/* `edgehop-xen host` is asked: this program is not linked with Xen's libraries. */
#include "migrate/hypervisor/xen.h"

#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <stdio.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/wait.h>
#include <unistd.h>

#include "common/cleanup.h"
#include "common/clock.h"
#include "common/jsonl.h"

#define LIMIT_NS      (20 * NS_PER_SEC)
#define MACHINES_MOST 16

/* In the child: its words are in one place with its answer. Never returns. */
static void become(const char *program, int out)
{
	prctl(PR_SET_PDEATHSIG, SIGKILL);
	signal(SIGPIPE, SIG_DFL);
	dup2(out, 1);
	closefrom(3);
	execlp(program, program, "host", (char *)NULL);
	_exit(127);
}

/* One object, or NULL with the reason. */
static json_t *ask(struct error **err)
{
	const char *program = xen_program();
	struct jsonl *lines = jsonl_create(XEN_LINE_MOST);
	json_t *json = NULL;
	int ends[2], status = 0;
	pid_t child;

	if (!lines || pipe2(ends, O_CLOEXEC) < 0) {
		jsonl_destroy(lines);
		error_errno(err, "pipe");
		return NULL;
	}
	child = fork();
	if (child == 0)
		become(program, ends[1]);
	close(ends[1]);
	if (child > 0)
		json = jsonl_read(lines, ends[0], clock_ns() + LIMIT_NS, NULL);
	close(ends[0]);
	jsonl_destroy(lines);
	if (child > 0) {
		if (!json)
			kill(child, SIGKILL);
		while (waitpid(child, &status, 0) < 0 && errno == EINTR)
			;
	}
	if (!json)
		error_set(err, ENODEV,
			  "found no Xen that %s could use, expected a host that runs Xen with "
			  "edgehop-xen installed",
			  program);
	return json;
}

static int take_machines(const json_t *list, struct hv_capabilities *can, struct error **err)
{
	size_t n = json_array_size(list);

	if (!json_is_array(list) || n > MACHINES_MOST)
		return error_set(err, EPROTO, "edgehop-xen: field machines: expected a list");
	can->machines = calloc(n + 1, sizeof(*can->machines));
	can->cpus = calloc(2, sizeof(*can->cpus));
	if (!can->machines || !can->cpus)
		return error_set(err, ENOMEM, "out of memory");
	for (size_t i = 0, used = 0; i < n; i++) {
		const char *name = json_string_value(json_array_get(list, i));

		can->machines[used] = name ? strdup(name) : NULL;
		used += can->machines[used] != NULL;
	}
	/* What a domain's CPU can do travels with it: libxl refuses it where the CPU can't. */
	can->cpus[0] = strdup("host");
	return can->cpus[0] ? 0 : error_set(err, ENOMEM, "out of memory");
}

struct hv_capabilities *xen_capabilities(enum vm_accel accel, struct error **err)
{
	auto_json json = ask(err);
	const char *version = json ? json_get_string(json, "version", err) : NULL;
	struct hv_capabilities *can = version ? calloc(1, sizeof(*can)) : NULL;
	int64_t memory;

	(void)accel;
	if (!can)
		return NULL;
	snprintf(can->version, sizeof(can->version), "%s", version);
	if (json_get_int(json, "memory_available", 0, INT64_MAX, &memory, err) == 0 &&
	    take_machines(json_object_get(json, "machines"), can, err) == 0) {
		can->memory_available = (uint64_t)memory;
		return can;
	}
	hv_capabilities_free(can);
	return NULL;
}
