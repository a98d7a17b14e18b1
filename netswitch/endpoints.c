/* SPDX-License-Identifier: GPL-2.0-or-later */
#include "netswitch/endpoints.h"

#include <assert.h>
#include <errno.h>
#include <string.h>

#include <linux/mptcp.h>

#include "common/cleanup.h"
#include "common/log.h"
#include "netswitch/endpoint-state.h"
#include "netswitch/mptcp_pm.h"

#define LOG_MODULE "endpoints"

/*
 * Theory of operation
 *
 * Who holds what stands in a file, see endpoint-state.h.
 *
 * Holding: the file says what will be ours, then the kernel is told. Releasing: the kernel is
 * told, then the file. So after a crash at any point the file names at least what is ours, and a
 * release, which takes what is absent for done, leaves nothing behind.
 *
 * An endpoint outlives its holder for as long as there is another one. Where an address is an
 * endpoint, joins from it go by the endpoint's id, and removing that closes them: so the end of one
 * hop would take a path from those that go the other way at that time.
 *
 * An address that the kernel has as an explicit endpoint and "ours" does not name is somebody
 * else's: it is held like any other and not removed. Where a connection of this host joins an
 * announced address, the kernel makes an endpoint of the local one by itself, flag IMPLICIT, and
 * never forgets it, though it has room for 8 in all: those that were not there before the first
 * holder ("implicit") go with the last; one that an opposite hop then holds becomes explicit, and
 * ours.
 */
#define LIMIT 8 /* for both; more is refused by all kernels up to 6.18 */

static const uint32_t kind_flags[] = {
	[ENDPOINT_SIGNAL] = MPTCP_PM_ADDR_FLAG_SIGNAL,
	[ENDPOINT_SUBFLOW] = MPTCP_PM_ADDR_FLAG_SUBFLOW,
};
static_assert(ARRAY_SIZE(kind_flags) == ENDPOINT_SUBFLOW + 1, "a kind has no flags");

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
static int note_implicit(struct endpoint_state *state, struct error **err)
{
	struct mptcp_endpoint list[MPTCP_PM_MOST];
	char text[IP_TEXT];
	size_t count;
	json_t *noted;

	if (json_object_get(state->root, "implicit"))
		return 0;
	noted = endpoint_list_of(state->root, "implicit");
	if (!noted)
		return error_set(err, ENOMEM, "no memory for the MPTCP endpoints");
	if (mptcp_pm_list(list, &count, err) < 0)
		return -1;
	for (size_t i = 0; i < count; i++)
		if (is_implicit(&list[i]) &&
		    endpoint_list_add(noted, ip_format_host(&list[i].address, text), err) < 0)
			return -1;
	return 0;
}

static int forget_implicit(struct endpoint_state *state, struct error **err)
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
		    !endpoint_list_has(noted, ip_format_host(&list[i].address, text)) &&
		    mptcp_pm_del(list[i].id, err) < 0)
			return -1;
	json_object_del(state->root, "implicit");
	return 0;
}

/* Notes what the limits were and will be, unless an earlier hold did. */
static int plan_limits(struct endpoint_state *state, struct error **err)
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

static int restore_limits(struct endpoint_state *state, struct error **err)
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

static bool is_held(const struct endpoint_state *state, const char *address)
{
	const json_t *holder;
	size_t i;

	json_array_foreach (json_object_get(state->root, "holders"), i, holder) {
		if (endpoint_list_has(json_object_get(holder, "addresses"), address))
			return true;
	}
	return false;
}

/* Makes the kernel forget those of ours that nobody holds, and that `spared` (or NULL) lacks. */
static int drop_unheld(struct endpoint_state *state, const json_t *spared, struct error **err)
{
	json_t *ours = endpoint_list_of(state->root, "ours");

	for (size_t i = json_array_size(ours); i-- > 0;) {
		const char *text = json_string_value(json_array_get(ours, i));
		struct ip_addr addr;
		int id;

		if (text && (is_held(state, text) || endpoint_list_has(spared, text)))
			continue;
		if (text && ip_parse(text, &addr, NULL) == 0) {
			id = mptcp_pm_find(&addr, err);
			if (id < 0 || (id > 0 && mptcp_pm_del((uint8_t)id, err) < 0))
				return -1;
			log_debug("endpoint %s removed", text);
		}
		json_array_remove(ours, i);
	}
	return 0;
}

static bool any_holder(const struct endpoint_state *state)
{
	return json_array_size(json_object_get(state->root, "holders")) != 0;
}

/* The last holder has left: what the kernel made for them goes, and the limits are as before. */
static int drop_rest(struct endpoint_state *state, struct error **err)
{
	return forget_implicit(state, err) < 0 ? -1 : restore_limits(state, err);
}

/* Removes holders of which `gone` says so, with the last one all of ours; then the file says it. */
static int drop_holders(struct endpoint_state *state,
			bool (*gone)(const json_t *holder, void *context), void *context,
			struct error **err)
{
	json_t *holders = endpoint_list_of(state->root, "holders");
	bool any = false;

	for (size_t i = json_array_size(holders); i-- > 0;) {
		if (!gone(json_array_get(holders, i), context))
			continue;
		json_array_remove(holders, i);
		any = true;
	}
	if (!any)
		return 0;
	if (!any_holder(state) && (drop_unheld(state, NULL, err) < 0 || drop_rest(state, err) < 0))
		return -1;
	return endpoint_state_save(state, err);
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
static int plan_addresses(struct endpoint_state *state, json_t *holder, const struct ip_addr *addrs,
			  size_t n, struct error **err)
{
	struct mptcp_endpoint list[MPTCP_PM_MOST];
	char text[IP_TEXT];
	size_t count;

	if (mptcp_pm_list(list, &count, err) < 0)
		return -1;
	for (size_t i = 0; i < n; i++) {
		ip_format_host(&addrs[i], text);
		if (endpoint_list_add(endpoint_list_of(holder, "addresses"), text, err) < 0 ||
		    (!is_others(list, count, &addrs[i]) &&
		     endpoint_list_add(endpoint_list_of(state->root, "ours"), text, err) < 0))
			return -1;
	}
	return 0;
}

static int tell_kernel(const struct ip_addr *addrs, size_t n, enum endpoint_kind kind,
		       const struct endpoint_state *state, struct error **err)
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
	return strcmp(endpoint_holder_hop(holder), hop) == 0;
}

int endpoints_hold(const char *hop, const struct ip_addr *addrs, size_t n, enum endpoint_kind kind,
		   struct error **err)
{
	auto_state state = {.lock = -1};
	auto_json before = NULL;
	json_t *holder;

	if (mptcp_pm_check(err) < 0 || endpoint_state_open(&state, err) < 0)
		return -1;
	before = json_deep_copy(state.root);
	holder = endpoint_holder_of(&state, hop, err);
	if (!holder || note_implicit(&state, err) < 0 || plan_limits(&state, err) < 0 ||
	    plan_addresses(&state, holder, addrs, n, err) < 0 ||
	    endpoint_state_save(&state, err) < 0)
		return -1;
	if (tell_kernel(addrs, n, kind, &state, err) == 0)
		return 0;

	/* Back to what the hop held before; "ours" stays until the kernel has forgotten. */
	if (before) {
		json_object_set(state.root, "holders", json_object_get(before, "holders"));
		if (drop_unheld(&state, json_object_get(before, "ours"), NULL) == 0 &&
		    (any_holder(&state) || drop_rest(&state, NULL) == 0))
			endpoint_state_save(&state, NULL);
	}
	return error_wrap(err, "holding MPTCP endpoints");
}

int endpoints_release(const char *hop, struct error **err)
{
	auto_state state = {.lock = -1};

	if (endpoint_state_open(&state, err) < 0 ||
	    drop_holders(&state, is_of_hop, (void *)hop, err) < 0)
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

	if (endpoint_holder_alive(holder))
		return false;
	return !purge->known || !purge->known(endpoint_holder_hop(holder), purge->context);
}

int endpoints_purge(bool (*known)(const char *hop, void *context), void *context,
		    struct error **err)
{
	struct purge purge = {known, context};
	auto_state state = {.lock = -1};

	if (endpoint_state_open(&state, err) < 0 ||
	    drop_holders(&state, is_left_over, &purge, err) < 0)
		return error_wrap(err, "purging MPTCP endpoints");
	return 0;
}
