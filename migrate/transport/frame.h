/* SPDX-License-Identifier: GPL-2.0-or-later */
#ifndef TRANSPORT_FRAME_H
#define TRANSPORT_FRAME_H

#include <stdint.h>

#include "common/error.h"

/*
 * What flows in a channel, both ways: frames of a header of 16 bytes, big-endian, and a payload.
 *
 *      0       1       2               4               8                              16
 *     +-------+-------+---------------+---------------+-------------------------------+
 *     | type  | flags | 0             | length        | sequence                      |
 *     +-------+-------+---------------+---------------+-------------------------------+
 *
 * sequence: in DATA and EOF, the number of DATA payload bytes of this direction before this
 * frame; in ACK, the number of bytes of the other direction that reached their local stream.
 * The first frame of each side is its HELLO. One that opens a channel again has, in HELLO, what an
 * ACK would have; the other side's answer to it is RESUME, the same the other way, and nothing is
 * sent before that.
 */
#define FRAME_HEADER_SIZE 16
#define FRAME_MOST	  (64u << 10) /* payload bytes */

enum frame_type {
	FRAME_HELLO = 1,
	FRAME_DATA,
	FRAME_ACK,
	FRAME_EOF,   /* this direction's stream has ended, in order */
	FRAME_PING,  /* a sign of life; payload: be64, receive buffer that the sender would like */
	FRAME_ERROR, /* text: why the sender gives the channel up */
	FRAME_RESUME
};

struct frame {
	enum frame_type type;
	uint32_t length;
	uint64_t sequence;
};

void frame_encode(const struct frame *frame, uint8_t header[FRAME_HEADER_SIZE]);

/* Checks every field: known type, flags 0, a length that fits the type. */
int frame_decode(const uint8_t header[FRAME_HEADER_SIZE], struct frame *frame, struct error **err);

/*
 * HELLO's payload. Two programs speak when neither's version is below the other's compatible one.
 * generation: grows with each connection of a channel, so that bytes of an older one are known.
 */
#define HELLO_MAGIC "edgehop\n"
#ifndef HELLO_VERSION /* else it is a test's */
#define HELLO_VERSION 1
#endif
#ifndef HELLO_COMPATIBLE
#define HELLO_COMPATIBLE 1
#endif
#define HELLO_SIZE	92
#define HELLO_NAME_SIZE 32

/*
 * A feature that both sides name is used. PLAIN: after the HELLOs nothing is encrypted. RESUME: the
 * channel may be opened again.
 */
#define HELLO_PLAIN  1u
#define HELLO_RESUME 2u

struct hello {
	uint16_t version, compatible;
	uint32_t features;
	uint32_t generation;
	char hop[40]; /* UUID */
	char channel[HELLO_NAME_SIZE];
};

void hello_encode(const struct hello *hello, uint8_t out[HELLO_SIZE]);
int hello_decode(const uint8_t in[HELLO_SIZE], struct hello *hello, struct error **err);

#endif
