/* SPDX-License-Identifier: GPL-2.0-or-later */
#include "migrate/hop/destination_internal.h"

#include <errno.h>
#include <poll.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#include "common/cleanup.h"
#include "common/clock.h"
#include "common/jsonl.h"
#include "common/log.h"
#include "migrate/hop/complete.h"
#include "migrate/hop/held.h"
#include "migrate/hop/history.h"
#include "migrate/hop/journal.h"
#include "migrate/hop/keeper.h"
#include "migrate/hop/resolve.h"
#include "migrate/hypervisor/hugepages.h"
#include "migrate/transport/mptcp.h"
#include "migrate/vm/checkpoint.h"
#include "migrate/vm/vm_store.h"
#include "netswitch/endpoints.h"

#define LOG_MODULE "destination"

/*
 * Theory of operation
 *
 *   listening --control--> serving requests --PREPARED--> waiting for RELEASED --ACCEPTED-->
 * switching |                        |                               | |
 *       +--- control lost, or a request failed: REFUSED, undo ---+                  vNICs, then the
 * end
 *
 * Until ACCEPTED this side may refuse at any moment, for good; afterwards it carries the hop to its
 * end by itself, whether the source lives or not. A loss of all paths is waited for (transport/
 * door.h), but not for long once the source has paused the guest. When control is lost after
 * PREPARED, it waits `hold` for the source's recovery to ask for a decision through SSH (`serve`
 * passes that on to ctl), then refuses.
 */
static const struct {
	const char *name;
	destination_request *serve;
} requests[] = {
	{"tunnel", destination_tunnel},	    {"incoming", destination_incoming},
	{"file", destination_file},	    {"disk", destination_disk},
	{"memory", destination_memory},	    {"prepare", destination_prepare},
	{"release", destination_release},   {"move-tunnel", destination_move_tunnel},
	{"undo", destination_undo_request}, {"close", destination_close},
	{"compare", destination_compare},
};

#define RECOVER_NS (600 * NS_PER_SEC)
#define CONTROL_NS (30 * NS_PER_SEC)
#define GOODBYE_NS (3 * NS_PER_SEC)
#define IDLE_MS	   500
#define AGAIN_MS   2000

static int answer(struct destination *d, const char *name, const struct error *why)
{
	auto_json reply = why ? json_pack("{s:s, s:s}", "failed", name, "error", why->message)
			      : json_pack("{s:s}", "done", name);

	if (!why)
		json_object_update(reply, d->answer);
	return control_send(d->control, reply, NULL);
}

static void lose_control(struct destination *d, const char *why)
{
	if (d->closing)
		log_info("the source has closed");
	else
		log_warn("control is lost: %s", why);
	control_destroy(d->control);
	d->control = NULL;
	(void)door_close(d->door, "control", NULL);
	if (d->accepted)
		return;
	if (d->prepared)
		d->decide_by_ns = clock_ns() + d->env.fleet->hold_ns;
	else
		d->refused = true;
}

/* One request. A failure is told to the source and refuses the hop, except after ACCEPTED. */
static void serve(struct destination *d, const json_t *request)
{
	const char *name = json_get_string(request, "do", NULL);
	struct error *why = NULL;
	size_t i = 0;

	json_object_clear(d->answer);
	while (name && i < ARRAY_SIZE(requests) && strcmp(requests[i].name, name) != 0)
		i++;
	if (!name || i == ARRAY_SIZE(requests))
		error_set(&why, EPROTO, "found an unknown request");
	else if (requests[i].serve(d, request, &why) < 0)
		error_wrap(&why, "%s", name);
	if (why) {
		log_error("%s", why->message);
		d->refused |= !d->accepted;
	} else {
		log_info("%s done", name);
	}
	if (answer(d, name ? name : "?", why) < 0 && !d->closing)
		lose_control(d, "an answer could not be sent");
	error_free(why);
}

static void look_at_control(struct destination *d)
{
	auto_error why = NULL;
	auto_json request = NULL;

	if (!d->control)
		return;
	request = control_receive(d->control, clock_ns(), &why);
	if (request)
		serve(d, request);
	else if (why->code != ETIMEDOUT)
		lose_control(d, why->message);
}

/* Sleeps until something is to be done, or for the time given. */
static void wait_for_work(struct destination *d, int ms)
{
	struct pollfd p[2] = {{.fd = ctl_wake_fd(d->ctl), .events = POLLIN},
			      {.fd = -1, .events = POLLIN}};

	if (d->control)
		p[1].fd = control_fd(d->control);
	if (ctl_decision_wanted(d->ctl) || ctl_abort_wanted(d->ctl) || ctl_release_wanted(d->ctl))
		p[0].fd = -1; /* it stays readable */
	poll(p, 2, ms);
}

static void check_channels(struct destination *d)
{
	auto_error why = NULL;

	if (d->accepted || d->prepared || !d->moving || door_check(d->door, NULL, &why) == 0)
		return;
	log_error("%s", why->message);
	d->refused = true;
}

/* Until the hop is accepted here (0) or refused (-1). */
static int until_decided(struct destination *d, struct error **err)
{
	while (!d->accepted && !d->refused) {
		look_at_control(d);
		if (d->accepted || d->refused)
			break;
		/* Whoever asks for a decision has RELEASED in its journal. */
		if (d->prepared && ctl_decision_wanted(d->ctl))
			return destination_accept(d, err);
		if (ctl_abort_wanted(d->ctl)) {
			if (d->prepared)
				log_warn("too late for an abort here: the source decides");
			else
				d->refused = true;
		}
		if (d->decide_by_ns && clock_ns() > d->decide_by_ns)
			d->refused = true;
		check_channels(d);
		wait_for_work(d, IDLE_MS);
	}
	if (d->accepted && !d->resumed)
		return error_set(err, EIO, "accepted, but the VM could not be resumed or reached");
	return d->accepted ? 0 : error_set(err, ECANCELED, "refused");
}

static void tell_event(struct destination *d, const char *name)
{
	auto_json event = json_pack("{s:s, s:o}", "event", name, "vnic", vnic_report(d->vnic));

	ctl_publish(d->ctl,
		    json_pack("{s:s, s:s, s:s, s:O}", "event", "progress", "stage", "vnic", "hop",
			      d->env.facts->hop, "vnic", json_object_get(event, "vnic")));
	if (d->control && control_send(d->control, event, NULL) < 0)
		lose_control(d, "an event could not be sent");
}

/* Phase 5: until every connection has joined, or the operator gives the old addresses up. */
static int switch_vnics(struct destination *d, struct error **err)
{
	enum vnic_state state = VNIC_ANNOUNCING;
	bool told_held = false;

	d->vnic = vnic_start(&d->env, d->env.fleet->join_ns, err);
	if (!d->vnic)
		return -1;
	while (state != VNIC_DONE) {
		if (ctl_release_wanted(d->ctl))
			vnic_release(d->vnic);
		if (vnic_step(d->vnic, &state, err) < 0)
			return -1;
		look_at_control(d);
		if (state == VNIC_HELD && !told_held) {
			log_warn("the tunnel is held");
			tell_event(d, "held");
			history_note_quietly(d->env.facts->hop, NULL);
			told_held = true;
		}
		if (state == VNIC_HELD)
			wait_for_work(d, IDLE_MS);
		/* Powered off: nobody needs the tunnel, and the VM's lock is wanted for a start. */
		if (state == VNIC_HELD && !hv_alive(d->env.vm))
			break;
	}
	if (ctl_release_wanted(d->ctl) && complete_settle_home(&d->env, err) < 0)
		return -1;
	tell_event(d, "switched");
	return 0;
}

/* The source gives its end of the tunnel back first, if it still can. */
static void say_goodbye(struct destination *d)
{
	int64_t until = clock_ns() + GOODBYE_NS;

	while (d->control && !d->closing && clock_ns() < until) {
		look_at_control(d);
		if (!d->closing)
			wait_for_work(d, 100);
	}
	/* The last answer is on its way: until the source has closed, or time is up. */
	while (d->control && clock_ns() < until) {
		look_at_control(d);
		if (d->control)
			wait_for_work(d, 20);
	}
}

/* The hypervisor is left alone: nothing comes from the source any more. */
static void close_channels(struct destination *d)
{
	if (!d->moving)
		return;
	destination_close_disks(d);
	(void)door_close(d->door, "memory", NULL);
	d->moving = false;
}

static int why_control_ended(void *context, struct error **err)
{
	return door_check(context, "control", err);
}

static int accept_control(struct destination *d, struct error **err)
{
	int ends[2];

	if (socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, ends) < 0)
		return error_errno(err, "socket pair");
	if (door_attach(d->door, "control", ends[1], SILENCE_MS, clock_ns() + CONTROL_NS, err) <
	    0) {
		close(ends[0]);
		return -1;
	}
	d->control = control_start_on(ends[0], why_control_ended, d->door, err);
	return d->control ? 0 : -1;
}

/* It was of the last stay; this one leaves another. Others go when it is their time. */
static void drop_checkpoint(const struct destination *d)
{
	auto_error why = NULL;

	if (checkpoint_remove(d->env.facts->vm->uuid, &why) < 0 ||
	    checkpoint_prune(&d->env.fleet->checkpoints, &why) < 0)
		log_warn("%s", error_text(why));
}

static int run(struct destination *d, struct error **err)
{
	if (accept_control(d, err) < 0 || until_decided(d, err) < 0)
		return -1;
	close_channels(d);
	drop_checkpoint(d);
	if (disk_set_take(&d->carried, disk_arrived, err) < 0 || switch_vnics(d, err) < 0)
		return -1;
	say_goodbye(d);
	return complete_finish(&d->env, err);
}

static int listen_for_source(struct destination *d, struct error **err)
{
	const struct fleet_host *self = d->env.self;
	struct ip_addr addresses[16];
	struct error *no_mptcp = NULL;
	uint16_t port = d->env.fleet->port;
	size_t n = 0;
	int fd;

	/*
	 * Not the one that connections begin on: to remove an endpoint later closes the first
	 * subflow of whatever began on its address, the operator's SSH session, say.
	 */
	for (size_t i = 0; i < self->address_count && n < ARRAY_SIZE(addresses); i++)
		if (strcmp(self->addresses[i].path, d->env.facts->first_path) != 0)
			addresses[n++] = self->addresses[i].address;
	if (endpoints_hold(d->env.facts->hop, addresses, n, ENDPOINT_SIGNAL, &no_mptcp) < 0) {
		log_warn("%s; going on over TCP", error_text(no_mptcp));
		error_free(no_mptcp);
	}
	fd = mptcp_listen(&port, d->job->buffer, err);
	if (fd < 0 ||
	    (d->job->resume_ns &&
	     door_let_resume(d->door, d->job->resume_ns, d->job->resume_window, err) < 0) ||
	    door_listen(d->door, fd, err) < 0)
		return -1;
	ctl_publish(d->ctl, json_pack("{s:s, s:s, s:s, s:i}", "event", "listening", "hop",
				      d->env.facts->hop, "stage", "listening", "port", (int)port));
	return 0;
}

/* Owner and journal: after this the hop exists here. */
static int begin(struct destination *d, struct error **err)
{
	auto_json facts = NULL;
	struct owner owner;

	/* The door is a process, so it must be there before ctl's thread is. */
	d->door = door_start(&d->job->key, d->job->plain, err);
	if (d->door)
		d->ctl = ctl_start(d->job->facts->hop, err);
	if (!d->ctl ||
	    hop_env_init(&d->env, d->job->facts, HOP_DESTINATION, d->job->fleet, err) < 0)
		return -1;
	if (held_take_over(d->env.facts, err) < 0)
		return -1;
	d->vm_lock = vm_store_lock(d->env.facts->vm->name, err);
	if (d->vm_lock < 0)
		return -1;
	if (owner_require_self(d->env.facts->vm->name, &owner, NULL) == 0)
		return error_set(err, EEXIST, "VM %s: this host owns it already",
				 d->env.facts->vm->name);
	if (hv_alive(d->env.vm))
		return error_set(err, EEXIST, "VM %s: something of it runs here",
				 d->env.facts->vm->name);
	if (hugepages_check(d->env.facts->vm, err) < 0)
		return -1;
	facts = hop_facts_to_json(d->env.facts, HOP_DESTINATION, err);
	d->journalled = facts && journal_create(d->env.facts->hop, facts, err) == 0;
	return d->journalled ? 0 : -1;
}

static void end_hop(struct destination *d, int status, const struct error *why)
{
	auto_json end = json_pack("{s:s, s:s, s:i}", "event", "end", "hop", d->job->facts->hop,
				  "status", status);

	if (why)
		json_object_set_new(end, "error", json_string(why->message));
	if (d->journalled)
		history_note_quietly(d->job->facts->hop, why ? why->message : NULL);
	if (d->vnic)
		json_object_set_new(end, "vnic", vnic_report(d->vnic));
	keeper_write_end(d->job->facts->hop, end);
	if (d->ctl)
		ctl_publish_end(d->ctl, json_incref(end));
}

/* Accepted, and something failed afterwards: the same as a recovery would do, until it is done. */
static int bring_to_end(struct destination *d, struct error **why)
{
	int64_t deadline = clock_ns() + RECOVER_NS;
	struct error *more = NULL;
	bool held = true;

	vnic_free(d->vnic); /* the agent listens to one at a time */
	d->vnic = NULL;
	/* A connection that outlived the endpoints would have the kernel make another one. */
	control_destroy(d->control);
	d->control = NULL;
	while (complete_recover(&d->env, deadline, &held, &more) < 0 && clock_ns() < deadline) {
		log_warn("%s", error_text(more));
		error_free(more);
		more = NULL;
		clock_sleep_ms(AGAIN_MS);
	}
	if (!more && !held) {
		error_free(*why);
		*why = NULL;
		return 0;
	}
	if (more)
		error_wrap(why,
			   "the VM is this host's, its hop could not be finished (%s), run "
			   "`edgehop recover`",
			   error_text(more));
	error_free(more);
	return 3;
}

static int settle(struct destination *d, struct error **why)
{
	struct error *more = NULL;

	log_error("%s", error_text(*why));
	close_channels(d);
	disk_set_close(&d->carried);
	if (d->accepted)
		return bring_to_end(d, why);
	if (destination_undo(&d->env, &more) == 0) {
		ctl_decided(d->ctl, hop_state_name(HOP_REFUSED));
		return 1;
	}
	error_wrap(why, "undoing was not complete (%s)", error_text(more));
	error_free(more);
	return 3;
}

int destination_recover(const char *hop, void *arg, const char **outcome)
{
	const struct destination_job *job = arg;
	auto_error why = NULL;
	int status = recover_hop(hop, job->fleet, NULL, clock_ns() + RECOVER_NS, &why);

	if (why)
		log_error("%s", why->message);
	*outcome = status == 0 ? "its end of the hop was recovered"
			       : "it could not be recovered yet: run `edgehop recover`";
	return status;
}

int destination_work(void *arg)
{
	struct destination d = {.job = arg, .vm_lock = -1, .answer = json_object()};
	struct error *why = NULL;
	int status = 0;

	log_set_hop(d.job->facts->hop);
	destination_no_old_disks(&d);
	if (begin(&d, &why) < 0)
		status = 1;
	else if (listen_for_source(&d, &why) < 0 || run(&d, &why) < 0)
		status = settle(&d, &why);
	if (status == 1)
		log_error("%s", error_text(why));
	end_hop(&d, status, why);
	vnic_free(d.vnic);
	control_destroy(d.control);
	door_destroy(d.door);
	ctl_stop(d.ctl);
	json_decref(d.answer);
	free(d.digests);
	disk_set_close(&d.carried);
	destination_drop_old_disks(&d);
	hop_env_clear(&d.env);
	if (d.vm_lock >= 0)
		close(d.vm_lock);
	error_free(why);
	return status;
}
