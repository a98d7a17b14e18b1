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
 *     announce --ok--> joined? --all--> retire --ok--> DONE
 *        |  ^            |  ^             |
 *        +--+ silence    +--+ not all     +--> joined?  (a connection came in between)
 *
 * Each arrow is a step. HELD is not a stop: from the time limit on the same steps go on, only
 * slower, and `held` tells people that the tunnel is still needed and why.
 */
#define ORDER_NS  NS_PER_SEC
#define RETIRE_NS (4 * NS_PER_SEC)
#define ASK_MS	  50

struct vnic_switch {
	const struct hop_env *env;
	struct orders *orders;
	int64_t hold_at_ns;
	enum vnic_state state; /* ANNOUNCING, JOINING or DONE */
	struct join_state joined;
	char why[256]; /* the last reason for which it is not done */
};

struct vnic_switch *vnic_start(const struct hop_env *env, int64_t join_ns, struct error **err)
{
	struct vnic_switch *vnic = calloc(1, sizeof(*vnic));
	char path[PATH_MAX];

	if (!vnic) {
		error_set(err, ENOMEM, "no memory for the vNIC switch");
		return NULL;
	}
	vnic->env = env;
	vnic->hold_at_ns = clock_ns() + join_ns;
	vnic->state = VNIC_ANNOUNCING;
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
static void remember(struct vnic_switch *vnic, struct error *why)
{
	if (strcmp(vnic->why, why->message) != 0)
		log_info("%s", why->message);
	snprintf(vnic->why, sizeof(vnic->why), "%s", why->message);
	error_free(why);
}

static const uint8_t *old_mac(const struct vnic_switch *vnic)
{
	return vnic->env->facts->vm->nics[hop_old_nic(vnic->env->facts)].mac;
}

static const uint8_t *new_mac(const struct vnic_switch *vnic)
{
	return vnic->env->facts->vm->nics[hop_new_nic(vnic->env->facts)].mac;
}

static void announce(struct vnic_switch *vnic)
{
	const struct vm_site *site = hop_new_site(vnic->env->facts);
	struct error *why = NULL;

	if (orders_announce(vnic->orders, new_mac(vnic), site->addresses, site->address_count,
			    clock_ns() + ORDER_NS, &why) == 0) {
		log_info("the new address is announced");
		vnic->state = VNIC_JOINING;
		return;
	}
	if (why->code == ETIMEDOUT)
		error_wrap(&why, "the guest's agent does not answer");
	remember(vnic, why);
}

/* True: nothing needs the old vNIC any more. */
static bool all_joined(struct vnic_switch *vnic)
{
	struct error *why = NULL;
	int used = 0;

	if (orders_joined(vnic->orders, new_mac(vnic), old_mac(vnic), &vnic->joined,
			  clock_ns() + ORDER_NS, &why) < 0) {
		remember(vnic, why);
		return false;
	}
	if (vnic->joined.joined == vnic->joined.connections && vnic->joined.plain == 0)
		return true;
	if (vnic->joined.joined < vnic->joined.connections)
		used = snprintf(vnic->why, sizeof(vnic->why),
				"%u of %u MPTCP connections have not joined%s",
				vnic->joined.connections - vnic->joined.joined,
				vnic->joined.connections, vnic->joined.plain ? "; " : "");
	if (vnic->joined.plain)
		snprintf(vnic->why + used, sizeof(vnic->why) - (size_t)used,
			 "%u plain TCP connections can't follow", vnic->joined.plain);
	return false;
}

static void retire(struct vnic_switch *vnic)
{
	struct error *why = NULL;

	if (orders_retire(vnic->orders, old_mac(vnic), new_mac(vnic), clock_ns() + RETIRE_NS,
			  &why) < 0) {
		remember(vnic, why);
		return;
	}
	log_info("the old vNIC is retired");
	vnic->state = VNIC_DONE;
}

int vnic_step(struct vnic_switch *vnic, enum vnic_state *state, struct error **err)
{
	if (vnic->state == VNIC_ANNOUNCING) {
		announce(vnic);
		if (vnic->state == VNIC_JOINING && fault_point("announced", err) < 0)
			return -1;
	} else if (vnic->state == VNIC_JOINING) {
		if (all_joined(vnic))
			retire(vnic);
		else
			clock_sleep_ms(ASK_MS);
		if (vnic->state == VNIC_DONE && fault_point("retired", err) < 0)
			return -1;
	}
	*state = vnic->state;
	if (vnic->state != VNIC_DONE && clock_ns() > vnic->hold_at_ns)
		*state = VNIC_HELD;
	return 0;
}

json_t *vnic_report(const struct vnic_switch *vnic)
{
	bool held = vnic->state != VNIC_DONE;
	json_t *report = json_pack("{s:b, s:i, s:i, s:i}", "held", held, "connections",
				   (int)vnic->joined.connections, "joined",
				   (int)vnic->joined.joined, "plain", (int)vnic->joined.plain);
	json_t *waiting = json_array();

	for (size_t i = 0; held && i < vnic->joined.waiting_count; i++)
		json_array_append_new(waiting, json_string(vnic->joined.waiting[i]));
	json_object_set_new(report, "waiting", waiting);
	if (held)
		json_object_set_new(report, "why", json_string(vnic->why));
	return report;
}
