/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * Theory of operation
 *
 * Out: libxl's save helper writes pages into the socket in rounds while the guest runs, and decides
 * by itself when to have it suspended (or the helper that LIBXL_SAVE_HELPER names does). It does
 * not wait there: the last pages and the guest's state follow at once. There is no answer: libxl is
 * content when all is written.
 *
 *     none -> setup -> active -> paused -> completed
 *                         \_________\_____-> failed, cancelled
 *
 * In: the socket's first connection is the stream. libxl leaves the domain paused; only an order
 * lets it run.
 *
 * Stopping: the helper is told through libxl, and the socket is shut down as well, so that a write
 * which nobody reads ends. Log-dirty mode is ended by the helper itself.
 */
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <string.h>
#include <sys/socket.h>

#include "common/cleanup.h"
#include "common/clock.h"
#define LOG_MODULE "stream"
#include "common/log.h"
#include "migrate/transport/local.h"
#include "migrate/xen/domain_internal.h"

#define ACCEPT_NS      (100 * NS_PER_MS)
#define STREAM_VERSION 2
#define ROUND	       "Frames iteration "

static void close_stream(struct domain *domain)
{
	if (domain->stream >= 0)
		close(domain->stream);
	domain->stream = -1;
	if (domain->listener >= 0)
		close(domain->listener);
	domain->listener = -1;
}

static void set_phase(struct domain *domain, enum hv_memory_phase phase, const char *failure)
{
	domain->now.memory.phase = phase;
	snprintf(domain->now.memory.failure, sizeof(domain->now.memory.failure), "%s", failure);
	log_info("the memory's way is %s%s%s", hv_memory_phase_name(phase), *failure ? ": " : "",
		 failure);
	domain_changed(domain);
}

/* ---- Out ---- */

int domain_send(struct domain *domain, const char *path, const struct xen_bounds *bounds,
		struct error **err)
{
	libxl_asyncop_how how = domain_how(domain);
	int rc;

	if (domain->doing != DOING_NOTHING || domain->now.state != HV_RUNNING)
		return error_set(err, EBUSY, "found it %s, expected it to run",
				 hv_state_name(domain->now.state));
	close_stream(domain);
	domain->stream = local_connect(path, err);
	if (domain->stream < 0 || helper_limit(domain->helper, bounds, err) < 0) {
		close_stream(domain);
		return -1;
	}
	helper_begin(domain->helper);
	domain->told = false;
	memset(&domain->now.memory, 0, sizeof(domain->now.memory));
	domain->now.memory.total = domain->def->memory;
	domain->round_pages = domain->before = 0;
	domain->want_running = false;
	domain->doing = DOING_SEND;
	set_phase(domain, HV_MEMORY_ACTIVE, "");
	rc = libxl_domain_suspend(domain->libxl, domain->id, domain->stream, LIBXL_SUSPEND_LIVE,
				  &how);
	if (rc == 0)
		return 0;
	domain->doing = DOING_NOTHING;
	domain->want_running = true;
	close_stream(domain);
	domain_libxl_error(domain, rc, err, "memory can't be sent");
	set_phase(domain, HV_MEMORY_FAILED, "libxl refused");
	return -1;
}

void domain_send_ended(struct domain *domain)
{
	char failure[sizeof(domain->now.memory.failure)];
	const char *complaint = logger_complaint(domain->logger);

	close_stream(domain);
	if (domain->rc == 0 && !domain->want_running) {
		domain->now.memory.remaining = 0;
		set_phase(domain, HV_MEMORY_COMPLETED, "");
		return;
	}
	if (domain->want_running) {
		set_phase(domain, HV_MEMORY_CANCELLED, "");
		return; /* a suspended guest is let run in the loop */
	}
	snprintf(failure, sizeof(failure), "%.200s (libxl's error %d)",
		 *complaint ? complaint : "libxl gave no reason", domain->rc);
	set_phase(domain, HV_MEMORY_FAILED, failure);
}

static uint64_t per_second(uint64_t amount, int64_t ns)
{
	return ns > 0 ? (uint64_t)((double)amount * 1e9 / (double)ns) : 0;
}

/* A round begins: what it has to send was written to in the one before. */
static void begin_round(struct domain *domain, unsigned round, uint64_t pages)
{
	struct hv_memory *memory = &domain->now.memory;
	int64_t now = clock_ns();

	if (round > 0)
		memory->dirty_rate = per_second(pages * XC_PAGE_SIZE, now - domain->round_ns);
	domain->before += domain->round_pages * XC_PAGE_SIZE;
	domain->round_ns = now;
	domain->round_pages = pages;
	memory->rounds = round + 1;
}

/*
 * "Frames iteration 2 of 5", pages done and to be done. The first round goes through all addresses
 * up to 4 GiB, of which what is beyond the guest's memory holds next to nothing.
 */
void domain_note_progress(void *arg, const char *what, unsigned long done, unsigned long total)
{
	struct domain *domain = arg;
	struct hv_memory *memory = &domain->now.memory;
	unsigned long most = domain->def->memory / XC_PAGE_SIZE;
	unsigned round = 0;

	if (domain->doing != DOING_SEND)
		return;
	if (strncmp(what, ROUND, strlen(ROUND)) == 0)
		round = (unsigned)strtoul(what + strlen(ROUND), NULL, 10);
	else if (strncmp(what, "Frames", 6) != 0)
		return;
	else
		round = memory->rounds; /* the last one, while it is paused */
	if (total > most) {
		done = done > most ? most : done;
		total = most;
	}
	if (done == 0 && total > 0)
		begin_round(domain, round, total);
	if (total < done)
		return;
	if (domain->told)
		return;
	memory->remaining = (total - done) * XC_PAGE_SIZE;
	memory->transferred = domain->before + done * XC_PAGE_SIZE;
	memory->rate = per_second(done * XC_PAGE_SIZE * 8, clock_ns() - domain->round_ns);
	memory->downtime_ns =
		memory->rate ? (int64_t)((double)memory->remaining * 8e9 / (double)memory->rate)
			     : 0;
	domain_changed(domain);
}

/* At a round's end, what our helper says of it. */
void domain_note_rounds(struct domain *domain)
{
	if (domain->doing != DOING_SEND || !helper_read(domain->helper, &domain->now.memory))
		return;
	domain->told = true;
	domain_changed(domain);
}

/* ---- In ---- */

int domain_listen(struct domain *domain, const char *path, struct error **err)
{
	if (!domain->expected || domain->doing != DOING_NOTHING || domain->listener >= 0)
		return error_set(err, EBUSY, "found it %s, expected it to wait for its state",
				 hv_state_name(domain->now.state));
	domain->listener = local_listen(path, err);
	if (domain->listener < 0)
		return -1;
	set_phase(domain, HV_MEMORY_SETUP, "");
	return 0;
}

static int restore(struct domain *domain, struct error **err)
{
	libxl_asyncop_how how = domain_how(domain);
	libxl_domain_restore_params params;
	int rc;

	if (domain_make_config(domain, err) < 0 || domain_begin_unfinished(domain, err) < 0)
		return -1;
	libxl_domain_restore_params_init(&params);
	params.stream_version = STREAM_VERSION;
	domain->doing = DOING_RESTORE;
	rc = libxl_domain_create_restore(domain->libxl, &domain->config, &domain->fresh_id,
					 domain->stream, -1, &params, &how, NULL);
	libxl_domain_restore_params_dispose(&params);
	if (rc == 0)
		return 0;
	domain->doing = DOING_NOTHING;
	return domain_libxl_error(domain, rc, err, "the VM's state can't be loaded");
}

void domain_accept(struct domain *domain)
{
	auto_error why = NULL;

	domain->stream = local_accept(domain->listener, clock_ns() + ACCEPT_NS, &why);
	close(domain->listener);
	domain->listener = -1;
	if (domain->stream >= 0 && restore(domain, &why) == 0) {
		set_phase(domain, HV_MEMORY_ACTIVE, "");
		return;
	}
	close_stream(domain);
	set_phase(domain, HV_MEMORY_FAILED, error_text(why));
}

void domain_restore_ended(struct domain *domain)
{
	auto_error why = NULL;

	close_stream(domain);
	domain->expected = false;
	if (domain->rc == 0) {
		domain_arrived(domain, domain->fresh_id);
		if (domain_connect_nics(domain, &why) == 0) {
			domain_finished(domain);
			domain->now.loaded = true;
			set_phase(domain, HV_MEMORY_COMPLETED, "");
			return;
		}
	} else {
		domain_libxl_error(domain, domain->rc, &why, "the VM's state can't be loaded");
		domain_drop_config(domain);
		domain_find_rest(domain);
	}
	set_phase(domain, HV_MEMORY_FAILED, error_text(why));
}

void domain_stop_stream(struct domain *domain)
{
	libxl_asyncop_how how = domain_how(domain);

	(void)libxl_ao_abort(domain->libxl, &how);
	if (domain->stream >= 0)
		shutdown(domain->stream, SHUT_RDWR);
}
