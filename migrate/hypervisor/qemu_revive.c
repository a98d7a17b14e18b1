/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * Theory of operation
 *
 * After a worker was killed nobody knows how far its hop had come. Everything that a hop does to a
 * source is undone here, in the reverse order of its beginning, each step only if there is
 * something to undo:
 *
 *     1. connections of the hop      -> broken off, for QEMU may hang on one that stalls
 *     2. memory still under way      -> cancelled; QEMU lets the guest run again by itself
 *     3. mirrors and their NBD nodes -> removed, so that no write waits for a dead connection
 *     4. guest not running           -> cont, which also takes the disks back after "postmigrate"
 *
 * Limit: where QEMU hangs on a stalled connection and its monitor is new to us, no handshake
 * succeeds. That can't be after a worker's death: its connections went with it.
 */
#include "migrate/hypervisor/qemu.h"

#include <errno.h>

#define LOG_MODULE "qemu"
#include "common/log.h"

int qemu_revive(struct hv_vm *vm, struct error **err)
{
	auto_error unbroken = NULL;
	enum hv_state state;

	if (qemu_alive(vm) && qemu_break_off(vm, NULL, &unbroken) < 0)
		log_warn("VM %s: %s; going on without", vm->def->name, error_text(unbroken));
	if (qemu_state(vm, &state, err) < 0)
		return -1;
	if (state == HV_ABSENT || state == HV_INCOMING)
		return error_set(err, ESRCH, "it is %s here: nothing that could run on",
				 hv_state_name(state));
	if (qemu_memory_cancel(vm, err) < 0)
		return -1;
	for (size_t i = 0; i < vm->def->disk_count; i++)
		if (qemu_mirror_abort(vm, i, err) < 0)
			return error_wrap(err, "disk %s", vm->def->disks[i].name);
	if (qemu_state(vm, &state, err) < 0)
		return -1;
	log_info("VM %s is %s, without mirrors", vm->def->name, hv_state_name(state));
	return state == HV_RUNNING ? 0 : qemu_resume(vm, err);
}
