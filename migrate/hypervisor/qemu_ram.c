/* SPDX-License-Identifier: GPL-2.0-or-later */
#include "migrate/hypervisor/qemu.h"

#include <errno.h>
#include <stdio.h>
#include <string.h>

#include "common/cleanup.h"
#include "common/jsonl.h"

/* HMP is all that tells where a guest address lies in QEMU's. */
int qemu_guest_memory(struct hv_vm *vm, struct hv_guest_memory *memory, struct error **err)
{
	auto_json answer = qemu_ask(vm, "human-monitor-command",
				    json_pack("{s:s}", "command-line", "gpa2hva 0"), err);
	const char *text = json_string_value(answer);
	const char *is = text ? strstr(text, " is ") : NULL;
	unsigned long long address;

	if (!answer)
		return -1;
	if (!is || sscanf(is, " is %llx", &address) != 1)
		return error_set(err, EPROTO, "QEMU does not say where the guest's memory lies");
	*memory = (struct hv_guest_memory){
		.pid = qemu_pid(vm), .address = address, .bytes = qemu_ram_kib(vm->def) << 10};
	return 0;
}
