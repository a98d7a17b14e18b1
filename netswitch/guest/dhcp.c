/* SPDX-License-Identifier: GPL-2.0-or-later */
#include "netswitch/guest/dhcp.h"

#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/file.h>
#include <sys/socket.h>
#include <sys/wait.h>
#include <unistd.h>

#include "common/bytes.h"
#include "common/cleanup.h"
#include "common/clock.h"
#include "common/log.h"
#include "common/places.h"
#include "netswitch/guest/lease.h"

#define LOG_MODULE "dhcp"

/*
 * Theory of operation
 *
 * The client is started with this program as its script, and HOOK_VARIABLE in the script's
 * environment, which has the name of the device. It inherits a lock on the file "dhcp-DEV", which
 * also holds its process number: so whether one runs is known after the agent was started anew, and
 * a number that has been given to another process is never signalled.
 *
 * A client begins by declaring the device unconfigured. The file "dhcp-DEV.new" makes the script
 * ignore that once: an address that is in use must not go because its client was restarted.
 */
#define HOOK_VARIABLE "EDGEHOP_LEASE"
#define ASK_MS	      20
#define END_MS	      2000

/* In the order of preference. %s in an argument: the device, the script, a file for leases. */
struct client {
	const char *program;
	const char *argv[20];
};

#define DEV    "@dev"
#define SCRIPT "@script"
#define LEASES "@leases"
#define HOOK   "@hook" /* HOOK_VARIABLE "=DEV" */

static const struct client clients[] = {
	{"udhcpc", {"udhcpc", "-f", "-i", DEV, "-s", SCRIPT, "-t", "4", "-T", "1", "-A", "3"}},
	{"dhclient",
	 {"dhclient", "-4", "-d", "-cf", "/dev/null", "-pf", "/dev/null", "-lf", LEASES, "-sf",
	  SCRIPT, "-e", HOOK, DEV}},
	{"dhcpcd", {"dhcpcd", "-4", "-B", "-G", "-L", "-c", SCRIPT, "-e", HOOK, DEV}},
	{"busybox",
	 {"busybox", "udhcpc", "-f", "-i", DEV, "-s", SCRIPT, "-t", "4", "-T", "1", "-A", "3"}},
};

static const char *const folders[] = {"/usr/sbin", "/sbin", "/usr/bin", "/bin"};

static const struct client *find_client(char path[PATH_MAX])
{
	for (size_t i = 0; i < ARRAY_SIZE(clients); i++)
		for (size_t j = 0; j < ARRAY_SIZE(folders); j++) {
			snprintf(path, PATH_MAX, "%s/%s", folders[j], clients[i].program);
			if (access(path, X_OK) == 0)
				return &clients[i];
		}
	return NULL;
}

bool dhcp_available(void)
{
	char path[PATH_MAX];

	return find_client(path) != NULL;
}

static int dhcp_path(char path[PATH_MAX], const char *dev, const char *suffix, struct error **err)
{
	return place(path, err, PLACE_RUN "/dhcp-%s%s", dev, suffix);
}

/* The file that a running client has locked. */
static int open_lock(const char *dev, struct error **err)
{
	char path[PATH_MAX];
	int fd;

	if (place(path, err, PLACE_RUN) < 0 || make_dirs(path, err) < 0 ||
	    dhcp_path(path, dev, "", err) < 0)
		return -1;
	fd = open(path, O_RDWR | O_CREAT | O_CLOEXEC, 0600);
	return fd < 0 ? error_errno(err, "%s", path) : fd;
}

/* What the client is started with; texts are static or belong to the process that becomes it. */
static void fill_argv(const struct client *client, const char *dev, char *argv[20])
{
	static char script[PATH_MAX], leases[PATH_MAX], hook[64];
	ssize_t n = readlink("/proc/self/exe", script, sizeof(script) - 1);

	script[n > 0 ? n : 0] = '\0';
	(void)dhcp_path(leases, dev, ".leases", NULL);
	snprintf(hook, sizeof(hook), HOOK_VARIABLE "=%s", dev);
	for (size_t i = 0; i < 20; i++) {
		const char *word = client->argv[i];

		if (word && strcmp(word, DEV) == 0)
			word = dev;
		else if (word && strcmp(word, SCRIPT) == 0)
			word = script;
		else if (word && strcmp(word, LEASES) == 0)
			word = leases;
		else if (word && strcmp(word, HOOK) == 0)
			word = hook;
		argv[i] = (char *)(uintptr_t)word;
	}
}

/* In the process that becomes the client; lock stays open there. */
static _Noreturn void become_client(const struct client *client, const char *path, const char *dev,
				    int lock)
{
	char number[24], log[PATH_MAX];
	char *argv[20];
	int nowhere = open("/dev/null", O_RDONLY), log_fd = -1;

	setsid();
	snprintf(number, sizeof(number), "%d\n", (int)getpid());
	if (ftruncate(lock, 0) < 0 || write_all(lock, number, strlen(number), NULL) < 0 ||
	    fcntl(lock, F_SETFD, 0) < 0)
		_exit(1);
	if (dhcp_path(log, dev, ".log", NULL) == 0)
		log_fd = open(log, O_WRONLY | O_CREAT | O_TRUNC, 0600);
	dup2(nowhere, 0);
	dup2(log_fd >= 0 ? log_fd : nowhere, 1);
	dup2(log_fd >= 0 ? log_fd : nowhere, 2);
	setenv(HOOK_VARIABLE, dev, 1);
	fill_argv(client, dev, argv);
	execv(path, argv);
	dprintf(2, "%s: %s\n", path, strerror(errno));
	_exit(1);
}

static int touch(const char *path, struct error **err)
{
	int fd = open(path, O_WRONLY | O_CREAT | O_CLOEXEC, 0600);

	if (fd < 0)
		return error_errno(err, "%s", path);
	close(fd);
	return 0;
}

int dhcp_start(const char *dev, struct error **err)
{
	char path[PATH_MAX], fresh[PATH_MAX];
	const struct client *client = find_client(path);
	auto_close lock = open_lock(dev, err);
	pid_t child;

	if (lock < 0)
		return -1;
	if (flock(lock, LOCK_EX | LOCK_NB) < 0)
		return 0; /* it runs */
	if (!client)
		return error_set(err, ENOENT,
				 "this guest has no DHCP client, expected udhcpc, dhclient or "
				 "dhcpcd");
	if (dhcp_path(fresh, dev, ".new", err) < 0 || touch(fresh, err) < 0)
		return -1;
	child = fork();
	if (child < 0)
		return error_errno(err, "fork");
	if (child == 0) {
		/* Its parent ends at once, so nobody here has to wait for it. */
		if (fork() != 0)
			_exit(0);
		become_client(client, path, dev, lock);
	}
	waitpid(child, NULL, 0);
	log_info("%s runs on %s", client->program, dev);
	return 0;
}

static bool runs(const char *dev)
{
	auto_close lock = open_lock(dev, NULL);

	return lock >= 0 && flock(lock, LOCK_EX | LOCK_NB) < 0;
}

int dhcp_lease(const char *dev, struct ip_config *lease, int64_t deadline_ns, struct error **err)
{
	for (;;) {
		if (lease_read(dev, lease))
			return 0;
		if (clock_ns() >= deadline_ns)
			break;
		clock_sleep_ms(ASK_MS);
	}
	return error_set(err, EAGAIN, "no lease from DHCP on %s yet%s", dev,
			 runs(dev) ? "" : ", and the client has ended");
}

int dhcp_stop(const char *dev, struct error **err)
{
	auto_close lock = open_lock(dev, err);
	int64_t until = clock_ns() + END_MS * NS_PER_MS;
	char path[PATH_MAX];
	int number = SIGTERM;

	if (lock < 0)
		return -1;
	lease_forget(dev); /* first: the client's farewell changes nothing then */
	while (flock(lock, LOCK_EX | LOCK_NB) < 0) {
		char text[24] = "";

		/* Locked, so the number is that of a client of ours. */
		if (pread(lock, text, sizeof(text) - 1, 0) > 0 && atoi(text) > 1)
			kill(atoi(text), number);
		if (clock_ns() > until && number == SIGKILL)
			return error_set(err, EBUSY, "the DHCP client of %s does not end", dev);
		if (clock_ns() > until) {
			number = SIGKILL;
			until += END_MS * NS_PER_MS;
		}
		clock_sleep_ms(ASK_MS);
	}
	if (dhcp_path(path, dev, ".new", NULL) == 0)
		unlink(path);
	return 0;
}

static uint8_t prefix_of_mask(const char *text)
{
	struct ip_addr mask;
	uint8_t prefix = 0;

	if (!text || ip_parse(text, &mask, NULL) < 0 || mask.family != AF_INET)
		return 0;
	while (prefix < 32 && (mask.bytes[prefix / 8] & (0x80 >> prefix % 8)))
		prefix++;
	return prefix;
}

/* The lease in the environment: udhcpc's names, or those of dhclient and dhcpcd. */
static bool read_environment(struct ip_config *lease)
{
	const char *address = getenv("ip") ? getenv("ip") : getenv("new_ip_address");
	const char *mask = getenv("subnet") ? getenv("subnet") : getenv("new_subnet_mask");
	const char *routers = getenv("router") ? getenv("router") : getenv("new_routers");
	char first[IP_TEXT] = "";

	memset(lease, 0, sizeof(*lease));
	if (!address || ip_parse(address, &lease->address, NULL) < 0 ||
	    lease->address.family != AF_INET)
		return false;
	lease->address.prefix = prefix_of_mask(mask);
	if (lease->address.prefix == 0)
		lease->address.prefix = 32;
	if (routers)
		snprintf(first, sizeof(first), "%.*s", (int)strcspn(routers, " "), routers);
	if (*first && ip_parse(first, &lease->gateway, NULL) < 0)
		lease->gateway.family = 0;
	return true;
}

static bool is_among(const char *word, const char *const *words)
{
	for (; *words; words++)
		if (strcmp(word, *words) == 0)
			return true;
	return false;
}

bool dhcp_hook(int argc, char **argv, int *status)
{
	static const char *const had[] = {"bound",  "renew",  "BOUND", "RENEW",
					  "REBIND", "REBOOT", NULL};
	static const char *const lost[] = {"deconfig", "EXPIRE", "FAIL", "RELEASE", "STOP", NULL};
	const char *dev = getenv(HOOK_VARIABLE);
	const char *reason = getenv("reason");
	struct ip_config lease;
	auto_error err = NULL;
	char fresh[PATH_MAX];

	if (!dev)
		return false;
	*status = 0;
	if (!reason)
		reason = argc > 1 ? argv[1] : "";
	if (is_among(reason, had) && read_environment(&lease)) {
		*status = lease_set(dev, &lease, &err) < 0;
	} else if (is_among(reason, lost)) {
		if (dhcp_path(fresh, dev, ".new", NULL) == 0 && unlink(fresh) == 0)
			return true;
		*status = lease_lost(dev, &err) < 0;
	}
	if (err)
		log_warn("%s on %s: %s", reason, dev, error_text(err));
	return true;
}
