/* SPDX-License-Identifier: GPL-2.0-or-later */
#ifndef NETSWITCH_IP_H
#define NETSWITCH_IP_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "common/error.h"

/* An IPv4 or IPv6 address and the length of its network's prefix. Plain data. */
struct ip_addr {
	int family;	   /* AF_INET, AF_INET6; 0: no address */
	uint8_t bytes[16]; /* network order; IPv4 uses the first four, the rest is zero */
	uint8_t prefix;	   /* up to 32 or 128; that for an address alone */
};

/* An address of a guest as its network sees it. */
struct ip_config {
	struct ip_addr address; /* with the prefix of the network */
	struct ip_addr gateway; /* family 0: the network has none */
};

#define IP_TEXT	 56 /* room for an address with its prefix, and NUL */
#define MAC_TEXT 18
#define MAC_SIZE 6

/* "10.80.1.10", "10.80.1.10/24", "2001:db8::1/64". Without a prefix: the address alone. */
int ip_parse(const char *text, struct ip_addr *addr, struct error **err);

/* "10.80.1.10/24", and "10.80.1.10". Both return buf; "none" for family 0. */
const char *ip_format(const struct ip_addr *addr, char buf[IP_TEXT]);
const char *ip_format_host(const struct ip_addr *addr, char buf[IP_TEXT]);

/* Bytes of an address of the family, 4 or 16; times eight, the longest prefix. */
size_t ip_size(const struct ip_addr *addr);

/* From bytes as they stand in packets. An IPv4-mapped IPv6 address becomes the IPv4 address. */
struct ip_addr ip_from_bytes(int family, const void *bytes);

/* The address alone (prefix 32 or 128), and its network (bits after the prefix zero). */
struct ip_addr ip_host(const struct ip_addr *addr);
struct ip_addr ip_network(const struct ip_addr *addr);

/* The same address, whatever the prefixes. */
bool ip_same(const struct ip_addr *a, const struct ip_addr *b);

/* Is the address within the network of the other? */
bool ip_within(const struct ip_addr *addr, const struct ip_addr *network);

/* 169.254.0.0/16 or fe80::/10: of use on its link only. */
bool ip_link_local(const struct ip_addr *addr);

/* "52:54:00:00:00:01". Multicast and zero MACs are refused: nothing here is named by one. */
int mac_parse(const char *text, uint8_t mac[MAC_SIZE], struct error **err);
const char *mac_format(const uint8_t mac[MAC_SIZE], char buf[MAC_TEXT]); /* returns buf */

#endif
