/* SPDX-License-Identifier: GPL-2.0-or-later */
#ifndef MIGRATE_XEN_DOMAIN_INTERNAL_H
#define MIGRATE_XEN_DOMAIN_INTERNAL_H

#include <libxl.h>
#include <libxl_utils.h>
#include <xenctrl.h>

#include "migrate/xen/domain.h"
#include "migrate/xen/helper.h"
#include "migrate/xen/logger.h"

/*
 * The parts of a domain among themselves:
 *     domain.c    beginnings, states, what follows from what
 *     orders.c    what the driver may order
 *     build.c     from the definition to what libxl builds or restores
 *     devices.c   disks and vNICs: what hotplug scripts would do
 *     stream.c    the VM's state out and in
 *     digest.c    what its pages hold, for comparisons
 */
#define NO_DOMAIN ((uint32_t)INVALID_DOMID)

enum doing {
	DOING_NOTHING,
	DOING_BUILD,
	DOING_RESTORE,
	DOING_SEND,
	DOING_DESTROY
};

struct domain {
	const struct vm_def *def;
	struct logger *logger;
	struct helper *helper;
	libxl_ctx *libxl;
	xc_interface *xc;
	struct xs_handle *xs;
	libxl_evgen_domain_death *death;
	uint32_t id;	   /* NO_DOMAIN: there is none */
	uint32_t fresh_id; /* where libxl says what it built */
	enum doing doing;
	bool ended; /* what is being done has ended, with rc */
	int rc;
	libxl_domain_config config; /* of what is being built; libxl keeps a pointer */
	bool has_config;
	bool unfinished;   /* a domain that was never built or loaded to its end: must not run */
	bool expected;	   /* the VM's state is to come from another host */
	bool want_running; /* a suspended guest is let run on by itself */
	bool want_gone;	   /* to be destroyed as soon as nothing is being done */
	bool rebuild;	   /* then built anew: the guest has rebooted */
	bool over;
	int status;
	int loops[VM_DISKS_MOST]; /* loop devices that the domain may not have opened yet; or -1 */
	int listener;		  /* for the VM's state; -1: none */
	int stream;		  /* the VM's state; -1: none */
	struct xen_status now;	  /* state and serial as of the last look */
	int64_t round_ns;	  /* when the round began */
	uint64_t round_pages, before; /* to be sent in it; transferred before it */
	bool told;		      /* by our helper, which knows better than libxl's progress */
};

/* domain.c: the serial grows. */
void domain_changed(struct domain *domain);

/* domain.c: from here on there may be a domain which must not run, even after we are gone. */
int domain_begin_unfinished(struct domain *domain, struct error **err);

/* domain.c: it is whole now. */
void domain_finished(struct domain *domain);

/* domain.c: the domain of that number is the VM's; or what a failed restore has left of it. */
void domain_arrived(struct domain *domain, uint32_t id);
void domain_find_rest(struct domain *domain);

/* domain.c: the callback for all that takes long. */
libxl_asyncop_how domain_how(struct domain *domain);

/* "WHAT: libxl's first words of an error, libxl error RC". Returns -1. */
int domain_libxl_error(struct domain *domain, int rc, struct error **err, const char *what);

/* domain.c: what Xen says of it, to be disposed of. false: it has none. */
bool domain_ask_xen(struct domain *domain, libxl_dominfo *info);

/* orders.c: lets it run on, from wherever it stands. */
int domain_run(struct domain *domain, struct error **err);

/* orders.c: now (nothing is being done), or as soon as that has ended. */
void domain_destroy(struct domain *domain);
int domain_order_destroy(struct domain *domain);

/* build.c: makes domain->config; domain_drop_config when libxl is through with it. */
int domain_make_config(struct domain *domain, struct error **err);
void domain_drop_config(struct domain *domain);

/* devices.c: before the domain is made, a device for each disk; path is what it is. */
int domain_open_disk(struct domain *domain, size_t disk, char path[PATH_MAX], struct error **err);
void domain_close_disks(struct domain *domain);

/*
 * devices.c: tells the backends that disks (where they do not know) and vNICs are there; vNICs get
 * their names.
 */
int domain_connect_disks(struct domain *domain, struct error **err);
int domain_connect_nics(struct domain *domain, struct error **err);

/* digest.c */
int domain_digest(struct domain *domain, const char *path, struct error **err);

/* stream.c */
int domain_listen(struct domain *domain, const char *path, struct error **err);
void domain_accept(struct domain *domain);
int domain_send(struct domain *domain, const char *path, const struct xen_bounds *bounds,
		struct error **err);
void domain_note_rounds(struct domain *domain);
void domain_stop_stream(struct domain *domain); /* what is being sent or loaded fails soon */
void domain_send_ended(struct domain *domain);
void domain_restore_ended(struct domain *domain);
void domain_note_progress(void *domain, const char *what, unsigned long done, unsigned long total);

#endif
