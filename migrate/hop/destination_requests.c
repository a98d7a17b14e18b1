/* SPDX-License-Identifier: GPL-2.0-or-later */
#include "migrate/hop/destination_internal.h"

#include <errno.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

#include "common/clock.h"
#include "common/fault.h"
#include "common/jsonl.h"
#include "common/log.h"
#include "migrate/hop/journal.h"
#include "migrate/transport/local.h"
#include "migrate/vm/vm_store.h"
#include "netswitch/garp.h"
#include "netswitch/tap.h"

#define LOG_MODULE "destination"

/* What the source may ask for, one function each. */

#define CHANNEL_NS (20 * NS_PER_SEC)
#define LOAD_NS	   (60 * NS_PER_SEC)
#define SILENCE_MS 20000
#define NBD_SOCKET "nbd.sock"

int destination_tunnel(struct destination *d, const json_t *request, struct error **err)
{
	(void)request;
	return tunnel_open(&d->env.tunnel, err);
}

static int read_sizes(const json_t *request, const struct vm_def *vm, uint64_t *sizes,
		      struct error **err)
{
	const json_t *list = json_object_get(request, "disks");

	if (json_array_size(list) != vm->disk_count)
		return error_set(err, EPROTO, "found %zu disk sizes, expected %zu",
				 json_array_size(list), vm->disk_count);
	for (size_t i = 0; i < vm->disk_count; i++) {
		json_int_t size = json_integer_value(json_array_get(list, i));

		if (size < 512 || size % 512 || size > (json_int_t)1 << 50)
			return error_set(err, EPROTO,
					 "disk %s: found %" JSON_INTEGER_FORMAT
					 " bytes, expected a multiple of 512 up to 1 PiB",
					 vm->disks[i].name, size);
		sizes[i] = (uint64_t)size;
	}
	return 0;
}

/* The old vNIC's tap leads into the tunnel, the new one's to the site; the VM is not there yet. */
static int place_taps(struct destination *d, struct error **err)
{
	const struct hop_facts *facts = d->env.facts;
	const struct vm_site *old = hop_old_site(facts);

	if (tunnel_guest_attach(&d->env.tunnel, d->env.old_tap,
				facts->vm->nics[hop_old_nic(facts)].mac, old->addresses,
				old->address_count, err) < 0)
		return -1;
	return tap_place_active(d->env.new_tap, d->env.self->bridge, err);
}

int destination_incoming(struct destination *d, const json_t *request, struct error **err)
{
	const struct hop_facts *facts = d->env.facts;
	struct owner source = hop_owner_source(facts);
	uint64_t sizes[VM_DISKS_MOST];
	char path[PATH_MAX];

	if (read_sizes(request, facts->vm, sizes, err) < 0 ||
	    vm_store_make_incoming(facts->vm, &source, sizes, err) < 0)
		return -1;
	if (hv_start_incoming(d->env.vm, err) < 0 || place_taps(d, err) < 0 ||
	    hop_env_path(&d->env, path, NBD_SOCKET, err) < 0)
		return -1;
	return hv_export_start(d->env.vm, path, err);
}

/* The source's channel of that name, relayed to a Unix socket of the hypervisor. */
static int relay_to(struct destination *d, const char *name, const char *path, struct relay **relay,
		    struct error **err)
{
	struct channel *channel;
	int fd;

	if (*relay)
		return error_set(err, EPROTO, "channel %s: it is there already", name);
	fd = local_connect(path, err);
	if (fd < 0)
		return -1;
	channel = listener_take(d->listener, name, clock_ns() + CHANNEL_NS, err);
	if (!channel) {
		close(fd);
		return -1;
	}
	*relay = relay_start(channel, fd, SILENCE_MS, err);
	return *relay ? 0 : -1;
}

int destination_disk(struct destination *d, const json_t *request, struct error **err)
{
	char name[16], path[PATH_MAX];
	int64_t disk;

	if (json_get_int(request, "disk", 0, (int64_t)d->env.facts->vm->disk_count - 1, &disk,
			 err) < 0 ||
	    hop_env_path(&d->env, path, NBD_SOCKET, err) < 0)
		return -1;
	snprintf(name, sizeof(name), "d%d", (int)disk);
	if (relay_to(d, name, path, &d->disks[disk], err) < 0)
		return -1;
	return fault_point("disk-copy", err);
}

int destination_memory(struct destination *d, const json_t *request, struct error **err)
{
	char path[PATH_MAX];

	(void)request;
	if (hop_env_path(&d->env, path, "memory.sock", err) < 0 ||
	    hv_memory_listen(d->env.vm, path, err) < 0 ||
	    relay_to(d, "memory", path, &d->memory, err) < 0)
		return -1;
	return fault_point("memory-copy", err);
}

static int move_tunnel(struct destination *d, const json_t *request, struct error **err)
{
	const char *path = json_get_string(request, "tunnel-path", err);
	const struct ip_addr *own, *far;

	if (!path)
		return -1;
	if (strcmp(path, d->env.facts->first_path) == 0)
		return 0;
	if (hop_env_ends(&d->env, path, &own, &far, err) < 0)
		return -1;
	log_info("the tunnel goes over %s", path);
	return tunnel_move(&d->env.tunnel, own, far, err);
}

int destination_prepare(struct destination *d, const json_t *request, struct error **err)
{
	if (move_tunnel(d, request, err) < 0 ||
	    hv_memory_wait_loaded(d->env.vm, clock_ns() + LOAD_NS, err) < 0 ||
	    hv_export_stop(d->env.vm, err) < 0 || vm_store_sync_disks(d->env.facts->vm, err) < 0 ||
	    journal_advance(d->env.facts->hop, HOP_PREPARED, err) < 0)
		return -1;
	d->prepared = true;
	return fault_point("prepared", err);
}

/*
 * The guest remembers its old gateway's MAC, which nobody has on this side of the tunnel: it is
 * told that the gateway is at the tap from now on.
 */
static void introduce_gateway(const struct destination *d)
{
	const struct vm_site *old = hop_old_site(d->env.facts);

	for (size_t i = 0; i < old->address_count; i++) {
		auto_error why = NULL;

		if (old->addresses[i].gateway.family != 0 &&
		    garp_send(d->env.old_tap, &old->addresses[i].gateway, NULL, &why) < 0)
			log_warn("%s", error_text(why));
	}
}

int destination_accept(struct destination *d, struct error **err)
{
	struct owner owner = hop_owner_accepted(d->env.facts);

	if (!d->prepared)
		return error_set(err, EPROTO, "released before it was prepared");
	if (journal_advance(d->env.facts->hop, HOP_ACCEPTED, err) < 0)
		return -1;
	d->accepted = true;
	ctl_decided(d->ctl, hop_state_name(HOP_ACCEPTED));
	if (owner_write(d->env.facts->vm->name, &owner, err) < 0 || hv_resume(d->env.vm, err) < 0)
		return -1;
	introduce_gateway(d);
	log_info("the VM runs here");
	return fault_point("accepted", err);
}

int destination_release(struct destination *d, const json_t *request, struct error **err)
{
	(void)request;
	if (fault_point("released-seen", err) < 0)
		return -1;
	return destination_accept(d, err);
}

int destination_undo_request(struct destination *d, const json_t *request, struct error **err)
{
	(void)request;
	if (d->accepted)
		return error_set(err, EPERM, "the VM runs here already");
	d->refused = true;
	return 0;
}

int destination_close(struct destination *d, const json_t *request, struct error **err)
{
	(void)request;
	if (!d->accepted)
		return error_set(err, EPERM, "nothing was accepted");
	d->closing = true;
	return 0;
}
