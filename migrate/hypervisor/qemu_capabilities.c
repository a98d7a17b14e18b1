/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * A QEMU with an empty machine is started, asked on its monitor (a socket pair, so that nothing
 * lies anywhere) and ended. What accel needs is opened by QEMU itself: whether KVM works is known
 * only by trying. Its models of CPUs come with the features that this host lacks for them.
 */
#include "migrate/hypervisor/qemu.h"

#include <errno.h>
#include <signal.h>
#include <stdio.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/prctl.h>
#include <sys/socket.h>
#include <sys/wait.h>
#include <unistd.h>

#include "common/cleanup.h"
#include "common/clock.h"
#include "common/jsonl.h"
#include "migrate/hypervisor/qmp.h"

#define LIMIT_NS   (20 * NS_PER_SEC)
#define WORDS_MOST 256

/* In the child: the monitor is descriptor 3, what it says descriptors 1 and 2. Never returns. */
static void become_qemu(enum vm_accel accel, int monitor, int words)
{
	const char *program = qemu_program();

	prctl(PR_SET_PDEATHSIG, SIGKILL);
	signal(SIGPIPE, SIG_DFL);
	dup2(words, 1);
	dup2(words, 2);
	/* dup2() onto itself would leave the close-on-exec flag. */
	if (monitor == 3)
		monitor = dup(monitor);
	dup2(monitor, 3);
	closefrom(4);
	execlp(program, program, "-nodefaults", "-no-user-config", "-display", "none", "-S",
	       "-machine", "none", "-accel", accel == VM_ACCEL_KVM ? "kvm" : "tcg", "-chardev",
	       "socket,id=monitor,fd=3", "-mon", "chardev=monitor,mode=control", (char *)NULL);
	dprintf(2, "%s: %s\n", program, strerror(errno));
	_exit(127);
}

/* Starts it; *monitor gets our end. The child's pid, or -1. */
static pid_t spawn(enum vm_accel accel, int words, int *monitor, struct error **err)
{
	int pair[2];
	pid_t child;

	if (socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, pair) < 0)
		return error_errno(err, "socket pair");
	child = fork();
	if (child == 0)
		become_qemu(accel, pair[1], words);
	close(pair[1]);
	if (child < 0) {
		close(pair[0]);
		return error_errno(err, "fork");
	}
	*monitor = pair[0];
	return child;
}

static char **list_create(size_t most, struct error **err)
{
	char **list = calloc(most + 1, sizeof(*list));

	if (!list)
		error_set(err, ENOMEM, "no memory for a list of %zu names", most);
	return list;
}

static void list_add(char **list, size_t *n, const json_t *name)
{
	if (!json_is_string(name))
		return;
	list[*n] = strdup(json_string_value(name));
	*n += list[*n] != NULL;
}

static char **ask_machines(struct qmp *qmp, int64_t deadline_ns, struct error **err)
{
	auto_json known = qmp_command(qmp, "query-machines", NULL, deadline_ns, err);
	char **list = known ? list_create(2 * json_array_size(known), err) : NULL;
	const json_t *machine;
	size_t i, n = 0;

	if (!list)
		return NULL;
	json_array_foreach (known, i, machine) {
		list_add(list, &n, json_object_get(machine, "name"));
		list_add(list, &n, json_object_get(machine, "alias"));
	}
	return list;
}

/* A model of which the host lacks features would be another CPU than the definition says. */
static char **ask_cpus(struct qmp *qmp, int64_t deadline_ns, struct error **err)
{
	auto_json known = qmp_command(qmp, "query-cpu-definitions", NULL, deadline_ns, err);
	char **list = known ? list_create(json_array_size(known), err) : NULL;
	const json_t *cpu;
	size_t i, n = 0;

	if (!list)
		return NULL;
	json_array_foreach (known, i, cpu) {
		const json_t *missing = json_object_get(cpu, "unavailable-features");

		if (json_array_size(missing) == 0)
			list_add(list, &n, json_object_get(cpu, "name"));
	}
	return list;
}

static int ask_version(struct qmp *qmp, char version[32], int64_t deadline_ns, struct error **err)
{
	auto_json answer = qmp_command(qmp, "query-version", NULL, deadline_ns, err);
	const json_t *qemu = json_object_get(answer, "qemu");

	if (!answer)
		return -1;
	snprintf(version, 32, "%d.%d.%d", (int)json_integer_value(json_object_get(qemu, "major")),
		 (int)json_integer_value(json_object_get(qemu, "minor")),
		 (int)json_integer_value(json_object_get(qemu, "micro")));
	return 0;
}

static struct hv_capabilities *ask(int monitor, int64_t deadline_ns, struct error **err)
{
	struct hv_capabilities *found = calloc(1, sizeof(*found));
	struct qmp *qmp = qmp_create(monitor, deadline_ns, err);

	if (!found && qmp)
		error_set(err, ENOMEM, "out of memory");
	if (qmp && found && ask_version(qmp, found->version, deadline_ns, err) == 0) {
		found->machines = ask_machines(qmp, deadline_ns, err);
		if (found->machines)
			found->cpus = ask_cpus(qmp, deadline_ns, err);
	}
	qmp_destroy(qmp);
	if (found && found->cpus)
		return found;
	hv_capabilities_free(found);
	return NULL;
}

/* The last line of what it said, for an error. */
static void last_words(int words, char line[WORDS_MOST])
{
	char text[4096], *from;
	ssize_t n = pread(words, text, sizeof(text) - 1, 0);

	while (n > 0 && (text[n - 1] == '\n' || text[n - 1] == '\r'))
		n--;
	text[n > 0 ? n : 0] = '\0';
	from = strrchr(text, '\n');
	from = from ? from + 1 : text;
	snprintf(line, WORDS_MOST, "%.200s", *from ? from : "it gave no reason");
}

struct hv_capabilities *qemu_capabilities(enum vm_accel accel, struct error **err)
{
	const char *name = accel == VM_ACCEL_KVM ? "kvm" : "tcg";
	struct hv_capabilities *found;
	struct error *why = NULL;
	char line[WORDS_MOST];
	int monitor = -1;
	auto_close words = memfd_create("words", MFD_CLOEXEC);
	pid_t child;

	if (words < 0) {
		error_errno(err, "memory file");
		return NULL;
	}
	child = spawn(accel, words, &monitor, err);
	if (child < 0)
		return NULL;
	found = ask(monitor, clock_ns() + LIMIT_NS, &why);
	kill(child, SIGKILL);
	while (waitpid(child, NULL, 0) < 0 && errno == EINTR)
		;
	if (found)
		return found;
	last_words(words, line);
	error_set(err, EREMOTEIO, "QEMU with accel %s: %s", name,
		  why && why->code != ECONNRESET && why->code != EPIPE ? why->message : line);
	error_free(why);
	return NULL;
}
