/* SPDX-License-Identifier: GPL-2.0-or-later */
#ifndef CODEC_CODEC_PIPE_H
#define CODEC_CODEC_PIPE_H

#include "migrate/codec/control.h"
#include "migrate/codec/known_pages.h"
#include "migrate/codec/page_decoder.h"
#include "migrate/codec/stream_encoder.h"

/*
 * A hypervisor's memory stream, or a disk's, on its way through an encoder, or out of a decoder, in
 * a thread of its own (and those of the encoder's lanes). What comes back (the return path, an NBD
 * server's replies) goes through unchanged, with the decoder's offer beside it (way_back.h). Until
 * the offer is there the encoder takes nothing from the hypervisor, but for the handshake of an NBD
 * client: what it would send might need no sending.
 *
 *     hypervisor <==> encoder <==> relay, channel ... relay <==> decoder <==> hypervisor
 *
 * Nothing is kept while the link has nothing to do: a batch that is not full goes when nothing more
 * comes in and all before it is gone.
 *
 * Memory: the encoder's or decoder's; 64 KiB that came in; what is ready to go out, at most
 * 128 KiB and what one call makes.
 */
struct codec_pipe;

/* Bytes of the coded stream that have arrived at the other end; called from the thread. */
typedef uint64_t codec_pipe_delivered(void *arg);

struct encoder_options {
	enum coded_format format;
	uint64_t pages; /* as stream_encoder_create */
	/* it is an NBD client's stream (disk_encoder.h); format, pages: of no use */
	bool disk;
	struct codec_options codec;
	enum control_way strongest;	 /* the last way that may be taken */
	uint64_t offer_most;		 /* pages that may be offered: known_pages_create */
	codec_pipe_delivered *delivered; /* for the link's rate */
	void *arg;
};

/*
 * in_fd: the hypervisor's stream; `listens`: whoever connects to it first is the hypervisor.
 * link_fd: a stream socket. Both are taken over, also on failure.
 */
struct codec_pipe *codec_pipe_encode(int in_fd, bool listens, int link_fd,
				     const struct encoder_options *options, struct error **err);

struct decoder_options {
	struct decoder_limits limits;
	bool disk;	      /* it is an NBD server's stream (disk_decoder.h) */
	uint64_t guest_pages; /* else: as stream_decoder_create */
};

/* held: what is offered. It and the descriptors are taken over, also on failure. */
struct codec_pipe *codec_pipe_decode(int link_fd, int out_fd, const struct decoder_options *options,
				     struct held_pages *held, struct error **err);

/* Stops wherever it is, closes both ends. Takes NULL. */
void codec_pipe_destroy(struct codec_pipe *pipe);

/* -1 with the reason: it broke off. */
int codec_pipe_check(struct codec_pipe *pipe, struct error **err);

/* An encoder: bytes of the hypervisor's stream whose coded form has arrived at the other end. */
uint64_t codec_pipe_arrived(struct codec_pipe *pipe);

struct codec_pipe_stats {
	struct stream_encoder_stats stream;
	struct control_report control;
	uint32_t offered; /* pages */
};
void codec_pipe_stats(struct codec_pipe *pipe, struct codec_pipe_stats *stats); /* an encoder's */

#endif
