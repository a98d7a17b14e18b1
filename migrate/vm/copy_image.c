/* SPDX-License-Identifier: GPL-2.0-or-later */
#include "migrate/vm/copy_image.h"

#include <errno.h>
#include <fcntl.h>
#include <linux/fs.h>
#include <sys/ioctl.h>
#include <sys/stat.h>
#include <unistd.h>

#include "common/bytes.h"
#include "common/cleanup.h"
#include "migrate/config/vm_def.h"

#define CHUNK (1 << 20)

/* copy_file_range() keeps the data in the kernel; not every pair of file systems has it. */
static int copy_by_hand(int in, int out, off_t at, off_t end, char *chunk, struct error **err)
{
	while (at < end) {
		size_t want = end - at < CHUNK ? (size_t)(end - at) : CHUNK;
		ssize_t n = pread(in, chunk, want, at);

		if (n < 0 && errno == EINTR)
			continue;
		if (n < 0)
			return error_errno(err, "read");
		if (n == 0)
			return error_set(err, EIO, "the image became shorter while it was copied");
		if (lseek(out, at, SEEK_SET) < 0)
			return error_errno(err, "seek");
		if (write_all(out, chunk, (size_t)n, err) < 0)
			return -1;
		at += n;
	}
	return 0;
}

static int copy_range(int in, int out, off_t at, off_t end, char *chunk, struct error **err)
{
	while (at < end) {
		off_t from = at, to = at;
		ssize_t n = copy_file_range(in, &from, out, &to, (size_t)(end - at), 0);

		if (n < 0 && errno == EINTR)
			continue;
		if (n <= 0)
			return copy_by_hand(in, out, at, end, chunk, err);
		at += n;
	}
	return 0;
}

static int copy_data(int in, int out, off_t size, struct error **err)
{
	auto_free char *chunk = malloc(CHUNK);
	off_t at = 0;

	if (!chunk)
		return error_set(err, ENOMEM, "out of memory");
	if (ftruncate(out, size) < 0)
		return error_errno(err, "truncate");
	while (at < size) {
		off_t data = lseek(in, at, SEEK_DATA), hole;

		if (data < 0 && errno == ENXIO)
			return 0; /* nothing but a hole up to the end */
		hole = data < 0 ? -1 : lseek(in, data, SEEK_HOLE);
		if (hole < 0)
			return error_errno(err, "seek");
		if (copy_range(in, out, data, hole, chunk, err) < 0)
			return -1;
		at = hole;
	}
	return 0;
}

static int copy(const char *from, const char *to, bool is_image, struct error **err)
{
	auto_close in = open(from, O_RDONLY | O_CLOEXEC);
	auto_close out = -1;
	struct stat st;

	if (in < 0 || fstat(in, &st) < 0)
		return error_errno(err, "%s", from);
	if (is_image && (!S_ISREG(st.st_mode) || st.st_size == 0 || st.st_size % 512 != 0))
		return error_set(
			err, EINVAL,
			"%s: expected a raw image, a plain file of a multiple of 512 bytes", from);
	if (!is_image && (!S_ISREG(st.st_mode) || (uint64_t)st.st_size > VM_BOOT_FILE_MOST))
		return error_set(err, EINVAL, "%s: expected a plain file of at most %llu bytes",
				 from, VM_BOOT_FILE_MOST);
	out = open(to, O_WRONLY | O_CREAT | O_EXCL | O_CLOEXEC, 0600);
	if (out < 0)
		return error_errno(err, "%s", to);
	if (ioctl(out, FICLONE, in) < 0 && copy_data(in, out, st.st_size, err) < 0)
		return error_wrap(err, "copy of %s to %s", from, to);
	if (fsync(out) < 0)
		return error_errno(err, "%s", to);
	return 0;
}

int copy_image(const char *from, const char *to, struct error **err)
{
	return copy(from, to, true, err);
}

int copy_boot_file(const char *from, const char *to, struct error **err)
{
	return copy(from, to, false, err);
}
