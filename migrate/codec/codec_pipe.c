/* SPDX-License-Identifier: GPL-2.0-or-later */
#include "migrate/codec/codec_pipe.h"

#include <errno.h>
#include <fcntl.h>
#include <math.h>
#include <poll.h>
#include <pthread.h>
#include <stdlib.h>
#include <string.h>
#include <sys/eventfd.h>
#include <sys/ioctl.h>
#include <sys/socket.h>
#include <unistd.h>

#include "common/bytes.h"
#include "common/cleanup.h"
#include "common/clock.h"
#include "common/log.h"
#include "migrate/codec/coder.h"
#include "migrate/codec/disk_decoder.h"
#include "migrate/codec/disk_encoder.h"
#include "migrate/codec/link_meter.h"
#include "migrate/codec/stream_decoder.h"
#include "migrate/codec/way_back.h"

#define LOG_MODULE "codec"

/*
 * Theory of operation
 *
 * One thread, non-blocking sockets, a poll loop. Forth: what was read goes into the coder (an
 * encoder or a decoder), what that makes into `out`, and from there into the far socket; nothing is
 * read while `out` is full. Back: way_back.h.
 *
 * What an encoder's link takes, and what of the hypervisor's stream has arrived, link_meter.h
 * tells. What digests for the offer took is not counted as coding: it is the same whatever way is
 * chosen.
 */
#define IN_SIZE	    (64u << 10)
#define OUT_FULL    (128u << 10)
#define TURNS	    8
#define TICK_MS	    50
#define LINK_BUFFER (128 << 10)
/* What a sample of the time that coding takes has at the least: bytes of content, seconds. Shorter
 * ones show a machine that is busy as rarely as they are interrupted. */
#define SAMPLE	 (1u << 20)
#define SAMPLE_S 0.01

struct codec_pipe {
	const struct coder *coder;
	int listen_fd, from, to;
	int wake; /* eventfd: stop */
	pthread_t thread;

	/* the thread's own */
	uint8_t in[IN_SIZE];
	size_t in_start, in_end;
	bool in_ended, coder_ended, out_ended;
	struct byte_queue out;
	uint64_t given; /* bytes put into `to` */
	struct way_back back;

	/* an encoder's */
	codec_pipe_delivered *delivered;
	void *arg;
	unsigned lanes;
	struct link_meter link;
	double work_s;			     /* in the encoder, by the clock */
	struct stream_encoder_stats sampled; /* up to the last sample, */
	double sampled_work_s;

	pthread_mutex_t lock;	       /* of what follows */
	void *object;		       /* the coder's */
	struct codec_control *control; /* NULL: it decodes */
	struct codec_pipe_stats stats;
	struct error *why;
};

/* ---- An encoder ---- */

/* The hypervisor has sent what is not coded yet. */
static bool has_to_code(const struct codec_pipe *p)
{
	int bytes = 0;

	return p->in_start < p->in_end || p->coder->waits(p->object) ||
	       (ioctl(p->from, FIONREAD, &bytes) == 0 && bytes > 0);
}

static void measure_link(struct codec_pipe *p, int64_t now)
{
	struct link_look look = {.now_ns = now,
				 .given = p->given,
				 .delivered = p->delivered(p->arg),
				 .waiting = byte_queue_length(&p->out)};

	look.to_code = look.waiting == 0 && has_to_code(p);
	if (link_meter_look(&p->link, &look))
		codec_control_set_link(p->control, link_meter_rate(&p->link));
}

/* What the encoder did since the last sample. */
static struct control_sample sample_of(const struct codec_pipe *p)
{
	const struct stream_encoder_stats *now = &p->stats.stream, *then = &p->sampled;
	struct control_sample sample = {
		.in = now->content_in - then->content_in,
		.out = now->content_out - then->content_out,
		.payload_s = now->times.payload_s - then->times.payload_s,
	};
	double elsewhere = now->front.known_s - then->front.known_s +
			   (now->times.waited_s - then->times.waited_s);

	if (p->lanes == 1)
		elsewhere += sample.payload_s;
	sample.front_s = fmax(p->work_s - p->sampled_work_s - elsewhere, 0);
	return sample;
}

static void choose_way(struct codec_pipe *p)
{
	struct control_sample sample = sample_of(p);

	if (sample.in < SAMPLE || sample.front_s + sample.payload_s < SAMPLE_S)
		return;
	codec_control_note(p->control, &sample);
	p->coder->use(p->object, control_way_of(codec_control_choose(p->control, clock_ns())));
	p->sampled = p->stats.stream;
	p->sampled_work_s = p->work_s;
}

/* After each call that has the encoder work, which began at `begun`. */
static void note_work(struct codec_pipe *p, int64_t begun)
{
	p->work_s += (double)(clock_ns() - begun) / NS_PER_SEC;
	p->coder->stats(p->object, &p->stats.stream);
	link_meter_mark(&p->link, p->stats.stream.bytes_in, p->stats.stream.bytes_out);
	choose_way(p);
}

/* ---- Either ---- */

static int feed(struct codec_pipe *p, const uint8_t *bytes, size_t n, size_t *used,
		struct error **err)
{
	int64_t begun = clock_ns();

	if (p->coder->feed(p->object, bytes, n, used, &p->out, err) < 0)
		return -1;
	if (p->control)
		note_work(p, begun);
	return 0;
}

/* Nothing more has come, and `out` is empty. */
static int idle(struct codec_pipe *p, struct error **err)
{
	int64_t begun = clock_ns();

	if (!p->control || !p->coder->waits(p->object))
		return 0;
	if (p->coder->flush(p->object, &p->out, err) < 0)
		return -1;
	note_work(p, begun);
	return 0;
}

/* ---- What the destination has already ---- */

/* An encoder that has to know first what needs no sending. */
static bool awaits_offer(const struct codec_pipe *p)
{
	return p->control && !known_pages_complete(p->back.known) && p->coder->awaits(p->object);
}

/* A decoder whose encoder waits for that. */
static bool is_asked(const struct codec_pipe *p)
{
	return !p->control && p->coder->asked(p->object);
}

static int take_known(void *arg, uint64_t page, uint8_t *content, struct error **err)
{
	struct codec_pipe *p = arg;

	return held_pages_take(p->back.held, page, content, err);
}

static int encoder_back(struct codec_pipe *p, struct error **err)
{
	struct known_pages *known = p->back.known;
	bool knew = known_pages_complete(known);

	if (way_back_encoder(&p->back, p->to, p->from, p->in_ended, err) < 0)
		return -1;
	if (!knew && known_pages_complete(known) && known_pages_count(known)) {
		p->stats.offered = known_pages_count(known);
		p->coder->know(p->object, known);
	}
	return 0;
}

static int move_back(struct codec_pipe *p, struct error **err)
{
	return p->control
		       ? encoder_back(p, err)
		       : way_back_decoder(&p->back, p->to, p->from, is_asked(p), p->in_ended, err);
}

/* ---- Moving bytes; under lock ---- */

/* 1: something was done; 0: nothing can be; -1. */
static int take_some(struct codec_pipe *p, struct error **err)
{
	size_t used = 0;
	ssize_t n;

	if (byte_queue_length(&p->out) >= OUT_FULL || p->coder_ended || awaits_offer(p))
		return 0;
	if (p->in_start < p->in_end) {
		if (feed(p, p->in + p->in_start, p->in_end - p->in_start, &used, err) < 0)
			return -1;
		p->in_start += used;
		return used > 0;
	}
	if (p->in_ended) {
		p->coder_ended = true;
		return p->coder->end(p->object, &p->out, err) < 0 ? -1 : 1;
	}
	n = recv(p->from, p->in, IN_SIZE, MSG_DONTWAIT);
	if (n < 0 && (errno == EAGAIN || errno == EINTR)) {
		size_t before = byte_queue_length(&p->out);

		if (before == 0 && idle(p, err) < 0)
			return -1;
		return byte_queue_length(&p->out) > before;
	}
	if (n < 0)
		return error_errno(err, "the local stream");
	p->in_ended = n == 0;
	p->in_start = 0;
	p->in_end = (size_t)n;
	return 1;
}

static int give_some(struct codec_pipe *p, struct error **err)
{
	size_t size = byte_queue_length(&p->out);
	ssize_t n;

	if (size == 0) {
		if (p->coder_ended && !p->out_ended) {
			shutdown(p->to, SHUT_WR);
			p->out_ended = true;
		}
		return 0;
	}
	n = send(p->to, p->out.data + p->out.start, size, MSG_DONTWAIT | MSG_NOSIGNAL);
	if (n < 0)
		return errno == EAGAIN || errno == EINTR
			       ? 0
			       : error_errno(err, "where the stream goes");
	byte_queue_consume(&p->out, (size_t)n);
	p->given += (uint64_t)n;
	return 1;
}

/* 1: both directions have ended; 2: there is more to do at once; -1. */
static int work(struct codec_pipe *p, struct error **err)
{
	int took = 1, gave = 1;

	if (p->control)
		measure_link(p, clock_ns());
	for (int turn = 0; turn < TURNS && (took || gave); turn++) {
		took = take_some(p, err);
		gave = took < 0 ? 0 : give_some(p, err);
		if (took < 0 || gave < 0)
			return -1;
	}
	if (move_back(p, err) < 0)
		return -1;
	if (p->out_ended && p->back.shut)
		return 1;
	return took || gave || way_back_makes_offer(&p->back, is_asked(p)) ? 2 : 0;
}

/* ---- The thread ---- */

static int pipe_loop(struct codec_pipe *p, struct error **err)
{
	for (;;) {
		struct pollfd f[3] = {
			{.fd = p->wake, .events = POLLIN}, {.fd = p->from}, {.fd = p->to}};
		int result;

		pthread_mutex_lock(&p->lock);
		result = work(p, err);
		pthread_mutex_unlock(&p->lock);
		if (result < 0 || result == 1)
			return result < 0 ? -1 : 0;
		if (!p->in_ended && p->in_start == p->in_end && !awaits_offer(p) &&
		    byte_queue_length(&p->out) < OUT_FULL)
			f[1].events |= POLLIN;
		if (way_back_is_full(&p->back))
			f[1].events |= POLLOUT;
		else if (!p->back.ended)
			f[2].events |= POLLIN;
		if (byte_queue_length(&p->out))
			f[2].events |= POLLOUT;
		for (int i = 1; i < 3; i++)
			if (!f[i].events)
				f[i].fd = -1; /* else the end of a stream would spin */
		if (poll(f, 3, result == 2 ? 0 : TICK_MS) < 0 && errno != EINTR)
			return error_errno(err, "poll");
		if (f[0].revents)
			return 0;
	}
}

/* 0: it has connected; 1: told to stop; -1. */
static int await_hypervisor(struct codec_pipe *p, struct error **err)
{
	struct pollfd f[2] = {{.fd = p->wake, .events = POLLIN},
			      {.fd = p->listen_fd, .events = POLLIN}};

	while (p->from < 0) {
		if (poll(f, 2, -1) < 0 && errno != EINTR)
			return error_errno(err, "poll");
		if (f[0].revents)
			return 1;
		if (f[1].revents)
			p->from = accept4(p->listen_fd, NULL, NULL, SOCK_CLOEXEC | SOCK_NONBLOCK);
	}
	link_meter_begin(&p->link, clock_ns());
	return 0;
}

static void *pipe_main(void *arg)
{
	struct codec_pipe *p = arg;
	struct error *why = NULL;
	int result = await_hypervisor(p, &why);

	if (result == 0)
		result = pipe_loop(p, &why);
	if (result < 0)
		log_info("%s", error_text(why)); /* whether it matters, its owner knows */
	pthread_mutex_lock(&p->lock);
	p->why = why;
	pthread_mutex_unlock(&p->lock);
	/* whoever is at the other ends learns of it */
	if (p->from >= 0)
		shutdown(p->from, SHUT_RDWR);
	shutdown(p->to, SHUT_RDWR);
	return NULL;
}

/* ---- From outside ---- */

static void pipe_free(struct codec_pipe *p)
{
	p->coder->destroy(p->object);
	codec_control_destroy(p->control);
	known_pages_destroy(p->back.known);
	held_pages_destroy(p->back.held);
	byte_queue_clear(&p->out);
	cleanup_close(&p->listen_fd);
	cleanup_close(&p->from);
	cleanup_close(&p->to);
	cleanup_close(&p->wake);
	error_free(p->why);
	pthread_mutex_destroy(&p->lock);
	free(p);
}

static struct codec_pipe *create(int from, int listen_fd, int to, const struct coder *coder,
				 struct error **err)
{
	struct codec_pipe *p = calloc(1, sizeof(*p));

	if (!p) {
		cleanup_close(&from);
		cleanup_close(&listen_fd);
		close(to);
		error_set(err, ENOMEM, "no memory for a coded stream");
		return NULL;
	}
	p->coder = coder;
	p->from = from;
	p->listen_fd = listen_fd;
	p->to = to;
	p->wake = eventfd(0, EFD_CLOEXEC);
	pthread_mutex_init(&p->lock, NULL);
	return p;
}

static int not_block(int fd)
{
	return fd < 0 ? 0 : fcntl(fd, F_SETFL, fcntl(fd, F_GETFL) | O_NONBLOCK);
}

static struct codec_pipe *start(struct codec_pipe *p, struct error **err)
{
	if (p->wake >= 0 && not_block(p->from) == 0 && not_block(p->to) == 0 &&
	    pthread_create(&p->thread, NULL, pipe_main, p) == 0)
		return p;
	error_set(err, EAGAIN, "can't start a coded stream");
	pipe_free(p);
	return NULL;
}

struct codec_pipe *codec_pipe_encode(int in_fd, bool listens, int link_fd,
				     const struct encoder_options *options, struct error **err)
{
	struct codec_pipe *p =
		create(listens ? -1 : in_fd, listens ? in_fd : -1, link_fd,
		       options->disk ? &coder_disk_encoder : &coder_memory_encoder, err);
	int size = LINK_BUFFER;

	if (!p)
		return NULL;
	p->delivered = options->delivered;
	p->arg = options->arg;
	p->lanes = options->codec.lanes;
	setsockopt(link_fd, SOL_SOCKET, SO_SNDBUF, &size, sizeof(size));
	if (options->disk)
		p->object = disk_encoder_create(&options->codec, err);
	else
		p->object = stream_encoder_create(options->format, options->pages, &options->codec,
						  err);
	if (p->object)
		p->back.known = known_pages_create(options->offer_most, err);
	if (p->back.known)
		p->control = codec_control_create(options->codec.lanes, options->strongest, err);
	if (!p->control) {
		pipe_free(p);
		return NULL;
	}
	p->coder->use(p->object, control_way_of(codec_control_choose(p->control, clock_ns())));
	return start(p, err);
}

static void *make_memory_decoder(struct codec_pipe *p, const struct decoder_options *options,
				 struct error **err)
{
	struct stream_decoder *d =
		stream_decoder_create(&options->limits, options->guest_pages, err);

	if (d)
		stream_decoder_know(d, take_known, p);
	return d;
}

static void *make_disk_decoder(struct codec_pipe *p, const struct decoder_options *options,
			       struct error **err)
{
	struct disk_decoder *d = disk_decoder_create(&options->limits, err);

	if (d)
		disk_decoder_know(d, take_known, p);
	return d;
}

struct codec_pipe *codec_pipe_decode(int link_fd, int out_fd, const struct decoder_options *options,
				     struct held_pages *held, struct error **err)
{
	struct codec_pipe *p =
		create(link_fd, -1, out_fd,
		       options->disk ? &coder_disk_decoder : &coder_memory_decoder, err);

	if (!p) {
		held_pages_destroy(held);
		return NULL;
	}
	p->back.held = held;
	p->object = options->disk ? make_disk_decoder(p, options, err)
				  : make_memory_decoder(p, options, err);
	if (p->object)
		return start(p, err);
	pipe_free(p);
	return NULL;
}

void codec_pipe_destroy(struct codec_pipe *p)
{
	uint64_t one = 1;

	if (!p)
		return;
	if (write_all(p->wake, &one, sizeof(one), NULL) == 0)
		pthread_join(p->thread, NULL);
	pipe_free(p);
}

int codec_pipe_check(struct codec_pipe *p, struct error **err)
{
	int result = 0;

	pthread_mutex_lock(&p->lock);
	if (p->why)
		result = error_set(err, p->why->code, "%s", p->why->message);
	pthread_mutex_unlock(&p->lock);
	return result;
}

uint64_t codec_pipe_arrived(struct codec_pipe *p)
{
	uint64_t arrived;

	pthread_mutex_lock(&p->lock);
	arrived = p->link.arrived;
	pthread_mutex_unlock(&p->lock);
	return arrived;
}

void codec_pipe_stats(struct codec_pipe *p, struct codec_pipe_stats *stats)
{
	pthread_mutex_lock(&p->lock);
	*stats = p->stats;
	codec_control_report(p->control, &stats->control);
	pthread_mutex_unlock(&p->lock);
}
