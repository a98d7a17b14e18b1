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
#include <sys/socket.h>
#include <unistd.h>

#include "common/bytes.h"
#include "common/cleanup.h"
#include "common/clock.h"
#include "common/log.h"
#include "migrate/codec/stream_decoder.h"

#define LOG_MODULE "codec"

/*
 * Theory of operation
 *
 * One thread, non-blocking sockets, a poll loop. Forth: what was read goes into the stage (an
 * encoder or a decoder), what the stage makes into `out`, that into the far socket; nothing is read
 * while `out` is full. Back: bytes are copied as they come.
 *
 * An encoder keeps marks of how many bytes in made how many bytes out, so that "so much has
 * arrived" can be told of the hypervisor's stream.
 *
 * The link's rate is what arrived in a window of time during which there was always something that
 * it did not take yet. What digests for the offer took is not counted as coding: it is the same
 * whatever way is chosen. Where the coder was what held things up instead, all that is known is
 * that the link takes no less: then its rate is thought to be higher, a little more each time,
 * until a way of coding is chosen that fills it and shows. Else a strong way that was chosen while
 * a connection began slowly would hide for ever that there is a faster one.
 */
#define IN_SIZE	    (64u << 10)
#define OUT_FULL    (128u << 10)
#define BACK_SIZE   4096
#define TURNS	    8
#define TICK_MS	    50
#define MARKS	    1024 /* a power of two */
#define MARK_EVERY  (16u << 10)
#define WINDOW_NS   (250 * NS_PER_MS)
#define WINDOWS	    3	/* until the rate is believed: connections begin slowly */
#define UP	    0.7 /* weight of a window that shows more than was known */
#define DOWN	    0.3
#define RAISE	    1.2
#define CODER_LEAST 0.5 /* of a window: the coder held things up */
#define LINK_BUFFER (128 << 10)
#define SAMPLE	    (1u << 20) /* bytes of content in a sample of the time that coding takes */

struct stage {
	/* Takes as many of the n bytes as there is room for. */
	int (*feed)(struct codec_pipe *p, const uint8_t *bytes, size_t n, size_t *used,
		    struct error **err);
	/* Nothing more has come, and `out` is empty. */
	int (*idle)(struct codec_pipe *p, struct error **err);
	int (*end)(struct codec_pipe *p, struct error **err);
};

struct mark {
	uint64_t in, out;
};

struct codec_pipe {
	const struct stage *stage;
	int listen_fd, from, to;
	int wake; /* eventfd: stop */
	pthread_t thread;

	/* the thread's own */
	struct stream_decoder *decoder;
	struct held_pages *held; /* a decoder's offer, */
	bool offered;		 /* which is on its way whole */
	uint8_t in[IN_SIZE];
	size_t in_start, in_end;
	bool in_ended, stage_ended, out_ended;
	struct byte_queue out;
	uint64_t given; /* bytes put into `to` */
	uint8_t back[BACK_SIZE];
	size_t back_start, back_end;
	bool back_ended, back_shut;

	/* an encoder's */
	codec_pipe_delivered *delivered;
	void *arg;
	struct mark marks[MARKS];
	uint64_t first_mark, next_mark;
	unsigned lanes;
	int64_t window_ns;	   /* when it began, */
	uint64_t window_delivered; /* with so many bytes delivered */
	double window_cpu_s;	   /* and so much of a core used by the thread, */
	double window_coder_s;	   /* and by the coders of payloads */
	bool busy;		   /* the link, all the time since */
	unsigned windows;
	double rate; /* bytes/s; 0: not known */
	uint64_t sample_in, sample_out;
	double sample_s, sample_coder_s, sample_known_s;

	pthread_mutex_t lock; /* of what follows */
	struct stream_encoder *encoder;
	struct codec_control *control;
	struct known_pages *known;
	uint64_t arrived;
	struct codec_pipe_stats stats;
	struct error *why;
};

/* ---- An encoder ---- */

static void set_mark(struct codec_pipe *p, const struct stream_encoder_stats *stats)
{
	const struct mark *last = &p->marks[(p->next_mark - 1) % MARKS];

	if (p->next_mark > p->first_mark && stats->bytes_out < last->out + MARK_EVERY)
		return;
	if (p->next_mark - p->first_mark == MARKS)
		p->first_mark++; /* what it told will be told by the next one, a little later */
	p->marks[p->next_mark++ % MARKS] = (struct mark){stats->bytes_in, stats->bytes_out};
}

/* So many bytes have arrived: what of the hypervisor's stream that is. */
static void note_arrived(struct codec_pipe *p, uint64_t delivered)
{
	while (p->first_mark < p->next_mark && p->marks[p->first_mark % MARKS].out <= delivered)
		p->arrived = p->marks[p->first_mark++ % MARKS].in;
}

/* What a window of so many seconds tells of the link. */
static void learn_rate(struct codec_pipe *p, double seconds, double arrived, double coder_s)
{
	double rate = arrived / seconds;

	if (p->busy && arrived > 0) {
		p->rate += (p->rate > 0 ? (rate > p->rate ? UP : DOWN) : 1) * (rate - p->rate);
		p->windows++;
	} else if (p->rate > 0 && coder_s >= CODER_LEAST * seconds) {
		p->rate = RAISE * (rate > p->rate ? rate : p->rate);
	}
	if (p->windows >= WINDOWS)
		codec_control_set_link(p->control, p->rate);
}

/* Seconds that the slower half of coding worked since then: lanes work beside the thread. */
static double worked(const struct codec_pipe *p, double cpu_s)
{
	double own = cpu_s - p->window_cpu_s;
	double lane = (p->stats.stream.coder_s - p->window_coder_s) / p->lanes;

	return p->lanes > 1 && lane > own ? lane : own;
}

static void measure_link(struct codec_pipe *p, int64_t now)
{
	uint64_t delivered = p->delivered(p->arg);
	double cpu_s;

	note_arrived(p, delivered);
	p->busy &= byte_queue_length(&p->out) > 0;
	if (now - p->window_ns < WINDOW_NS)
		return;
	cpu_s = clock_thread_s() - p->stats.stream.front.known_s;
	learn_rate(p, (double)(now - p->window_ns) / 1e9, (double)(delivered - p->window_delivered),
		   worked(p, cpu_s));
	p->window_ns = now;
	p->window_delivered = delivered;
	p->window_cpu_s = cpu_s;
	p->window_coder_s = p->stats.stream.coder_s;
	p->busy = byte_queue_length(&p->out) > 0;
}

static void choose_way(struct codec_pipe *p, const struct stream_encoder_stats *stats)
{
	struct control_sample sample = {.in = stats->content_in - p->sample_in,
					.out = stats->content_out - p->sample_out};

	if (sample.in < SAMPLE)
		return;
	sample.payload_s = stats->coder_s - p->sample_coder_s;
	sample.front_s = fmax(0, p->sample_s - (stats->front.known_s - p->sample_known_s));
	if (p->lanes == 1)
		sample.front_s -= fmin(sample.payload_s, sample.front_s);
	codec_control_note(p->control, &sample);
	stream_encoder_use(p->encoder,
			   control_way_of(codec_control_choose(p->control, clock_ns())));
	p->sample_in = stats->content_in;
	p->sample_out = stats->content_out;
	p->sample_coder_s = stats->coder_s;
	p->sample_known_s = stats->front.known_s;
	p->sample_s = 0;
}

/* After each call that has the encoder work, which began at `begun`. */
static void note_work(struct codec_pipe *p, double begun)
{
	p->sample_s += clock_thread_s() - begun;
	stream_encoder_stats(p->encoder, &p->stats.stream);
	set_mark(p, &p->stats.stream);
	choose_way(p, &p->stats.stream);
}

static int encoder_feed(struct codec_pipe *p, const uint8_t *bytes, size_t n, size_t *used,
			struct error **err)
{
	double begun = clock_thread_s();

	if (stream_encoder_feed(p->encoder, bytes, n, &p->out, err) < 0)
		return -1;
	*used = n;
	note_work(p, begun);
	return 0;
}

static int encoder_idle(struct codec_pipe *p, struct error **err)
{
	double begun = clock_thread_s();

	if (!stream_encoder_waits(p->encoder))
		return 0;
	if (stream_encoder_flush(p->encoder, &p->out, err) < 0)
		return -1;
	note_work(p, begun);
	return 0;
}

static int encoder_end(struct codec_pipe *p, struct error **err)
{
	return stream_encoder_end(p->encoder, &p->out, err);
}

/* An encoder that does not know yet what needs no sending. */
static bool awaits_offer(const struct codec_pipe *p)
{
	return p->known && !known_pages_complete(p->known);
}

/* Takes what is the offer's out of what came back. */
static int take_offer(struct codec_pipe *p, struct error **err)
{
	size_t used;

	if (known_pages_feed(p->known, p->back + p->back_start, p->back_end - p->back_start, &used,
			     err) < 0)
		return -1;
	p->back_start += used;
	if (!awaits_offer(p) && known_pages_count(p->known)) {
		p->stats.offered = known_pages_count(p->known);
		stream_encoder_know(p->encoder, p->known);
	}
	return 0;
}

static const struct stage encoder_stage = {encoder_feed, encoder_idle, encoder_end};

/* ---- A decoder ---- */

static int decoder_feed(struct codec_pipe *p, const uint8_t *bytes, size_t n, size_t *used,
			struct error **err)
{
	return stream_decoder_feed(p->decoder, bytes, n, used, &p->out, err);
}

static int take_known(void *arg, uint64_t page, uint8_t *content, struct error **err)
{
	struct codec_pipe *p = arg;

	return held_pages_take(p->held, page, content, err);
}

static int decoder_idle(struct codec_pipe *p, struct error **err)
{
	(void)p;
	(void)err;
	return 0;
}

static int decoder_end(struct codec_pipe *p, struct error **err)
{
	return stream_decoder_end(p->decoder, err);
}

static const struct stage decoder_stage = {decoder_feed, decoder_idle, decoder_end};

/* ---- Moving bytes; under lock ---- */

/* 1: something was done; 0: nothing can be; -1. */
static int take_some(struct codec_pipe *p, struct error **err)
{
	size_t used = 0;
	ssize_t n;

	if (byte_queue_length(&p->out) >= OUT_FULL || p->stage_ended || awaits_offer(p))
		return 0;
	if (p->in_start < p->in_end) {
		if (p->stage->feed(p, p->in + p->in_start, p->in_end - p->in_start, &used, err) < 0)
			return -1;
		p->in_start += used;
		return used > 0;
	}
	if (p->in_ended) {
		p->stage_ended = true;
		return p->stage->end(p, err) < 0 ? -1 : 1;
	}
	n = recv(p->from, p->in, IN_SIZE, MSG_DONTWAIT);
	if (n < 0 && (errno == EAGAIN || errno == EINTR)) {
		size_t before = byte_queue_length(&p->out);

		if (before == 0 && p->stage->idle(p, err) < 0)
			return -1;
		return byte_queue_length(&p->out) > before;
	}
	if (n < 0)
		return error_errno(err, "the memory stream");
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
		if (p->stage_ended && !p->out_ended) {
			shutdown(p->to, SHUT_WR);
			p->out_ended = true;
		}
		return 0;
	}
	n = send(p->to, p->out.data + p->out.start, size, MSG_DONTWAIT | MSG_NOSIGNAL);
	if (n < 0)
		return errno == EAGAIN || errno == EINTR
			       ? 0
			       : error_errno(err, "where the memory stream goes");
	byte_queue_consume(&p->out, (size_t)n);
	p->given += (uint64_t)n;
	return 1;
}

/* There is more of the offer, and room for it. */
static bool makes_offer(const struct codec_pipe *p)
{
	return p->held && !p->offered && p->back_start == p->back_end;
}

static int copy_back(struct codec_pipe *p, struct error **err)
{
	ssize_t n;

	if (makes_offer(p)) {
		p->back_start = 0;
		p->back_end = held_pages_offer(p->held, p->back, BACK_SIZE);
		p->offered = p->back_end == 0;
	}
	if (p->back_start == p->back_end && !p->back_ended) {
		n = recv(p->to, p->back, BACK_SIZE, MSG_DONTWAIT);
		if (n < 0 && errno != EAGAIN && errno != EINTR)
			return error_errno(err, "the memory's return path");
		p->back_ended = n == 0;
		p->back_start = 0;
		p->back_end = n > 0 ? (size_t)n : 0;
		if (awaits_offer(p) && take_offer(p, err) < 0)
			return -1;
	}
	if (p->back_start < p->back_end) {
		n = send(p->from, p->back + p->back_start, p->back_end - p->back_start,
			 MSG_DONTWAIT | MSG_NOSIGNAL);
		if (n > 0)
			p->back_start += (size_t)n;
		else if (p->in_ended)
			p->back_start = p->back_end; /* nobody is there to hear it */
		else if (errno != EAGAIN && errno != EINTR)
			return error_errno(err, "the memory's return path");
	}
	if (p->back_ended && p->back_start == p->back_end && !p->back_shut) {
		shutdown(p->from, SHUT_WR);
		p->back_shut = true;
	}
	return 0;
}

/* 1: both directions have ended; 2: there is more to do at once; -1. */
static int work(struct codec_pipe *p, struct error **err)
{
	int took = 1, gave = 1;

	if (p->encoder)
		measure_link(p, clock_ns());
	for (int turn = 0; turn < TURNS && (took || gave); turn++) {
		took = take_some(p, err);
		gave = took < 0 ? 0 : give_some(p, err);
		if (took < 0 || gave < 0)
			return -1;
	}
	if (copy_back(p, err) < 0)
		return -1;
	if (p->out_ended && p->back_shut)
		return 1;
	return took || gave || makes_offer(p) ? 2 : 0;
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
		if (p->back_start < p->back_end)
			f[1].events |= POLLOUT;
		else if (!p->back_ended)
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
	p->window_ns = clock_ns();
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
	stream_encoder_destroy(p->encoder);
	stream_decoder_destroy(p->decoder);
	codec_control_destroy(p->control);
	known_pages_destroy(p->known);
	held_pages_destroy(p->held);
	byte_queue_clear(&p->out);
	cleanup_close(&p->listen_fd);
	cleanup_close(&p->from);
	cleanup_close(&p->to);
	cleanup_close(&p->wake);
	error_free(p->why);
	pthread_mutex_destroy(&p->lock);
	free(p);
}

static struct codec_pipe *create(int from, int listen_fd, int to, const struct stage *stage,
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
	p->stage = stage;
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
		create(listens ? -1 : in_fd, listens ? in_fd : -1, link_fd, &encoder_stage, err);
	int size = LINK_BUFFER;

	if (!p)
		return NULL;
	p->delivered = options->delivered;
	p->arg = options->arg;
	p->lanes = options->codec.lanes;
	setsockopt(link_fd, SOL_SOCKET, SO_SNDBUF, &size, sizeof(size));
	p->encoder = stream_encoder_create(options->format, options->pages, &options->codec, err);
	if (p->encoder)
		p->known = known_pages_create(options->offer_most, err);
	if (p->known)
		p->control = codec_control_create(options->cores, options->strongest, err);
	if (!p->control) {
		pipe_free(p);
		return NULL;
	}
	stream_encoder_use(p->encoder,
			   control_way_of(codec_control_choose(p->control, clock_ns())));
	return start(p, err);
}

struct codec_pipe *codec_pipe_decode(int link_fd, int out_fd, const struct decoder_limits *limits,
				     uint64_t guest_pages, struct held_pages *held,
				     struct error **err)
{
	struct codec_pipe *p = create(link_fd, -1, out_fd, &decoder_stage, err);

	if (!p) {
		held_pages_destroy(held);
		return NULL;
	}
	p->held = held;
	p->decoder = stream_decoder_create(limits, guest_pages, err);
	if (!p->decoder) {
		pipe_free(p);
		return NULL;
	}
	stream_decoder_know(p->decoder, take_known, p);
	return start(p, err);
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
	arrived = p->arrived;
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
