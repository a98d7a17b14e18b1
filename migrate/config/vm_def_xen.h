/* SPDX-License-Identifier: GPL-2.0-or-later */
#ifndef MIGRATE_CONFIG_VM_DEF_XEN_H
#define MIGRATE_CONFIG_VM_DEF_XEN_H

#include "migrate/config/vm_def.h"
#include "migrate/config/yaml.h"

/* What `cpu` is, and all that it can be. */
#define VM_XEN_CPU "host"

/* Makes a table of QEMU's keys, for struct vm_def, one of Xen's; for vm_def_parse.c only. */
void vm_def_xen_fields(struct yaml_field *fields, size_t count);

#endif
