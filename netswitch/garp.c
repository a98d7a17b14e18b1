/* SPDX-License-Identifier: GPL-2.0-or-later */
#include "netswitch/garp.h"

#include <arpa/inet.h>
#include <errno.h>
#include <net/if_arp.h>
#include <string.h>
#include <sys/socket.h>

#include <linux/if_ether.h>
#include <linux/if_packet.h>

#include "common/bytes.h"
#include "common/cleanup.h"
#include "netswitch/rtnl.h"

#define ARP_SIZE   28
#define FRAME_MOST (ETH_HLEN + 72)

static uint8_t *put_ethernet(uint8_t *p, const uint8_t *to, const uint8_t *from, uint16_t type)
{
	memcpy(p, to, MAC_SIZE);
	memcpy(p + MAC_SIZE, from, MAC_SIZE);
	put_be16(p + 2 * MAC_SIZE, type);
	return p + ETH_HLEN;
}

/*
 * Sender and target are both the address. Some stacks heed requests only, some replies only, so
 * both are sent; Linux takes a reply for gratuitous if the target's MAC is the sender's.
 */
static size_t make_arp(uint8_t *frame, const struct ip_addr *addr, const uint8_t *mac,
		       uint16_t operation)
{
	static const uint8_t everyone[MAC_SIZE] = {0xff, 0xff, 0xff, 0xff, 0xff, 0xff};
	uint8_t *p = put_ethernet(frame, everyone, mac, ETH_P_ARP);

	put_be16(p, ARPHRD_ETHER);
	put_be16(p + 2, ETH_P_IP);
	p[4] = MAC_SIZE;
	p[5] = 4;
	put_be16(p + 6, operation);
	memcpy(p + 8, mac, MAC_SIZE);
	memcpy(p + 14, addr->bytes, 4);
	if (operation == ARPOP_REPLY)
		memcpy(p + 18, mac, MAC_SIZE);
	else
		memset(p + 18, 0, MAC_SIZE);
	memcpy(p + 24, addr->bytes, 4);
	return ETH_HLEN + ARP_SIZE;
}

/* The Internet checksum of ICMPv6: over addresses, length, protocol, and the message. */
static uint16_t icmp6_sum(const uint8_t *addresses, const uint8_t *message, size_t size)
{
	uint32_t sum = (uint32_t)size + IPPROTO_ICMPV6;

	for (size_t i = 0; i < 32; i += 2)
		sum += get_be16(addresses + i);
	for (size_t i = 0; i < size; i += 2)
		sum += get_be16(message + i);
	while (sum >> 16)
		sum = (sum & 0xffff) + (sum >> 16);
	return (uint16_t)~sum;
}

/* RFC 4861, 4.4 and 7.2.6: to all nodes, override set, with the target's link-layer address. */
static size_t make_advertisement(uint8_t *frame, const struct ip_addr *addr, const uint8_t *mac)
{
	static const uint8_t all_nodes_mac[MAC_SIZE] = {0x33, 0x33, 0, 0, 0, 1};
	static const uint8_t all_nodes[16] = {0xff, 0x02, [15] = 1};
	uint8_t *ip = put_ethernet(frame, all_nodes_mac, mac, ETH_P_IPV6);
	uint8_t *icmp = ip + 40;
	const size_t size = 32;

	memset(ip, 0, 40 + size);
	ip[0] = 0x60;
	put_be16(ip + 4, (uint16_t)size);
	ip[6] = IPPROTO_ICMPV6;
	ip[7] = 255; /* hop limit: proves that it comes from the link */
	memcpy(ip + 8, addr->bytes, 16);
	memcpy(ip + 24, all_nodes, 16);
	icmp[0] = 136;
	icmp[4] = 0x20;
	memcpy(icmp + 8, addr->bytes, 16);
	icmp[24] = 2; /* option: target link-layer address, */
	icmp[25] = 1; /* of 8 bytes */
	memcpy(icmp + 26, mac, MAC_SIZE);
	put_be16(icmp + 2, icmp6_sum(ip + 8, icmp, size));
	return ETH_HLEN + 40 + size;
}

/* "Who has target?", asked in the name of addr. */
static size_t make_arp_question(uint8_t *frame, const struct ip_addr *addr, const uint8_t *mac,
				const struct ip_addr *target)
{
	size_t size = make_arp(frame, addr, mac, ARPOP_REQUEST);

	memcpy(frame + ETH_HLEN + 24, target->bytes, 4);
	return size;
}

/* RFC 4861, 4.3: to the target's solicited-node group, with the asker's link-layer address. */
static size_t make_solicitation(uint8_t *frame, const struct ip_addr *addr, const uint8_t *mac,
				const struct ip_addr *target)
{
	static const uint8_t group[13] = {0xff, 0x02, [11] = 1, [12] = 0xff};
	size_t size = make_advertisement(frame, addr, mac);
	uint8_t *ip = frame + ETH_HLEN, *icmp = ip + 40;

	frame[2] = 0xff;
	memcpy(frame + 3, target->bytes + 13, 3);
	memcpy(ip + 24, group, sizeof(group));
	memcpy(ip + 37, target->bytes + 13, 3);
	icmp[0] = 135;
	icmp[4] = 0;
	memcpy(icmp + 8, target->bytes, 16);
	icmp[24] = 1; /* option: source link-layer address */
	put_be16(icmp + 2, 0);
	put_be16(icmp + 2, icmp6_sum(ip + 8, icmp, 32));
	return size;
}

static int send_frame(int fd, int ifindex, const uint8_t *frame, size_t size, struct error **err)
{
	const struct sockaddr_ll to = {
		.sll_family = AF_PACKET,
		.sll_ifindex = ifindex,
		.sll_halen = MAC_SIZE,
	};
	ssize_t n;

	do {
		n = sendto(fd, frame, size, 0, (const struct sockaddr *)&to, sizeof(to));
	} while (n < 0 && errno == EINTR);
	return n < 0 ? error_errno(err, "sending") : 0;
}

int garp_send(const char *dev, const struct ip_addr *addr, const uint8_t mac[MAC_SIZE],
	      struct error **err)
{
	uint8_t frame[FRAME_MOST];
	struct rtnl_link link;
	char text[IP_TEXT];
	int rc;

	if (rtnl_link_get(dev, &link, err) < 0)
		return -1;
	if (!mac)
		mac = link.mac;

	auto_close fd = socket(AF_PACKET, SOCK_RAW | SOCK_CLOEXEC, 0);

	if (fd < 0)
		return error_errno(err, "packet socket");
	if (addr->family == AF_INET) {
		rc = send_frame(fd, link.index, frame, make_arp(frame, addr, mac, ARPOP_REQUEST),
				err);
		if (rc == 0)
			rc = send_frame(fd, link.index, frame,
					make_arp(frame, addr, mac, ARPOP_REPLY), err);
	} else {
		rc = send_frame(fd, link.index, frame, make_advertisement(frame, addr, mac), err);
	}
	if (rc < 0)
		return error_wrap(err, "announcing %s on %s", ip_format_host(addr, text), dev);
	return 0;
}

int garp_ask(const char *dev, const struct ip_addr *addr, const uint8_t mac[MAC_SIZE],
	     const struct ip_addr *target, struct error **err)
{
	int ifindex = rtnl_link_index(dev, err);
	uint8_t frame[FRAME_MOST];
	char text[IP_TEXT];
	size_t size;

	if (ifindex < 0)
		return -1;

	auto_close fd = socket(AF_PACKET, SOCK_RAW | SOCK_CLOEXEC, 0);

	if (fd < 0)
		return error_errno(err, "packet socket");
	size = addr->family == AF_INET ? make_arp_question(frame, addr, mac, target)
				       : make_solicitation(frame, addr, mac, target);
	if (send_frame(fd, ifindex, frame, size, err) < 0)
		return error_wrap(err, "asking for %s on %s", ip_format_host(target, text), dev);
	return 0;
}
