/* SPDX-License-Identifier: GPL-2.0-or-later */
#include "migrate/disk/gate.h"

#include <errno.h>
#include <fcntl.h>
#include <stdbool.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/sysmacros.h>
#include <unistd.h>

#include "common/cleanup.h"
#include "common/clock.h"
#include "migrate/disk/program.h"

#define SECTOR 512

/* No request for 30 ms; a second at the most. */
#define QUIET_MS    5
#define QUIET_LOOKS 6
#define QUIET_TRIES 200

char *gate_path(const char *name, char path[GATE_PATH])
{
	snprintf(path, GATE_PATH, "/dev/mapper/%s", name);
	return path;
}

static bool is_there(const char *name)
{
	char path[GATE_PATH];

	return access(gate_path(name, path), F_OK) == 0;
}

static struct program dmsetup(const char *command, const char *name)
{
	struct program p = {0};

	program_add(&p, "dmsetup");
	program_add(&p, "%s", command);
	program_add(&p, "%s", name);
	return p;
}

/* device NULL: none below, every request fails */
static void add_table(struct program *p, uint64_t bytes, const char *device)
{
	unsigned long long sectors = bytes / SECTOR;

	program_add(p, "--table");
	if (device)
		program_add(p, "0 %llu linear %s 0", sectors, device);
	else
		program_add(p, "0 %llu error", sectors);
}

static int run(const char *command, const char *name, struct error **err)
{
	struct program p = dmsetup(command, name);

	return program_run(&p, NULL, 0, err);
}

/* 1, 0, or -1 with *err. */
static int is_open(const char *name, struct error **err)
{
	struct program p = dmsetup("table", name);
	char table[512];

	return program_run(&p, table, sizeof(table), err) < 0 ? -1
							      : strstr(table, " linear ") != NULL;
}

/* The table is swapped while nothing is under way; the one that goes closes what was below. */
static int swap(const char *name, uint64_t bytes, const char *device, struct error **err)
{
	struct program load = dmsetup("load", name);
	struct program suspend = dmsetup("suspend", name);

	add_table(&load, bytes, device);
	program_add(&suspend, "--nolockfs");
	if (program_run(&load, NULL, 0, err) < 0)
		return -1;
	if (program_run(&suspend, NULL, 0, err) < 0) {
		run("clear", name, NULL);
		return -1;
	}
	return run("resume", name, err);
}

int gate_make(const char *name, uint64_t bytes, struct error **err)
{
	struct program create = dmsetup("create", name);

	if (is_there(name))
		return 0;
	add_table(&create, bytes, NULL);
	return program_run(&create, NULL, 0, err);
}

int gate_open(const char *name, uint64_t bytes, const char *device, struct error **err)
{
	int open;

	if (gate_make(name, bytes, err) < 0)
		return -1;
	open = is_open(name, err);
	if (open)
		return open < 0 ? -1 : 0;
	return swap(name, bytes, device, err);
}

static bool has_requests(dev_t device)
{
	char path[64];
	unsigned reads = 0, writes = 0;

	snprintf(path, sizeof(path), "/sys/dev/block/%u:%u/inflight", major(device), minor(device));

	auto_file file = fopen(path, "re");

	return file && fscanf(file, "%u %u", &reads, &writes) == 2 && reads + writes > 0;
}

/*
 * A guest that was paused asks nothing more, but its hypervisor may be about to pass on what it
 * asked before: that is waited for, since it would be answered with an error by a closed gate.
 */
static void wait_quiet(const char *name)
{
	char path[GATE_PATH];
	struct stat st;
	int quiet = 0;

	if (stat(gate_path(name, path), &st) < 0)
		return;
	for (int i = 0; i < QUIET_TRIES && quiet < QUIET_LOOKS; i++) {
		quiet = has_requests(st.st_rdev) ? 0 : quiet + 1;
		clock_sleep_ms(QUIET_MS);
	}
}

/* What the page cache has of it goes to the device before that is taken away. */
static int write_back(const char *name, struct error **err)
{
	char path[GATE_PATH];
	auto_close fd = open(gate_path(name, path), O_RDWR | O_CLOEXEC);

	return fd < 0 || fsync(fd) < 0 ? error_errno(err, "%s", path) : 0;
}

int gate_close(const char *name, uint64_t bytes, struct error **err)
{
	int open = is_there(name) ? is_open(name, err) : 0;

	if (open <= 0)
		return open;
	wait_quiet(name);
	return write_back(name, err) < 0 ? -1 : swap(name, bytes, NULL, err);
}

int gate_remove(const char *name, struct error **err)
{
	struct error *why = NULL;
	char path[GATE_PATH];

	if (!is_there(name) || run("remove", name, &why) == 0)
		return 0;
	if (!strstr(why->message, "busy"))
		return error_propagate(err, why);
	error_free(why);
	return error_set(err, EBUSY, "%s is open (a VM, a mount?)", gate_path(name, path));
}
