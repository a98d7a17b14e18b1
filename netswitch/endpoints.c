/* SPDX-License-Identifier: GPL-2.0-or-later */
#include "netswitch/endpoints.h"

#include <assert.h>
#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <string.h>
#include <sys/file.h>

#include <linux/mptcp.h>

#include "common/bytes.h"
#include "common/cleanup.h"
#include "common/log.h"
#include "common/places.h"
#include "netswitch/mptcp_pm.h"

#define LOG_MODULE "endpoints"

/*
 * Theory of operation
 *
 * The state is one JSON file, changed under flock() of another file that stays:
 *
 *     {"edgehop": 1,
 *      "limits": {"former": [SUBFLOWS, ACCEPTED], "raised": [SUBFLOWS, ACCEPTED]},
 *      "ours": [ADDRESS, ...], "implicit": [ADDRESS, ...],
 *      "holders": [{"hop": UUID, "pid": N, "start": TICKS, "addresses": [ADDRESS, ...]}, ...]}
 *
 * Holding: the file says what will be ours, then the kernel is told. Releasing: the kernel is
 * told, then the file. So after a crash at any point the file names at least what is ours, and a
 * release, which takes what is absent for done, leaves nothing behind.
 *
 * An address that the kernel has as an explicit endpoint and "ours" does not name is somebody
 * else's: it is held like any other and not removed. Where a connection of this host joins an
 * announced address, the kernel makes an endpoint of the local one by itself, flag IMPLICIT, and
 * never forgets it, though it has room for 8 in all: those that were not there before the first
 * holder
 * ("implicit") go with the last; one that an opposite hop then holds becomes explicit, and ours.
 * A holder is a hop; its process is known by number and
 * start time, since numbers are used again.
 */
#define STATE_MOST (1024 * 1024)
#define LIMIT	   8 /* for both; more is refused by all kernels up to 6.18 */

static const uint32_t kind_flags[] = {
	[ENDPOINT_SIGNAL] = MPTCP_PM_ADDR_FLAG_SIGNAL,
	[ENDPOINT_SUBFLOW] = MPTCP_PM_ADDR_FLAG_SUBFLOW,
};
static_assert(ARRAY_SIZE(kind_flags) == ENDPOINT_SUBFLOW + 1, "a kind has no flags");

/* The locked state, between state_open() and the end of the scope. */
struct state {
	int lock;
	json_t *root;
};

static void state_close(struct state *state)
{
	json_decref(state->root);
	if (state->lock >= 0)
		close(state->lock);
}
#define auto_state __attribute__((cleanup(state_close))) struct state

/* The list of that name, made when it is not there. Borrowed; NULL only without memory. */
static json_t *list_of(json_t *object, const char *key)
{
	json_t *list = json_object_get(object, key);

	if (json_is_array(list))
		return list;
	if (json_object_set_new(object, key, json_array()) < 0)
		return NULL;
	return json_object_get(object, key);
}

static int state_lock(struct error **err)
{
	char path[PATH_MAX];
	int rc;

	if (place(path, err, PLACE_RUN) < 0 || make_dirs(path, err) < 0 ||
	    place(path, err, PLACE_RUN "/endpoints.lock") < 0)
		return -1;

	auto_close fd = open(path, O_RDWR | O_CREAT | O_CLOEXEC, 0600);

	if (fd < 0)
		return error_errno(err, "%s", path);
	do {
		rc = flock(fd, LOCK_EX);
	} while (rc < 0 && errno == EINTR);
	if (rc < 0)
		return error_errno(err, "lock of %s", path);
	return steal_fd(&fd);
}

static int state_open(struct state *state, struct error **err)
{
	auto_free char *text = NULL;
	struct error *why = NULL;
	char path[PATH_MAX];

	state->lock = state_lock(err);
	if (state->lock < 0 || place(path, err, PLACE_RUN "/endpoints.json") < 0)
		return -1;
	text = read_file(path, STATE_MOST, NULL, &why);
	if (text) {
		state->root = json_loads(text, JSON_REJECT_DUPLICATES, NULL);
	} else if (why->code == ENOENT) {
		error_free(why);
		state->root = json_pack("{s:i}", "edgehop", 1);
	} else {
		return error_propagate(err, why);
	}
	if (!json_is_object(state->root))
		return error_set(err, EPROTO, "%s is damaged: remove it when no hop is under way",
				 path);
	if (!list_of(state->root, "ours") || !list_of(state->root, "holders"))
		return error_set(err, ENOMEM, "%s: no memory", path);
	return 0;
}

static int state_save(const struct state *state, struct error **err)
{
	auto_free char *text = json_dumps(state->root, JSON_INDENT(1));
	char path[PATH_MAX];

	if (!text)
		return error_set(err, ENOMEM, "no memory for the state of the MPTCP endpoints");
	if (place(path, err, PLACE_RUN "/endpoints.json") < 0)
		return -1;
	return write_file_durably(path, text, strlen(text), err);
}

/* When a process started, in ticks since boot; -1: there is no such process (any more). */
static json_int_t process_start(json_int_t pid)
{
	auto_free char *text = NULL;
	char path[64], state;
	const char *after_name;
	unsigned long long start;

	snprintf(path, sizeof(path), "/proc/%" JSON_INTEGER_FORMAT "/stat", pid);
	text = read_file(path, 4096, NULL, NULL);
	after_name = text ? strrchr(text, ')') : NULL;
	if (!after_name ||
	    sscanf(after_name,
		   ") %c %*d %*d %*d %*d %*d %*u %*u %*u %*u %*u %*u %*u %*d %*d %*d %*d %*d %*d "
		   "%llu",
		   &state, &start) != 2 ||
	    state == 'Z')
		return -1;
	return (json_int_t)start;
}

static bool holder_alive(const json_t *holder)
{
	json_int_t pid = json_integer_value(json_object_get(holder, "pid"));
	json_int_t start = json_integer_value(json_object_get(holder, "start"));

	return pid > 0 && process_start(pid) == start;
}

static const char *holder_hop(const json_t *holder)
{
	const char *hop = json_string_value(json_object_get(holder, "hop"));

	return hop ? hop : "";
}

static bool list_has(const json_t *list, const char *text)
{
	const json_t *item;
	size_t i;

	json_array_foreach (list, i, item) {
		if (json_is_string(item) && strcmp(json_string_value(item), text) == 0)
			return true;
	}
	return false;
}

static int list_add(json_t *list, const char *text, struct error **err)
{
	if (list_has(list, text))
		return 0;
	if (!list || json_array_append_new(list, json_string(text)) < 0)
		return error_set(err, ENOMEM, "no memory for the list of MPTCP endpoints");
	return 0;
}

/* The hop's entry, made when it is not there; its process is the calling one from now on. */
static json_t *holder_of(struct state *state, const char *hop, struct error **err)
{
	json_t *holders = list_of(state->root, "holders"), *holder;
	json_int_t pid = getpid();
	size_t i = 0;

	while (i < json_array_size(holders) &&
	       strcmp(holder_hop(json_array_get(holders, i)), hop) != 0)
		i++;
	if (i == json_array_size(holders))
		json_array_append_new(holders, json_pack("{s:s}", "hop", hop));
	holder = json_array_get(holders, i);
	if (json_object_set_new(holder, "pid", json_integer(pid)) < 0 ||
	    json_object_set_new(holder, "start", json_integer(process_start(pid))) < 0 ||
	    !list_of(holder, "addresses")) {
		error_set(err, ENOMEM, "no memory for the holder of MPTCP endpoints");
		return NULL;
	}
	return holder;
}

static json_t *limits_to_json(const struct mptcp_limits *limits)
{
	return json_pack("[I,I]", (json_int_t)limits->subflows,
			 (json_int_t)limits->add_addr_accepted);
}

static bool limits_from_json(const json_t *list, struct mptcp_limits *limits)
{
	if (json_array_size(list) != 2)
		return false;
	limits->subflows = (uint32_t)json_integer_value(json_array_get(list, 0));
	limits->add_addr_accepted = (uint32_t)json_integer_value(json_array_get(list, 1));
	return true;
}

static bool is_implicit(const struct mptcp_endpoint *endpoint)
{
	return endpoint->flags & MPTCP_PM_ADDR_FLAG_IMPLICIT;
}

/* Notes which endpoints the kernel had made by itself before the first holder came. */
static int note_implicit(struct state *state, struct error **err)
{
	struct mptcp_endpoint list[MPTCP_PM_MOST];
	char text[IP_TEXT];
	size_t count;
	json_t *noted;

	if (json_object_get(state->root, "implicit"))
		return 0;
	noted = list_of(state->root, "implicit");
	if (!noted)
		return error_set(err, ENOMEM, "no memory for the MPTCP endpoints");
	if (mptcp_pm_list(list, &count, err) < 0)
		return -1;
	for (size_t i = 0; i < count; i++)
		if (is_implicit(&list[i]) &&
		    list_add(noted, ip_format_host(&list[i].address, text), err) < 0)
			return -1;
	return 0;
}

/* The last holder has left: what the kernel made for the hops' connections goes. */
static int forget_implicit(struct state *state, struct error **err)
{
	const json_t *noted = json_object_get(state->root, "implicit");
	struct mptcp_endpoint list[MPTCP_PM_MOST];
	char text[IP_TEXT];
	size_t count;

	if (!noted)
		return 0;
	if (mptcp_pm_list(list, &count, err) < 0)
		return -1;
	for (size_t i = 0; i < count; i++)
		if (is_implicit(&list[i]) &&
		    !list_has(noted, ip_format_host(&list[i].address, text)) &&
		    mptcp_pm_del(list[i].id, err) < 0)
			return -1;
	json_object_del(state->root, "implicit");
	return 0;
}

/* Notes what the limits were and will be, unless an earlier hold did. */
static int plan_limits(struct state *state, struct error **err)
{
	struct mptcp_limits former = {0}, raised;
	json_t *plan;

	if (json_object_get(state->root, "limits"))
		return 0;
	if (mptcp_pm_get_limits(&former, err) < 0)
		return -1;
	raised = former;
	if (raised.subflows < LIMIT)
		raised.subflows = LIMIT;
	if (raised.add_addr_accepted < LIMIT)
		raised.add_addr_accepted = LIMIT;
	plan = json_pack("{s:o,s:o}", "former", limits_to_json(&former), "raised",
			 limits_to_json(&raised));
	if (json_object_set_new(state->root, "limits", plan) < 0)
		return error_set(err, ENOMEM, "no memory for the MPTCP limits");
	return 0;
}

/* The last holder has left. */
static int restore_limits(struct state *state, struct error **err)
{
	const json_t *plan = json_object_get(state->root, "limits");
	struct mptcp_limits former, raised, present = {0};

	if (!limits_from_json(json_object_get(plan, "former"), &former) ||
	    !limits_from_json(json_object_get(plan, "raised"), &raised))
		return 0;
	if (mptcp_pm_get_limits(&present, err) < 0)
		return -1;
	if (present.subflows == raised.subflows &&
	    present.add_addr_accepted == raised.add_addr_accepted) {
		if (mptcp_pm_set_limits(&former, err) < 0)
			return -1;
	} else {
		log_info("the MPTCP limits were changed by others and are left as they are");
	}
	json_object_del(state->root, "limits");
	return 0;
}

static bool is_held(const struct state *state, const char *address)
{
	const json_t *holder;
	size_t i;

	json_array_foreach (json_object_get(state->root, "holders"), i, holder) {
		if (list_has(json_object_get(holder, "addresses"), address))
			return true;
	}
	return false;
}

/* Makes the kernel forget those of ours that nobody holds, and the limits with the last holder. */
static int drop_unheld(struct state *state, struct error **err)
{
	json_t *ours = list_of(state->root, "ours");

	for (size_t i = json_array_size(ours); i-- > 0;) {
		const char *text = json_string_value(json_array_get(ours, i));
		struct ip_addr addr;
		int id;

		if (text && is_held(state, text))
			continue;
		if (text && ip_parse(text, &addr, NULL) == 0) {
			id = mptcp_pm_find(&addr, err);
			if (id < 0 || (id > 0 && mptcp_pm_del((uint8_t)id, err) < 0))
				return -1;
			log_debug("endpoint %s removed", text);
		}
		json_array_remove(ours, i);
	}
	if (json_array_size(json_object_get(state->root, "holders")) != 0)
		return 0;
	return forget_implicit(state, err) < 0 ? -1 : restore_limits(state, err);
}

/* Removes holders of which `gone` says so, and what they alone held; then the file says it. */
static int drop_holders(struct state *state, bool (*gone)(const json_t *holder, void *context),
			void *context, struct error **err)
{
	json_t *holders = list_of(state->root, "holders");
	bool any = false;

	for (size_t i = json_array_size(holders); i-- > 0;) {
		if (!gone(json_array_get(holders, i), context))
			continue;
		json_array_remove(holders, i);
		any = true;
	}
	if (!any)
		return 0;
	if (drop_unheld(state, err) < 0)
		return -1;
	return state_save(state, err);
}

/* Did somebody make this endpoint? The kernel's own is taken over by an explicit one. */
static bool is_others(const struct mptcp_endpoint *list, size_t count, const struct ip_addr *addr)
{
	for (size_t i = 0; i < count; i++)
		if (ip_same(&list[i].address, addr))
			return !is_implicit(&list[i]);
	return false;
}

/* Notes addresses as held by the hop; those that are nobody's endpoints yet, as ours. */
static int plan_addresses(struct state *state, json_t *holder, const struct ip_addr *addrs,
			  size_t n, struct error **err)
{
	struct mptcp_endpoint list[MPTCP_PM_MOST];
	char text[IP_TEXT];
	size_t count;

	if (mptcp_pm_list(list, &count, err) < 0)
		return -1;
	for (size_t i = 0; i < n; i++) {
		ip_format_host(&addrs[i], text);
		if (list_add(list_of(holder, "addresses"), text, err) < 0 ||
		    (!is_others(list, count, &addrs[i]) &&
		     list_add(list_of(state->root, "ours"), text, err) < 0))
			return -1;
	}
	return 0;
}

static int tell_kernel(const struct ip_addr *addrs, size_t n, enum endpoint_kind kind,
		       const struct state *state, struct error **err)
{
	struct mptcp_limits present = {0}, raised;
	const json_t *plan = json_object_get(state->root, "limits");

	if (mptcp_pm_get_limits(&present, err) < 0)
		return -1;
	if (limits_from_json(json_object_get(plan, "raised"), &raised) &&
	    (present.subflows < raised.subflows ||
	     present.add_addr_accepted < raised.add_addr_accepted) &&
	    mptcp_pm_set_limits(&raised, err) < 0)
		return -1;
	for (size_t i = 0; i < n; i++) {
		struct mptcp_endpoint endpoint = {.address = addrs[i], .flags = kind_flags[kind]};

		if (mptcp_pm_add(&endpoint, err) < 0)
			return -1;
	}
	return 0;
}

static bool is_of_hop(const json_t *holder, void *hop)
{
	return strcmp(holder_hop(holder), hop) == 0;
}

int endpoints_hold(const char *hop, const struct ip_addr *addrs, size_t n, enum endpoint_kind kind,
		   struct error **err)
{
	auto_state state = {.lock = -1};
	auto_json before = NULL;
	json_t *holder;

	if (mptcp_pm_check(err) < 0 || state_open(&state, err) < 0)
		return -1;
	before = json_deep_copy(state.root);
	holder = holder_of(&state, hop, err);
	if (!holder || note_implicit(&state, err) < 0 || plan_limits(&state, err) < 0 ||
	    plan_addresses(&state, holder, addrs, n, err) < 0 || state_save(&state, err) < 0)
		return -1;
	if (tell_kernel(addrs, n, kind, &state, err) == 0)
		return 0;

	/* Back to what the hop held before; "ours" stays until the kernel has forgotten. */
	if (before) {
		json_object_set(state.root, "holders", json_object_get(before, "holders"));
		if (drop_unheld(&state, NULL) == 0)
			state_save(&state, NULL);
	}
	return error_wrap(err, "holding MPTCP endpoints");
}

int endpoints_release(const char *hop, struct error **err)
{
	auto_state state = {.lock = -1};

	if (state_open(&state, err) < 0 || drop_holders(&state, is_of_hop, (void *)hop, err) < 0)
		return error_wrap(err, "releasing MPTCP endpoints");
	return 0;
}

struct purge {
	bool (*known)(const char *hop, void *context);
	void *context;
};

static bool is_left_over(const json_t *holder, void *context)
{
	const struct purge *purge = context;

	if (holder_alive(holder))
		return false;
	return !purge->known || !purge->known(holder_hop(holder), purge->context);
}

int endpoints_purge(bool (*known)(const char *hop, void *context), void *context,
		    struct error **err)
{
	struct purge purge = {known, context};
	auto_state state = {.lock = -1};

	if (state_open(&state, err) < 0 || drop_holders(&state, is_left_over, &purge, err) < 0)
		return error_wrap(err, "purging MPTCP endpoints");
	return 0;
}
