/* SPDX-License-Identifier: GPL-2.0-or-later */
#include "netswitch/tunnel-watch.h"

#include <arpa/inet.h>
#include <errno.h>
#include <netinet/in.h>
#include <netinet/ip.h>
#include <netinet/ip_icmp.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#include "common/cleanup.h"
#include "common/clock.h"
#include "netswitch/tunnel-names.h"

#define ASK_NS NS_PER_SEC

struct tunnel_watch {
	int fd; /* raw, bound to the tunnel's device */
	struct sockaddr_in far;
	uint16_t id, sequence;
	int64_t asked_ns, heard_ns; /* heard 0: never */
};

struct tunnel_watch *tunnel_watch_start(const struct tunnel *tunnel, struct error **err)
{
	auto_free struct tunnel_watch *watch = calloc(1, sizeof(*watch));
	enum tunnel_side other = tunnel->side == TUNNEL_SOURCE ? TUNNEL_DESTINATION : TUNNEL_SOURCE;
	struct tunnel_names names;

	if (!watch) {
		error_set(err, ENOMEM, "no memory for a tunnel's watch");
		return NULL;
	}
	if (tunnel_make_names(tunnel->hop, &names, err) < 0)
		return NULL;
	watch->far.sin_family = AF_INET;
	memcpy(&watch->far.sin_addr, names.end[other].v4.bytes, sizeof(watch->far.sin_addr));
	watch->id = (uint16_t)names.number;
	watch->fd = socket(AF_INET, SOCK_RAW | SOCK_NONBLOCK | SOCK_CLOEXEC, IPPROTO_ICMP);
	if (watch->fd < 0) {
		error_errno(err, "ICMP socket");
		return NULL;
	}
	if (setsockopt(watch->fd, SOL_SOCKET, SO_BINDTODEVICE, names.dev,
		       (socklen_t)strlen(names.dev) + 1) < 0) {
		error_errno(err, "device %s", names.dev);
		close(watch->fd);
		return NULL;
	}
	return steal_ptr(watch);
}

void tunnel_watch_stop(struct tunnel_watch *watch)
{
	if (!watch)
		return;
	close(watch->fd);
	free(watch);
}

static uint16_t checksum(const void *data, size_t size)
{
	const uint8_t *bytes = data;
	uint32_t sum = 0;
	uint16_t word;

	for (size_t i = 0; i + sizeof(word) <= size; i += sizeof(word)) {
		memcpy(&word, bytes + i, sizeof(word));
		sum += word;
	}
	while (sum >> 16)
		sum = (sum & 0xffff) + (sum >> 16);
	return (uint16_t)~sum;
}

static void ask(struct tunnel_watch *watch)
{
	struct icmphdr echo = {
		.type = ICMP_ECHO,
		.un.echo = {.id = htons(watch->id), .sequence = htons(++watch->sequence)}};

	echo.checksum = checksum(&echo, sizeof(echo));
	/* One that can't be sent is one that is not answered. */
	(void)sendto(watch->fd, &echo, sizeof(echo), MSG_DONTWAIT, (struct sockaddr *)&watch->far,
		     sizeof(watch->far));
}

/* Is it the far end's answer to an echo of ours? */
static bool is_answer(const struct tunnel_watch *watch, const uint8_t *packet, size_t size)
{
	struct iphdr ip;
	struct icmphdr echo;
	size_t header;

	if (size < sizeof(ip))
		return false;
	memcpy(&ip, packet, sizeof(ip));
	header = (size_t)ip.ihl * 4;
	if (size < header + sizeof(echo) || ip.saddr != watch->far.sin_addr.s_addr)
		return false;
	memcpy(&echo, packet + header, sizeof(echo));
	return echo.type == ICMP_ECHOREPLY && echo.un.echo.id == htons(watch->id);
}

bool tunnel_watch_good(struct tunnel_watch *watch, int64_t silence_ns)
{
	int64_t now = clock_ns();
	uint8_t packet[256];
	ssize_t n;

	while ((n = recv(watch->fd, packet, sizeof(packet), MSG_DONTWAIT)) > 0)
		if (is_answer(watch, packet, (size_t)n))
			watch->heard_ns = now;
	if (now - watch->asked_ns >= ASK_NS) {
		watch->asked_ns = now;
		ask(watch);
	}
	return !watch->heard_ns || now - watch->heard_ns < silence_ns;
}

void tunnel_watch_again(struct tunnel_watch *watch)
{
	if (watch->heard_ns)
		watch->heard_ns = clock_ns();
}
