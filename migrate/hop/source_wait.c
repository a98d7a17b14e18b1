/* SPDX-License-Identifier: GPL-2.0-or-later */
#include "migrate/hop/source_internal.h"

#include <errno.h>
#include <inttypes.h>
#include <stdio.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#include "common/cleanup.h"
#include "common/clock.h"
#include "common/log.h"
#include "migrate/transport/local.h"

#define LOG_MODULE "source"

/* What all stages of the source share: progress, requests, channels. */

#define SHOW_EVERY_NS	 (200 * NS_PER_MS)
#define CONNECT_NS	 (15 * NS_PER_SEC)
#define CONNECT_PAUSE_MS 500

static uint64_t sent_by(struct transfer *transfer)
{
	struct relay_stats stats;

	if (!transfer->relay)
		return 0;
	relay_stats(transfer->relay, &stats);
	return stats.sent;
}

static uint64_t sent_by_all(struct source *s)
{
	uint64_t sum = sent_by(&s->memory);

	for (size_t i = 0; i < ARRAY_SIZE(s->disks); i++)
		sum += sent_by(&s->disks[i]);
	return sum;
}

/* What stands beside the figures. */
static void add_message(struct source *s, json_t *snapshot)
{
	const char *message = s->forced ? "forced: the VM may pause" : s->progress.message;
	char lost[100];
	int64_t lost_ns;

	if (source_say_lost(s, lost, sizeof(lost), &lost_ns)) {
		message = lost;
		json_object_set_new(snapshot, "lost_ms", json_integer(lost_ns / NS_PER_MS));
	}
	if (*message)
		json_object_set_new(snapshot, "message", json_string(message));
}

static void show(struct source *s)
{
	struct progress *p = &s->progress;
	int64_t now = clock_ns();
	uint64_t sent = sent_by_all(s);
	json_t *snapshot;

	if (p->last_ns && now > p->last_ns && sent >= p->last_sent) {
		double rate = (double)(sent - p->last_sent) * 1e9 / (double)(now - p->last_ns);

		p->rate = p->rate > 0 ? 0.7 * p->rate + 0.3 * rate : rate;
	}
	p->last_ns = now;
	p->last_sent = sent;
	p->next_ns = now + SHOW_EVERY_NS;
	snapshot =
		json_pack("{s:s, s:s, s:s, s:s, s:s, s:i, s:s, s:I, s:I, s:f, s:i}", "event",
			  "progress", "hop", s->env.facts->hop, "vm", s->env.facts->vm->name,
			  "from", s->env.facts->source_site, "to", s->env.facts->destination_site,
			  "phase", p->phase, "stage", p->stage, "done", (json_int_t)p->done,
			  "total", (json_int_t)p->total, "rate", p->rate, "round", (int)p->round);
	if (p->total > p->done && p->rate > 1)
		json_object_set_new(
			snapshot, "eta_ms",
			json_integer((json_int_t)(1e3 * (double)(p->total - p->done) / p->rate)));
	if (p->expected_downtime_ns)
		json_object_set_new(snapshot, "expected_downtime_ms",
				    json_integer(p->expected_downtime_ns / NS_PER_MS));
	if (pacer_rate(s->pacer))
		json_object_set_new(snapshot, "rate_limit",
				    json_integer(8 * (json_int_t)pacer_rate(s->pacer)));
	add_message(s, snapshot);
	ctl_publish(s->ctl, snapshot);
}

/* A channel that failed stops the hop; one that ended has done its work. */
static int check_relay(struct relay *relay, struct error **err)
{
	return relay && relay_poll(relay, err) == RELAY_FAILED ? -1 : 0;
}

static int check_transfer(struct transfer *transfer, struct error **err)
{
	if (transfer->stream && memory_stream_check(transfer->stream, err) < 0)
		return -1;
	if (transfer->coder && codec_pipe_check(transfer->coder, err) < 0)
		return error_wrap(err, "channel %s", transfer->channel);
	return check_relay(transfer->relay, err);
}

/* What the operator wants of a hop that runs. */
static int heed_operator(struct source *s, struct error **err)
{
	struct ctl_limits limits;

	if (ctl_limits_wanted(s->ctl, &limits)) {
		if (limits.rate_given) {
			log_info("rate limit: %" PRIu64 " bit/s (0: none)", limits.rate);
			pacer_set_rate(s->pacer, limits.rate / 8);
			report_set(s->report, "rate_limit", json_integer((json_int_t)limits.rate));
		}
		if (limits.downtime_ns && source_set_downtime(s, limits.downtime_ns, err) < 0)
			return -1;
	}
	if (ctl_abort_wanted(s->ctl))
		return error_set(err, ECANCELED, "aborted by the operator");
	return 0;
}

/* The hop has taken longer than it may. */
static int act_on_timeout(struct source *s, struct error **err)
{
	double seconds = (double)s->job->timeout_ns / 1e9;

	s->late = true;
	report_set(s->report, "timed_out", json_true());
	switch (s->job->on_timeout) {
	case HOP_FORCE:
		log_warn("not done after %.0f s: forced from now on", seconds);
		return source_force(s, err);
	case HOP_CONTINUE:
		log_warn("not done after %.0f s: it goes on", seconds);
		return 0;
	default:
		return error_set(err, ETIMEDOUT, "it was not done after the %.0f s of --timeout",
				 seconds);
	}
}

int source_tick(struct source *s, struct error **err)
{
	int64_t now = clock_ns();

	if (now >= s->progress.next_ns)
		show(s);
	source_checkpoint_look(s);
	if (s->decided)
		return 0;
	if (heed_operator(s, err) < 0)
		return -1;
	if (s->job->timeout_ns && !s->late && now - s->started_ns > s->job->timeout_ns &&
	    act_on_timeout(s, err) < 0)
		return -1;
	for (size_t i = 0; i < ARRAY_SIZE(s->disks); i++)
		if (check_transfer(&s->disks[i], err) < 0)
			return -1;
	if (check_transfer(&s->memory, err) < 0)
		return -1;
	return s->control ? check_relay(control_relay(s->control), err) : 0;
}

/*
 * The next message from the destination; ticks while it waits. Time in which it can't come, and
 * nobody misses it, doesn't count.
 */
static json_t *await_message(struct source *s, int64_t deadline_ns, struct error **err)
{
	int64_t last = clock_ns();

	for (;;) {
		struct error *why = NULL;
		int64_t now = clock_ns();

		if (!s->paused_ns && source_control_lost(s))
			deadline_ns += now - last;
		last = now;
		int64_t soon = now + 50 * NS_PER_MS;
		json_t *message =
			control_receive(s->control, soon < deadline_ns ? soon : deadline_ns, &why);

		if (message)
			return message;
		if (why->code != ETIMEDOUT || now >= deadline_ns) {
			error_propagate(err, why);
			return NULL;
		}
		error_free(why);
		if (source_tick(s, err) < 0)
			return NULL;
	}
}

int source_await(struct source *s, int64_t time_ns, json_t **answer, struct error **err)
{
	auto_json message = await_message(s, clock_ns() + time_ns, err);

	if (!message)
		return error_wrap(err, "host %s", s->env.peer->name);
	if (control_check(message, s->env.peer->name, err) < 0)
		return -1;
	if (answer)
		*answer = steal_ptr(message);
	return 0;
}

int source_call(struct source *s, json_t *request, int64_t time_ns, json_t **answer,
		struct error **err)
{
	int sent = control_send(s->control, request, err);

	json_decref(request);
	if (sent < 0)
		return error_wrap(err, "host %s", s->env.peer->name);
	return source_await(s, time_ns, answer, err);
}

size_t source_peer_addresses(const struct source *s, struct ip_addr list[SOURCE_ADDRESSES])
{
	const struct fleet_host *peer = s->env.peer;
	size_t n = 0;

	for (int others = 0; others < 2; others++)
		for (size_t i = 0; i < peer->address_count && n < SOURCE_ADDRESSES; i++) {
			bool other = strcmp(peer->addresses[i].path, s->env.facts->first_path) != 0;

			if (other == (others == 1))
				list[n++] = peer->addresses[i].address;
		}
	return n;
}

static uint64_t delivered_by(void *relay)
{
	struct relay_stats stats;

	relay_stats(relay, &stats);
	return stats.delivered;
}

static uint64_t arrived_by(void *coder)
{
	return codec_pipe_arrived(coder);
}

/* A carried disk's writes are waited for: they yield to nobody, and come in by another way. */
static struct pacer *pacer_of(const struct source *s, const struct transfer *transfer)
{
	return transfer == &s->memory ? s->pacer : s->disk_pacer;
}

/*
 * hypervisor -> scheduler -> coder -> relay, of which the first two may be missing, but not both.
 * listen_fd is what the first of them takes the hypervisor's connection from.
 */
static int start_through(struct source *s, struct transfer *transfer, struct channel *channel,
			 int listen_fd, const struct transfer_through *through, struct error **err)
{
	int link_fd = relay_start_pair(channel, SILENCE_MS, &transfer->relay, err);
	struct encoder_options coder;
	int ends[2] = {listen_fd, -1};

	if (link_fd < 0) {
		close(listen_fd);
		return -1;
	}
	relay_set_pacer(transfer->relay, pacer_of(s, transfer));
	if (!through->coder) {
		transfer->stream = memory_stream_start(listen_fd, link_fd, through->pages,
						       delivered_by, transfer->relay, err);
		return transfer->stream ? 0 : -1;
	}
	if (through->pages && socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, ends) < 0) {
		close(listen_fd);
		close(link_fd);
		return error_errno(err, "socket pair");
	}
	coder = *through->coder;
	coder.delivered = delivered_by;
	coder.arg = transfer->relay;
	transfer->coder = codec_pipe_encode(ends[0], !through->pages, link_fd, &coder, err);
	if (through->pages && transfer->coder)
		transfer->stream = memory_stream_start(listen_fd, ends[1], through->pages,
						       arrived_by, transfer->coder, err);
	else if (through->pages) {
		close(listen_fd);
		close(ends[1]);
	}
	return transfer->coder && (transfer->stream || !through->pages) ? 0 : -1;
}

/* Again and again where it can't be, as long as the paths may be lost. */
static struct channel *connect_channel(struct source *s, const char *name, struct error **err)
{
	int64_t until = clock_ns() + (s->paused_ns ? 0 : s->job->resume_ns);
	struct ip_addr addresses[SOURCE_ADDRESSES];
	size_t n = source_peer_addresses(s, addresses);

	for (;;) {
		struct error *why = NULL;
		struct channel *channel =
			channel_connect(addresses, n, s->port, &s->key, name, s->buffer,
					s->job->plain, clock_ns() + CONNECT_NS, &why);

		if (channel && source_let_resume(s, channel, err) == 0)
			return channel;
		if (channel) {
			channel_destroy(channel);
			return NULL;
		}
		if (clock_ns() >= until || why->code == ECONNREFUSED) {
			error_propagate(err, why);
			return NULL;
		}
		log_warn("%s; trying again", error_text(why));
		error_free(why);
		clock_sleep_ms(CONNECT_PAUSE_MS);
		if (source_tick(s, err) < 0)
			return NULL;
	}
}

int source_transfer_listen(struct source *s, struct transfer *transfer, const char *channel,
			   const struct transfer_through *through, char path[PATH_MAX],
			   struct error **err)
{
	char file[48];
	struct channel *c;
	int listen_fd;

	snprintf(file, sizeof(file), "%s.sock", channel);
	listen_fd = hop_env_path(&s->env, path, file, err) < 0 ? -1 : local_listen(path, err);
	if (listen_fd < 0)
		return -1;
	c = connect_channel(s, channel, err);
	if (!c) {
		close(listen_fd);
		return -1;
	}
	snprintf(transfer->channel, sizeof(transfer->channel), "%s", channel);
	memcpy(transfer->path, path, strlen(path) + 1);
	if (through && (through->pages || through->coder))
		return start_through(s, transfer, c, listen_fd, through, err);
	transfer->relay = relay_start_on_accept(c, listen_fd, SILENCE_MS, err);
	if (!transfer->relay)
		return -1;
	relay_set_pacer(transfer->relay, pacer_of(s, transfer));
	return 0;
}

int source_transfer_start(struct source *s, struct transfer *transfer, const char *channel,
			  int local_fd, struct error **err)
{
	struct channel *c = connect_channel(s, channel, err);

	if (!c) {
		close(local_fd);
		return -1;
	}
	snprintf(transfer->channel, sizeof(transfer->channel), "%s", channel);
	transfer->relay = relay_start(c, local_fd, SILENCE_MS, err);
	if (!transfer->relay)
		return -1;
	relay_set_pacer(transfer->relay, s->pacer);
	return 0;
}

void source_transfer_close(struct source *s, struct transfer *transfer)
{
	struct relay_stats stats;

	if (!transfer->relay)
		return;
	relay_stats(transfer->relay, &stats);
	report_channel(s->report, transfer->channel, &stats);
	report_losses(s->report, &stats);
	if (transfer->stream)
		source_report_memory(s);
	if (transfer->coder)
		source_report_coding(s, transfer);
	memory_stream_destroy(transfer->stream); /* each asks the one behind it */
	codec_pipe_destroy(transfer->coder);
	transfer->stream = NULL;
	transfer->coder = NULL;
	relay_destroy(transfer->relay);
	transfer->relay = NULL;
	if (*transfer->path)
		unlink(transfer->path);
	transfer->path[0] = '\0';
}
