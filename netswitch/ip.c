/* SPDX-License-Identifier: GPL-2.0-or-later */
#include "netswitch/ip.h"

#include <arpa/inet.h>
#include <ctype.h>
#include <errno.h>
#include <stdio.h>
#include <string.h>

static const uint8_t mapped_prefix[12] = {[10] = 0xff, [11] = 0xff};

size_t ip_size(const struct ip_addr *addr)
{
	return addr->family == AF_INET ? 4 : 16;
}

/* Decimal digits only, 0 to most; -1 otherwise. */
static int parse_prefix(const char *text, int most)
{
	int value = 0;

	if (!*text)
		return -1;
	for (; *text; text++) {
		if (!isdigit((unsigned char)*text))
			return -1;
		value = value * 10 + (*text - '0');
		if (value > most)
			return -1;
	}
	return value;
}

int ip_parse(const char *text, struct ip_addr *addr, struct error **err)
{
	struct ip_addr parsed = {0};
	char host[INET6_ADDRSTRLEN];
	const char *slash = strchr(text, '/');
	size_t length = slash ? (size_t)(slash - text) : strlen(text);
	int prefix;

	if (length >= sizeof(host))
		return error_set(err, EINVAL, "\"%.64s\" is not an IP address: too long", text);
	memcpy(host, text, length);
	host[length] = '\0';
	parsed.family = strchr(host, ':') ? AF_INET6 : AF_INET;
	if (inet_pton(parsed.family, host, parsed.bytes) != 1)
		return error_set(err, EINVAL, "\"%.64s\" is not an IP address", text);
	prefix = (int)ip_size(&parsed) * 8;
	if (slash)
		prefix = parse_prefix(slash + 1, prefix);
	if (prefix < 0)
		return error_set(err, EINVAL, "\"%.64s\": the prefix is not a number from 0 to %zu",
				 text, ip_size(&parsed) * 8);
	parsed.prefix = (uint8_t)prefix;
	*addr = parsed;
	return 0;
}

const char *ip_format_host(const struct ip_addr *addr, char buf[IP_TEXT])
{
	if (!addr->family || !inet_ntop(addr->family, addr->bytes, buf, IP_TEXT))
		snprintf(buf, IP_TEXT, "none");
	return buf;
}

const char *ip_format(const struct ip_addr *addr, char buf[IP_TEXT])
{
	size_t used = strlen(ip_format_host(addr, buf));

	if (addr->family)
		snprintf(buf + used, IP_TEXT - used, "/%u", (unsigned int)addr->prefix);
	return buf;
}

struct ip_addr ip_from_bytes(int family, const void *bytes)
{
	struct ip_addr addr = {.family = family};
	const uint8_t *p = bytes;

	if (family == AF_INET6 && memcmp(p, mapped_prefix, sizeof(mapped_prefix)) == 0) {
		addr.family = AF_INET;
		p += sizeof(mapped_prefix);
	}
	memcpy(addr.bytes, p, ip_size(&addr));
	addr.prefix = (uint8_t)(ip_size(&addr) * 8);
	return addr;
}

struct ip_addr ip_host(const struct ip_addr *addr)
{
	struct ip_addr host = *addr;

	host.prefix = (uint8_t)(ip_size(addr) * 8);
	return host;
}

struct ip_addr ip_network(const struct ip_addr *addr)
{
	struct ip_addr network = *addr;

	for (size_t i = 0; i < ip_size(addr); i++) {
		size_t kept = addr->prefix > i * 8 ? addr->prefix - i * 8 : 0;

		if (kept < 8)
			network.bytes[i] &= (uint8_t)(0xff00 >> kept);
	}
	return network;
}

bool ip_same(const struct ip_addr *a, const struct ip_addr *b)
{
	return a->family == b->family && memcmp(a->bytes, b->bytes, sizeof(a->bytes)) == 0;
}

bool ip_within(const struct ip_addr *addr, const struct ip_addr *network)
{
	struct ip_addr of_addr = *addr, of_network = ip_network(network);

	if (addr->family != network->family)
		return false;
	of_addr.prefix = network->prefix;
	of_addr = ip_network(&of_addr);
	return ip_same(&of_addr, &of_network);
}

bool ip_link_local(const struct ip_addr *addr)
{
	const uint8_t *b = addr->bytes;

	if (addr->family == AF_INET)
		return b[0] == 169 && b[1] == 254;
	return addr->family == AF_INET6 && b[0] == 0xfe && (b[1] & 0xc0) == 0x80;
}

int mac_parse(const char *text, uint8_t mac[MAC_SIZE], struct error **err)
{
	static const uint8_t zero[MAC_SIZE];
	uint8_t parsed[MAC_SIZE];
	const char *p = text;

	if (strlen(text) != MAC_TEXT - 1)
		return error_set(err, EINVAL, "\"%.64s\" is not a MAC address", text);
	for (int i = 0; i < MAC_SIZE; i++, p += 3) {
		unsigned int byte;

		if (!isxdigit((unsigned char)p[0]) || !isxdigit((unsigned char)p[1]) ||
		    p[2] != (i < MAC_SIZE - 1 ? ':' : '\0') || sscanf(p, "%2x", &byte) != 1)
			return error_set(err, EINVAL, "\"%.64s\" is not a MAC address", text);
		parsed[i] = (uint8_t)byte;
	}
	if ((parsed[0] & 1) || memcmp(parsed, zero, MAC_SIZE) == 0)
		return error_set(err, EINVAL, "\"%.64s\" is not the MAC address of one interface",
				 text);
	memcpy(mac, parsed, MAC_SIZE);
	return 0;
}

const char *mac_format(const uint8_t mac[MAC_SIZE], char buf[MAC_TEXT])
{
	snprintf(buf, MAC_TEXT, "%02x:%02x:%02x:%02x:%02x:%02x", mac[0], mac[1], mac[2], mac[3],
		 mac[4], mac[5]);
	return buf;
}
