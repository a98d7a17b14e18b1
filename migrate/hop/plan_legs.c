/* SPDX-License-Identifier: GPL-2.0-or-later */
#include "migrate/hop/plan_legs.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>

#include "common/clock.h"
#include "migrate/vm/vm_store.h"
#include "netswitch/orders.h"
#include "netswitch/tunnel.h"

#define HELLO_NS (5 * NS_PER_SEC)

/* What the legs are planned from. */
struct planning {
	struct hop_facts *facts;
	const struct owner *owner;
	const struct fleet *fleet;
	const struct vm_site *from, *to; /* `to` NULL: the definition does not know the site */
	struct guest_hello *hello;	 /* NULL: not asked yet */
};

/* The vNIC that is active on the network, by the ownership or else the first; and one that idles.
 */
static void choose_nics(const struct planning *p, struct leg *leg, bool *idle_found)
{
	const struct vm_def *vm = p->facts->vm;
	const char *active = owner_nic(p->owner, leg->network);
	int known = active ? vm_def_nic(vm, active, NULL) : -1;

	if (known >= 0 && strcmp(vm->nics[known].network, leg->network) == 0)
		memcpy(leg->old_nic, vm->nics[known].name, NAME_SIZE);
	*idle_found = false;
	for (size_t i = 0; i < vm->nic_count; i++) {
		if (strcmp(vm->nics[i].network, leg->network) != 0)
			continue;
		if (!leg->old_nic[0])
			memcpy(leg->old_nic, vm->nics[i].name, NAME_SIZE);
		if (strcmp(vm->nics[i].name, leg->old_nic) == 0 || *idle_found)
			continue;
		memcpy(leg->new_nic, vm->nics[i].name, NAME_SIZE);
		*idle_found = true;
	}
}

static void keep_nic(struct leg *leg, enum leg_kind kind)
{
	leg->kind = kind;
	memcpy(leg->new_nic, leg->old_nic, NAME_SIZE);
	memcpy(leg->new, leg->old, sizeof(leg->new));
	leg->new_count = leg->old_count;
}

static bool same_addresses(const struct leg *leg)
{
	if (leg->old_count != leg->new_count)
		return false;
	for (size_t i = 0; i < leg->old_count; i++) {
		size_t j = 0;

		while (j < leg->new_count &&
		       !(ip_same(&leg->old[i].address, &leg->new[j].address) &&
			 leg->old[i].address.prefix == leg->new[j].address.prefix))
			j++;
		if (j == leg->new_count)
			return false;
	}
	return true;
}

static int ask_agent(struct planning *p, struct error **err)
{
	struct orders *orders;
	char path[PATH_MAX];
	int result;

	if (p->hello)
		return 0;
	p->hello = calloc(1, sizeof(*p->hello));
	if (!p->hello)
		return error_set(err, ENOMEM, "no memory for the guest's addresses");
	if (vm_store_run_path(path, p->facts->vm->name, "agent.sock", err) < 0)
		return -1;
	orders = orders_open(path, err);
	if (!orders)
		return -1;
	result = orders_hello(orders, p->hello, clock_ns() + HELLO_NS, err);
	orders_close(orders);
	return result;
}

/*
 * This host will answer for the address and send what comes for it to the VM, so a guest can't be
 * let name just any.
 */
static int check_claim(const struct planning *p, const struct ip_config *claim, struct error **err)
{
	const struct ip_addr *address = &claim->address;
	char text[IP_TEXT];
	bool good = address->bytes[0] != 0 && address->bytes[0] != 127 && address->bytes[0] < 224 &&
		    address->prefix < 32 && !ip_link_local(address) &&
		    !(claim->gateway.family && ip_same(address, &claim->gateway));

	for (size_t i = 0; i < p->fleet->host_count; i++)
		for (size_t j = 0; j < p->fleet->hosts[i].address_count; j++)
			good = good && !ip_same(address, &p->fleet->hosts[i].addresses[j].address);
	if (good)
		return 0;
	return error_set(err, EPROTO,
			 "the guest says that its address is %s, expected one that a DHCP server "
			 "may have given it",
			 ip_format(address, text));
}

static const struct guest_nic *find_guest_nic(const struct planning *p, const struct leg *leg)
{
	const struct vm_def *vm = p->facts->vm;
	const uint8_t *mac = vm->nics[vm_def_nic(vm, leg->old_nic, NULL)].mac;

	for (size_t i = 0; i < p->hello->nic_count; i++)
		if (memcmp(p->hello->nics[i].mac, mac, MAC_SIZE) == 0)
			return &p->hello->nics[i];
	return NULL;
}

static bool is_known(const struct leg *leg, const struct ip_addr *address)
{
	for (size_t i = 0; i < leg->old_count; i++)
		if (ip_same(&leg->old[i].address, address))
			return true;
	return false;
}

/* DHCP's address is what the guest says that it has. */
static int add_dhcp_addresses(struct planning *p, struct leg *leg, struct error **err)
{
	const struct guest_nic *nic;
	size_t before = leg->old_count;

	if (ask_agent(p, err) < 0)
		return -1;
	nic = find_guest_nic(p, leg);
	for (size_t i = 0; nic && i < nic->address_count; i++) {
		const struct ip_config *had = &nic->addresses[i];

		if (had->address.family != AF_INET || is_known(leg, &had->address))
			continue;
		if (check_claim(p, had, err) < 0)
			return -1;
		if (leg->old_count < LEG_ADDRESSES_MOST)
			leg->old[leg->old_count++] = *had;
	}
	if (leg->old_count > before)
		return 0;
	return error_set(err, ENODATA,
			 "vNIC %s has no address from DHCP, expected one that the hop can keep",
			 leg->old_nic);
}

/* A VM without an agent keeps everything. */
static int plan_without_agent(const struct planning *p, struct leg *leg, struct error **err)
{
	bool stretched = p->to && same_addresses(leg);

	if (vm_site_dhcp(p->from, leg->network) && !p->facts->supersedes[0])
		return error_set(err, EINVAL,
				 "DHCP gives the addresses, which nobody can ask a VM without an "
				 "agent for, expected addresses in its definition");
	keep_nic(leg, p->facts->supersedes[0] || stretched || leg->old_count == 0 ? LEG_FIXED
										  : LEG_TUNNEL);
	return 0;
}

static int plan_with_agent(struct planning *p, struct leg *leg, bool idle_found, struct error **err)
{
	bool old_dhcp = vm_site_dhcp(p->from, leg->network);
	bool nothing = leg->old_count + leg->new_count == 0 && !old_dhcp && !leg->new_dhcp;

	if (nothing || (!idle_found && old_dhcp == leg->new_dhcp && same_addresses(leg))) {
		keep_nic(leg, LEG_FIXED);
		return 0;
	}
	if (!idle_found)
		return error_set(err, EINVAL,
				 "found one vNIC, and other addresses at site %s than at %s, "
				 "expected two vNICs to hop, or the same addresses",
				 p->to->name, p->from->name);
	if (leg->new_count == 0 && !leg->new_dhcp)
		return error_set(err, EINVAL,
				 "found no address at site %s, expected some for vNIC %s",
				 p->to->name, leg->new_nic);
	leg->kind = LEG_SWITCH;
	return old_dhcp ? add_dhcp_addresses(p, leg, err) : 0;
}

static int plan_leg(struct planning *p, struct leg *leg, struct error **err)
{
	bool idle_found;

	leg->old_count = vm_site_addresses(p->from, leg->network, leg->old);
	if (p->to)
		leg->new_count = vm_site_addresses(p->to, leg->network, leg->new);
	leg->new_dhcp = p->facts->vm->agent && p->to && vm_site_dhcp(p->to, leg->network);
	choose_nics(p, leg, &idle_found);
	if (!fleet_bridge(fleet_host(p->fleet, p->facts->source, NULL), leg->network, err) ||
	    !fleet_bridge(fleet_host(p->fleet, p->facts->destination, NULL), leg->network, err))
		return -1;
	if (!p->facts->vm->agent)
		return plan_without_agent(p, leg, err);
	return plan_with_agent(p, leg, idle_found, err);
}

int hop_plan_legs(struct hop_facts *facts, const struct owner *owner, const struct fleet *fleet,
		  struct error **err)
{
	char networks[VM_NICS_MOST][NAME_SIZE];
	struct planning p = {.facts = facts, .owner = owner, .fleet = fleet};
	const char *home = facts->home[0] ? facts->home : facts->source_site;
	size_t in_tunnel = 0;
	int result = 0;

	p.from = vm_def_site(facts->vm, facts->vm->agent ? facts->source_site : home, err);
	p.to = p.from ? vm_def_site(facts->vm, facts->destination_site,
				    facts->vm->agent ? err : NULL)
		      : NULL;
	if (!p.from || (facts->vm->agent && !p.to))
		return -1;
	facts->leg_count = vm_def_networks(facts->vm, networks);
	for (size_t i = 0; i < facts->leg_count && result == 0; i++) {
		struct leg *leg = &facts->legs[i];

		memcpy(leg->network, networks[i], NAME_SIZE);
		result = plan_leg(&p, leg, err);
		if (result == 0)
			result = leg_check(leg, facts->vm, err);
		if (result < 0)
			error_wrap(err, "VM %s, network %s", facts->vm->name, leg->network);
		in_tunnel += leg_in_tunnel(leg) ? leg->old_count : 0;
	}
	free(p.hello);
	if (result == 0 && in_tunnel > TUNNEL_ADDRESSES)
		return error_set(err, E2BIG, "VM %s: found %zu addresses, expected at most %d",
				 facts->vm->name, in_tunnel, TUNNEL_ADDRESSES);
	return result;
}
