/* SPDX-License-Identifier: GPL-2.0-or-later */
#include "migrate/codec/way_back.h"

#include <errno.h>
#include <string.h>
#include <sys/socket.h>

#include "common/bytes.h"

static bool is_later(void)
{
	return errno == EAGAIN || errno == EINTR;
}

bool way_back_is_full(const struct way_back *w)
{
	return w->start < w->end;
}

/* Up to n bytes into w->bytes + at. 1: some came; 0: none, for now or for ever; -1. */
static int take(struct way_back *w, int from, size_t at, struct error **err)
{
	ssize_t n = recv(from, w->bytes + at, BACK_SIZE - at, MSG_DONTWAIT);

	if (n < 0)
		return is_later() ? 0 : error_errno(err, "the stream's way back");
	w->ended = n == 0;
	w->start = 0;
	w->end = n > 0 ? at + (size_t)n : 0;
	return n > 0;
}

/* As many of the first n bytes that wait as there is room for. 1: all of them; 0; -1. */
static int give(struct way_back *w, int to, size_t n, bool deaf, struct error **err)
{
	ssize_t gone = send(to, w->bytes + w->start, n, MSG_DONTWAIT | MSG_NOSIGNAL);

	if (gone < 0 && !deaf)
		return is_later() ? 0 : error_errno(err, "the stream's way back");
	if (gone < 0)
		gone = (ssize_t)n;
	w->start += (size_t)gone;
	return (size_t)gone == n;
}

static void shut(struct way_back *w, int to)
{
	if (!w->ended || w->shut || way_back_is_full(w))
		return;
	shutdown(to, SHUT_WR);
	w->shut = true;
}

/* ---- The encoder's end ---- */

static int take_header(struct way_back *w, struct error **err)
{
	size_t n = BACK_HEADER_SIZE - w->header_has;

	if (n > w->end - w->start)
		n = w->end - w->start;
	memcpy(w->header + w->header_has, w->bytes + w->start, n);
	w->start += n;
	w->header_has += n;
	if (w->header_has < BACK_HEADER_SIZE)
		return 0;
	w->left = get_be32(w->header) & 0xffffff;
	if (w->left && (w->header[0] == BACK_ANSWER ||
			(w->header[0] == BACK_OFFER && !known_pages_complete(w->known))))
		return 0;
	return error_set(err, EPROTO, "the stream's way back: found record %u of %u bytes",
			 w->header[0], w->left);
}

/* The next n bytes of a record. 1: they are where they belong; 0: later; -1. */
static int pass(struct way_back *w, size_t n, int hypervisor, bool deaf, struct error **err)
{
	size_t before = w->start, used = 0;
	int result;

	if (w->header[0] == BACK_OFFER) {
		if (known_pages_feed(w->known, w->bytes + w->start, n, &used, err) < 0)
			return -1;
		if (used < n)
			return error_set(err, EPROTO,
					 "the stream's way back: found %zu bytes "
					 "behind the offer",
					 n - used);
		w->start += n;
		result = 1;
	} else {
		result = give(w, hypervisor, n, deaf, err);
	}
	w->left -= (uint32_t)(w->start - before);
	if (w->left == 0)
		w->header_has = 0;
	return result;
}

static int pass_all(struct way_back *w, int hypervisor, bool deaf, struct error **err)
{
	int result = 1;

	while (result > 0 && way_back_is_full(w)) {
		size_t n = w->end - w->start;

		if (w->header_has < BACK_HEADER_SIZE)
			result = take_header(w, err) < 0 ? -1 : 1;
		else
			result = pass(w, n < w->left ? n : w->left, hypervisor, deaf, err);
	}
	return result;
}

int way_back_encoder(struct way_back *w, int link, int hypervisor, bool deaf, struct error **err)
{
	if (!way_back_is_full(w) && !w->ended && take(w, link, 0, err) < 0)
		return -1;
	if (pass_all(w, hypervisor, deaf, err) < 0)
		return -1;
	shut(w, hypervisor);
	return 0;
}

/* ---- The decoder's end ---- */

bool way_back_makes_offer(const struct way_back *w, bool asked)
{
	return asked && w->held && !w->offered && !way_back_is_full(w);
}

static void put_header(struct way_back *w, enum back_kind kind)
{
	put_be32(w->bytes, (uint32_t)kind << 24 | (uint32_t)(w->end - BACK_HEADER_SIZE));
}

static int fill(struct way_back *w, int hypervisor, bool asked, struct error **err)
{
	int some = w->ended ? 0 : take(w, hypervisor, BACK_HEADER_SIZE, err);
	size_t n;

	if (some < 0)
		return -1;
	if (some)
		put_header(w, BACK_ANSWER);
	if (!way_back_makes_offer(w, asked))
		return 0;
	n = held_pages_offer(w->held, w->bytes + BACK_HEADER_SIZE, BACK_SIZE - BACK_HEADER_SIZE);
	w->offered = n == 0;
	w->start = 0;
	w->end = n ? BACK_HEADER_SIZE + n : 0;
	if (n)
		put_header(w, BACK_OFFER);
	return 0;
}

int way_back_decoder(struct way_back *w, int hypervisor, int link, bool asked, bool deaf,
		     struct error **err)
{
	if (!way_back_is_full(w) && fill(w, hypervisor, asked, err) < 0)
		return -1;
	if (way_back_is_full(w) && give(w, link, w->end - w->start, deaf, err) < 0)
		return -1;
	if (!way_back_makes_offer(w, asked))
		shut(w, link);
	return 0;
}
