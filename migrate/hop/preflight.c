/* SPDX-License-Identifier: GPL-2.0-or-later */
#include "migrate/hop/preflight.h"

#include <assert.h>
#include <errno.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "common/cleanup.h"
#include "common/places.h"
#include "common/units.h"

/* What a hypervisor needs beside the guest's memory: for itself, and some to spare. */
#define OVERHEAD       ((uint64_t)128 << 20)
#define OVERHEAD_SHARE 8

static const char *const level_names[] = {
	[FINDING_OK] = "ok",
	[FINDING_WARN] = "warn",
	[FINDING_REFUSE] = "refuse",
};
static_assert(ARRAY_SIZE(level_names) == FINDING_REFUSE + 1, "each level has a name");

const char *finding_level_name(enum finding_level level)
{
	return level_names[level];
}

void findings_add(struct findings *findings, enum finding_level level, const char *what,
		  const char *fmt, ...)
{
	struct finding *finding;
	va_list ap;

	if (findings->count == FINDINGS_MOST) {
		finding = &findings->list[FINDINGS_MOST - 1];
		if (level <= finding->level)
			return;
	} else {
		finding = &findings->list[findings->count++];
	}
	finding->level = level;
	snprintf(finding->what, sizeof(finding->what), "%s", what);
	va_start(ap, fmt);
	vsnprintf(finding->text, sizeof(finding->text), fmt, ap);
	va_end(ap);
}

enum finding_level findings_worst(const struct findings *findings)
{
	enum finding_level worst = FINDING_OK;

	for (size_t i = 0; i < findings->count; i++)
		if (findings->list[i].level > worst)
			worst = findings->list[i].level;
	return worst;
}

int findings_check(const struct findings *findings, struct error **err)
{
	for (size_t i = 0; i < findings->count; i++)
		if (findings->list[i].level == FINDING_REFUSE)
			return error_set(err, EPERM, "%s: %s", findings->list[i].what,
					 findings->list[i].text);
	return 0;
}

json_t *findings_to_json(const struct findings *findings)
{
	json_t *list = json_array();

	for (size_t i = 0; i < findings->count; i++)
		json_array_append_new(list, json_pack("{s:s, s:s, s:s}", "what",
						      findings->list[i].what, "level",
						      finding_level_name(findings->list[i].level),
						      "text", findings->list[i].text));
	return list;
}

static void judge_versions(const struct preflight *p, struct findings *f)
{
	const struct host_survey *there = p->there;

	if (p->here && p->here->wire != there->wire)
		findings_add(f, FINDING_REFUSE, "edgehop",
			     "host %s speaks version %lld of the protocol, expected %lld",
			     there->host, (long long)there->wire, (long long)p->here->wire);
	else if (p->here && strcmp(p->here->version, there->version) != 0)
		findings_add(f, FINDING_WARN, "edgehop", "version %s here, %s at %s",
			     p->here->version, there->version, there->host);
	else
		findings_add(f, FINDING_OK, "edgehop", "version %s at both ends", there->version);
}

static void judge_vm(const struct preflight *p, struct findings *f)
{
	const struct host_survey *there = p->there;
	const char *name = p->vm->name;

	if (*there->vm_uuid && strcmp(there->vm_uuid, p->vm->uuid) != 0)
		findings_add(f, FINDING_REFUSE, "vm", "host %s has another VM of the name %s (%s)",
			     there->host, name, there->vm_uuid);
	else if (there->vm_runs)
		findings_add(f, FINDING_REFUSE, "vm", "VM %s runs at host %s already", name,
			     there->host);
	else if (there->vm_owned || there->vm_epoch > p->epoch)
		findings_add(f, FINDING_REFUSE, "vm",
			     "host %s knows of ownership %llu of VM %s, which is%s its own; here "
			     "it is %llu",
			     there->host, (unsigned long long)there->vm_epoch, name,
			     there->vm_owned ? "" : " not", (unsigned long long)p->epoch);
	else if (there->vm_busy && !p->comes_home)
		findings_add(f, FINDING_REFUSE, "vm",
			     "host %s is at work on VM %s: a start, a hop or a recovery",
			     there->host, name);
	else
		findings_add(f, FINDING_OK, "vm", "nothing of it runs at host %s", there->host);
}

static void judge_memory(const struct preflight *p, struct findings *f)
{
	uint64_t need = p->vm->memory, have = p->there->memory_available;
	uint64_t comfortable = need + need / OVERHEAD_SHARE + OVERHEAD;
	char need_text[UNITS_TEXT], have_text[UNITS_TEXT];

	/* Hugepages are no part of that; the host counts them itself (hugepages.h). */
	if (p->vm->hugepages)
		return;
	findings_add(f,
		     have < need	  ? FINDING_REFUSE
		     : have < comfortable ? FINDING_WARN
					  : FINDING_OK,
		     "memory", "host %s has %s available, the VM needs %s%s", p->there->host,
		     units_bytes_text(have, have_text), units_bytes_text(need, need_text),
		     have >= need && have < comfortable ? " and its hypervisor some more" : "");
}

static size_t count_on_drbd(const struct preflight *p)
{
	size_t count = 0;

	for (size_t i = 0; i < p->vm->disk_count; i++)
		count += p->on_drbd[i];
	return count;
}

/* Disks that the hypervisor does not copy: they are on DRBD, or the other host has them, too. */
static void judge_uncopied_disks(const struct preflight *p, struct findings *f)
{
	for (size_t i = 0; i < p->vm->disk_count; i++)
		if (!*p->vm->disks[i].device && !p->on_drbd[i]) {
			findings_add(f, FINDING_REFUSE, "disk",
				     "disk %s is the file %s of this host, which %s does not copy: "
				     "expected it on DRBD (`edgehop disk prepare %s`), or a device "
				     "that both hosts have",
				     p->vm->disks[i].name, p->vm->disks[i].file, p->vm->hypervisor,
				     p->vm->name);
			return;
		}
	if (count_on_drbd(p) && strcmp(p->vm->machine, "hvm") == 0)
		findings_add(
			f, FINDING_REFUSE, "disk",
			"disks of the VM are on DRBD, which hops of hvm guests don't carry yet: "
			"expected devices that both hosts have, or a pvh guest");
	if (count_on_drbd(p) == 0)
		findings_add(f, FINDING_OK, "disk",
			     "the VM's disks are devices that both hosts have");
}

static void judge_disk(const struct preflight *p, struct findings *f)
{
	uint64_t have = p->there->disk_available;
	char data[UNITS_TEXT], size[UNITS_TEXT], have_text[UNITS_TEXT];

	if (vm_def_is_xen(p->vm))
		judge_uncopied_disks(p, f);
	else if (count_on_drbd(p))
		findings_add(f, FINDING_REFUSE, "disk",
			     "disks of the VM are on DRBD, which hops of %s don't carry: `edgehop "
			     "disk release %s` while it is off",
			     p->vm->hypervisor, p->vm->name);
	if (*p->there->no_drbd)
		findings_add(f, FINDING_REFUSE, "disk", "host %s can't have disks on DRBD: %s",
			     p->there->host, p->there->no_drbd);
	if (p->disk_size == 0)
		return;
	findings_add(f,
		     have < p->disk_allocated ? FINDING_REFUSE
		     : have < p->disk_size    ? FINDING_WARN
					      : FINDING_OK,
		     "disk", "host %s has %s available, the VM's disks hold %s%s%s", p->there->host,
		     units_bytes_text(have, have_text), units_bytes_text(p->disk_allocated, data),
		     have >= p->disk_allocated && have < p->disk_size ? " and can grow to " : "",
		     have >= p->disk_allocated && have < p->disk_size
			     ? units_bytes_text(p->disk_size, size)
			     : "");
}

static bool is_in(char *const *list, const char *name)
{
	for (size_t i = 0; list && list[i]; i++)
		if (strcmp(list[i], name) == 0)
			return true;
	return false;
}

/* "7.2.22" as 7002022. */
static long version_number(const char *version)
{
	int part[3] = {0};

	if (sscanf(version, "%d.%d.%d", &part[0], &part[1], &part[2]) < 1)
		return 0;
	return (long)part[0] * 1000000 + (long)part[1] * 1000 + part[2];
}

static void judge_hypervisor(const struct preflight *p, struct findings *f)
{
	const struct host_survey *there = p->there, *here = p->here;
	const char *accel = vm_def_is_xen(p->vm)	   ? ""
			    : p->vm->accel == VM_ACCEL_KVM ? " with accel kvm"
							   : " with accel tcg";

	if (!*there->hypervisor)
		findings_add(f, FINDING_REFUSE, "hypervisor", "host %s: %s", there->host,
			     *there->no_hypervisor ? there->no_hypervisor : "found none");
	else if (here && version_number(there->hypervisor) < version_number(here->hypervisor))
		findings_add(f, FINDING_WARN, "hypervisor",
			     "%s %s%s at host %s is older than %s here", p->vm->hypervisor,
			     there->hypervisor, accel, there->host, here->hypervisor);
	else
		findings_add(f, FINDING_OK, "hypervisor", "%s %s%s at host %s", p->vm->hypervisor,
			     there->hypervisor, accel, there->host);
}

static void judge_machine(const struct preflight *p, struct findings *f)
{
	const char *machine = p->vm->machine;

	if (!is_in(p->there->machines, machine))
		findings_add(f, FINDING_REFUSE, "machine",
			     "host %s's hypervisor does not know machine type %s", p->there->host,
			     machine);
	else if (!vm_def_is_xen(p->vm) &&
		 (!strpbrk(machine, "0123456789.") || !strchr(machine, '.')))
		findings_add(f, FINDING_WARN, "machine",
			     "%s means another machine in each version of the hypervisor; expected "
			     "one with a version, such as pc-q35-7.2",
			     machine);
	else
		findings_add(f, FINDING_OK, "machine", "%s is known at host %s", machine,
			     p->there->host);
}

/* A model may be followed by features: "qemu64,+aes"; a baseline is a model. */
static void judge_cpu(const struct preflight *p, struct findings *f)
{
	char model[WORD_SIZE];

	snprintf(model, sizeof(model), "%.*s", (int)strcspn(p->vm->cpu, ",+"), p->vm->cpu);
	if (!is_in(p->there->cpus, model))
		findings_add(f, FINDING_REFUSE, "cpu",
			     "host %s can't give guests a CPU %s in full; expected a baseline that "
			     "all hosts have",
			     p->there->host, model);
	else if (strcmp(model, "host") == 0 || strcmp(model, "max") == 0)
		findings_add(f, FINDING_WARN, "cpu",
			     "%s is another CPU on each kind of host; expected a baseline that all "
			     "hosts have",
			     model);
	else
		findings_add(f, FINDING_OK, "cpu", "%s can be had at host %s", model,
			     p->there->host);
}

static void judge_network(const struct preflight *p, struct findings *f)
{
	const struct host_survey *ends[] = {p->here, p->there};

	if (p->there->bridge)
		findings_add(f, FINDING_OK, "bridge", "the bridges are there");
	else
		findings_add(f, FINDING_REFUSE, "bridge",
			     "host %s has no %s, expected all the bridges that its %s names",
			     p->there->host, *p->there->no_bridge ? p->there->no_bridge : "bridge",
			     PLACE_CONFIG);
	for (size_t i = 0; i < ARRAY_SIZE(ends); i++)
		if (ends[i] && !ends[i]->mptcp)
			findings_add(f, FINDING_WARN, "mptcp",
				     "host %s: %s; a hop goes over one path", ends[i]->host,
				     ends[i]->why_not_mptcp);
}

void preflight_judge(const struct preflight *p, struct findings *f)
{
	judge_versions(p, f);
	judge_vm(p, f);
	judge_memory(p, f);
	judge_disk(p, f);
	judge_hypervisor(p, f);
	if (*p->there->hypervisor) {
		judge_machine(p, f);
		judge_cpu(p, f);
	}
	judge_network(p, f);
}
