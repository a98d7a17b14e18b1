/* SPDX-License-Identifier: GPL-2.0-or-later */
#ifndef MIGRATE_HYPERVISOR_HYPERVISOR_H
#define MIGRATE_HYPERVISOR_HYPERVISOR_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <sys/types.h>

#include "common/error.h"
#include "migrate/config/vm_def.h"

/*
 * A VM as the hypervisor of this host has it. The driver follows from the definition; an operation
 * that a driver lacks fails with ENOTSUP. One thread at a time. Deadlines are clock_ns() times.
 *
 * Order of a hop:
 *
 *     source                                       destination
 *                                                  hv_start_incoming, hv_export_start
 *     hv_mirror_start a disk, hv_mirror_progress until converged
 *                                                  hv_memory_listen
 *     hv_memory_start, hv_memory_progress
 *     hv_memory_wait_paused   (VM paused from here on)
 *     hv_mirror_finish a disk
 *     hv_memory_continue, hv_memory_wait_sent      hv_memory_wait_loaded, hv_export_stop
 *     hv_kill                                      hv_resume
 *
 *     at any point before hv_resume: hv_revive     hv_kill
 */
struct hv_vm;

enum hv_state {
	HV_ABSENT,   /* nothing of it runs here */
	HV_INCOMING, /* waits for its state from another host, or is loading it */
	HV_RUNNING,
	HV_PAUSED,
	HV_SENT,   /* paused; all of its state went to another host */
	HV_BROKEN, /* stopped by an error: disk, guest panic, or of the hypervisor itself */
	HV_STATES
};
const char *hv_state_name(enum hv_state state);

/* def is borrowed and must outlive the handle. Nothing is started or connected yet. */
struct hv_vm *hv_open(const struct vm_def *def, struct error **err);
void hv_close(struct hv_vm *vm); /* the VM itself is left alone; takes NULL */

/* ---- Life ---- */

/* Starts it from its disks; running when this returns 0. EEXIST: it runs here already. */
int hv_start(struct hv_vm *vm, struct error **err);

/* Starts it so that it waits for its state (HV_INCOMING). It never runs before hv_resume. */
int hv_start_incoming(struct hv_vm *vm, struct error **err);

/*
 * Whether an arriving VM's vNICs are there only when all of its state is (hv_memory_wait_loaded);
 * else they are since hv_start_incoming.
 */
bool hv_nics_arrive_with_memory(const struct hv_vm *vm);

/*
 * Whether a hop has this driver copy the VM's disks (hv_export_ and hv_mirror_ functions); else
 * they are where both hosts have them.
 */
bool hv_copies_disks(const struct hv_vm *vm);

/*
 * Whether the driver decides by itself, inside the hypervisor's save path, which pages are sent
 * when: then nothing needs to stand in the stream for that.
 */
bool hv_schedules_pages(const struct hv_vm *vm);

/* Whether the pause's limit is heeded at all. */
bool hv_heeds_downtime(const struct hv_vm *vm);

/* Asks the guest to power off, and waits for the end. ETIMEDOUT: it still runs. */
int hv_shut_down(struct hv_vm *vm, int64_t deadline_ns, struct error **err);

/* Ends it at once, whatever it does. Succeeds when nothing of it runs (any more). */
int hv_kill(struct hv_vm *vm, struct error **err);

/* Without asking the hypervisor, so cheap and safe beside another process that works on the VM. */
bool hv_alive(struct hv_vm *vm);

int hv_state(struct hv_vm *vm, enum hv_state *state, struct error **err);
int hv_pause(struct hv_vm *vm, struct error **err);

/* Lets it run on, from HV_PAUSED, HV_SENT, or HV_INCOMING once all is loaded. */
int hv_resume(struct hv_vm *vm, struct error **err);

/*
 * Source: brings it back to HV_RUNNING from whatever an interrupted hop left: memory being sent,
 * paused, sent, or failed; mirrors in any state. Afterwards no mirror is left and its disks
 * are its own again. Idempotent. The caller has made sure that the VM runs nowhere else, and has
 * closed its ends of the hop's sockets (or died): else a stalled write can hold the hypervisor.
 */
int hv_revive(struct hv_vm *vm, struct error **err);

/* ---- Looking into the guest's memory ---- */

/*
 * Where the memory that a guest address of 0 is in lies in the hypervisor's process, for reading it
 * while the guest runs, from any thread. Good until that process ends.
 */
struct hv_guest_memory {
	pid_t pid;
	uint64_t address, bytes; /* in that process */
};

int hv_guest_memory(struct hv_vm *vm, struct hv_guest_memory *memory, struct error **err);

/* n bytes from an offset of it. -1 when they can't be read. */
int hv_guest_memory_read(const struct hv_guest_memory *memory, uint64_t offset, void *buffer,
			 size_t n);

/*
 * While the VM stands still: a digest (XXH3, 64 bits) of each page of its memory, by page frame; 0:
 * not to be compared (a hole, a device's page, one that a backend may write to all the same).
 * *digests is the caller's to free. For tests and debugging.
 */
int hv_page_digests(struct hv_vm *vm, uint64_t **digests, uint64_t *count, struct error **err);

/* ---- Before a hop ---- */

/*
 * What a hop of a running VM would have to move. Bytes of memory are estimates from a sample of
 * pages; all else is exact. dirty[]: how much memory was written to at least once within that
 * time, as far as its content changed.
 */
#define HV_DIRTY_POINTS 5

struct hv_dirty {
	int64_t within_ns;
	uint64_t bytes;
};

struct hv_survey {
	uint64_t memory;  /* bytes in all */
	uint64_t nonzero; /* of these, with other content than zeroes */
	uint64_t sampled; /* pages that were looked at */
	uint64_t page;	  /* their size, bytes */
	size_t dirty_count;
	struct hv_dirty dirty[HV_DIRTY_POINTS]; /* by growing time */
	size_t disk_count;
	struct {
		uint64_t size, allocated; /* bytes; allocated: what is no hole */
		uint64_t write_rate;	  /* bytes/s that the guest wrote */
	} disks[VM_DISKS_MOST];
};

/*
 * Looks at the VM for time_ns, from outside: the guest is neither paused nor slowed, and the
 * hypervisor's ear is held for some milliseconds at the beginning and at the end only.
 * Costs time and memory linear in the sample (at most 16,384 pages, so 64 MiB are read a look),
 * whatever the VM's size.
 */
int hv_survey(struct hv_vm *vm, int64_t time_ns, struct hv_survey *survey, struct error **err);

/* What this host's hypervisor can do; needs no VM. The lists are NULL-terminated. */
struct hv_capabilities {
	char version[32];
	char **machines; /* also their aliases */
	char **cpus;	 /* models that the host can give to guests in full, under this accel */
	uint64_t memory_available; /* bytes for guests; 0: what the host's kernel has */
};

/*
 * Asks a hypervisor that is started for it with nothing in it and ended again; some 50 ms. Fails
 * where the hypervisor is not there or accel does not work, with its own words.
 */
struct hv_capabilities *hv_capabilities(const char *hypervisor, enum vm_accel accel,
					struct error **err);
void hv_capabilities_free(struct hv_capabilities *capabilities); /* takes NULL */

/* ---- Disks ---- */

/* Destination: all disks can be written through the Unix socket (NBD, export = disk's name). */
int hv_export_start(struct hv_vm *vm, const char *socket_path, struct error **err);

/* Ends that; what was written is on the disks' files, not yet necessarily on the media. */
int hv_export_stop(struct hv_vm *vm, struct error **err);

struct hv_mirror {
	uint64_t done, total; /* bytes; total grows while the guest writes */
	bool converged;	      /* so little is left that it can be sent while the VM is paused */
};

/* Source: copies the disk (index in the definition) into the export behind the socket. */
int hv_mirror_start(struct hv_vm *vm, size_t disk, const char *socket_path, struct error **err);

/* Fails when the mirror has failed, with the reason. */
int hv_mirror_progress(struct hv_vm *vm, size_t disk, struct hv_mirror *mirror, struct error **err);

/*
 * While the VM is paused: sends what is left, has the other side flush, ends the mirror. 0 means
 * that both disks are equal. On failure the mirror may still be there: hv_mirror_abort.
 */
int hv_mirror_finish(struct hv_vm *vm, size_t disk, int64_t deadline_ns, struct error **err);

/* Ends it in whatever state, the copy is worth nothing. Succeeds when there is none. */
int hv_mirror_abort(struct hv_vm *vm, size_t disk, struct error **err);

/* ---- Memory and devices ---- */

/* Destination: takes the stream from the Unix socket, which appears at once. */
int hv_memory_listen(struct hv_vm *vm, const char *socket_path, struct error **err);

/* Waits until all of it is loaded: then HV_PAUSED. Its disks are taken over at hv_resume. */
int hv_memory_wait_loaded(struct hv_vm *vm, int64_t deadline_ns, struct error **err);

/* What follows when no pause within the limit can be had: for a hypervisor that finds so itself. */
enum hv_unmet {
	HV_UNMET_GO_ON,
	HV_UNMET_PAUSE, /* the guest, however long it takes */
	HV_UNMET_ABORT	/* the sending fails */
};

struct hv_memory_limits {
	uint64_t bandwidth;  /* bytes/s; 0: none */
	int64_t downtime_ns; /* the pause may take that long by the hypervisor's reckoning */
	bool may_throttle;   /* heeded at the start only: throttle can be set later */
	unsigned throttle; /* percent of its CPU time that is taken from the guest, 0 to 95: it gets
			      there in steps, while it writes faster than is sent */
	enum hv_unmet unmet;
};

enum hv_memory_phase {
	HV_MEMORY_NONE,	     /* nothing was begun */
	HV_MEMORY_SETUP,     /* connecting */
	HV_MEMORY_ACTIVE,    /* rounds, the guest runs */
	HV_MEMORY_PAUSED,    /* the guest is paused, the last round waits for hv_memory_continue */
	HV_MEMORY_DEVICE,    /* the last round */
	HV_MEMORY_COMPLETED, /* the other side has confirmed all of it */
	HV_MEMORY_CANCELLED,
	HV_MEMORY_FAILED,
	HV_MEMORY_PHASES
};
const char *hv_memory_phase_name(enum hv_memory_phase phase);

struct hv_memory {
	enum hv_memory_phase phase;
	uint64_t total, remaining, transferred; /* bytes */
	uint64_t dirty_rate;			/* bytes/s, as of the last round */
	uint64_t rate;				/* bit/s at present */
	unsigned rounds;			/* syncs of the dirty bitmap */
	int64_t downtime_ns;			/* the expected, at last the real one */
	char failure[256];			/* of HV_MEMORY_FAILED; else "" */
};

/*
 * Source: sends to the Unix socket, on which the other side also answers. Both directions must be
 * carried to the socket of hv_memory_listen. The hypervisor decides when the pause begins, never
 * goes beyond it by itself.
 */
int hv_memory_start(struct hv_vm *vm, const char *socket_path,
		    const struct hv_memory_limits *limits, struct error **err);
int hv_memory_set_limits(struct hv_vm *vm, const struct hv_memory_limits *limits,
			 struct error **err);
int hv_memory_progress(struct hv_vm *vm, struct hv_memory *memory, struct error **err);

/* Until HV_MEMORY_PAUSED. ETIMEDOUT: it goes on; fails when the sending failed. */
int hv_memory_wait_paused(struct hv_vm *vm, int64_t deadline_ns, struct error **err);
int hv_memory_continue(struct hv_vm *vm, struct error **err);

/* Until HV_MEMORY_COMPLETED. */
int hv_memory_wait_sent(struct hv_vm *vm, int64_t deadline_ns, struct error **err);

/* Stops sending, in whatever phase; the guest is as it was before (running, unless completed). */
int hv_memory_cancel(struct hv_vm *vm, struct error **err);

static inline void hv_cleanup(struct hv_vm **vm)
{
	hv_close(*vm);
}
#define auto_hv __attribute__((cleanup(hv_cleanup))) struct hv_vm *

#endif
