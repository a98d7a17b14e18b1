/* SPDX-License-Identifier: GPL-2.0-or-later */
#include "migrate/xen/run.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "common/bytes.h"
#include "common/cleanup.h"
#define LOG_MODULE "run"
#include "common/log.h"
#include "migrate/hypervisor/process.h"
#include "migrate/hypervisor/xen.h"
#include "migrate/vm/vm_store.h"
#include "migrate/xen/agent.h"
#include "migrate/xen/domain.h"
#include "migrate/xen/server.h"

#define DOMAIN_FDS 32
#define IDLE_MS	   1000

struct vm {
	struct domain *domain;
	struct server *server;
	struct agent_link *agent;
};

static void clear(struct vm *vm)
{
	agent_link_close(vm->agent);
	server_close(vm->server);
	domain_close(vm->domain);
}

/* The lock is held until the process ends, however it does. */
static int lock_pid_file(const char *name, struct error **err)
{
	struct flock lock = {.l_type = F_WRLCK, .l_whence = SEEK_SET};
	char path[PATH_MAX], text[16];
	int fd, n;

	if (vm_store_run_path(path, name, XEN_PID_FILE, err) < 0)
		return -1;
	fd = open(path, O_RDWR | O_CREAT | O_CLOEXEC, 0600);
	if (fd < 0)
		return error_errno(err, "%s", path);
	if (fcntl(fd, F_OFD_SETLK, &lock) < 0) {
		close(fd);
		return error_set(err, EEXIST, "another process carries VM %s already", name);
	}
	n = snprintf(text, sizeof(text), "%d\n", (int)getpid());
	if (ftruncate(fd, 0) < 0 || write_all(fd, text, (size_t)n, err) < 0) {
		close(fd);
		return -1;
	}
	return fd;
}

static int begin(struct domain *domain, enum run_mode mode, struct error **err)
{
	switch (mode) {
	case RUN_START:
		return domain_start(domain, err);
	case RUN_INCOMING:
		return domain_expect(domain, err);
	default:
		return domain_adopt(domain, err);
	}
}

static int open_sockets(struct vm *vm, const char *name, struct error **err)
{
	char path[PATH_MAX];

	if (vm_store_run_path(path, name, XEN_SOCKET, err) < 0)
		return -1;
	vm->server = server_open(path, vm->domain, err);
	if (!vm->server || vm_store_run_path(path, name, "agent.sock", err) < 0)
		return -1;
	vm->agent = agent_link_open(path, vm->domain, err);
	return vm->agent ? 0 : -1;
}

static int loop(struct vm *vm, struct error **err)
{
	struct pollfd fds[DOMAIN_FDS + SERVER_FDS + AGENT_FDS];
	int status;

	while (!domain_is_over(vm->domain, &status)) {
		int timeout = IDLE_MS;
		size_t a, b, c;

		a = domain_poll(vm->domain, fds, DOMAIN_FDS, &timeout);
		b = server_poll(vm->server, fds + a, &timeout);
		c = agent_link_poll(vm->agent, fds + a + b, &timeout);
		if (poll(fds, a + b + c, timeout) < 0 && errno != EINTR)
			return error_errno(err, "poll");
		server_polled(vm->server, fds + a, b);
		domain_polled(vm->domain, fds, a);
		agent_link_polled(vm->agent, fds + a + b, c);
		server_tell(vm->server);
	}
	if (status) {
		struct xen_status now;

		domain_status(vm->domain, &now);
		return error_set(err, EREMOTEIO, "%s", now.why);
	}
	return 0;
}

static void remove_sockets(const char *name)
{
	static const char *const files[] = {XEN_SOCKET, "agent.sock"};
	char path[PATH_MAX];

	for (size_t i = 0; i < ARRAY_SIZE(files); i++)
		if (vm_store_run_path(path, name, files[i], NULL) == 0)
			unlink(path);
}

int run_vm(const char *name, enum run_mode mode, struct error **err)
{
	auto_vm_def def = vm_store_load(name, err);
	auto_close lock = -1;
	struct vm vm = {0};
	int result = -1;

	/* libxl's children are not to keep the lifeline. */
	if (fcntl(PROCESS_LIFELINE, F_GETFD) >= 0)
		fcntl(PROCESS_LIFELINE, F_SETFD, FD_CLOEXEC);
	if (!def)
		return -1;
	if (!vm_def_is_xen(def))
		return error_set(err, EINVAL, "VM %s: hypervisor: found \"%s\", expected xen", name,
				 def->hypervisor);
	if (vm_store_make_run(name, err) < 0)
		return -1;
	lock = lock_pid_file(name, err);
	if (lock < 0)
		return -1;
	vm.domain = domain_open(def, err);
	if (vm.domain && begin(vm.domain, mode, err) == 0 && open_sockets(&vm, name, err) == 0)
		result = loop(&vm, err);
	if (vm.server)
		remove_sockets(name);
	clear(&vm);
	return result;
}
