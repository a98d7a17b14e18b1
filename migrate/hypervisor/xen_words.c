/* SPDX-License-Identifier: GPL-2.0-or-later */
#include "migrate/hypervisor/xen_words.h"

#include <assert.h>
#include <errno.h>
#include <stdio.h>
#include <string.h>

#include "common/cleanup.h"
#include "common/jsonl.h"

static const char *const order_names[] = {
	[XEN_STATUS] = "status",   [XEN_WAIT] = "wait",	    [XEN_PAUSE] = "pause",
	[XEN_RESUME] = "resume",   [XEN_REVIVE] = "revive", [XEN_POWER_OFF] = "power-off",
	[XEN_DESTROY] = "destroy", [XEN_LISTEN] = "listen", [XEN_SEND] = "send",
	[XEN_LIMIT] = "limit",	   [XEN_CANCEL] = "cancel", [XEN_DIGEST] = "digest",
};
static_assert(ARRAY_SIZE(order_names) == XEN_ORDERS, "each order has a name");

const char *xen_order_name(enum xen_order order)
{
	return order_names[order];
}

static int find_order(const char *name, enum xen_order *order, struct error **err)
{
	for (size_t i = 0; i < ARRAY_SIZE(order_names); i++)
		if (strcmp(order_names[i], name) == 0) {
			*order = (enum xen_order)i;
			return 0;
		}
	return error_set(err, EPROTO, "field do: found \"%.32s\", expected an order", name);
}

/* Where a Unix socket may be: an absolute path that fits, without control characters. */
static int take_path(const json_t *json, char path[XEN_PATH_MOST + 1], struct error **err)
{
	const char *text = json_get_string(json, "path", err);
	size_t n = text ? strlen(text) : 0;

	if (!text)
		return -1;
	if (text[0] != '/' || n > XEN_PATH_MOST)
		return error_set(
			err, EPROTO,
			"field path: found %zu characters, expected an absolute path of at "
			"most %d",
			n, XEN_PATH_MOST);
	for (size_t i = 0; i < n; i++)
		if ((unsigned char)text[i] < ' ' || text[i] == 0x7f)
			return error_set(err, EPROTO, "field path: found a control character");
	memcpy(path, text, n + 1);
	return 0;
}

int xen_request_path(struct xen_request *request, const char *path, struct error **err)
{
	if (strlen(path) > XEN_PATH_MOST)
		return error_set(err, ENAMETOOLONG, "%s: expected at most %d characters", path,
				 XEN_PATH_MOST);
	memcpy(request->path, path, strlen(path) + 1);
	return 0;
}

static bool has_path(enum xen_order order)
{
	return order == XEN_LISTEN || order == XEN_SEND || order == XEN_DIGEST;
}

static bool has_bounds(enum xen_order order)
{
	return order == XEN_SEND || order == XEN_LIMIT;
}

static int take_bounds(const json_t *json, struct xen_bounds *bounds, struct error **err)
{
	int64_t rate, unmet;

	if (json_get_int(json, "downtime_ns", 1, INT64_MAX, &bounds->downtime_ns, err) < 0 ||
	    json_get_int(json, "rate", 0, INT64_MAX, &rate, err) < 0 ||
	    json_get_int(json, "unmet", 0, HV_UNMET_ABORT, &unmet, err) < 0)
		return -1;
	bounds->rate = (uint64_t)rate;
	bounds->unmet = (enum hv_unmet)unmet;
	return 0;
}

int xen_request_parse(const json_t *json, struct xen_request *request, struct error **err)
{
	const char *name;
	int64_t serial = 0;

	memset(request, 0, sizeof(*request));
	if (json_get_int(json, "id", 1, INT64_MAX, &request->id, err) < 0)
		return -1;
	name = json_get_string(json, "do", err);
	if (!name || find_order(name, &request->order, err) < 0)
		return -1;
	if (has_path(request->order) && take_path(json, request->path, err) < 0)
		return -1;
	if (has_bounds(request->order) && take_bounds(json, &request->bounds, err) < 0)
		return -1;
	if (request->order == XEN_WAIT &&
	    (json_get_int(json, "serial", 0, INT64_MAX, &serial, err) < 0 ||
	     json_get_int(json, "ms", 0, XEN_WAIT_MOST, &request->wait_ms, err) < 0))
		return -1;
	request->serial = (uint64_t)serial;
	return 0;
}

json_t *xen_request_make(const struct xen_request *r)
{
	json_t *json =
		json_pack("{s:I, s:s}", "id", (json_int_t)r->id, "do", order_names[r->order]);

	if (has_path(r->order))
		json_object_set_new(json, "path", json_string(r->path));
	if (has_bounds(r->order)) {
		json_object_set_new(json, "downtime_ns", json_integer(r->bounds.downtime_ns));
		json_object_set_new(json, "rate", json_integer((json_int_t)r->bounds.rate));
		json_object_set_new(json, "unmet", json_integer(r->bounds.unmet));
	}
	if (r->order == XEN_WAIT) {
		json_object_set_new(json, "serial", json_integer((json_int_t)r->serial));
		json_object_set_new(json, "ms", json_integer((json_int_t)r->wait_ms));
	}
	return json;
}

/* Words of libxl and of the guest's making, perhaps: what can't be in JSON or on a terminal goes.
 */
static void make_plain(char *text)
{
	for (; *text; text++)
		if (*text < ' ' || *text > '~')
			*text = '?';
}

json_t *xen_status_make(int64_t id, const struct xen_status *s)
{
	const struct hv_memory *m = &s->memory;
	char why[sizeof(s->why)], failure[sizeof(m->failure)];

	memcpy(why, s->why, sizeof(why));
	memcpy(failure, m->failure, sizeof(failure));
	make_plain(why);
	make_plain(failure);
	return json_pack(
		"{s:I, s:b, s:I, s:s, s:b, s:b, s:b, s:s, s:s, s:I, s:I, s:I, s:I, s:I, s:I, "
		"s:I, s:s}",
		"id", (json_int_t)id, "ok", 1, "serial", (json_int_t)s->serial, "state",
		hv_state_name(s->state), "starting", s->starting, "loaded", s->loaded, "busy",
		s->busy, "why", why, "phase", hv_memory_phase_name(m->phase), "total",
		(json_int_t)m->total, "remaining", (json_int_t)m->remaining, "transferred",
		(json_int_t)m->transferred, "dirty_rate", (json_int_t)m->dirty_rate, "rate",
		(json_int_t)m->rate, "rounds", (json_int_t)m->rounds, "downtime_ns",
		(json_int_t)m->downtime_ns, "failure", failure);
}

json_t *xen_refusal_make(int64_t id, const struct error *why)
{
	char text[512];

	snprintf(text, sizeof(text), "%s", error_text(why));
	make_plain(text);
	return json_pack("{s:I, s:b, s:i, s:s}", "id", (json_int_t)id, "ok", 0, "code",
			 why ? why->code : 0, "error", text);
}

static int take_word(const json_t *json, const char *key, const char *(*name)(int), int count,
		     int *value, struct error **err)
{
	const char *text = json_get_string(json, key, err);

	if (!text)
		return -1;
	for (*value = 0; *value < count; ++*value)
		if (strcmp(name(*value), text) == 0)
			return 0;
	return error_set(err, EPROTO, "field %s: found the unknown word \"%.32s\"", key, text);
}

static const char *state_name(int state)
{
	return hv_state_name((enum hv_state)state);
}

static const char *phase_name(int phase)
{
	return hv_memory_phase_name((enum hv_memory_phase)phase);
}

static int take_number(const json_t *json, const char *key, uint64_t *value, struct error **err)
{
	int64_t n;

	if (json_get_int(json, key, 0, INT64_MAX, &n, err) < 0)
		return -1;
	*value = (uint64_t)n;
	return 0;
}

static int take_memory(const json_t *json, struct hv_memory *m, struct error **err)
{
	int64_t rounds;
	int phase;

	if (take_word(json, "phase", phase_name, HV_MEMORY_PHASES, &phase, err) < 0 ||
	    take_number(json, "total", &m->total, err) < 0 ||
	    take_number(json, "remaining", &m->remaining, err) < 0 ||
	    take_number(json, "transferred", &m->transferred, err) < 0 ||
	    take_number(json, "dirty_rate", &m->dirty_rate, err) < 0 ||
	    take_number(json, "rate", &m->rate, err) < 0 ||
	    json_get_int(json, "rounds", 0, UINT32_MAX, &rounds, err) < 0 ||
	    json_get_int(json, "downtime_ns", 0, INT64_MAX, &m->downtime_ns, err) < 0)
		return -1;
	m->phase = (enum hv_memory_phase)phase;
	m->rounds = (unsigned)rounds;
	return 0;
}

static int take_text(const json_t *json, const char *key, char *to, size_t size, struct error **err)
{
	const char *text = json_get_string(json, key, err);

	if (!text)
		return -1;
	snprintf(to, size, "%s", text);
	make_plain(to);
	return 0;
}

static int take_refusal(const json_t *json, struct error **err)
{
	char text[512] = "it gave no reason";
	int64_t code = 0;

	(void)json_get_int(json, "code", 1, 4095, &code, NULL);
	(void)take_text(json, "error", text, sizeof(text), NULL);
	return error_set(err, code ? (int)code : EREMOTEIO, "%s", text);
}

int xen_status_parse(const json_t *json, int64_t id, struct xen_status *s, struct error **err)
{
	int64_t found;
	int state;

	memset(s, 0, sizeof(*s));
	if (json_get_int(json, "id", id, id, &found, err) < 0)
		return error_wrap(err, "edgehop-xen's answer");
	if (!json_is_true(json_object_get(json, "ok")))
		return take_refusal(json, err);
	if (take_number(json, "serial", &s->serial, err) < 0 ||
	    take_word(json, "state", state_name, HV_STATES, &state, err) < 0 ||
	    take_text(json, "why", s->why, sizeof(s->why), err) < 0 ||
	    take_text(json, "failure", s->memory.failure, sizeof(s->memory.failure), err) < 0 ||
	    take_memory(json, &s->memory, err) < 0)
		return error_wrap(err, "edgehop-xen's answer");
	s->state = (enum hv_state)state;
	s->starting = json_is_true(json_object_get(json, "starting"));
	s->loaded = json_is_true(json_object_get(json, "loaded"));
	s->busy = json_is_true(json_object_get(json, "busy"));
	return 0;
}
