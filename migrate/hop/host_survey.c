/* SPDX-License-Identifier: GPL-2.0-or-later */
#include "migrate/hop/host_survey.h"

#include <errno.h>
#include <net/if.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/statvfs.h>

#include "common/bytes.h"
#include "common/cleanup.h"
#include "common/clock.h"
#include "common/jsonl.h"
#include "common/places.h"
#include "common/pressure.h"
#include "migrate/disk/disk_set.h"
#include "migrate/hop/journal.h"
#include "migrate/hop/open.h"
#include "migrate/hypervisor/hypervisor.h"
#include "migrate/transport/mptcp.h"
#include "migrate/vm/vm_store.h"
#include "netswitch/endpoints.h"

#define CALL_NS	   (40 * NS_PER_SEC)
#define NAMES_MOST 4096

/* What the kernel thinks can be had without swapping. */
static uint64_t memory_available(void)
{
	auto_free char *text = read_file("/proc/meminfo", 65536, NULL, NULL);
	const char *line = text ? strstr(text, "MemAvailable:") : NULL;

	return line ? strtoull(line + strlen("MemAvailable:"), NULL, 10) << 10 : 0;
}

uint64_t host_disk_available(void)
{
	char path[PATH_MAX];
	struct statvfs fs;
	char *slash;

	if (place(path, NULL, PLACE_STATE "/vms") < 0)
		return 0;
	while (statvfs(path, &fs) < 0) {
		slash = strrchr(path, '/');
		if (errno != ENOENT || !slash || slash == path)
			return 0;
		*slash = '\0';
	}
	return (uint64_t)fs.f_bavail * fs.f_frsize;
}

/* What an earlier stay left of a VM: a hop replaces it before it copies anything. */
static uint64_t left_behind(const struct vm_def *def)
{
	uint64_t sum = 0;

	for (size_t i = 0; i < def->disk_count; i++) {
		char path[PATH_MAX];
		struct stat st;

		if (*def->disks[i].file && vm_store_disk_path(path, def, i, NULL) == 0 &&
		    stat(path, &st) == 0)
			sum += (uint64_t)st.st_blocks * 512;
	}
	return sum;
}

/* What this host knows of a VM of that name. */
static void look_for_vm(struct host_survey *survey, const char *name)
{
	auto_vm_def def = vm_store_load(name, NULL);
	auto_hv vm = def ? hv_open(def, NULL) : NULL;
	char self[UUID_SIZE];
	struct owner owner;

	if (!def)
		return;
	memcpy(survey->vm_uuid, def->uuid, UUID_SIZE);
	survey->vm_runs = vm && hv_alive(vm);
	survey->vm_busy = vm_store_busy(name);
	if (owner_read(name, &owner, NULL) < 0)
		return;
	survey->vm_epoch = owner.epoch;
	survey->vm_owned = uuid_of_host(self, NULL) == 0 && strcmp(owner.host, self) == 0;
	if (!survey->vm_owned)
		survey->disk_available += left_behind(def);
}

static void look_at_hypervisor(struct host_survey *survey, const char *hypervisor,
			       enum vm_accel accel)
{
	auto_error why = NULL;
	struct hv_capabilities *can = hv_capabilities(hypervisor, accel, &why);

	if (!can) {
		snprintf(survey->no_hypervisor, sizeof(survey->no_hypervisor), "%s",
			 error_text(why));
		return;
	}
	snprintf(survey->hypervisor, sizeof(survey->hypervisor), "%s", can->version);
	if (can->memory_available)
		survey->memory_available = can->memory_available;
	survey->machines = steal_ptr(can->machines);
	survey->cpus = steal_ptr(can->cpus);
	hv_capabilities_free(can);
}

/* Those to all networks. */
static void look_for_bridges(struct host_survey *survey, const struct fleet_host *host)
{
	survey->bridge = true;
	for (size_t i = 0; i < host->bridge_count && survey->bridge; i++)
		if (if_nametoindex(host->bridges[i].device) == 0) {
			survey->bridge = false;
			snprintf(survey->no_bridge, sizeof(survey->no_bridge), "%s",
				 host->bridges[i].device);
		}
}

static void look_at_drbd(struct host_survey *survey)
{
	auto_error why = NULL;

	if (disk_driver_check("drbd", &why) < 0)
		snprintf(survey->no_drbd, sizeof(survey->no_drbd), "%s", error_text(why));
}

static struct host_survey *make(const struct fleet *fleet, const char *vm, const char *hypervisor,
				enum vm_accel accel, bool drbd, struct error **err)
{
	const struct fleet_host *self = fleet_self(fleet, err);
	struct host_survey *survey = self ? calloc(1, sizeof(*survey)) : NULL;
	const char *why_not = NULL;

	if (!survey)
		return NULL;
	memcpy(survey->host, self->name, NAME_SIZE);
	snprintf(survey->version, sizeof(survey->version), "%s", EDGEHOP_VERSION);
	survey->wire = SERVE_WIRE;
	survey->mptcp = mptcp_available(&why_not);
	snprintf(survey->why_not_mptcp, sizeof(survey->why_not_mptcp), "%s",
		 why_not ? why_not : "");
	survey->memory_available = memory_available();
	survey->disk_available = host_disk_available();
	look_for_bridges(survey, self);
	look_for_vm(survey, vm);
	look_at_hypervisor(survey, hypervisor, accel);
	if (drbd)
		look_at_drbd(survey);
	survey->cpu_waited_us = pressure_cpu_us();
	return survey;
}

struct host_survey *host_survey_here(const struct fleet *fleet, const struct vm_def *def,
				     struct error **err)
{
	return make(fleet, def->name, def->hypervisor, def->accel, disks_carried(def), err);
}

static void free_names(char **list)
{
	for (size_t i = 0; list && list[i]; i++)
		free(list[i]);
	free(list);
}

void host_survey_free(struct host_survey *survey)
{
	if (!survey)
		return;
	free_names(survey->machines);
	free_names(survey->cpus);
	free(survey);
}

int host_survey_serve(const struct fleet *fleet, const json_t *request, json_t **answer,
		      struct error **err)
{
	const char *vm = json_get_string(request, "vm", err);
	const char *hypervisor = vm ? json_get_string(request, "hypervisor", err) : NULL;
	char name[NAME_SIZE], driver[NAME_SIZE];
	auto_host_survey survey = NULL;

	if (!hypervisor)
		return -1;
	if (!value_name(vm, name) || !value_name(hypervisor, driver))
		return error_set(err, EPROTO, "fields vm, hypervisor: expected names");
	/* What a probe that was killed has left. */
	endpoints_purge(journal_knows_open, NULL, NULL);
	survey = make(fleet, name, driver,
		      json_is_true(json_object_get(request, "kvm")) ? VM_ACCEL_KVM : VM_ACCEL_TCG,
		      json_is_true(json_object_get(request, "drbd")), err);
	if (!survey)
		return -1;
	*answer = host_survey_to_json(survey);
	return *answer ? 0 : error_set(err, ENOMEM, "no memory for a survey");
}

struct host_survey *host_survey_there(struct remote *remote, const struct vm_def *def,
				      struct error **err)
{
	auto_json request = json_pack("{s:s, s:s, s:s, s:b, s:b}", "do", "survey", "vm", def->name,
				      "hypervisor", def->hypervisor, "kvm",
				      def->accel == VM_ACCEL_KVM, "drbd", disks_carried(def));
	auto_json answer = remote_call(remote, request, clock_ns() + CALL_NS, err);

	return answer ? host_survey_from_json(answer, err) : NULL;
}

static json_t *names_to_json(char **list)
{
	json_t *json = list ? json_array() : json_null();

	for (size_t i = 0; list && list[i]; i++)
		json_array_append_new(json, json_string(list[i]));
	return json;
}

json_t *host_survey_to_json(const struct host_survey *s)
{
	return json_pack(
		"{s:s, s:s, s:I, s:b, s:s, s:I, s:I, s:b, s:s, s:b, s:b, s:b, s:I, s:s, s:s, "
		"s:s, s:o, s:o, s:I, s:s}",
		"host", s->host, "version", s->version, "wire", (json_int_t)s->wire, "mptcp",
		s->mptcp, "why_not", s->why_not_mptcp, "memory_available",
		(json_int_t)s->memory_available, "disk_available", (json_int_t)s->disk_available,
		"bridge", s->bridge, "no_bridge", s->no_bridge, "vm_runs", s->vm_runs, "vm_busy",
		s->vm_busy, "vm_owned", s->vm_owned, "vm_epoch", (json_int_t)s->vm_epoch, "vm_uuid",
		s->vm_uuid, "hypervisor", s->hypervisor, "no_hypervisor", s->no_hypervisor,
		"machines", names_to_json(s->machines), "cpus", names_to_json(s->cpus),
		"cpu_waited_us", (json_int_t)s->cpu_waited_us, "no_drbd", s->no_drbd);
}

/* The other host's word: bounded, and made fit for terminals. */
static int take_text(const json_t *json, const char *key, char *to, size_t size, struct error **err)
{
	const char *text = json_get_string(json, key, err);
	size_t i;

	if (!text)
		return -1;
	for (i = 0; i + 1 < size && text[i]; i++)
		to[i] = text[i] >= ' ' && text[i] <= '~' ? text[i] : '?';
	to[i] = '\0';
	return 0;
}

static int take_names(const json_t *json, const char *key, char ***list, struct error **err)
{
	const json_t *from = json_object_get(json, key);
	size_t n = json_array_size(from), used = 0;

	if (json_is_null(from))
		return 0;
	if (!json_is_array(from) || n > NAMES_MOST)
		return error_set(err, EPROTO, "field %s: expected a list of at most %d names", key,
				 NAMES_MOST);
	*list = calloc(n + 1, sizeof(**list));
	for (size_t i = 0; *list && i < n; i++) {
		const char *name = json_string_value(json_array_get(from, i));

		if (name)
			(*list)[used] = strdup(name);
		used += (*list)[used] != NULL;
	}
	return *list ? 0 : error_set(err, ENOMEM, "no memory for a list of %zu names", n);
}

static int take_numbers(const json_t *json, struct host_survey *s, struct error **err)
{
	int64_t memory, disk, epoch;

	if (json_get_int(json, "wire", 1, INT32_MAX, &s->wire, err) < 0 ||
	    json_get_int(json, "memory_available", 0, INT64_MAX, &memory, err) < 0 ||
	    json_get_int(json, "disk_available", 0, INT64_MAX, &disk, err) < 0 ||
	    json_get_int(json, "vm_epoch", 0, INT64_MAX, &epoch, err) < 0 ||
	    json_get_int(json, "cpu_waited_us", -1, INT64_MAX, &s->cpu_waited_us, err) < 0)
		return -1;
	s->memory_available = (uint64_t)memory;
	s->disk_available = (uint64_t)disk;
	s->vm_epoch = (uint64_t)epoch;
	return 0;
}

struct host_survey *host_survey_from_json(const json_t *json, struct error **err)
{
	auto_host_survey s = calloc(1, sizeof(*s));

	if (!s || take_numbers(json, s, err) < 0 ||
	    take_text(json, "host", s->host, sizeof(s->host), err) < 0 ||
	    take_text(json, "version", s->version, sizeof(s->version), err) < 0 ||
	    take_text(json, "why_not", s->why_not_mptcp, sizeof(s->why_not_mptcp), err) < 0 ||
	    take_text(json, "vm_uuid", s->vm_uuid, sizeof(s->vm_uuid), err) < 0 ||
	    take_text(json, "hypervisor", s->hypervisor, sizeof(s->hypervisor), err) < 0 ||
	    /* not told by an edgehop that is older */
	    (json_object_get(json, "no_bridge") &&
	     take_text(json, "no_bridge", s->no_bridge, sizeof(s->no_bridge), err) < 0) ||
	    (json_object_get(json, "no_drbd") &&
	     take_text(json, "no_drbd", s->no_drbd, sizeof(s->no_drbd), err) < 0) ||
	    take_text(json, "no_hypervisor", s->no_hypervisor, sizeof(s->no_hypervisor), err) < 0 ||
	    take_names(json, "machines", &s->machines, err) < 0 ||
	    take_names(json, "cpus", &s->cpus, err) < 0) {
		error_wrap(err, "the other host's survey");
		return NULL;
	}
	s->mptcp = json_is_true(json_object_get(json, "mptcp"));
	s->bridge = json_is_true(json_object_get(json, "bridge"));
	s->vm_runs = json_is_true(json_object_get(json, "vm_runs"));
	s->vm_busy = json_is_true(json_object_get(json, "vm_busy"));
	s->vm_owned = json_is_true(json_object_get(json, "vm_owned"));
	return steal_ptr(s);
}
