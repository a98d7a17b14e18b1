/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * Theory of operation
 *
 * It is started twice removed, so that it is nobody's child but init's and lives in a session of
 * its own. What goes wrong is on its standard error, which is the log.
 *
 *     us --fork--> a process that ends at once --fork--> it
 *      \________________ a pipe that ends when it does ___/
 *
 * Is it alive? It holds a lock on its pid file as long as it lives, however it ends, and after a
 * reboot the run folder is empty. A pid alone could be another process's by now; a pid whose file
 * is locked can't. To kill it without that race: pidfd first, then look at the lock, then kill.
 */
#include "migrate/hypervisor/process.h"

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

#include "common/cleanup.h"
#include "common/clock.h"
#include "migrate/vm/vm_store.h"

#define LAST_WORDS_MOST 4096
#define PID_MOST	4194304 /* the kernel's own limit */

pid_t process_pid(const char *vm, const char *pid_file)
{
	struct flock lock = {.l_type = F_WRLCK, .l_whence = SEEK_SET};
	char path[PATH_MAX], text[16] = "";
	auto_close fd = -1;
	long pid;

	if (vm_store_run_path(path, vm, pid_file, NULL) < 0)
		return 0;
	fd = open(path, O_RDONLY | O_CLOEXEC);
	if (fd < 0 || fcntl(fd, F_OFD_GETLK, &lock) < 0 || lock.l_type == F_UNLCK)
		return 0;
	if (read(fd, text, sizeof(text) - 1) <= 0)
		return 0;
	pid = strtol(text, NULL, 10);
	return pid > 1 && pid <= PID_MOST ? (pid_t)pid : 0;
}

int process_open(const char *vm, const char *pid_file)
{
	pid_t pid = process_pid(vm, pid_file);
	int fd = pid ? pidfd_open(pid, 0) : -1;

	if (fd >= 0 && process_pid(vm, pid_file) != pid) {
		close(fd);
		return -1;
	}
	return fd;
}

bool process_wait_end(int pidfd, int64_t deadline_ns)
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
static const char *essence(const char *line, const char *program, size_t most)
{
	const char *name = strstr(line, program);
	const char *colon = name ? strstr(name, ": ") : NULL;

	if (colon)
		line = colon + 2;
	return strlen(line) > most ? line + strlen(line) - most : line;
}

void process_last_words(const char *vm, const char *log_file, const char *program, char *buf,
			size_t size)
{
	char path[PATH_MAX], text[LAST_WORDS_MOST + 1], *line;
	auto_close fd = -1;
	struct stat st;
	ssize_t n;

	buf[0] = '\0';
	if (vm_store_run_path(path, vm, log_file, NULL) < 0)
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
	snprintf(buf, size, "%s", essence(line ? line + 1 : text, program, size - 1));
}

/* In the grandchild: output into the log, then the program. Never returns. */
static void become(char *const *argv, int log, int lifeline)
{
	int null = open("/dev/null", O_RDONLY);

	dup2(null, 0);
	dup2(log, 1);
	dup2(log, 2);
	dup2(lifeline, PROCESS_LIFELINE);
	closefrom(PROCESS_LIFELINE + 1);
	signal(SIGPIPE, SIG_DFL);
	if (chdir("/") == 0)
		execvp(argv[0], argv);
	dprintf(2, "%s: %s\n", argv[0], strerror(errno));
	_exit(127);
}

static int open_log(const char *vm, const char *log_file, struct error **err)
{
	char path[PATH_MAX];
	int fd;

	if (vm_store_run_path(path, vm, log_file, err) < 0)
		return -1;
	fd = open(path, O_WRONLY | O_CREAT | O_TRUNC | O_APPEND | O_CLOEXEC, 0600);
	return fd < 0 ? error_errno(err, "%s", path) : fd;
}

int process_spawn(char *const *argv, const char *vm, const char *log_file, struct error **err)
{
	auto_close log = open_log(vm, log_file, err);
	int lifeline[2];
	pid_t child;

	if (log < 0)
		return -1;
	if (pipe2(lifeline, O_CLOEXEC) < 0)
		return error_errno(err, "pipe");
	child = fork();
	if (child == 0) {
		setsid();
		child = fork();
		if (child == 0)
			become(argv, log, lifeline[1]);
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
