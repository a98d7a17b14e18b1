/* SPDX-License-Identifier: GPL-2.0-or-later */
#include "netswitch/xen-link.h"

#include <inttypes.h>
#include <stdio.h>
#include <string.h>

#define SESSION_DIGITS 8
#define NUMBER_DIGITS  18 /* at most, so that it fits into 64 bits */

void xen_link_out_init(struct xen_link_out *out, uint32_t seed)
{
	snprintf(out->session, sizeof(out->session), "%08x", seed);
	out->number = 0;
	out->waiting = false;
	out->chunk = out->queued = 0;
}

size_t xen_link_room(const struct xen_link_out *out)
{
	return sizeof(out->queue) - out->queued;
}

void xen_link_put(struct xen_link_out *out, const char *data, size_t n)
{
	if (n > xen_link_room(out))
		n = xen_link_room(out);
	memcpy(out->queue + out->queued, data, n);
	out->queued += n;
}

size_t xen_link_value(struct xen_link_out *out, bool again, char value[XEN_LINK_VALUE])
{
	int n;

	if (out->waiting ? !again : out->queued == 0)
		return 0;
	if (!out->waiting) {
		out->chunk = out->queued < XEN_LINK_CHUNK ? out->queued : XEN_LINK_CHUNK;
		out->number++;
		out->waiting = true;
	}
	n = snprintf(value, XEN_LINK_ID, "%s.%" PRIu64 " ", out->session, out->number);
	memcpy(value + n, out->queue, out->chunk);
	return (size_t)n + out->chunk;
}

bool xen_link_seen(struct xen_link_out *out, const char *value, size_t n)
{
	char id[XEN_LINK_ID];
	int length = snprintf(id, sizeof(id), "%s.%" PRIu64, out->session, out->number);

	if (!out->waiting || n != (size_t)length || memcmp(value, id, n) != 0)
		return false;
	out->queued -= out->chunk;
	memmove(out->queue, out->queue + out->chunk, out->queued);
	out->chunk = 0;
	out->waiting = false;
	return true;
}

static bool is_hex(char c)
{
	return (c >= '0' && c <= '9') || (c >= 'a' && c <= 'f');
}

/* The length of "SESSION.NUMBER", which a space ends; 0: it is none. */
static size_t id_length(const char *value, size_t n)
{
	size_t i = 0;

	while (i < n && i < SESSION_DIGITS && is_hex(value[i]))
		i++;
	if (i != SESSION_DIGITS || i == n || value[i] != '.')
		return 0;
	i++;
	while (i < n && value[i] >= '0' && value[i] <= '9' && i <= SESSION_DIGITS + NUMBER_DIGITS)
		i++;
	return i > SESSION_DIGITS + 1 && i < n && value[i] == ' ' ? i : 0;
}

enum xen_link_news xen_link_take(struct xen_link_in *in, const char *value, size_t n,
				 const char **data, size_t *size)
{
	size_t length = value ? id_length(value, n) : 0;
	bool fresh;

	if (length == 0 || n - length - 1 > XEN_LINK_CHUNK)
		return XEN_LINK_NOTHING;
	if (strlen(in->id) == length && memcmp(in->id, value, length) == 0)
		return XEN_LINK_AGAIN;
	fresh = strncmp(in->id, value, SESSION_DIGITS) != 0;
	memcpy(in->id, value, length);
	in->id[length] = '\0';
	*data = value + length + 1;
	*size = n - length - 1;
	return fresh ? XEN_LINK_FRESH : XEN_LINK_MORE;
}
