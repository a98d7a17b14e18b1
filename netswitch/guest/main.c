/* SPDX-License-Identifier: GPL-2.0-or-later */
#include <getopt.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "common/cleanup.h"
#include "common/clock.h"
#include "common/log.h"
#include "netswitch/guest/agent.h"
#include "netswitch/guest/dhcp.h"
#include "netswitch/guest/nic.h"
#include "netswitch/guest/port.h"
#include "netswitch/guest/xenbus.h"

#define LOG_MODULE "agent"

static const char usage[] =
	"usage: edgehop-guest [--port PATH | --socket FD] [--debug MODULES]\n"
	"The agent of edgehop in a VM: carries out the network orders of the host.\n"
	"  --port PATH      the virtio-serial port (default: the one named " PORT_NAME ";\n"
	"                   without one, xenstore, in a Xen guest)\n"
	"  --socket FD      answer on this socket, which is open, until it is closed\n"
	"  --debug MODULES  say more: agent, nic, port, or all\n"
	"It needs CAP_NET_ADMIN, CAP_NET_RAW, and the kernel module tcp_diag.\n";

static volatile sig_atomic_t stop;

static void on_signal(int number)
{
	(void)number;
	stop = 1;
}

static const struct option options[] = {
	{"port", required_argument, NULL, 'p'},	 {"socket", required_argument, NULL, 's'},
	{"debug", required_argument, NULL, 'd'}, {"help", no_argument, NULL, 'h'},
	{"version", no_argument, NULL, 'v'},	 {0},
};

/* Waits for the port of a VM that boots, or whose driver is not loaded yet. */
static int await_port(const char *path)
{
	bool told = false;

	while (!stop) {
		auto_error err = NULL;
		char found[PATH_MAX];
		int fd = -1;

		if (path || port_find(found, &err) == 0)
			fd = port_open(path ? path : found, &err);
		else if (access(XENBUS_DEVICE, F_OK) == 0) {
			error_free(err);
			err = NULL;
			fd = xenbus_open(XENBUS_DEVICE, &err);
		}
		if (fd >= 0)
			return fd;
		if (!told)
			log_warn("%s; waiting for it", error_text(err));
		told = true;
		clock_sleep_ms(500);
	}
	return -1;
}

int main(int argc, char **argv)
{
	int rc = 0;

	/* Called by a DHCP client that the agent has started? */
	if (dhcp_hook(argc, argv, &rc))
		return rc;

	const struct sigaction on_stop = {.sa_handler = on_signal};
	auto_error err = NULL;
	struct agent *agent;
	const char *path = NULL;
	int option;
	auto_close fd = -1;

	while ((option = getopt_long(argc, argv, "", options, NULL)) != -1) {
		switch (option) {
		case 'p':
			path = optarg;
			break;
		case 's':
			fd = atoi(optarg);
			break;
		case 'd':
			log_set_debug(optarg);
			break;
		case 'v':
			puts("edgehop-guest " EDGEHOP_VERSION);
			return 0;
		default:
			fputs(usage, option == 'h' ? stdout : stderr);
			return option == 'h' ? 0 : 2;
		}
	}
	sigaction(SIGTERM, &on_stop, NULL);
	sigaction(SIGINT, &on_stop, NULL);
	if (nic_prepare_mptcp(&err) < 0) {
		log_warn("connections will not survive a hop without the tunnel: %s",
			 error_text(err));
		error_free(err);
		err = NULL;
	}
	agent = agent_create(&err);
	if (fd < 0)
		fd = await_port(path);
	rc = agent && fd >= 0 ? port_serve(fd, agent, &stop, &err) : -1;
	agent_destroy(agent);
	if (rc < 0 && !stop) {
		log_error("%s", error_text(err));
		return 1;
	}
	return 0;
}
