/* SPDX-License-Identifier: GPL-2.0-or-later */
#ifndef HOP_SOURCE_INTERNAL_H
#define HOP_SOURCE_INTERNAL_H

#include "migrate/codec/codec_pipe.h"
#include "migrate/control/control.h"
#include "migrate/disk/disk_set.h"
#include "migrate/hop/ctl.h"
#include "migrate/hop/env.h"
#include "migrate/hop/report.h"
#include "migrate/hop/source.h"
#include "migrate/hop/source_checkpoint.h"
#include "migrate/transport/channel.h"
#include "migrate/transport/mptcp.h"
#include "migrate/stream/memory_stream.h"
#include "migrate/transport/relay.h"

#define SILENCE_MS 20000 /* of the destination: it is lost */

/* One channel's data on its way: the hypervisor connects to `listen_fd`, the relay carries on. */
struct transfer {
	struct relay *relay;
	/* between the hypervisor and the relay, in this order; NULL: not there */
	struct memory_stream *stream;
	struct codec_pipe *coder;
	char channel[32];
	char path[PATH_MAX]; /* of the socket that it listened on; "": none */
};

/* What people see while the hop goes on. */
struct progress {
	int phase;
	const char *stage;
	uint64_t done, total; /* bytes of this stage; total 0: not counted */
	uint64_t last_sent;   /* payload bytes at the last look, and when */
	int64_t last_ns, next_ns;
	double rate; /* bytes/s, smoothed */
	unsigned round;
	int64_t expected_downtime_ns;
	char message[160]; /* "": none */
};

/* What mirrored disks yield to memory; source_share.c's. */
struct share {
	int64_t since_ns; /* 0: they don't, now */
	int64_t look_ns;  /* not sooner */
	int64_t spent_ns; /* that they did until then */
	double rate;	  /* bytes/s, of all channels when the last rounds began; 0: not yet */
};

/* The worker's own; only its thread uses it. Each group belongs to the stage that fills it. */
struct source {
	const struct source_job *job;
	struct hop_env env;
	struct ctl *ctl;
	struct report *report;
	struct progress progress;
	bool journalled; /* there is a journal, so there may be something to undo */
	bool decided;	 /* RELEASED is written: no abort, no undo */
	bool ended;	 /* the end was told */
	struct pacer *pacer;
	struct pacer *disk_pacer; /* below it: mirrored disks' */
	struct pair_limit *pair;  /* of all hops to that host */
	int64_t started_ns;
	bool late;	     /* the time is over, and was acted on */
	bool forced;	     /* the VM may be paused for as long as it takes */
	int64_t downtime_ns; /* the pause to aim at, as it was set last */

	/* reach */
	int vm_lock;
	struct channel_key key;
	uint16_t port;
	size_t buffer; /* of each channel's sockets, bytes */
	struct control *control;

	/* disk, memory */
	struct disk_set carried; /* disks that a driver of ours copies */
	struct transfer disks[VM_DISKS_MOST * DISK_STREAMS_MOST];
	bool writes_twice; /* carried disks' writes are done when they are at both sides */
	struct transfer memory;
	struct hv_guest_memory guest_memory;
	struct share share;
	bool told_stuck;		     /* that what is left will not fit */
	unsigned throttled, throttled_round; /* steps taken; in which round the last one was */
	bool switch_ordered;		     /* the hypervisor was told to pause the guest, */
	uint64_t switch_need, switch_target; /* when so much was left, bytes */

	/* switchover */
	int64_t paused_ns;		      /* 0: it runs */
	struct source_checkpoint *checkpoint; /* that is being written; NULL: none is */
	char tunnel_path[NAME_SIZE];	      /* the path that the tunnel is on now */
};

typedef int source_stage(struct source *s, struct error **err);

source_stage source_reach, source_tunnel, source_incoming, source_disk, source_memory,
	source_switchover, source_vnic, source_cleanup;

/*
 * What every wait does between two looks: shows progress, and fails when the operator wants an
 * abort, or a channel was lost.
 */
int source_tick(struct source *s, struct error **err);

/* This host's end of the tunnel goes over tunnel_path, if it does not yet. */
int source_move_tunnel(struct source *s, struct error **err);

/* Another pause to aim at, from now on. */
int source_set_downtime(struct source *s, int64_t downtime_ns, struct error **err);

/* The VM may be paused for as long as it takes, from now on. */
int source_force(struct source *s, struct error **err);

/* source_disks.c: disks as the destination is told of them, and what is copied, by its answer. */
int source_require_disks(struct source *s, struct error **err);
int source_describe_disks(struct source *s, json_t *request, struct error **err);
int source_plan_disks(struct source *s, const json_t *answer, struct error **err);

/* What mirrored disks have to send yet, bytes. */
int source_mirrors_left(struct source *s, uint64_t *left, struct error **err);

/*
 * source_share.c: in memory's last rounds, from the second one on, mirrored disks yield to it; at
 * each look. No more when the VM is paused: then both are waited for.
 */
int source_share_look(struct source *s, unsigned round, struct error **err);
void source_share_evenly(struct source *s);

/* Carried disks' writes go to both sides from now on. May be repeated. */
int source_write_twice(struct source *s, struct error **err);

/* The VM is paused: the disks are equal then, and carried ones are not written to here any more. */
int source_finish_disks(struct source *s, struct error **err);

/* Opens the memory's channel; path becomes the socket that the hypervisor is to send to. */
int source_open_memory(struct source *s, char path[PATH_MAX], struct error **err);

/* What the page scheduler did, into the report. */
void source_report_memory(struct source *s);

/* What the coder made of a transfer, and why so. */
void source_report_coding(struct source *s, const struct transfer *transfer);

/*
 * How a stream is coded, by the job's options: a cache that is a share (1 / sharers) of the job's,
 * of no use beyond the bytes that there are; in one lane. format, pages and offer_most are left to
 * the caller.
 */
int source_choose_coding(struct source *s, struct encoder_options *coder, uint64_t bytes,
			 size_t sharers, struct error **err);

/* One request to the destination; *answer (may be NULL) is the caller's to decref. */
int source_call(struct source *s, json_t *request, int64_t time_ns, json_t **answer,
		struct error **err);

/* The answer to a request that was sent already, or an event. */
int source_await(struct source *s, int64_t time_ns, json_t **answer, struct error **err);

/* Tells the end to people, once; why may be NULL. */
void source_end(struct source *s, int status, const char *result, const struct error *why);

/*
 * source_resume.c: the channel is resumed after a loss of all paths, if the job wants that. To be
 * called before its relay is started.
 */
int source_let_resume(struct source *s, struct channel *channel, struct error **err);

/* The guest is paused: a loss that lasts is given up soon. */
void source_hurry(struct source *s);

/* clock_ns() since when a channel is lost, and may be resumed; 0: none is. */
int64_t source_lost_since(struct source *s);
bool source_control_lost(const struct source *s);

/* What people are told of that, and for how long so far; false: nothing is lost. */
bool source_say_lost(struct source *s, char *text, size_t size, int64_t *lost_ns);

/* The destination's addresses, in the order to try: that on the first path, then the others. */
#define SOURCE_ADDRESSES CHANNEL_ADDRESSES
size_t source_peer_addresses(const struct source *s, struct ip_addr list[SOURCE_ADDRESSES]);

/* What is to stand between; NULL: it does not. */
struct transfer_through {
	const struct scheduler_options *pages;
	const struct encoder_options *coder; /* all but `delivered` */
};

/* Opens a channel and relays what connects to a Unix socket of that name, path, into it. */
int source_transfer_listen(struct source *s, struct transfer *transfer, const char *channel,
			   const struct transfer_through *through, char path[PATH_MAX],
			   struct error **err);

/* The same for a stream socket that is connected; it is taken over, also on failure. */
int source_transfer_start(struct source *s, struct transfer *transfer, const char *channel,
			  int local_fd, struct error **err);
void source_transfer_close(struct source *s, struct transfer *transfer);

/* All of them; the report has their figures then. */
void source_close_transfers(struct source *s);

#endif
