/* SPDX-License-Identifier: GPL-2.0-or-later */
#include "migrate/hop/vnic.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "common/clock.h"
#include "common/fault.h"
#include "common/log.h"
#include "migrate/vm/vm_store.h"
#include "netswitch/orders.h"

#define LOG_MODULE "vnic"

/*
 * Theory of operation
 *
 * Each leg that goes over to another vNIC goes this way, by itself:
 *
 *     announce --ok--> joined? --all--> retire --ok--> DONE
 *        |  ^            |  ^             |
 *        +--+ silence    +--+ not all     +--> joined?  (a connection came in between)
 *
 * Each arrow is a step; a step takes every leg one arrow further. HELD is not a stop: from the time
 * limit on the same steps go on, only slower, and `held` tells people that the tunnel is still
 * needed and why. A leg that only the tunnel leads to (no agent) waits for vnic_release alone.
 *
 * The guest's default route goes over with the first network that has a gateway at the new site.
 */
#define ORDER_NS  NS_PER_SEC
#define RETIRE_NS (4 * NS_PER_SEC)
#define ASK_MS	  50

struct vnic_leg {
	const struct hop_leg *hop;
	enum vnic_state state; /* ANNOUNCING, JOINING, HELD (no agent) or DONE */
	bool main;	       /* brings the default route */
	struct join_state joined;
	struct guest_got got;
	char why[256]; /* the last reason for which it is not done */
};

struct vnic_switch {
	const struct hop_env *env;
	struct orders *orders; /* NULL: no agent to give any to */
	int64_t started_ns, hold_at_ns;
	bool release, released;
	bool restarted; /* the guest booted after the VM had been moved */
	struct vnic_leg legs[VM_NICS_MOST];
	size_t leg_count;
};

static bool has_gateway(const struct leg *leg)
{
	for (size_t i = 0; i < leg->new_count; i++)
		if (leg->new[i].gateway.family)
			return true;
	return leg->new_dhcp;
}

static void begin_legs(struct vnic_switch *vnic)
{
	bool have_main = false;

	for (size_t i = 0; i < vnic->env->leg_count; i++) {
		struct vnic_leg *leg = &vnic->legs[vnic->leg_count++];

		leg->hop = &vnic->env->legs[i];
		leg->main = !have_main && has_gateway(leg->hop->leg);
		have_main = have_main || leg->main;
		if (leg->hop->leg->kind == LEG_SWITCH) {
			leg->state = VNIC_ANNOUNCING;
		} else if (leg_in_tunnel(leg->hop->leg)) {
			leg->state = VNIC_HELD;
			snprintf(leg->why, sizeof(leg->why), "tunnel only: the VM has no agent");
		} else {
			leg->state = VNIC_DONE;
		}
	}
}

struct vnic_switch *vnic_start(const struct hop_env *env, int64_t join_ns, struct error **err)
{
	struct vnic_switch *vnic = calloc(1, sizeof(*vnic));
	char path[PATH_MAX];

	if (!vnic) {
		error_set(err, ENOMEM, "no memory for the vNIC switch");
		return NULL;
	}
	vnic->env = env;
	vnic->started_ns = clock_ns();
	vnic->hold_at_ns = vnic->started_ns + (env->facts->vm->agent ? join_ns : 0);
	begin_legs(vnic);
	if (!env->facts->vm->agent)
		return vnic;
	if (vm_store_run_path(path, env->facts->vm->name, "agent.sock", err) == 0)
		vnic->orders = orders_open(path, err);
	if (!vnic->orders) {
		free(vnic);
		return NULL;
	}
	return vnic;
}

void vnic_free(struct vnic_switch *vnic)
{
	if (!vnic)
		return;
	orders_close(vnic->orders);
	free(vnic);
}

/* The guest's trouble is no failure of the hop: it is remembered, and asked about again. */
static void remember(struct vnic_leg *leg, struct error *why)
{
	if (strcmp(leg->why, why->message) != 0)
		log_info("network %s: %s", leg->hop->leg->network, why->message);
	snprintf(leg->why, sizeof(leg->why), "%s", why->message);
	error_free(why);
}

/* A guest that crashed as it was moved, and booted again, has lost what it had not synced. */
static void look_for_restart(struct vnic_switch *vnic)
{
	int64_t uptime_ns = orders_uptime_ns(vnic->orders);

	if (vnic->restarted || uptime_ns < 0 || uptime_ns >= clock_ns() - vnic->started_ns)
		return;
	vnic->restarted = true;
	log_error("the guest restarted %.0f s ago, after it had been moved",
		  (double)uptime_ns / NS_PER_SEC);
}

static void announce(struct vnic_switch *vnic, struct vnic_leg *leg)
{
	const struct guest_wants wants = {
		.list = leg->hop->leg->new,
		.n = leg->hop->leg->new_count,
		.dhcp = leg->hop->leg->new_dhcp,
		.beside = !leg->main,
	};
	struct error *why = NULL;

	if (orders_announce(vnic->orders, leg->hop->new_mac, &wants, &leg->got,
			    clock_ns() + ORDER_NS, &why) == 0) {
		log_info("network %s: the new address is announced", leg->hop->leg->network);
		look_for_restart(vnic);
		leg->state = VNIC_JOINING;
		return;
	}
	if (why->code == ETIMEDOUT)
		error_wrap(&why, "the guest's agent does not answer");
	remember(leg, why);
}

/* True: nothing needs the old vNIC any more. */
static bool all_joined(struct vnic_switch *vnic, struct vnic_leg *leg)
{
	struct join_state *joined = &leg->joined;
	struct error *why = NULL;
	int used = 0;

	if (orders_joined(vnic->orders, leg->hop->new_mac, leg->hop->old_mac, joined,
			  clock_ns() + ORDER_NS, &why) < 0) {
		remember(leg, why);
		return false;
	}
	if (joined->joined == joined->connections && joined->plain == 0)
		return true;
	if (joined->joined < joined->connections)
		used = snprintf(leg->why, sizeof(leg->why),
				"%u of %u MPTCP connections have not joined%s",
				joined->connections - joined->joined, joined->connections,
				joined->plain ? "; " : "");
	if (joined->plain)
		snprintf(leg->why + used, sizeof(leg->why) - (size_t)used,
			 "%u plain TCP connections can't follow", joined->plain);
	return false;
}

static void retire(struct vnic_switch *vnic, struct vnic_leg *leg, bool force)
{
	struct error *why = NULL;

	if (orders_retire(vnic->orders, leg->hop->old_mac, leg->hop->new_mac, force,
			  clock_ns() + RETIRE_NS, &why) < 0) {
		remember(leg, why);
		return;
	}
	log_info("network %s: the old vNIC is retired", leg->hop->leg->network);
	leg->state = VNIC_DONE;
}

static int step_leg(struct vnic_switch *vnic, struct vnic_leg *leg, struct error **err)
{
	if (leg->state == VNIC_ANNOUNCING) {
		announce(vnic, leg);
		return leg->state == VNIC_JOINING ? fault_point("announced", err) : 0;
	}
	if (leg->state != VNIC_JOINING)
		return 0;
	if (all_joined(vnic, leg))
		retire(vnic, leg, false);
	return leg->state == VNIC_DONE ? fault_point("retired", err) : 0;
}

/* Whatever the guest says, this is the end of its old addresses. */
static void release_leg(struct vnic_switch *vnic, struct vnic_leg *leg)
{
	if (leg->state == VNIC_DONE)
		return;
	if (leg->state == VNIC_JOINING)
		(void)all_joined(vnic, leg); /* who is broken */
	if (leg->state != VNIC_HELD)
		retire(vnic, leg, true);
	if (leg->state != VNIC_DONE)
		log_warn("network %s: the old address is given up, the guest was not told (%s)",
			 leg->hop->leg->network, leg->why);
	leg->state = VNIC_DONE;
}

void vnic_release(struct vnic_switch *vnic)
{
	vnic->release = true;
}

int vnic_step(struct vnic_switch *vnic, enum vnic_state *state, struct error **err)
{
	bool moved = false;

	*state = VNIC_DONE;
	for (size_t i = 0; i < vnic->leg_count; i++) {
		struct vnic_leg *leg = &vnic->legs[i];
		enum vnic_state before = leg->state;

		if (vnic->release)
			release_leg(vnic, leg);
		else if (step_leg(vnic, leg, err) < 0)
			return -1;
		moved = moved || leg->state != before;
		if (leg->state < *state)
			*state = leg->state;
	}
	vnic->released = vnic->release;
	if (*state != VNIC_DONE && clock_ns() > vnic->hold_at_ns)
		*state = VNIC_HELD;
	if (*state != VNIC_DONE && vnic->orders && !moved)
		clock_sleep_ms(ASK_MS);
	return 0;
}

static json_t *addresses_of(const struct vnic_leg *leg)
{
	const bool native = leg->hop->leg->kind != LEG_SWITCH;
	const struct ip_config *list = native ? leg->hop->leg->new : leg->got.list;
	size_t n = native ? leg->hop->leg->new_count : leg->got.count;
	json_t *array = json_array();

	for (size_t i = 0; i < n; i++) {
		char text[IP_TEXT];

		json_array_append_new(array, json_string(ip_format(&list[i].address, text)));
	}
	return array;
}

static json_t *network_report(const struct vnic_leg *leg)
{
	json_t *report = json_pack("{s:s, s:s, s:b, s:o}", "network", leg->hop->leg->network, "nic",
				   leg->hop->leg->new_nic, "held", leg->state != VNIC_DONE,
				   "addresses", addresses_of(leg));

	if (leg->state != VNIC_DONE)
		json_object_set_new(report, "why", json_string(leg->why));
	return report;
}

/* Sums up the legs: which connections wait, or were broken by a release. */
static struct join_state sum_up(const struct vnic_switch *vnic, json_t *names)
{
	struct join_state sum = {0};

	for (size_t i = 0; i < vnic->leg_count; i++) {
		const struct vnic_leg *leg = &vnic->legs[i];

		sum.connections += leg->joined.connections;
		sum.joined += leg->joined.joined;
		sum.plain += leg->joined.plain;
		for (size_t j = 0; j < leg->joined.waiting_count; j++)
			json_array_append_new(names, json_string(leg->joined.waiting[j]));
	}
	return sum;
}

/* The first leg that is not done says why. */
static const char *why_held(const struct vnic_switch *vnic)
{
	for (size_t i = 0; i < vnic->leg_count; i++)
		if (vnic->legs[i].state != VNIC_DONE)
			return vnic->legs[i].why;
	return NULL;
}

json_t *vnic_report(const struct vnic_switch *vnic)
{
	const char *why = why_held(vnic);
	json_t *names = json_array(), *networks = json_array();
	struct join_state sum = sum_up(vnic, names);
	json_t *report =
		json_pack("{s:b, s:i, s:i, s:i}", "held", why != NULL, "connections",
			  (int)sum.connections, "joined", (int)sum.joined, "plain", (int)sum.plain);

	for (size_t i = 0; i < vnic->leg_count; i++)
		json_array_append_new(networks, network_report(&vnic->legs[i]));
	json_object_set_new(report, "networks", networks);
	if (why) {
		json_object_set(report, "waiting", names);
		json_object_set_new(report, "why", json_string(why));
	} else {
		json_object_set_new(report, "waiting", json_array());
	}
	if (vnic->restarted)
		json_object_set_new(report, "guest_restarted", json_true());
	if (vnic->released)
		json_object_set(report, "broken", names);
	json_decref(names);
	return report;
}
