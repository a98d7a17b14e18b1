/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * Theory of operation
 *
 * Both ends of a hop make the machine from the same definition, so everything that the guest can
 * see stands here explicitly: the machine's version, the topology, and a fixed PCI address for
 * each device, whatever else the VM has.
 *
 *     slot 02      random numbers
 *     slot 03      virtio-serial: the agent's channel
 *     slot 08..0f  vNICs
 *     slot 10..17  disks
 *
 * Nothing goes through a shell. What comes from a definition is bounded by value_word() and its
 * like; paths go as JSON, or with commas doubled where QEMU takes no JSON.
 */
#include "migrate/hypervisor/qemu.h"

#include <assert.h>
#include <errno.h>
#include <inttypes.h>
#include <stdarg.h>
#include <stdio.h>
#include <string.h>

#include "common/cleanup.h"
#include "migrate/disk/disk.h"
#include "migrate/vm/vm_store.h"

#define ARGS_MOST   160
#define SLOT_RNG    0x02
#define SLOT_SERIAL 0x03
#define SLOT_NIC    0x08
#define SLOT_DISK   0x10

static_assert(SLOT_NIC + VM_NICS_MOST <= SLOT_DISK, "vNICs end before the disks begin");
static_assert(SLOT_DISK + VM_DISKS_MOST <= 0x1f, "slot 1f is the chipset's own");

struct args {
	char **argv;
	size_t count;
	bool failed; /* no memory, or too many; looked at once, at the end */
};

static void add_taken(struct args *args, char *text)
{
	if (!text || args->count >= ARGS_MOST) {
		free(text);
		args->failed = true;
		return;
	}
	args->argv[args->count++] = text;
}

/* An option and its value, which is formatted; fmt NULL: no value. */
static void add(struct args *args, const char *option, const char *fmt, ...) PRINTF_LIKE(3, 4);
static void add(struct args *args, const char *option, const char *fmt, ...)
{
	char *text = NULL;
	va_list ap;

	add_taken(args, strdup(option));
	if (!fmt)
		return;
	va_start(ap, fmt);
	if (vasprintf(&text, fmt, ap) < 0)
		text = NULL;
	va_end(ap);
	add_taken(args, text);
}

/* object is taken over. */
static void add_json(struct args *args, const char *option, json_t *object)
{
	auto_json taken = object;

	add_taken(args, strdup(option));
	add_taken(args, taken ? json_dumps(taken, JSON_COMPACT) : NULL);
}

/* A file in the run folder, for options of the form key=value: a comma is written twice. */
static int run_path(char path[PATH_MAX], const struct vm_def *def, const char *file,
		    struct error **err)
{
	char plain[PATH_MAX];
	size_t used = 0;

	if (vm_store_run_path(plain, def->name, file, err) < 0)
		return -1;
	for (const char *p = plain; *p; p++) {
		if (used + 3 > PATH_MAX)
			return error_set(err, ENAMETOOLONG, "%s: path too long", plain);
		if (*p == ',')
			path[used++] = ',';
		path[used++] = *p;
	}
	path[used] = '\0';
	return 0;
}

/*
 * QEMU before 9.0 loses pages that an emulated CPU (TCG) writes while memory is being sent: where
 * the RAM's size is a multiple of 64 pages it collects dirty bits 64 at a time, and forgets to make
 * the CPU's TLB say so, so that later writes to these pages go unseen. A guest that has been moved
 * so panics now and then. 8 KiB more take the way that is right. Not with hugepages, which can't
 * be cut. Which version runs does not matter: all hosts have to agree on the size.
 */
#define TCG_EXTRA_KIB 8

uint64_t qemu_ram_kib(const struct vm_def *def)
{
	bool emulated = def->accel == VM_ACCEL_TCG && !def->hugepages;

	return (def->memory >> 10) + (emulated ? TCG_EXTRA_KIB : 0);
}

static void add_machine(struct args *args, const struct vm_def *def)
{
	add(args, "-name", "guest=%s,debug-threads=on", def->name);
	add(args, "-uuid", "%s", def->uuid);
	add(args, "-nodefaults", NULL);
	add(args, "-no-user-config", NULL);
	add(args, "-sandbox",
	    "on,obsolete=deny,elevateprivileges=deny,spawn=deny,resourcecontrol=deny");
	add(args, "-machine", "%s,usb=off%s", def->machine,
	    def->hugepages ? ",memory-backend=memory" : "");
	add(args, "-accel", def->accel == VM_ACCEL_KVM ? "kvm" : "tcg,thread=multi");
	add(args, "-cpu", "%s", def->cpu);
	add(args, "-smp", "cpus=%u,sockets=1,cores=%u,threads=1", def->vcpus, def->vcpus);
	add(args, "-m", "size=%" PRIu64 "K", qemu_ram_kib(def));
	if (def->hugepages)
		add(args, "-object",
		    "memory-backend-memfd,id=memory,size=%" PRIu64
		    "M,hugetlb=on,hugetlbsize=%" PRIu64 "M,share=on,prealloc=on",
		    def->memory >> 20, def->hugepages >> 20);
	add(args, "-rtc", "base=utc");
	add(args, "-display", "none");
	add(args, "-boot", "strict=on");
}

static int add_channels(struct args *args, const struct vm_def *def, struct error **err)
{
	char console[PATH_MAX], monitor[PATH_MAX], agent[PATH_MAX];

	if (run_path(console, def, "console.log", err) < 0 ||
	    run_path(monitor, def, "qmp.sock", err) < 0 ||
	    run_path(agent, def, "agent.sock", err) < 0)
		return -1;
	add(args, "-chardev", "socket,id=monitor,path=%s,server=on,wait=off", monitor);
	add(args, "-mon", "chardev=monitor,mode=control");
	add(args, "-chardev", "file,id=console,path=%s,append=on", console);
	add(args, "-serial", "chardev:console");
	add(args, "-chardev", "socket,id=agent,path=%s,server=on,wait=off", agent);
	add(args, "-device", "virtio-serial-pci,id=serial,addr=%#x,max_ports=4", SLOT_SERIAL);
	add(args, "-device",
	    "virtserialport,id=agent-port,bus=serial.0,nr=1,chardev=agent,"
	    "name=org.edgehop.agent.0");
	add(args, "-object", "rng-random,id=random,filename=/dev/urandom");
	add(args, "-device", "virtio-rng-pci,id=rng,rng=random,addr=%#x", SLOT_RNG);
	return 0;
}

char *qemu_node(size_t disk, const char *suffix, char buf[QEMU_NODE_SIZE])
{
	snprintf(buf, QEMU_NODE_SIZE, "disk%zu%s", disk, suffix);
	return buf;
}

/*
 * A file (or what the disk's driver has in its place, a block device), the raw image in it, and the
 * device. Zeroes that the guest writes become holes.
 */
static int add_disk(struct args *args, const struct vm_def *def, size_t i, struct error **err)
{
	char path[PATH_MAX], file[QEMU_NODE_SIZE], node[QEMU_NODE_SIZE];
	auto_disk disk = disk_open(def, i, err);

	if (!disk || disk_guest_path(disk, path, err) < 0)
		return -1;
	qemu_node(i, "-file", file);
	qemu_node(i, "", node);
	add_json(args, "-blockdev",
		 json_pack("{s:s s:s s:s s:s s:s s:{s:b s:b}}", "driver",
			   disk_is_bare(disk) ? "file" : "host_device", "node-name", file,
			   "filename", path, "locking", "on", "discard", "unmap", "cache", "direct",
			   0, "no-flush", 0));
	add_json(args, "-blockdev",
		 json_pack("{s:s s:s s:s s:s s:s s:b}", "driver", "raw", "node-name", node, "file",
			   file, "discard", "unmap", "detect-zeroes", "unmap", "read-only", 0));
	add(args, "-device",
	    "virtio-blk-pci,id=disk%zu-device,drive=%s,addr=%#zx,serial=%.20s,bootindex=%zu,"
	    "write-cache=on",
	    i, node, SLOT_DISK + i, def->disks[i].name, i + 1);
	return 0;
}

static void add_nic(struct args *args, const struct vm_def *def, size_t i)
{
	char tap[DEVICE_NAME_SIZE], mac[MAC_TEXT];

	add(args, "-netdev", "tap,id=nic%zu-tap,ifname=%s,script=no,downscript=no,vhost=off", i,
	    vm_def_tap(def, i, tap));
	add(args, "-device",
	    "virtio-net-pci,id=nic%zu,netdev=nic%zu-tap,mac=%s,addr=%#zx,romfile=", i, i,
	    mac_format(def->nics[i].mac, mac), SLOT_NIC + i);
}

static int add_process(struct args *args, const struct vm_def *def, bool incoming,
		       struct error **err)
{
	char pid[PATH_MAX];

	/* Taken as it is: no doubled commas. */
	if (vm_store_run_path(pid, def->name, "pid", err) < 0)
		return -1;
	add(args, "-pidfile", "%s", pid);
	add(args, "-msg", "timestamp=on");
	if (incoming) {
		add(args, "-S", NULL);
		add(args, "-incoming", "defer");
	}
	return 0;
}

const char *qemu_program(void)
{
	const char *program = getenv("EDGEHOP_QEMU");

	return program ? program : "qemu-system-x86_64";
}

char **qemu_args(const struct vm_def *def, bool incoming, struct error **err)
{
	struct args args = {.argv = calloc(ARGS_MOST + 1, sizeof(char *))};
	bool bad = false;

	if (!args.argv) {
		error_set(err, ENOMEM, "out of memory");
		return NULL;
	}
	add_taken(&args, strdup(qemu_program()));
	add_machine(&args, def);
	bad = add_channels(&args, def, err) < 0;
	for (size_t i = 0; i < def->disk_count && !bad; i++)
		bad = add_disk(&args, def, i, err) < 0;
	for (size_t i = 0; i < def->nic_count; i++)
		add_nic(&args, def, i);
	bad = bad || add_process(&args, def, incoming, err) < 0;
	if (!bad && !args.failed)
		return args.argv;
	if (!bad)
		error_set(err, ENOMEM, "no room for QEMU's command line");
	qemu_args_free(args.argv);
	return NULL;
}

void qemu_args_free(char **argv)
{
	for (size_t i = 0; argv && argv[i]; i++)
		free(argv[i]);
	free(argv);
}
