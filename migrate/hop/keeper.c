/* SPDX-License-Identifier: GPL-2.0-or-later */
#include "migrate/hop/keeper.h"

#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/file.h>
#include <sys/pidfd.h>
#include <sys/prctl.h>
#include <sys/resource.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

#include "common/bytes.h"
#include "common/cleanup.h"
#include "common/clock.h"
#include "common/log.h"
#include "common/places.h"
#include "migrate/hop/history.h"

#define LOG_MODULE "keeper"

#define GONE_LIMIT_MS 20000 /* one that is killed and can't end hangs in the kernel */
#define GONE_LOOK_MS  10

/*
 * Theory of operation
 *
 * keeper_start forks twice, so that the keeper belongs to nobody; the keeper forks the worker. The
 * worker holds a lock on the file "worker" of the hop's folder for as long as it lives; the kernel
 * drops it with the process, so whether a worker lives never depends on a process number. A pipe
 * tells the caller that both stand, by a zero byte, or why they do not.
 */
static int hop_path(char path[PATH_MAX], const char *hop, const char *file, struct error **err)
{
	return place(path, err, PLACE_RUN "/hops/%s/%s", hop, file);
}

static int write_pid(const char *hop, const char *file, struct error **err)
{
	char path[PATH_MAX], text[24];
	int fd;

	if (hop_path(path, hop, file, err) < 0)
		return -1;
	fd = open(path, O_RDWR | O_CREAT | O_CLOEXEC, 0600);
	if (fd < 0 || flock(fd, LOCK_EX | LOCK_NB) < 0 || ftruncate(fd, 0) < 0)
		return error_errno(err, "%s", path);
	snprintf(text, sizeof(text), "%d\n", (int)getpid());
	return write_all(fd, text, strlen(text), err) < 0 ? error_wrap(err, "%s", path) : fd;
}

/* To the caller through the pipe, since the log may be what can't be written. */
static _Noreturn void give_up(int ready, const struct error *why)
{
	(void)!write(ready, error_text(why), strlen(error_text(why)));
	_exit(1);
}

static void detach(int log_fd, int keep)
{
	int nowhere = open("/dev/null", O_RDWR);
	struct rlimit no_core = {0, 0};

	setsid();
	dup2(nowhere, STDIN_FILENO);
	dup2(log_fd, STDOUT_FILENO);
	dup2(log_fd, STDERR_FILENO);
	if (keep > STDERR_FILENO) {
		if (keep > 3)
			close_range(3, (unsigned)keep - 1, 0);
		close_range((unsigned)keep + 1, ~0u, 0);
	}
	signal(SIGHUP, SIG_IGN);
	signal(SIGPIPE, SIG_IGN);
	/* whoever interrupts commands by their name means those at a terminal */
	signal(SIGINT, SIG_IGN);
	signal(SIGQUIT, SIG_IGN);
	setrlimit(RLIMIT_CORE, &no_core); /* the hop's key is in memory */
	if (chdir("/") < 0)
		log_warn("chdir: %s", strerror(errno));
	umask(077);
	log_set_fd(STDERR_FILENO);
	log_set_level(LOG_LEVEL_INFO);
}

/* why: there is no worker */
static _Noreturn void end_by_recovery(const struct keeper_job *job, const char *why)
{
	const char *outcome = "nothing is known of the VM";
	auto_free char *text = NULL;
	auto_json report = NULL;
	auto_json end = NULL;
	int status;

	status = job->recover(job->hop, job->context, &outcome);
	if (asprintf(&text, "%s; %s", why, outcome) < 0)
		text = NULL;
	history_note_quietly(job->hop, text ? text : outcome);
	report = history_read(job->hop, NULL);
	end = json_pack("{s:s, s:s, s:i, s:s, s:O*}", "event", "end", "hop", job->hop, "status",
			status, status == 0 ? "note" : "error", text ? text : outcome, "report",
			report);
	keeper_write_end(job->hop, end);
	_exit(status);
}

static _Noreturn void end_after_death(const struct keeper_job *job, int wait_status)
{
	if (WIFSIGNALED(wait_status))
		log_error("the worker was killed by signal %d; recovering", WTERMSIG(wait_status));
	else
		log_error("the worker ended with status %d and no word; recovering",
			  WEXITSTATUS(wait_status));
	end_by_recovery(job, "the hop's worker died");
}

static void say_ready(int ready)
{
	if (write(ready, "", 1) != 1)
		_exit(1);
	close(ready);
}

static _Noreturn void keep(const struct keeper_job *job, int ready)
{
	struct error *why = NULL;
	int wait_status = 0;
	int own_lock;
	pid_t worker;

	prctl(PR_SET_NAME, "edgehop-keeper");
	log_set_hop(job->hop);
	own_lock = write_pid(job->hop, "keeper", &why);
	if (own_lock < 0)
		give_up(ready, why);
	if (!job->work) {
		say_ready(ready);
		end_by_recovery(job, "the hop's host was down");
	}
	worker = fork();
	if (worker < 0) {
		error_errno(&why, "fork");
		give_up(ready, why);
	}
	if (worker == 0) {
		prctl(PR_SET_NAME, "edgehop-worker");
		close(own_lock); /* inherited, it would outlive the keeper */
		if (write_pid(job->hop, "worker", &why) < 0)
			give_up(ready, why);
		say_ready(ready);
		exit(job->work(job->context));
	}
	close(ready);
	while (waitpid(worker, &wait_status, 0) < 0 && errno == EINTR)
		;
	if (!WIFEXITED(wait_status) || !keeper_has_end(job->hop))
		end_after_death(job, wait_status);
	_exit(WEXITSTATUS(wait_status));
}

int keeper_start(const struct keeper_job *job, struct error **err)
{
	char path[PATH_MAX];
	char word[512]; /* an empty one, or why not */
	int ready[2];
	pid_t child;
	ssize_t n;

	if (place(path, err, PLACE_RUN "/hops/%s", job->hop) < 0 || make_dirs(path, err) < 0 ||
	    hop_path(path, job->hop, "log", err) < 0)
		return -1;

	auto_close log_fd = open(path, O_WRONLY | O_CREAT | O_APPEND | O_CLOEXEC, 0600);

	if (log_fd < 0)
		return error_errno(err, "%s", path);
	if (pipe2(ready, O_CLOEXEC) < 0)
		return error_errno(err, "pipe");
	child = fork();
	if (child < 0) {
		error_errno(err, "fork");
		close(ready[0]);
		close(ready[1]);
		return -1;
	}
	if (child == 0) {
		detach(log_fd, ready[1]);
		child = fork();
		if (child != 0)
			_exit(child < 0);
		keep(job, ready[1]);
	}
	close(ready[1]);
	waitpid(child, NULL, 0);
	n = read(ready[0], word, sizeof(word) - 1);
	close(ready[0]);
	if (n == 1 && word[0] == '\0')
		return 0;
	return error_set(err, EAGAIN, "the worker could not be started: %s%.*s",
			 n > 0 ? "" : "see ", n > 0 ? (int)n : (int)strlen(path),
			 n > 0 ? word : path);
}

void keeper_write_end(const char *hop, const json_t *end)
{
	auto_free char *text = json_dumps(end, JSON_COMPACT);
	char path[PATH_MAX];
	auto_error why = NULL;

	if (!text || hop_path(path, hop, "end.json", &why) < 0 ||
	    write_file_durably(path, text, strlen(text), &why) < 0)
		log_error("the hop's end can't be kept: %s", error_text(why));
}

bool keeper_has_end(const char *hop)
{
	char path[PATH_MAX];

	return hop_path(path, hop, "end.json", NULL) == 0 && access(path, F_OK) == 0;
}

json_t *keeper_read_end(const char *hop, struct error **err)
{
	char path[PATH_MAX];
	json_error_t why;
	json_t *end;

	if (hop_path(path, hop, "end.json", err) < 0)
		return NULL;
	if (!keeper_has_end(hop))
		return NULL;
	end = json_load_file(path, 0, &why);
	if (!end)
		error_set(err, EPROTO, "%s:%d: %s", path, why.line, why.text);
	return end;
}

/* Whether a process holds the file's lock. */
static bool held(const char *hop, const char *file)
{
	char path[PATH_MAX];

	if (hop_path(path, hop, file, NULL) < 0)
		return false;

	auto_close fd = open(path, O_RDWR | O_CLOEXEC);

	return fd >= 0 && flock(fd, LOCK_EX | LOCK_NB) < 0;
}

bool keeper_lives(const char *hop)
{
	return held(hop, "keeper") || held(hop, "worker");
}

/* The number in the file; 0: it is not written yet. */
static pid_t number_in(const char *path)
{
	auto_free char *text = read_file(path, 32, NULL, NULL);
	int number = text ? atoi(text) : 0;

	return number > 1 ? number : 0;
}

/*
 * Kills the process that holds the file's lock; only while it does, so that a number that has
 * become another process's hits nobody.
 */
static void kill_holder(int fd, const char *path)
{
	pid_t pid = number_in(path);
	auto_close process = pid ? pidfd_open(pid, 0) : -1;

	if (process >= 0 && flock(fd, LOCK_EX | LOCK_NB) < 0)
		pidfd_send_signal(process, SIGKILL, NULL, 0);
}

/* Ends the process whose lock and number stand in the file. True: nobody holds it any more. */
static bool gone(const char *hop, const char *file)
{
	char path[PATH_MAX];

	if (hop_path(path, hop, file, NULL) < 0)
		return false;

	auto_close fd = open(path, O_RDWR | O_CLOEXEC);

	if (fd < 0)
		return errno == ENOENT;
	for (int i = 0; i < GONE_LIMIT_MS / GONE_LOOK_MS; i++) {
		if (flock(fd, LOCK_EX | LOCK_NB) == 0)
			return true;
		kill_holder(fd, path);
		clock_sleep_ms(GONE_LOOK_MS);
	}
	return false;
}

bool keeper_worker_gone(const char *hop)
{
	/* The keeper first: it would start a recovery beside ours. A keeper that asks is not
	 * killed. */
	char path[PATH_MAX];
	auto_free char *text = NULL;

	if (hop_path(path, hop, "keeper", NULL) == 0)
		text = read_file(path, 32, NULL, NULL);
	if (text && atoi(text) == (int)getpid())
		return gone(hop, "worker");
	return gone(hop, "keeper") && gone(hop, "worker");
}
