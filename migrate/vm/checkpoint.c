/* SPDX-License-Identifier: GPL-2.0-or-later */
/* The files: which there are, what their header says. checkpoint_write.c fills one. */
#include "migrate/vm/checkpoint.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <stdlib.h>
#include <string.h>
#include <sys/file.h>
#include <sys/stat.h>
#include <time.h>

#include <openssl/evp.h>

#include "common/bytes.h"
#include "common/cleanup.h"
#include "common/clock.h"
#include "common/log.h"
#include "common/places.h"
#include "migrate/vm/checkpoint_internal.h"

#define LOG_MODULE "checkpoint"

#define SUM_AT	 64u
#define SUM_SIZE 32u

int checkpoint_path(char path[PATH_MAX], const char *vm, const char *suffix, struct error **err)
{
	char uuid[UUID_SIZE];

	if (!uuid_parse(vm, uuid))
		return error_set(err, EINVAL, "VM \"%.40s\": expected a UUID", vm);
	return place(path, err, PLACE_STATE "/checkpoints/%s%s", uuid, suffix);
}

/* ---- The header ---- */

void checkpoint_header(uint8_t header[CHECKPOINT_HEADER_SIZE], const char *vm, uint32_t pages)
{
	memset(header, 0, CHECKPOINT_HEADER_SIZE);
	put_be32(header, CHECKPOINT_MAGIC);
	put_be16(header + 4, CHECKPOINT_VERSION);
	put_be32(header + 8, pages);
	memcpy(header + 16, vm, UUID_SIZE - 1);
	EVP_Digest(header, SUM_AT, header + SUM_AT, NULL, EVP_sha256(), NULL);
}

static int check_header(const uint8_t header[CHECKPOINT_HEADER_SIZE], const char *vm, off_t size,
			uint32_t *pages, struct error **err)
{
	uint8_t whole[CHECKPOINT_HEADER_SIZE];
	uint32_t count = get_be32(header + 8);

	if (get_be32(header) != CHECKPOINT_MAGIC)
		return error_set(err, EBADMSG, "magic %08x, expected %08x", get_be32(header),
				 CHECKPOINT_MAGIC);
	if (get_be16(header + 4) != CHECKPOINT_VERSION)
		return error_set(err, ENOTSUP, "version %u, expected %d", get_be16(header + 4),
				 CHECKPOINT_VERSION);
	checkpoint_header(whole, vm, count);
	if (memcmp(header, whole, SUM_AT + SUM_SIZE) != 0)
		return error_set(err, EBADMSG, "its header is damaged, or another VM's");
	if ((uint64_t)size != CHECKPOINT_HEADER_SIZE + count * (uint64_t)CHECKPOINT_PAGE)
		return error_set(err, EBADMSG, "%" PRIu64 " bytes, expected %u pages",
				 (uint64_t)size, count);
	*pages = count;
	return 0;
}

/* ---- What is there ---- */

static bool unwanted(const struct stat *st, const struct fleet_checkpoints *limits)
{
	int64_t age_s = time(NULL) - st->st_mtime;

	/* of the future, it is of a clock that nobody can tell the age by */
	return limits->size == 0 || age_s < 0 || age_s > limits->age_ns / NS_PER_SEC;
}

static int read_header(int fd, const char *vm, const struct fleet_checkpoints *limits,
		       uint32_t *pages, struct error **err)
{
	uint8_t header[CHECKPOINT_HEADER_SIZE];
	struct stat st;

	if (fstat(fd, &st) < 0)
		return error_errno(err, "fstat");
	if (!S_ISREG(st.st_mode))
		return error_set(err, EBADMSG, "it is no plain file");
	if (unwanted(&st, limits))
		return error_set(err, ENOENT, "it is too old, or none is to be kept");
	if (pread(fd, header, sizeof(header), 0) != (ssize_t)sizeof(header))
		return error_set(err, EBADMSG, "it is shorter than its header");
	return check_header(header, vm, st.st_size, pages, err);
}

int checkpoint_open(const char *vm, const struct fleet_checkpoints *limits, uint32_t *pages,
		    struct error **err)
{
	char path[PATH_MAX];

	if (checkpoint_path(path, vm, "", err) < 0)
		return -1;

	auto_close fd = open(path, O_RDONLY | O_NOFOLLOW | O_NONBLOCK | O_CLOEXEC);

	if (fd < 0)
		return error_errno(err, "%s", path);
	if (read_header(fd, vm, limits, pages, err) == 0)
		return steal_fd(&fd);
	unlink(path);
	return error_wrap(err, "%s", path);
}

int checkpoint_remove(const char *vm, struct error **err)
{
	char path[PATH_MAX];

	if (checkpoint_path(path, vm, "", err) < 0)
		return -1;
	return unlink(path) < 0 && errno != ENOENT ? error_errno(err, "%s", path) : 0;
}

/* ---- Which have to go ---- */

struct entry {
	char name[UUID_SIZE];
	int64_t written;
	uint64_t bytes;
};

struct entries {
	struct entry *list;
	size_t count;
	uint64_t bytes;
};

/* A temporary file whose writer has died; one that lives has it locked. */
static void remove_left(int folder, const char *name)
{
	auto_close fd = openat(folder, name, O_RDONLY | O_NOFOLLOW | O_NONBLOCK | O_CLOEXEC);

	if (fd >= 0 && flock(fd, LOCK_EX | LOCK_NB) == 0)
		unlinkat(folder, name, 0);
}

/* Counts it, or removes it. */
static int look_at(int folder, const char *name, const char *but,
		   const struct fleet_checkpoints *limits, struct entries *all, struct error **err)
{
	struct entry entry, *list;
	struct stat st;

	if (uuid_of_file(name, CHECKPOINT_PART, entry.name)) {
		remove_left(folder, name);
		return 0;
	}
	if (!uuid_of_file(name, "", entry.name) || strcmp(entry.name, but) == 0 ||
	    fstatat(folder, name, &st, AT_SYMLINK_NOFOLLOW) < 0)
		return 0;
	if (unwanted(&st, limits)) {
		log_info("VM %s: its checkpoint is too old, or none is to be kept", entry.name);
		unlinkat(folder, name, 0);
		return 0;
	}
	entry.written = st.st_mtime;
	entry.bytes = (uint64_t)st.st_size;
	list = realloc(all->list, (all->count + 1) * sizeof(*list));
	if (!list)
		return error_set(err, ENOMEM, "no memory for the list of checkpoints");
	all->list = list;
	all->list[all->count++] = entry;
	all->bytes += entry.bytes;
	return 0;
}

static int by_time(const void *a, const void *b)
{
	const struct entry *x = a, *y = b;

	return x->written < y->written ? -1 : x->written > y->written;
}

static void remove_oldest(int folder, struct entries *all, uint64_t room)
{
	if (all->count)
		qsort(all->list, all->count, sizeof(*all->list), by_time);
	for (size_t i = 0; i < all->count && all->bytes > room; i++) {
		log_info("VM %s: its checkpoint makes room for another's", all->list[i].name);
		unlinkat(folder, all->list[i].name, 0);
		all->bytes -= all->list[i].bytes;
	}
}

int checkpoint_make_room(const char *vm, uint64_t bytes, const struct fleet_checkpoints *limits,
			 struct error **err)
{
	struct entries all = {0};
	char path[PATH_MAX];
	struct dirent *entry;
	int result = 0;
	DIR *folder;

	if (place(path, err, PLACE_STATE "/checkpoints") < 0)
		return -1;
	folder = opendir(path);
	if (!folder)
		return errno == ENOENT ? 0 : error_errno(err, "%s", path);
	while (result == 0 && (entry = readdir(folder)))
		result = look_at(dirfd(folder), entry->d_name, vm, limits, &all, err);
	if (result == 0)
		remove_oldest(dirfd(folder), &all,
			      bytes < limits->total ? limits->total - bytes : 0);
	closedir(folder);
	free(all.list);
	return result;
}

int checkpoint_prune(const struct fleet_checkpoints *limits, struct error **err)
{
	return checkpoint_make_room("", 0, limits, err);
}
