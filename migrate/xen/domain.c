/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * Theory of operation
 *
 * Xen is asked, never remembered: at each look the state is what Xen says of the domain with the
 * VM's UUID, so who adopts a domain knows what its predecessor knew. But three things can't be seen
 * in Xen, and lie in the VM's run folder, which is empty after a boot of the host, as Xen is:
 *
 *     domain      there may be a domain; whoever looks for the VM and finds no process starts one
 *     unfinished  it was never built, or loaded, to its end: it must not run
 *
 * One thing at a time takes long (`doing`); libxl works on it whenever the loop comes by, and says
 * when it has ended. What is ordered meanwhile is noted and done after it:
 *
 *     nothing -> build, restore, send, destroy -> nothing
 *                    |            |
 *                    +-- want_gone: destroyed after it;  want_running: let run after it --+
 *
 * A guest that is suspended runs on by itself only where the driver has said so (want_running, from
 * start, resume and revive until the next send): a request to suspend that a predecessor made may
 * reach the guest after the driver has revived it. Whoever adopts a suspended guest leaves it.
 *
 * How a guest ends: power off -> destroyed, we end; reboot -> destroyed and built anew; crash ->
 * kept for the operator to look at, until it is destroyed.
 */
#include "migrate/xen/domain.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <string.h>
#include <sys/time.h>
#include <unistd.h>

#include "common/bytes.h"
#include "common/cleanup.h"
#define LOG_MODULE "domain"
#include "common/log.h"
#include "migrate/vm/vm_store.h"
#include "migrate/xen/domain_internal.h"

#define MARK_DOMAIN	"domain"
#define MARK_UNFINISHED "unfinished"

/* ---- Marks in the run folder ---- */

static int set_mark(const struct domain *domain, const char *mark, bool on, struct error **err)
{
	char path[PATH_MAX];
	int fd;

	if (vm_store_run_path(path, domain->def->name, mark, err) < 0)
		return -1;
	if (!on)
		return unlink(path) < 0 && errno != ENOENT ? error_errno(err, "%s", path) : 0;
	fd = open(path, O_WRONLY | O_CREAT | O_CLOEXEC, 0600);
	if (fd < 0)
		return error_errno(err, "%s", path);
	close(fd);
	return 0;
}

static bool has_mark(const struct domain *domain, const char *mark)
{
	char path[PATH_MAX];

	return vm_store_run_path(path, domain->def->name, mark, NULL) == 0 &&
	       access(path, F_OK) == 0;
}

/* ---- libxl ---- */

static void on_end(libxl_ctx *libxl, int rc, void *arg)
{
	struct domain *domain = arg;

	(void)libxl;
	domain->ended = true;
	domain->rc = rc;
}

libxl_asyncop_how domain_how(struct domain *domain)
{
	return (libxl_asyncop_how){.callback = on_end, .u.for_callback = domain};
}

int domain_libxl_error(struct domain *domain, int rc, struct error **err, const char *what)
{
	const char *complaint = logger_complaint(domain->logger);

	return error_set(err, EREMOTEIO, "%s: %s (libxl's error %d)", what,
			 *complaint ? complaint : "libxl gave no reason", rc);
}

void domain_changed(struct domain *domain)
{
	domain->now.serial++;
}

static void complain(struct domain *domain, struct error *why)
{
	log_error("%s", error_text(why));
	snprintf(domain->now.why, sizeof(domain->now.why), "%s", error_text(why));
	domain_changed(domain);
	error_free(why);
}

static int find_domain(struct domain *domain, uint32_t *id, struct error **err)
{
	libxl_uuid uuid;
	libxl_dominfo *list;
	int count = 0;

	*id = NO_DOMAIN;
	if (libxl_uuid_from_string(&uuid, domain->def->uuid) < 0)
		return error_set(err, EINVAL, "uuid: found \"%s\"", domain->def->uuid);
	list = libxl_list_domain(domain->libxl, &count);
	if (!list)
		return domain_libxl_error(domain, ERROR_FAIL, err, "the list of domains");
	for (int i = 0; i < count; i++)
		if (libxl_uuid_compare(&list[i].uuid, &uuid) == 0 && !list[i].dying)
			*id = list[i].domid;
	libxl_dominfo_list_free(list, count);
	return 0;
}

/* Its end is to wake us. */
void domain_arrived(struct domain *domain, uint32_t id)
{
	domain->id = id;
	if (libxl_evenable_domain_death(domain->libxl, id, 0, &domain->death) != 0)
		log_warn("the domain's end will not be noticed at once");
	domain_changed(domain);
}

static void lose_domain(struct domain *domain)
{
	if (domain->death)
		libxl_evdisable_domain_death(domain->libxl, domain->death);
	domain->death = NULL;
	domain->id = NO_DOMAIN;
	domain->unfinished = domain->expected = domain->want_gone = false;
	(void)set_mark(domain, MARK_UNFINISHED, false, NULL);
	(void)set_mark(domain, MARK_DOMAIN, false, NULL);
	domain_close_disks(domain);
	domain_changed(domain);
}

struct domain *domain_open(const struct vm_def *def, struct error **err)
{
	struct domain *d = calloc(1, sizeof(*d));

	if (!d) {
		error_set(err, ENOMEM, "out of memory");
		return NULL;
	}
	d->def = def;
	d->id = NO_DOMAIN;
	d->listener = d->stream = -1;
	for (size_t i = 0; i < VM_DISKS_MOST; i++)
		d->loops[i] = -1;
	d->now.serial = 1;
	d->helper = helper_open(def, err);
	if (!d->helper) {
		domain_close(d);
		return NULL;
	}
	d->logger = logger_create(domain_note_progress, d);
	if (!d->logger ||
	    libxl_ctx_alloc(&d->libxl, LIBXL_VERSION, 0, logger_for_libxl(d->logger)) != 0)
		error_set(err, ENODEV,
			  "libxl can't be used: expected a host that runs Xen, as root");
	else if (!(d->xc = xc_interface_open(logger_for_libxl(d->logger), NULL, 0)))
		error_errno(err, "libxenctrl");
	else if (!(d->xs = xs_open(0)))
		error_errno(err, "xenstore");
	else
		return d;
	domain_close(d);
	return NULL;
}

void domain_close(struct domain *domain)
{
	if (!domain)
		return;
	if (domain->death)
		libxl_evdisable_domain_death(domain->libxl, domain->death);
	domain_close_disks(domain);
	if (domain->listener >= 0)
		close(domain->listener);
	if (domain->stream >= 0)
		close(domain->stream);
	domain_drop_config(domain);
	if (domain->xs)
		xs_close(domain->xs);
	if (domain->xc)
		xc_interface_close(domain->xc);
	if (domain->libxl)
		libxl_ctx_free(domain->libxl);
	logger_destroy(domain->logger);
	helper_close(domain->helper);
	free(domain);
}

/* ---- Beginnings ---- */

int domain_begin_unfinished(struct domain *domain, struct error **err)
{
	if (set_mark(domain, MARK_DOMAIN, true, err) < 0 ||
	    set_mark(domain, MARK_UNFINISHED, true, err) < 0)
		return -1;
	domain->unfinished = true;
	return 0;
}

void domain_find_rest(struct domain *domain)
{
	uint32_t id;

	if (find_domain(domain, &id, NULL) < 0)
		return;
	if (id != NO_DOMAIN)
		domain_arrived(domain, id);
	else
		lose_domain(domain);
}

int domain_start(struct domain *domain, struct error **err)
{
	libxl_asyncop_how how = domain_how(domain);
	int rc;

	logger_forget(domain->logger);
	if (domain_make_config(domain, err) < 0 || domain_begin_unfinished(domain, err) < 0)
		return -1;
	domain->want_running = true;
	domain->doing = DOING_BUILD;
	rc = libxl_domain_create_new(domain->libxl, &domain->config, &domain->fresh_id, &how, NULL);
	if (rc == 0)
		return 0;
	domain->doing = DOING_NOTHING;
	lose_domain(domain);
	return domain_libxl_error(domain, rc, err, "the domain can't be built");
}

int domain_adopt(struct domain *domain, struct error **err)
{
	uint32_t id;

	if (find_domain(domain, &id, err) < 0)
		return -1;
	if (id == NO_DOMAIN) {
		lose_domain(domain);
		return error_set(err, ESRCH, "no domain with UUID %s runs here", domain->def->uuid);
	}
	domain->unfinished = has_mark(domain, MARK_UNFINISHED);
	domain_arrived(domain, id);
	log_info("domain %u adopted%s", id, domain->unfinished ? ", which was never finished" : "");
	return set_mark(domain, MARK_DOMAIN, true, err);
}

int domain_expect(struct domain *domain, struct error **err)
{
	uint32_t id;

	if (find_domain(domain, &id, err) < 0)
		return -1;
	if (id != NO_DOMAIN)
		return error_set(err, EEXIST, "domain %u with UUID %s runs here already", id,
				 domain->def->uuid);
	domain->expected = true;
	return 0;
}

/* ---- The state ---- */

static enum hv_state state_of(const struct domain *domain, const libxl_dominfo *info)
{
	if (domain->unfinished || info->dying)
		return HV_BROKEN;
	if (info->shutdown && info->shutdown_reason != LIBXL_SHUTDOWN_REASON_SUSPEND)
		return HV_BROKEN;
	if (info->shutdown)
		return domain->now.memory.phase == HV_MEMORY_COMPLETED ? HV_SENT : HV_PAUSED;
	return info->paused ? HV_PAUSED : HV_RUNNING;
}

bool domain_ask_xen(struct domain *domain, libxl_dominfo *info)
{
	libxl_dominfo_init(info);
	return domain->id != NO_DOMAIN && libxl_domain_info(domain->libxl, info, domain->id) == 0;
}

static enum hv_state look(struct domain *domain, libxl_dominfo *info, bool there)
{
	if (domain->doing == DOING_BUILD)
		return HV_PAUSED;
	if (domain->expected || domain->doing == DOING_RESTORE)
		return HV_INCOMING;
	return there ? state_of(domain, info) : HV_ABSENT;
}

static void note_state(struct domain *domain, enum hv_state state)
{
	bool busy = domain->doing == DOING_DESTROY || domain->want_gone ||
		    (domain->doing == DOING_SEND && domain->want_running);
	bool starting = domain->doing == DOING_BUILD;
	struct hv_memory *memory = &domain->now.memory;

	if (domain->doing == DOING_SEND && state == HV_PAUSED &&
	    memory->phase == HV_MEMORY_ACTIVE) {
		memory->phase = HV_MEMORY_PAUSED;
		domain_changed(domain);
	}
	if (state == domain->now.state && busy == domain->now.busy &&
	    starting == domain->now.starting)
		return;
	domain->now.state = state;
	domain->now.busy = busy;
	domain->now.starting = starting;
	log_info("the VM is %s%s", hv_state_name(state), busy ? ", and at work" : "");
	domain_changed(domain);
}

void domain_status(const struct domain *domain, struct xen_status *status)
{
	*status = domain->now;
}

int64_t domain_id(const struct domain *domain)
{
	return domain->id == NO_DOMAIN ? -1 : (int64_t)domain->id;
}

struct xs_handle *domain_xenstore(const struct domain *domain)
{
	return domain->xs;
}

bool domain_is_over(const struct domain *domain, int *status)
{
	*status = domain->status;
	return domain->over;
}

/* ---- What follows when something has ended ---- */

static void build_ended(struct domain *domain, struct error **err)
{
	if (domain->rc) {
		lose_domain(domain);
		domain->over = true;
		domain->status = 1;
		domain_libxl_error(domain, domain->rc, err, "the domain can't be built");
		return;
	}
	domain_arrived(domain, domain->fresh_id);
	if (domain_connect_disks(domain, err) < 0 || domain_connect_nics(domain, err) < 0) {
		domain->status = 1;
		domain_destroy(domain);
		return;
	}
	domain_finished(domain);
	(void)domain_run(domain, err);
}

void domain_finished(struct domain *domain)
{
	auto_error why = NULL;

	domain->unfinished = false;
	if (set_mark(domain, MARK_UNFINISHED, false, &why) < 0)
		log_warn("%s", error_text(why));
	domain_drop_config(domain);
}

static void destroy_ended(struct domain *domain, struct error **err)
{
	bool rebuild = domain->rebuild;

	domain->rebuild = false;
	if (domain->rc) {
		domain_libxl_error(domain, domain->rc, err, "the domain can't be destroyed");
		return;
	}
	lose_domain(domain);
	if (rebuild && domain_start(domain, err) == 0)
		return;
	domain->over = true;
}

static void go_on(struct domain *domain)
{
	enum doing done = domain->doing;
	struct error *why = NULL;

	domain->doing = DOING_NOTHING;
	domain->ended = false;
	if (done == DOING_BUILD)
		build_ended(domain, &why);
	else if (done == DOING_DESTROY)
		destroy_ended(domain, &why);
	else if (done == DOING_SEND)
		domain_send_ended(domain);
	else if (done == DOING_RESTORE)
		domain_restore_ended(domain);
	if (why)
		complain(domain, why);
	domain_changed(domain);
	if (domain->want_gone && domain->doing == DOING_NOTHING)
		domain_order_destroy(domain);
}

/* What the guest has done by itself. */
static void follow_guest(struct domain *domain, const libxl_dominfo *info)
{
	struct error *why = NULL;

	if (domain->doing != DOING_NOTHING || !info->shutdown || domain->unfinished)
		return;
	switch (info->shutdown_reason) {
	case LIBXL_SHUTDOWN_REASON_POWEROFF:
		log_info("the guest has powered off");
		domain_destroy(domain);
		break;
	case LIBXL_SHUTDOWN_REASON_REBOOT:
		log_info("the guest reboots");
		domain->rebuild = true;
		domain_destroy(domain);
		break;
	case LIBXL_SHUTDOWN_REASON_SUSPEND:
		if (!domain->want_running)
			break;
		log_info("the guest was suspended, and is let run on");
		if (domain_run(domain, &why) < 0) {
			domain->want_running = false;
			complain(domain, why);
		}
		break;
	default:
		break; /* crashed: kept */
	}
}

static void step(struct domain *domain)
{
	libxl_dominfo info;
	libxl_event *event;
	bool there;

	while (libxl_event_check(domain->libxl, &event, LIBXL_EVENTMASK_ALL, NULL, NULL) == 0)
		libxl_event_free(domain->libxl, event);
	domain_note_rounds(domain);
	if (domain->ended)
		go_on(domain);
	there = domain_ask_xen(domain, &info);
	if (there)
		follow_guest(domain, &info);
	if (there)
		libxl_dominfo_dispose(&info);
	there = domain_ask_xen(domain, &info);
	if (!there && domain->id != NO_DOMAIN && domain->doing == DOING_NOTHING) {
		log_warn("domain %u is gone: somebody else has destroyed it", domain->id);
		lose_domain(domain);
		domain->over = true;
	}
	note_state(domain, look(domain, &info, there));
	if (there)
		libxl_dominfo_dispose(&info);
}

/* ---- The loop's part ---- */

size_t domain_poll(struct domain *domain, struct pollfd *fds, size_t room, int *timeout_ms)
{
	struct timeval now;
	int count = (int)room - 1;

	gettimeofday(&now, NULL);
	if (libxl_osevent_beforepoll(domain->libxl, &count, fds, timeout_ms, now) != 0)
		count = 0; /* called again soon: the caller's timeout */
	fds[count] = (struct pollfd){.fd = domain->listener, .events = POLLIN};
	return (size_t)count + 1;
}

void domain_polled(struct domain *domain, const struct pollfd *fds, size_t count)
{
	struct timeval now;

	gettimeofday(&now, NULL);
	libxl_osevent_afterpoll(domain->libxl, (int)count - 1, fds, now);
	if (domain->listener >= 0 && fds[count - 1].fd == domain->listener &&
	    fds[count - 1].revents)
		domain_accept(domain);
	step(domain);
}
