/* SPDX-License-Identifier: GPL-2.0-or-later */
#include "migrate/disk/drbd_command.h"

#include <stdio.h>

/*
 * External metadata, in sectors of 512 bytes: 8 of superblock, 64 of activity log, then a
 * bitmap with a bit for each 4 KiB of the disk, in whole blocks of 4 KiB, of which each covers
 * 2^18 sectors.
 */
#define SECTOR	       512
#define META_FIXED     72
#define BITMAP_BLOCK   8
#define BITMAP_COVERED ((uint64_t)1 << 18)
#define META_LEAST     ((uint64_t)1 << 20) /* bytes; DRBD attaches no smaller device */

uint64_t drbd_meta_bytes(uint64_t disk_bytes)
{
	uint64_t sectors = disk_bytes / SECTOR + (disk_bytes % SECTOR != 0);
	uint64_t blocks = sectors / BITMAP_COVERED + (sectors % BITMAP_COVERED != 0);

	uint64_t bytes = (blocks * BITMAP_BLOCK + META_FIXED) * SECTOR;

	return bytes < META_LEAST ? META_LEAST : bytes;
}

char *drbd_resource_name(const char *vm, const char *disk, char buf[DRBD_RESOURCE_SIZE])
{
	snprintf(buf, DRBD_RESOURCE_SIZE, "edgehop-%s-%s", vm, disk);
	return buf;
}

char *drbd_address(unsigned minor, char buf[DRBD_ADDRESS])
{
	snprintf(buf, DRBD_ADDRESS, "127.83.%u.%u", minor >> 8 & 255, minor & 255);
	return buf;
}

/* Words that need no formatting. */
static void add_all(struct program *p, const char *const *words)
{
	for (; *words; words++)
		program_add(p, "%s", *words);
}

static void add_ends(struct program *p, unsigned minor)
{
	char address[DRBD_ADDRESS];

	drbd_address(minor, address);
	program_add(p, "ipv4:%s:%d", address, DRBD_PORT_OWN);
	program_add(p, "ipv4:%s:%d", address, DRBD_PORT_PEER);
}

static struct program setup(const char *command)
{
	struct program p = {0};

	program_add(&p, "drbdsetup");
	program_add(&p, "%s", command);
	return p;
}

static struct program of_minor(const char *command, unsigned minor)
{
	struct program p = setup(command);

	program_add(&p, "%u", minor);
	return p;
}

static struct program of_meta(unsigned minor, const char *meta, const char *command)
{
	struct program p = {0};

	program_add(&p, "drbdmeta");
	program_add(&p, "--force");
	program_add(&p, "%u", minor);
	program_add(&p, "v08");
	program_add(&p, "%s", meta);
	program_add(&p, "flex-external");
	program_add(&p, "%s", command);
	return p;
}

/*
 * What it finds there is overwritten without a question. A peer takes requests of 1 MiB:
 * without knowing that, DRBD would cut the guest's into pieces of 4 KiB until it has met one.
 */
struct program drbd_create_meta(unsigned minor, const char *meta)
{
	struct program p = of_meta(minor, meta, "create-md");

	program_add(&p, "--peer-max-bio-size=1M");
	return p;
}

struct program drbd_apply_log(unsigned minor, const char *meta)
{
	return of_meta(minor, meta, "apply-al");
}

struct program drbd_new_resource(const char *resource)
{
	struct program p = setup("new-resource");

	program_add(&p, "%s", resource);
	return p;
}

struct program drbd_new_minor(const char *resource, unsigned minor)
{
	struct program p = setup("new-minor");

	program_add(&p, "%s", resource);
	program_add(&p, "%u", minor);
	program_add(&p, "0");
	return p;
}

/*
 * An error of the disk is the guest's to see, as without DRBD. The activity log is as large as
 * its room allows, so that a guest seldom waits for it. Resync has a fixed rate, the highest
 * there is, and does not give way: how fast it really goes is the pacer's to say, in the hop's
 * session.
 */
struct program drbd_attach(unsigned minor, const char *lower, const char *meta)
{
	static const char *const options[] = {"--on-io-error=pass_on", "--al-extents=6007",
					      "--c-plan-ahead=0",      "--resync-rate=4194304",
					      "--c-min-rate=0",	       NULL};
	struct program p = of_minor("attach", minor);

	program_add(&p, "%s", lower);
	program_add(&p, "%s", meta);
	program_add(&p, "flexible");
	add_all(&p, options);
	return p;
}

struct program drbd_primary(unsigned minor, bool first_time)
{
	struct program p = of_minor("primary", minor);

	if (first_time)
		program_add(&p, "--force");
	return p;
}

struct program drbd_secondary(unsigned minor)
{
	return of_minor("secondary", minor);
}

struct program drbd_outdate(unsigned minor)
{
	return of_minor("outdate", minor);
}

struct program drbd_down(const char *resource)
{
	struct program p = setup("down");

	program_add(&p, "%s", resource);
	return p;
}

static struct program net_option(unsigned minor, const char *option)
{
	struct program p = setup("net-options");

	add_ends(&p, minor);
	program_add(&p, "%s", option);
	return p;
}

struct program drbd_be_synchronous(unsigned minor)
{
	return net_option(minor, "--protocol=C");
}

struct program drbd_disconnect(unsigned minor, bool force)
{
	struct program p = setup("disconnect");

	add_ends(&p, minor);
	if (force)
		program_add(&p, "--force");
	return p;
}

struct program drbd_get_gi(unsigned minor)
{
	return of_minor("get-gi", minor);
}

struct program drbd_get_gi_at_rest(unsigned minor, const char *meta)
{
	return of_meta(minor, meta, "get-gi");
}

struct program drbd_invalidate(unsigned minor)
{
	return of_minor("invalidate", minor);
}

struct program drbd_look(void)
{
	struct program p = setup("events2");

	program_add(&p, "all");
	program_add(&p, "--now");
	program_add(&p, "--statistics");
	return p;
}
