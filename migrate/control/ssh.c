/* SPDX-License-Identifier: GPL-2.0-or-later */
#include "migrate/control/remote_link.h"

#include <errno.h>
#include <poll.h>
#include <pwd.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include <libssh2.h>

#include "common/cleanup.h"
#include "common/clock.h"
#include "common/log.h"
#include "migrate/transport/mptcp.h"

#define LOG_MODULE "ssh"

#define HEAR_OUT_NS NS_PER_SEC /* for what the far side complained about to arrive */

/*
 * Theory of operation
 *
 * The libssh2 session is non-blocking; every step is repeated through RETRY() until it does not
 * say EAGAIN, waiting on the socket in the directions that libssh2 names. The host's key must
 * stand in known_hosts: this client never asks and never adds one.
 */
struct ssh {
	int fd;
	LIBSSH2_SESSION *session;
	LIBSSH2_CHANNEL *channel;
	char complaint[256]; /* the last of what the command wrote to its standard error */
	size_t complaint_size;
	bool complaint_over; /* its line has ended */
};

static int wait_for_ssh(struct ssh *ssh, int64_t deadline_ns)
{
	int directions = libssh2_session_block_directions(ssh->session);
	struct pollfd p = {.fd = ssh->fd};
	int64_t left = deadline_ns - clock_ns();

	if (left <= 0)
		return -1;
	if (directions & LIBSSH2_SESSION_BLOCK_OUTBOUND)
		p.events |= POLLOUT;
	if ((directions & LIBSSH2_SESSION_BLOCK_INBOUND) || !directions)
		p.events |= POLLIN;
	/* Not longer than a second: the deadline is looked at again. */
	poll(&p, 1, left > NS_PER_SEC ? 1000 : (int)(left / NS_PER_MS) + 1);
	return 0;
}

/* The value of a libssh2 call, repeated while it says EAGAIN and there is time. */
#define RETRY(ssh, deadline_ns, call)                                                              \
	({                                                                                         \
		__typeof__(call) value_;                                                           \
		do                                                                                 \
			value_ = (call);                                                           \
		while (value_ == LIBSSH2_ERROR_EAGAIN && wait_for_ssh(ssh, deadline_ns) == 0);     \
		value_;                                                                            \
	})

static int ssh_error(struct ssh *ssh, long code, const char *what, struct error **err)
{
	char *text = NULL;

	if (code == LIBSSH2_ERROR_EAGAIN)
		return error_set(err, ETIMEDOUT, "ssh: %s: no answer in time", what);
	libssh2_session_last_error(ssh->session, &text, NULL, 0);
	return error_set(err, EREMOTEIO, "ssh: %s: %s", what, text && *text ? text : "failed");
}

static void in_home(char *path, size_t size, const char *file)
{
	const struct passwd *me = getpwuid(getuid());

	snprintf(path, size, "%s/.ssh/%s", me ? me->pw_dir : "/root", file);
}

/* Key types that known_hosts has for this name in clear, as libssh2's method list. */
static void prefer_known_types(struct ssh *ssh, LIBSSH2_KNOWNHOSTS *known, const char *name)
{
	static const struct {
		int mask;
		const char *methods;
	} types[] = {
		{LIBSSH2_KNOWNHOST_KEY_ED25519, "ssh-ed25519"},
		{LIBSSH2_KNOWNHOST_KEY_ECDSA_256, "ecdsa-sha2-nistp256"},
		{LIBSSH2_KNOWNHOST_KEY_ECDSA_384, "ecdsa-sha2-nistp384"},
		{LIBSSH2_KNOWNHOST_KEY_ECDSA_521, "ecdsa-sha2-nistp521"},
		{LIBSSH2_KNOWNHOST_KEY_SSHRSA, "rsa-sha2-512,rsa-sha2-256,ssh-rsa"},
	};
	struct libssh2_knownhost *entry = NULL, *before = NULL;
	char methods[256] = "";

	for (size_t i = 0; i < ARRAY_SIZE(types); i++) {
		before = NULL;
		while (libssh2_knownhost_get(known, &entry, before) == 0) {
			before = entry;
			if (!entry->name || strcmp(entry->name, name) != 0 ||
			    (entry->typemask & LIBSSH2_KNOWNHOST_KEY_MASK) != types[i].mask)
				continue;
			if (methods[0])
				strncat(methods, ",", sizeof(methods) - strlen(methods) - 1);
			strncat(methods, types[i].methods, sizeof(methods) - strlen(methods) - 1);
			break;
		}
	}
	if (methods[0])
		(void)libssh2_session_method_pref(ssh->session, LIBSSH2_METHOD_HOSTKEY, methods);
}

static LIBSSH2_KNOWNHOSTS *read_known_hosts(struct ssh *ssh, const struct remote_target *target,
					    char *path, size_t size, struct error **err)
{
	LIBSSH2_KNOWNHOSTS *known = libssh2_knownhost_init(ssh->session);

	if (target->known_hosts)
		snprintf(path, size, "%s", target->known_hosts);
	else
		in_home(path, size, "known_hosts");
	if (known && libssh2_knownhost_readfile(known, path, LIBSSH2_KNOWNHOST_FILE_OPENSSH) >= 0)
		return known;
	if (known)
		libssh2_knownhost_free(known);
	error_set(err, ENOENT, "ssh: %s: can't be read, expected the host's key in it", path);
	return NULL;
}

static int check_host_key(struct ssh *ssh, LIBSSH2_KNOWNHOSTS *known, const char *name,
			  const struct remote_target *target, const char *path, struct error **err)
{
	size_t size;
	int type;
	const char *key = libssh2_session_hostkey(ssh->session, &size, &type);
	int found = LIBSSH2_KNOWNHOST_CHECK_FAILURE;

	if (key)
		found = libssh2_knownhost_checkp(
			known, name, target->port, key, size,
			LIBSSH2_KNOWNHOST_TYPE_PLAIN | LIBSSH2_KNOWNHOST_KEYENC_RAW, NULL);
	switch (found) {
	case LIBSSH2_KNOWNHOST_CHECK_MATCH:
		return 0;
	case LIBSSH2_KNOWNHOST_CHECK_MISMATCH:
		return error_set(
			err, EACCES,
			"ssh: %s: found another host key for %s than the one expected: the "
			"host changed, or it is not the host; nothing was sent to it",
			path, name);
	default:
		return error_set(err, EACCES,
				 "ssh: %s: no key for %s, expected one; nothing was "
				 "sent to it",
				 path, name);
	}
}

static int authenticate(struct ssh *ssh, const struct remote_target *target, int64_t deadline_ns,
			struct error **err)
{
	static const char *const usual[] = {"id_ed25519", "id_ecdsa"};
	char path[512];
	int n = LIBSSH2_ERROR_FILE;

	if (target->identity) {
		if (access(target->identity, R_OK) < 0)
			return error_errno(err, "ssh: %s, expected a private key that can be read",
					   target->identity);
		n = RETRY(ssh, deadline_ns,
			  libssh2_userauth_publickey_fromfile(ssh->session, target->user, NULL,
							      target->identity, NULL));
		snprintf(path, sizeof(path), "%s", target->identity);
	}
	for (size_t i = 0; !target->identity && n && i < ARRAY_SIZE(usual); i++) {
		in_home(path, sizeof(path), usual[i]);
		if (access(path, R_OK) == 0)
			n = RETRY(ssh, deadline_ns,
				  libssh2_userauth_publickey_fromfile(ssh->session, target->user,
								      NULL, path, NULL));
	}
	if (n == 0)
		return 0;
	if (!target->identity && n == LIBSSH2_ERROR_FILE) {
		in_home(path, sizeof(path), "");
		return error_set(err, ENOENT, "ssh: %s: found neither %s nor %s, expected a key",
				 path, usual[0], usual[1]);
	}
	error_set(err, EACCES,
		  "ssh: %s was not accepted for user %s, expected a key in its "
		  "authorized_keys",
		  path, target->user);
	if (n == LIBSSH2_ERROR_EAGAIN)
		return ssh_error(ssh, n, "authentication", NULL);
	return -1;
}

static int log_in(struct ssh *ssh, const struct remote_target *target, int64_t deadline_ns,
		  struct error **err)
{
	char path[512], name[IP_TEXT];
	LIBSSH2_KNOWNHOSTS *known;
	int n;

	ip_format_host(target->address, name);
	known = read_known_hosts(ssh, target, path, sizeof(path), err);
	if (!known)
		return -1;
	prefer_known_types(ssh, known, name);
	log_debug("%s: connected", name);
	n = RETRY(ssh, deadline_ns, libssh2_session_handshake(ssh->session, ssh->fd));
	log_debug("%s: keys exchanged", name);
	if (n)
		ssh_error(ssh, n, name, err);
	else
		n = check_host_key(ssh, known, name, target, path, err);
	libssh2_knownhost_free(known);
	if (n)
		return -1;
	return authenticate(ssh, target, deadline_ns, err);
}

static int run_command(struct ssh *ssh, const char *command, int64_t deadline_ns,
		       struct error **err)
{
	int n;

	do
		ssh->channel = libssh2_channel_open_session(ssh->session);
	while (!ssh->channel && libssh2_session_last_errno(ssh->session) == LIBSSH2_ERROR_EAGAIN &&
	       wait_for_ssh(ssh, deadline_ns) == 0);
	if (!ssh->channel)
		return ssh_error(ssh, libssh2_session_last_errno(ssh->session), "channel", err);
	n = RETRY(ssh, deadline_ns, libssh2_channel_exec(ssh->channel, command));
	if (n)
		return ssh_error(ssh, n, command, err);
	return 0;
}

static void ssh_close(void *link)
{
	struct ssh *ssh = link;

	if (ssh->session) {
		libssh2_session_set_blocking(ssh->session, 0);
		if (ssh->channel) {
			int64_t soon = clock_ns() + 500 * NS_PER_MS;

			(void)RETRY(ssh, soon, libssh2_channel_close(ssh->channel));
			(void)RETRY(ssh, soon, libssh2_channel_free(ssh->channel));
		}
		(void)libssh2_session_disconnect(ssh->session, "done");
		(void)libssh2_session_free(ssh->session);
	}
	if (ssh->fd >= 0)
		close(ssh->fd);
	free(ssh);
}

static void *ssh_open(const struct remote_target *target, int64_t deadline_ns, struct error **err)
{
	struct ssh *ssh = calloc(1, sizeof(*ssh));

	if (!ssh) {
		error_set(err, ENOMEM, "no memory for an ssh session");
		return NULL;
	}
	ssh->fd = mptcp_connect(NULL, target->address, target->port, 0, deadline_ns, err);
	if (ssh->fd < 0)
		goto failed;
	if (libssh2_init(0) == 0)
		ssh->session = libssh2_session_init();
	if (!ssh->session) {
		error_set(err, ENOMEM, "no memory for an ssh session");
		goto failed;
	}
	libssh2_session_set_blocking(ssh->session, 0);
	if (log_in(ssh, target, deadline_ns, err) < 0)
		goto failed;
	log_debug("logged in as %s", target->user);
	if (run_command(ssh, target->command, deadline_ns, err) < 0)
		goto failed;
	log_debug("running: %s", target->command);
	return ssh;
failed:
	ssh_close(ssh);
	return NULL;
}

static int ssh_write(void *link, const void *data, size_t size, int64_t deadline_ns,
		     struct error **err)
{
	struct ssh *ssh = link;
	const char *p = data;

	while (size > 0) {
		ssize_t n = RETRY(ssh, deadline_ns, libssh2_channel_write(ssh->channel, p, size));

		if (n < 0)
			return ssh_error(ssh, n, "write", err);
		p += n;
		size -= (size_t)n;
	}
	return 0;
}

/* Keeps the last line that the command complained with, without control characters. */
static void keep_complaint(struct ssh *ssh)
{
	char chunk[256];
	ssize_t n;

	/* it comes in pieces: a line is over when the next one begins */
	while ((n = libssh2_channel_read_stderr(ssh->channel, chunk, sizeof(chunk))) > 0)
		for (ssize_t i = 0; i < n; i++) {
			if (chunk[i] == '\n') {
				ssh->complaint_over = true;
				continue;
			}
			if (ssh->complaint_over)
				ssh->complaint_size = 0;
			ssh->complaint_over = false;
			if (ssh->complaint_size + 1 < sizeof(ssh->complaint))
				ssh->complaint[ssh->complaint_size++] =
					(unsigned char)chunk[i] < ' ' ? ' ' : chunk[i];
			ssh->complaint[ssh->complaint_size] = '\0';
		}
}

/* Its name in front is known already. */
static const char *complaint(const struct ssh *ssh)
{
	static const char name[] = "edgehop: ";

	return ssh->complaint + (strncmp(ssh->complaint, name, strlen(name)) ? 0 : strlen(name));
}

/* The end of standard output may come before the last of standard error, but closing does not. */
static void hear_out(struct ssh *ssh, int64_t deadline_ns)
{
	int64_t soon = clock_ns() + HEAR_OUT_NS;

	while (libssh2_channel_wait_closed(ssh->channel) == LIBSSH2_ERROR_EAGAIN &&
	       wait_for_ssh(ssh, soon < deadline_ns ? soon : deadline_ns) == 0)
		keep_complaint(ssh);
	keep_complaint(ssh);
}

static ssize_t ssh_read(void *link, void *data, size_t size, int64_t deadline_ns,
			struct error **err)
{
	struct ssh *ssh = link;

	for (;;) {
		ssize_t n = libssh2_channel_read(ssh->channel, data, size);

		if (n > 0)
			return n;
		keep_complaint(ssh);
		if (n == 0 && libssh2_channel_eof(ssh->channel)) {
			hear_out(ssh, deadline_ns);
			return error_set(err, ECONNRESET, "the far side's edgehop ended%s%s",
					 ssh->complaint[0] ? ": " : "", complaint(ssh));
		}
		if (n < 0 && n != LIBSSH2_ERROR_EAGAIN)
			return ssh_error(ssh, n, "read", err);
		if (wait_for_ssh(ssh, deadline_ns) < 0)
			return ssh_error(ssh, LIBSSH2_ERROR_EAGAIN, "read", err);
	}
}

const struct remote_link_ops remote_link_ssh = {
	.open = ssh_open,
	.write = ssh_write,
	.read = ssh_read,
	.close = ssh_close,
};
