/* SPDX-License-Identifier: GPL-2.0-or-later */
/* {"do":"file","file":0,"offset":524288,"data":BASE64}: a piece of the VM's boot file of that
 * index. */
#include "migrate/hop/boot_files.h"

#include <errno.h>
#include <fcntl.h>
#include <string.h>
#include <unistd.h>

#include <openssl/evp.h>

#include "common/bytes.h"
#include "common/cleanup.h"
#include "common/clock.h"
#include "common/jsonl.h"
#include "migrate/hop/destination_internal.h"
#include "migrate/vm/vm_store.h"

#define PIECE	 ((size_t)3 << 17) /* in base64 well below a control line's most; a multiple of 3 */
#define PIECE_NS (60 * NS_PER_SEC)

static json_t *make_piece(size_t file, uint64_t offset, const unsigned char *data, size_t size)
{
	auto_free char *text = malloc(4 * ((size + 2) / 3) + 1);

	if (!text)
		return NULL;
	EVP_EncodeBlock((unsigned char *)text, data, (int)size);
	return json_pack("{s:s, s:i, s:I, s:s}", "do", "file", "file", (int)file, "offset",
			 (json_int_t)offset, "data", text);
}

static int send_file(struct source *s, size_t file, const char *name, struct error **err)
{
	auto_free unsigned char *data = malloc(PIECE);
	auto_close fd = -1;
	char path[PATH_MAX];
	uint64_t offset = 0;
	ssize_t n;

	if (!data)
		return error_set(err, ENOMEM, "out of memory");
	if (vm_store_path(path, s->env.facts->vm->name, name, err) < 0)
		return -1;
	fd = open(path, O_RDONLY | O_CLOEXEC);
	if (fd < 0)
		return error_errno(err, "%s", path);
	while ((n = read(fd, data, PIECE)) > 0) {
		json_t *piece = make_piece(file, offset, data, (size_t)n);

		if (!piece)
			return error_set(err, ENOMEM, "out of memory");
		if (source_call(s, piece, PIECE_NS, NULL, err) < 0)
			return -1;
		offset += (uint64_t)n;
	}
	return n < 0 ? error_errno(err, "%s", path) : 0;
}

int source_boot_files(struct source *s, struct error **err)
{
	const char *names[VM_BOOT_FILES];
	size_t count = vm_def_boot_files(s->env.facts->vm, names);

	for (size_t i = 0; i < count; i++)
		if (send_file(s, i, names[i], err) < 0)
			return error_wrap(err, "boot file %s", names[i]);
	return 0;
}

int destination_file(struct destination *d, const json_t *request, struct error **err)
{
	const char *text = json_get_string(request, "data", err);
	size_t length = text ? strlen(text) : 0, size = length / 4 * 3;
	auto_free unsigned char *data = malloc(size + 1);
	int64_t file, offset;

	if (!text || json_get_int(request, "file", 0, VM_BOOT_FILES - 1, &file, err) < 0 ||
	    json_get_int(request, "offset", 0, (int64_t)VM_BOOT_FILE_MOST, &offset, err) < 0)
		return -1;
	if (!data)
		return error_set(err, ENOMEM, "out of memory");
	if (d->accepted || length == 0 || size > PIECE ||
	    EVP_DecodeBlock(data, (const unsigned char *)text, (int)length) != (int)size)
		return error_set(err, EPROTO,
				 "field data: found %zu characters, expected up to %zu bytes in "
				 "base64, before the VM has arrived",
				 length, PIECE);
	for (size_t i = 0; i < 2 && text[length - 1 - i] == '='; i++)
		size--;
	return vm_store_write_boot_file(d->env.facts->vm, (size_t)file, (uint64_t)offset, data,
					size, err);
}
