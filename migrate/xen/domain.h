/* SPDX-License-Identifier: GPL-2.0-or-later */
#ifndef MIGRATE_XEN_DOMAIN_H
#define MIGRATE_XEN_DOMAIN_H

#include <poll.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <xenstore.h>

#include "common/error.h"
#include "migrate/config/vm_def.h"
#include "migrate/hypervisor/xen_words.h"

/*
 * One VM's domain: built, adopted, or expected from another host; its life after that. One thread.
 * Nothing blocks for long but domain_start (building a domain) and what a device model takes.
 */
struct domain;

/* def is borrowed. Connects to libxl and xenstore; nothing is done to any domain. */
struct domain *domain_open(const struct vm_def *def, struct error **err);
void domain_close(struct domain *domain); /* the domain itself is left alone; takes NULL */

/* Exactly one of these comes first. They return at once; domain_status tells how it goes. */
int domain_start(struct domain *domain, struct error **err);  /* from its definition */
int domain_adopt(struct domain *domain, struct error **err);  /* ESRCH: none of that UUID runs */
int domain_expect(struct domain *domain, struct error **err); /* wait for XEN_LISTEN */

/*
 * For the poll loop: how many of the fds it wants, at most room; *timeout_ms is lowered where it
 * wants to be called sooner. Then what poll() said of these.
 */
size_t domain_poll(struct domain *domain, struct pollfd *fds, size_t room, int *timeout_ms);
void domain_polled(struct domain *domain, const struct pollfd *fds, size_t count);

/* Nothing is left of it: the process may end. 0: in order; else the reason is in the log. */
bool domain_is_over(const struct domain *domain, int *status);

void domain_status(const struct domain *domain, struct xen_status *status);

/* Anything but XEN_STATUS and XEN_WAIT. Begun when it returns 0: see the status for its end. */
int domain_order(struct domain *domain, const struct xen_request *request, struct error **err);

/* Of the domain that lives: its number, or -1; and when it is another than before. */
int64_t domain_id(const struct domain *domain);
struct xs_handle *domain_xenstore(const struct domain *domain); /* borrowed; no watches on it */

#endif
