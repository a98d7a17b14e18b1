/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * Theory of operation
 *
 * QEMU is started twice removed, so that it is nobody's child but init's and lives in a session of
 * its own. (Its own -daemonize can't be had together with its seccomp sandbox.) What goes wrong is
 * on its standard error, which is the log.
 *
 *     us --fork--> a process that ends at once --fork--> QEMU
 *      \________________ a pipe that ends when QEMU does ___/
 *
 * It is up when its monitor answers a command: then its main loop runs.
 *
 * Is it alive? QEMU holds a lock on its pid file as long as it lives, however it ends, and after a
 * reboot the run folder is empty. A pid alone could be another process's by now; a pid whose file
 * is locked can't. To kill it without that race: pidfd first, then look at the lock, then kill.
 */
#include "migrate/hypervisor/qemu.h"

#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <signal.h>
#include <stdio.h>
#include <string.h>
#include <sys/pidfd.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

#include "common/bytes.h"
#include "common/cleanup.h"
#include "common/clock.h"
#define LOG_MODULE "qemu"
#include "common/log.h"
#include "migrate/hypervisor/hugepages.h"
#include "migrate/vm/vm_store.h"

#define START_LIMIT_NS	(60 * NS_PER_SEC)
#define START_LOOK_MS	10
#define QUIT_LIMIT_NS	(5 * NS_PER_SEC)
#define KILL_LIMIT_NS	(10 * NS_PER_SEC)
#define LAST_WORDS_MOST 4096
#define PID_MOST	4194304 /* the kernel's own limit */

/* The pid in QEMU's pid file while QEMU holds its lock; 0: it does not run. */
static pid_t locked_pid(const struct hv_vm *vm)
{
	struct flock lock = {.l_type = F_WRLCK, .l_whence = SEEK_SET};
	char path[PATH_MAX], text[16] = "";
	auto_close fd = -1;
	long pid;

	if (vm_store_run_path(path, vm->def->name, "pid", NULL) < 0)
		return 0;
	fd = open(path, O_RDONLY | O_CLOEXEC);
	if (fd < 0 || fcntl(fd, F_OFD_GETLK, &lock) < 0 || lock.l_type == F_UNLCK)
		return 0;
	if (read(fd, text, sizeof(text) - 1) <= 0)
		return 0;
	pid = strtol(text, NULL, 10);
	return pid > 1 && pid <= PID_MOST ? (pid_t)pid : 0;
}

pid_t qemu_pid(const struct hv_vm *vm)
{
	return locked_pid(vm);
}

bool qemu_alive(struct hv_vm *vm)
{
	return locked_pid(vm) != 0;
}

/* A descriptor for the process, or -1 when it does not run: then there is nothing to end. */
static int open_process(const struct hv_vm *vm)
{
	pid_t pid = locked_pid(vm);
	int fd = pid ? pidfd_open(pid, 0) : -1;

	if (fd >= 0 && locked_pid(vm) != pid) {
		close(fd);
		return -1;
	}
	return fd;
}

/* Waits until the process has ended. false: it has not, in time. */
static bool wait_end(int pidfd, int64_t deadline_ns)
{
	struct pollfd p = {.fd = pidfd, .events = POLLIN};

	for (;;) {
		int64_t left = deadline_ns - clock_ns();
		int n = poll(&p, 1, left > 0 ? (int)(left / NS_PER_MS) + 1 : 0);

		if (n > 0)
			return true;
		if (n == 0 && left <= 0)
			return false;
		if (n < 0 && errno != EINTR)
			return false;
	}
}

/* Of "TIME qemu-system-x86_64: -blockdev {...}: Could not open ...", what the reader needs: the
 * end. */
static const char *essence(const char *line, size_t most)
{
	const char *program = strstr(line, "qemu-system-");
	const char *colon = program ? strstr(program, ": ") : NULL;

	if (colon)
		line = colon + 2;
	return strlen(line) > most ? line + strlen(line) - most : line;
}

void qemu_last_words(const struct hv_vm *vm, char *buf, size_t size)
{
	char path[PATH_MAX], text[LAST_WORDS_MOST + 1], *line;
	auto_close fd = -1;
	struct stat st;
	ssize_t n;

	buf[0] = '\0';
	if (vm_store_run_path(path, vm->def->name, "qemu.log", NULL) < 0)
		return;
	fd = open(path, O_RDONLY | O_CLOEXEC);
	if (fd < 0 || fstat(fd, &st) < 0)
		return;
	n = pread(fd, text, LAST_WORDS_MOST,
		  st.st_size > LAST_WORDS_MOST ? st.st_size - LAST_WORDS_MOST : 0);
	while (n > 0 && (text[n - 1] == '\n' || text[n - 1] == '\r'))
		n--;
	if (n <= 0)
		return;
	text[n] = '\0';
	line = strrchr(text, '\n');
	snprintf(buf, size, "%s", essence(line ? line + 1 : text, size - 1));
}

/* In the grandchild: output into the log, then QEMU. The lifeline stays open. Never returns. */
static void become_qemu(char **argv, int log, int lifeline)
{
	int null = open("/dev/null", O_RDONLY);

	dup2(null, 0);
	dup2(log, 1);
	dup2(log, 2);
	dup2(lifeline, 3);
	closefrom(4);
	signal(SIGPIPE, SIG_DFL);
	if (chdir("/") == 0)
		execvp(argv[0], argv);
	dprintf(2, "%s: %s\n", argv[0], strerror(errno));
	_exit(127);
}

/* Starts it in the background. The lifeline's reading end, which ends when QEMU does; or -1. */
static int spawn(char **argv, int log, struct error **err)
{
	int lifeline[2];
	pid_t child;

	if (pipe2(lifeline, O_CLOEXEC) < 0)
		return error_errno(err, "pipe");
	child = fork();
	if (child == 0) {
		setsid();
		child = fork();
		if (child == 0)
			become_qemu(argv, log, lifeline[1]);
		_exit(child < 0);
	}
	close(lifeline[1]);
	if (child < 0) {
		close(lifeline[0]);
		return error_errno(err, "fork");
	}
	/* A grandchild that could not be made shows as an end of the lifeline. */
	while (waitpid(child, NULL, 0) < 0 && errno == EINTR)
		;
	return lifeline[0];
}

/* true: its main loop runs. false: it has ended, or the time is over. */
static bool wait_up(struct hv_vm *vm, int lifeline)
{
	int64_t deadline = clock_ns() + START_LIMIT_NS;
	struct pollfd p = {.fd = lifeline, .events = POLLIN};

	while (clock_ns() < deadline) {
		if (poll(&p, 1, START_LOOK_MS) > 0)
			return false;
		if (qemu_alive(vm) && qemu_command(vm, "query-version", NULL, NULL) == 0)
			return true;
	}
	return false;
}

static int run(struct hv_vm *vm, char **argv, struct error **err)
{
	char path[PATH_MAX], words[256];
	auto_close lifeline = -1;
	auto_close log = -1;

	if (vm_store_run_path(path, vm->def->name, "qemu.log", err) < 0)
		return -1;
	log = open(path, O_WRONLY | O_CREAT | O_TRUNC | O_APPEND | O_CLOEXEC, 0600);
	if (log < 0)
		return error_errno(err, "%s", path);
	lifeline = spawn(argv, log, err);
	if (lifeline < 0)
		return -1;
	if (wait_up(vm, lifeline))
		return 0;
	qemu_last_words(vm, words, sizeof(words));
	qemu_kill(vm, NULL);
	return error_set(err, EREMOTEIO, "QEMU does not start: %s",
			 *words ? words : "it gave no reason in time");
}

static int start(struct hv_vm *vm, bool incoming, struct error **err)
{
	char **argv;
	int status;

	if (qemu_alive(vm))
		return error_set(err, EEXIST, "it runs here already");
	if (hugepages_check(vm->def, err) < 0 || vm_store_make_run(vm->def->name, err) < 0)
		return -1;
	argv = qemu_args(vm->def, incoming, err);
	if (!argv)
		return -1;
	qemu_drop_monitor(vm);
	status = run(vm, argv, err);
	qemu_args_free(argv);
	return status;
}

int qemu_start(struct hv_vm *vm, struct error **err)
{
	return start(vm, false, err);
}

int qemu_start_incoming(struct hv_vm *vm, struct error **err)
{
	return start(vm, true, err);
}

int qemu_shut_down(struct hv_vm *vm, int64_t deadline_ns, struct error **err)
{
	auto_close process = open_process(vm);

	if (process < 0)
		return 0;
	if (qemu_command(vm, "system_powerdown", NULL, err) < 0)
		return -1;
	/* The monitor is left, so that QEMU's end finds no reader behind. */
	qemu_drop_monitor(vm);
	if (!wait_end(process, deadline_ns))
		return error_set(err, ETIMEDOUT, "the guest did not power off in time, it runs on");
	return 0;
}

int qemu_kill(struct hv_vm *vm, struct error **err)
{
	auto_close process = open_process(vm);

	qemu_drop_monitor(vm);
	if (process < 0)
		return 0;
	/* On SIGTERM QEMU ends in order, and needs no monitor for it, which another may hold. */
	pidfd_send_signal(process, SIGTERM, NULL, 0);
	if (wait_end(process, clock_ns() + QUIT_LIMIT_NS))
		return 0;
	log_warn("QEMU of VM %s does not heed SIGTERM: killed", vm->def->name);
	pidfd_send_signal(process, SIGKILL, NULL, 0);
	if (!wait_end(process, clock_ns() + KILL_LIMIT_NS))
		return error_set(err, ETIMEDOUT, "QEMU does not end, although it was killed");
	return 0;
}
