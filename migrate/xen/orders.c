/* SPDX-License-Identifier: GPL-2.0-or-later */
/* What the driver may order. What takes long is begun here; domain.c goes on when it has ended. */
#include <errno.h>
#include <stdio.h>
#include <string.h>

#include "common/cleanup.h"
#define LOG_MODULE "domain"
#include "common/log.h"
#include "migrate/xen/domain_internal.h"

/* A request to suspend that nobody waits for any more, and that the guest has not seen yet. */
static void withdraw_suspend(struct domain *domain)
{
	char path[64];

	snprintf(path, sizeof(path), "/local/domain/%u/control/shutdown", domain->id);
	for (int i = 0; i < 3; i++) {
		xs_transaction_t t = xs_transaction_start(domain->xs);
		unsigned n = 0;
		auto_free char *value = t ? xs_read(domain->xs, t, path, &n) : NULL;
		bool there = value && strcmp(value, "suspend") == 0;

		if (!t)
			return;
		if (there)
			xs_write(domain->xs, t, path, "", 0);
		if (xs_transaction_end(domain->xs, t, !there) || errno != EAGAIN || !there)
			return;
	}
}

/* What a predecessor's save may have left on. */
static void stop_log_dirty(struct domain *domain)
{
	if (xc_shadow_control(domain->xc, domain->id, XEN_DOMCTL_SHADOW_OP_OFF, NULL, 0) < 0)
		log_debug("no log of dirty pages was to be ended: %s", strerror(errno));
}

int domain_run(struct domain *domain, struct error **err)
{
	libxl_dominfo info;
	int rc = 0;

	logger_forget(domain->logger);
	if (!domain_ask_xen(domain, &info))
		return error_set(err, ESRCH, "there is no domain that could run");
	if (domain->unfinished)
		return error_set(err, EINVAL,
				 "domain %u was never finished: it can only be destroyed",
				 domain->id);
	if (info.shutdown && info.shutdown_reason == LIBXL_SHUTDOWN_REASON_SUSPEND) {
		rc = libxl_domain_resume(domain->libxl, domain->id, 1, NULL);
		domain->now.memory.phase = domain->now.memory.phase == HV_MEMORY_COMPLETED
						   ? HV_MEMORY_NONE
						   : domain->now.memory.phase;
	}
	if (rc == 0 && info.paused)
		rc = libxl_domain_unpause(domain->libxl, domain->id, NULL);
	libxl_dominfo_dispose(&info);
	return rc ? domain_libxl_error(domain, rc, err, "the guest can't be let run") : 0;
}

static int order_resume(struct domain *domain, struct error **err)
{
	if (domain->expected || domain->doing == DOING_RESTORE)
		return error_set(err, EINVAL, "not all of its state has arrived yet");
	if (domain->doing != DOING_NOTHING)
		return error_set(err, EBUSY, "something else is being done with it");
	if (domain_connect_disks(domain, err) < 0)
		return -1;
	domain->want_running = true;
	return domain_run(domain, err);
}

static int order_revive(struct domain *domain, struct error **err)
{
	if (domain->id == NO_DOMAIN)
		return error_set(err, ESRCH, "there is no domain that could run");
	domain->want_running = true;
	if (domain->doing == DOING_SEND) {
		domain_stop_stream(domain);
		return 0; /* the rest when that has ended */
	}
	if (domain->doing != DOING_NOTHING)
		return error_set(err, EBUSY, "something else is being done with it");
	withdraw_suspend(domain);
	stop_log_dirty(domain);
	return domain_run(domain, err);
}

static int order_pause(struct domain *domain, struct error **err)
{
	int rc;

	if (domain->doing != DOING_NOTHING || domain->id == NO_DOMAIN)
		return error_set(err, EBUSY, "found it %s, expected it to run",
				 hv_state_name(domain->now.state));
	rc = libxl_domain_pause(domain->libxl, domain->id, NULL);
	return rc ? domain_libxl_error(domain, rc, err, "the guest can't be paused") : 0;
}

static int order_power_off(struct domain *domain, struct error **err)
{
	int rc;

	if (domain->id == NO_DOMAIN)
		return error_set(err, ESRCH, "there is no domain that could power off");
	rc = libxl_domain_shutdown(domain->libxl, domain->id, NULL);
	if (rc == ERROR_NOPARAVIRT)
		rc = libxl_send_trigger(domain->libxl, domain->id, LIBXL_TRIGGER_POWER, 0, NULL);
	return rc ? domain_libxl_error(domain, rc, err, "the guest can't be asked") : 0;
}

void domain_destroy(struct domain *domain)
{
	libxl_asyncop_how how = domain_how(domain);
	int rc;

	domain->want_gone = false;
	domain->doing = DOING_DESTROY;
	rc = libxl_domain_destroy(domain->libxl, domain->id, &how);
	if (rc) {
		domain->ended = true;
		domain->rc = rc;
	}
}

int domain_order_destroy(struct domain *domain)
{
	domain->rebuild = false;
	if (domain->doing == DOING_SEND || domain->doing == DOING_RESTORE)
		domain_stop_stream(domain);
	if (domain->doing != DOING_NOTHING)
		domain->want_gone = domain->doing != DOING_DESTROY;
	else if (domain->id != NO_DOMAIN)
		domain_destroy(domain);
	else
		domain->over = true;
	return 0;
}

static int order_cancel(struct domain *domain)
{
	if (domain->doing != DOING_SEND)
		return 0;
	domain->want_running = true;
	domain_stop_stream(domain);
	return 0;
}

int domain_order(struct domain *domain, const struct xen_request *request, struct error **err)
{
	logger_forget(domain->logger);
	domain->now.why[0] = '\0';
	switch (request->order) {
	case XEN_PAUSE:
		return order_pause(domain, err);
	case XEN_RESUME:
		return order_resume(domain, err);
	case XEN_REVIVE:
		return order_revive(domain, err);
	case XEN_POWER_OFF:
		return order_power_off(domain, err);
	case XEN_DESTROY:
		return domain_order_destroy(domain);
	case XEN_LISTEN:
		return domain_listen(domain, request->path, err);
	case XEN_SEND:
		return domain_send(domain, request->path, &request->bounds, err);
	case XEN_LIMIT:
		return helper_limit(domain->helper, &request->bounds, err);
	case XEN_DIGEST:
		return domain_digest(domain, request->path, err);
	case XEN_CANCEL:
		return order_cancel(domain);
	default:
		return error_set(err, EINVAL, "order %s: not one for a domain",
				 xen_order_name(request->order));
	}
}
