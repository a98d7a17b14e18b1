/* SPDX-License-Identifier: GPL-2.0-or-later */
#include "migrate/hop/source_checkpoint.h"

#include <errno.h>
#include <poll.h>
#include <pthread.h>
#include <stdatomic.h>
#include <stdlib.h>
#include <string.h>
#include <sys/syscall.h>
#include <unistd.h>

#include "common/cleanup.h"
#include "common/clock.h"
#include "common/log.h"
#include "migrate/hop/source_internal.h"
#include "migrate/vm/checkpoint.h"

#define LOG_MODULE "checkpoint"
#define LOOK_MS	   20

struct source_checkpoint {
	const char *vm; /* its UUID */
	const struct fleet_checkpoints *limits;
	struct hv_guest_memory memory;
	int process; /* pidfd of the hypervisor: whose memory was read, if it lives after that */
	pthread_t thread;
	int64_t begun_ns;
	atomic_bool stop, done;
	/* the thread's, until it is done */
	int64_t pages, took_ns;
	struct error *why;
};

static int read_guest(void *arg, uint64_t offset, void *buffer, size_t n)
{
	const struct source_checkpoint *c = arg;
	struct pollfd ended = {.fd = c->process, .events = POLLIN};

	if (hv_guest_memory_read(&c->memory, offset, buffer, n) < 0)
		return -1;
	return poll(&ended, 1, 0) == 0 ? 0 : -1;
}

static void *write_it(void *arg)
{
	struct source_checkpoint *c = arg;
	const struct checkpoint_memory memory = {read_guest, c, c->memory.bytes};

	c->pages = checkpoint_write(c->vm, &memory, c->limits, &c->stop, &c->why);
	c->took_ns = clock_ns() - c->begun_ns;
	atomic_store(&c->done, true);
	return NULL;
}

static void destroy(struct source_checkpoint *c)
{
	cleanup_close(&c->process);
	error_free(c->why);
	free(c);
}

/* Why none is written; NULL: one is. */
static const char *why_not(const struct source *s)
{
	if (s->carried.count)
		return "its disks have to be left at once";
	/* what the earlier hop still holds here goes first, and with it the hypervisor */
	if (s->env.facts->supersedes[0])
		return "the hop ends another one, which is held";
	return NULL;
}

static int start(struct source *s, struct source_checkpoint *c, struct error **err)
{
	c->vm = s->env.facts->vm->uuid;
	c->limits = &s->env.fleet->checkpoints;
	c->begun_ns = clock_ns();
	c->process = -1;
	if (hv_guest_memory(s->env.vm, &c->memory, err) < 0)
		return -1;
	c->process = (int)syscall(SYS_pidfd_open, c->memory.pid, 0);
	if (c->process < 0)
		return error_errno(err, "pidfd of the hypervisor");
	if (pthread_create(&c->thread, NULL, write_it, c) != 0)
		return error_set(err, EAGAIN, "no thread");
	return 0;
}

bool source_checkpoint_begin(struct source *s)
{
	const char *reason = why_not(s);
	struct source_checkpoint *c;
	auto_error why = NULL;

	if (!s->job->coding || s->env.fleet->checkpoints.size == 0)
		return false;
	c = reason ? NULL : calloc(1, sizeof(*c));
	if (c && start(s, c, &why) == 0) {
		s->checkpoint = c;
		return true;
	}
	log_info("no checkpoint is kept: %s", reason ? reason : error_text(why));
	if (c)
		destroy(c);
	return false;
}

static void tell(struct source *s, const struct source_checkpoint *c)
{
	double seconds = (double)c->took_ns / 1e9;

	if (c->pages < 0) {
		log_warn("no checkpoint is kept: %s", error_text(c->why));
		report_set(
			s->report, "checkpoint",
			json_pack("{s:f, s:s}", "seconds", seconds, "failed", error_text(c->why)));
		return;
	}
	log_info("a checkpoint of %lld pages is kept, written in %.3f s", (long long)c->pages,
		 seconds);
	report_set(s->report, "checkpoint",
		   json_pack("{s:f, s:I}", "seconds", seconds, "pages", (json_int_t)c->pages));
}

static void finish(struct source *s)
{
	struct source_checkpoint *c = steal_ptr(s->checkpoint);
	auto_error why = NULL;

	pthread_join(c->thread, NULL);
	tell(s, c);
	destroy(c);
	/* as where none is written; what fails here is tried again by the last stage */
	if (hv_kill(s->env.vm, &why) < 0)
		log_warn("%s", error_text(why));
}

void source_checkpoint_look(struct source *s)
{
	if (s->checkpoint && atomic_load(&s->checkpoint->done))
		finish(s);
}

void source_checkpoint_end(struct source *s, int64_t time_ns)
{
	int64_t until = clock_ns() + time_ns;

	if (!s->checkpoint)
		return;
	while (!atomic_load(&s->checkpoint->done) && clock_ns() < until)
		clock_sleep_ms(LOOK_MS);
	atomic_store(&s->checkpoint->stop, true);
	finish(s);
}
