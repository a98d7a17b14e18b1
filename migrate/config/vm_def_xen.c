/* SPDX-License-Identifier: GPL-2.0-or-later */
/* The keys of vm.yaml that Xen takes otherwise. */
#include "migrate/config/vm_def_xen.h"

#include <string.h>

#include "common/cleanup.h"

#define CMDLINE_EXPECTED "at most 1023 printable ASCII characters without quotes and backslashes"
#define XEN_MACHINES	 "pvh or hvm"

/* What a kernel is told: one line, and nothing that ends a quoted string where it is written. */
static bool value_cmdline(const char *text, void *into)
{
	size_t n = strlen(text);

	if (n >= VM_CMDLINE_SIZE)
		return false;
	for (size_t i = 0; i < n; i++)
		if (text[i] < ' ' || text[i] > '~' || strchr("\"'\\", text[i]))
			return false;
	memcpy(into, text, n + 1);
	return true;
}

static bool value_xen_machine(const char *text, void *into)
{
	if (strcmp(text, "pvh") != 0 && strcmp(text, "hvm") != 0)
		return false;
	memcpy(into, text, strlen(text) + 1);
	return true;
}

/* The domain gets what Xen gives a new domain on that host. */
static bool value_xen_cpu(const char *text, void *into)
{
	(void)into;
	return strcmp(text, VM_XEN_CPU) == 0;
}

static int read_boot(const struct yaml_node *node, void *into, struct error **err)
{
	static const struct yaml_field fields[] = {
		YAML_VALUE(struct vm_boot, kernel, "kernel", value_file_name, FILE_NAME_EXPECTED),
		YAML_OPTIONAL(struct vm_boot, initrd, "initrd", value_file_name,
			      FILE_NAME_EXPECTED),
		YAML_OPTIONAL(struct vm_boot, cmdline, "cmdline", value_cmdline, CMDLINE_EXPECTED),
	};

	return yaml_read_map(node, fields, ARRAY_SIZE(fields), into, err);
}

/* What Xen's definitions have otherwise: a table's row in place of QEMU's. */
static const struct yaml_field xen_fields[] = {
	YAML_OPTIONAL(struct vm_def, cpu, "cpu", value_xen_cpu, VM_XEN_CPU),
	YAML_VALUE(struct vm_def, machine, "machine", value_xen_machine, XEN_MACHINES),
	{.key = "boot",
	 .optional = true,
	 .offset = offsetof(struct vm_def, boot),
	 .map = read_boot},
};

/* `accel`, which Xen has no use for, makes room for `boot`. */
void vm_def_xen_fields(struct yaml_field *fields, size_t count)
{
	for (size_t i = 0; i < count; i++) {
		if (strcmp(fields[i].key, "accel") == 0)
			fields[i] = xen_fields[2];
		for (size_t j = 0; j < 2; j++)
			if (strcmp(fields[i].key, xen_fields[j].key) == 0)
				fields[i] = xen_fields[j];
	}
}
