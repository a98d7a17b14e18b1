/* SPDX-License-Identifier: GPL-2.0-or-later */
/* Paths, the list, the lock. What makes and removes folders is vm_folder.c. */
#include "migrate/vm/vm_store.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/file.h>

#include "common/bytes.h"
#include "common/cleanup.h"
#include "common/clock.h"
#include "common/places.h"

#define LOCK_TRIES    10
#define LOCK_PAUSE_MS 5

/* Names come from command lines and from the other host; none may lead out of the folder. */
static int make_path(char path[PATH_MAX], const char *top, const char *vm, const char *file,
		     struct error **err)
{
	char name[NAME_SIZE];

	if (!value_name(vm, name))
		return error_set(err, EINVAL, "VM \"%.64s\": expected a name of " NAME_EXPECTED,
				 vm);
	return place(path, err, "%s/vms/%s%s%s", top, name, file ? "/" : "", file ? file : "");
}

int vm_store_path(char path[PATH_MAX], const char *vm, const char *file, struct error **err)
{
	return make_path(path, PLACE_STATE, vm, file, err);
}

int vm_store_run_path(char path[PATH_MAX], const char *vm, const char *file, struct error **err)
{
	return make_path(path, PLACE_RUN, vm, file, err);
}

int vm_store_make_run(const char *vm, struct error **err)
{
	char path[PATH_MAX];

	return vm_store_run_path(path, vm, NULL, err) < 0 ? -1 : make_dirs(path, err);
}

static int is_defined(const struct dirent *entry)
{
	char path[PATH_MAX], name[NAME_SIZE];

	return value_name(entry->d_name, name) && vm_store_path(path, name, "vm.yaml", NULL) == 0 &&
	       access(path, F_OK) == 0;
}

int vm_store_list(char ***names, size_t *count, struct error **err)
{
	struct dirent **entries = NULL;
	char folder[PATH_MAX];
	int n;

	if (place(folder, err, PLACE_STATE "/vms") < 0)
		return -1;
	n = scandir(folder, &entries, is_defined, alphasort);
	if (n < 0 && errno != ENOENT)
		return error_errno(err, "%s", folder);
	if (n < 0)
		n = 0;
	*names = calloc((size_t)n + 1, sizeof(**names));
	*count = 0;
	for (int i = 0; i < n; i++) {
		if (*names)
			(*names)[(*count)++] = strdup(entries[i]->d_name);
		free(entries[i]);
	}
	free(entries);
	return *names ? 0 : error_set(err, ENOMEM, "no memory for %d names", n);
}

void vm_store_free_names(char **names, size_t count)
{
	for (size_t i = 0; names && i < count; i++)
		free(names[i]);
	free(names);
}

struct vm_def *vm_store_load(const char *vm, struct error **err)
{
	char path[PATH_MAX];
	struct vm_def *def;

	if (vm_store_path(path, vm, "vm.yaml", err) < 0)
		return NULL;
	if (access(path, F_OK) < 0 && errno == ENOENT) {
		error_set(err, ENOENT, "VM %s is not defined on this host (`edgehop list`)", vm);
		return NULL;
	}
	def = vm_def_load(path, err);
	if (def && strcmp(def->name, vm) != 0) {
		error_set(err, EINVAL, "%s: name: found \"%s\", expected the folder's name, %s",
			  path, def->name, vm);
		vm_def_free(def);
		return NULL;
	}
	return def;
}

/* Who holds it is only told for people, so the file's content decides nothing. */
static int say_holder(const char *vm, int fd, struct error **err)
{
	char pid[16] = "";
	ssize_t n = pread(fd, pid, sizeof(pid) - 1, 0);

	pid[n > 0 ? n : 0] = '\0';
	pid[strspn(pid, "0123456789")] = '\0';
	return error_set(err, EBUSY, "VM %s is being worked on by process %s; nothing was done", vm,
			 *pid ? pid : "(unknown)");
}

/* A few tries: vm_store_busy() holds it for a moment. */
static int try_lock(int fd)
{
	for (int tries = 1; flock(fd, LOCK_EX | LOCK_NB) < 0; tries++) {
		if (errno != EWOULDBLOCK || tries == LOCK_TRIES)
			return -1;
		clock_sleep_ms(LOCK_PAUSE_MS);
	}
	return 0;
}

int vm_store_lock(const char *vm, struct error **err)
{
	char path[PATH_MAX], pid[16];

	if (vm_store_make_run(vm, err) < 0 || vm_store_run_path(path, vm, "lock", err) < 0)
		return -1;

	auto_close fd = open(path, O_RDWR | O_CREAT | O_CLOEXEC, 0600);

	if (fd < 0)
		return error_errno(err, "%s", path);
	if (try_lock(fd) < 0)
		return errno == EWOULDBLOCK ? say_holder(vm, fd, err)
					    : error_errno(err, "%s", path);
	snprintf(pid, sizeof(pid), "%d\n", (int)getpid());
	if (ftruncate(fd, 0) < 0 || pwrite(fd, pid, strlen(pid), 0) < 0)
		return error_errno(err, "%s", path);
	return steal_fd(&fd);
}

bool vm_store_busy(const char *vm)
{
	char path[PATH_MAX];

	if (vm_store_run_path(path, vm, "lock", NULL) < 0)
		return false;

	auto_close fd = open(path, O_RDONLY | O_CLOEXEC);

	return fd >= 0 && flock(fd, LOCK_SH | LOCK_NB) < 0 && errno == EWOULDBLOCK;
}
