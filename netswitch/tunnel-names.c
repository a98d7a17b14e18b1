/* SPDX-License-Identifier: GPL-2.0-or-later */
#include "netswitch/tunnel-names.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>

#include "common/bytes.h"

/*
 * From the first 32 bits K of the hop's UUID:
 *
 *     device   ehxKKKKKKKK, VXLAN number K & 0xffffff
 *     MACs     02:65:68 and the number at the source, 06:65:68 and the number at the destination
 *     inside   a /30 of 169.254/16, its .1 the source and .2 the destination; and fe80::6568, the
 *              number, 1 or 2. Used as next hops only, so two hops that happen to share a /30 do
 *              not disturb one another
 *     tables   0x65000000 | K & 0xffffff, 0x66..., and so on to 0x74...
 */
int tunnel_make_names(const char *hop, struct tunnel_names *names, struct error **err)
{
	char digits[9] = "", *end;
	uint32_t key;

	memset(names, 0, sizeof(*names));
	memcpy(digits, hop, strnlen(hop, 8));
	key = (uint32_t)strtoul(digits, &end, 16);
	if (strlen(digits) != 8 || *end)
		return error_set(err, EINVAL, "\"%.40s\" is not the UUID of a hop", hop);
	snprintf(names->dev, sizeof(names->dev), "ehx%08x", key);
	names->number = key & 0xffffff;
	names->table = 0x65000000 | names->number;
	for (int side = TUNNEL_SOURCE; side <= TUNNEL_DESTINATION; side++) {
		uint8_t *mac = names->end[side].mac;
		struct ip_addr *v4 = &names->end[side].v4, *v6 = &names->end[side].v6;
		/* 254 * 64 networks: 169.254.1.0 to 169.254.254.252 */
		uint32_t network = names->number % (254 * 64);

		put_be16(mac, side == TUNNEL_SOURCE ? 0x0265 : 0x0665);
		put_be32(mac + 2, 0x68000000 | names->number);
		*v4 = (struct ip_addr){.family = AF_INET, .prefix = 30};
		put_be32(v4->bytes, 0xa9fe0000 | (network + 64) << 2 | (uint32_t)(side + 1));
		*v6 = (struct ip_addr){.family = AF_INET6, .bytes = {0xfe, 0x80}, .prefix = 64};
		put_be32(v6->bytes + 8, 0x65680000);
		put_be32(v6->bytes + 10, names->number);
		put_be16(v6->bytes + 14, (uint16_t)(side + 1));
	}
	return 0;
}
