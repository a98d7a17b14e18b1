/* SPDX-License-Identifier: GPL-2.0-or-later */
#include "netswitch/neighbours.h"

#include <arpa/inet.h>
#include <stddef.h>
#include <string.h>

#include <linux/bpf.h>
#include <linux/pkt_cls.h>

#include "common/cleanup.h"
#include "netswitch/bpf-hook.h"
#include "netswitch/rtnl.h"

/*
 * Theory of operation
 *
 * A BPF program at the ingress hook of the device makes of each neighbour solicitation (RFC 4861,
 * 4.3) the advertisement (4.4) that answers it, and sends that back by the same device. Nothing is
 * kept. A solicitation without a source is the VM's question whether an address is taken, and must
 * stay without an answer.
 *
 *     offset   0    6    12    14        22      38      54    58     62      78      86
 *     in       to   from type  IPv6 ...  source  dest    ICMP  0      target  option
 *     out      from us   type  IPv6 ...  target  source  ICMP  flags  target  our MAC
 *
 * Both stand on the stack, at addresses of 2 modulo 8, so that the IPv6 addresses are aligned.
 */
#define ORDER 1 /* before catch.c, which sees the rest */

#define IN_SIZE	 78
#define OUT_SIZE 86
#define IN	 (-174)
#define OUT	 (-94)

#define FLAGS 0xe0000000 /* router, solicited, override */

/* Instructions, as the kernel's own macros call them. */
#define MOV_REG(D, S)                                                                              \
	{                                                                                          \
		.code = BPF_ALU64 | BPF_MOV | BPF_X, .dst_reg = (D), .src_reg = (S)                \
	}
#define MOV_IMM(D, I)                                                                              \
	{                                                                                          \
		.code = BPF_ALU64 | BPF_MOV | BPF_K, .dst_reg = (D), .imm = (int)(I)               \
	}
#define ALU_IMM(OP, D, I)                                                                          \
	{                                                                                          \
		.code = BPF_ALU64 | (OP) | BPF_K, .dst_reg = (D), .imm = (I)                       \
	}
#define ALU_REG(OP, D, S)                                                                          \
	{                                                                                          \
		.code = BPF_ALU64 | (OP) | BPF_X, .dst_reg = (D), .src_reg = (S)                   \
	}
#define LOAD(SIZE, D, O)                                                                           \
	{                                                                                          \
		.code = BPF_LDX | BPF_MEM | (SIZE), .dst_reg = (D), .src_reg = BPF_REG_10,         \
		.off = (O)                                                                         \
	}
#define STORE(SIZE, O, S)                                                                          \
	{                                                                                          \
		.code = BPF_STX | BPF_MEM | (SIZE), .dst_reg = BPF_REG_10, .src_reg = (S),         \
		.off = (O)                                                                         \
	}
#define STORE_IMM(SIZE, O, I)                                                                      \
	{                                                                                          \
		.code = BPF_ST | BPF_MEM | (SIZE), .dst_reg = BPF_REG_10, .off = (O),              \
		.imm = (int)(I)                                                                    \
	}
#define CALL(F)                                                                                    \
	{                                                                                          \
		.code = BPF_JMP | BPF_CALL, .imm = BPF_FUNC_##F                                    \
	}
#define EXIT                                                                                       \
	{                                                                                          \
		.code = BPF_JMP | BPF_EXIT                                                         \
	}
#define STACK(D, O) MOV_REG(D, BPF_REG_10), ALU_IMM(BPF_ADD, D, O)

/* Leaves the frame to whoever is next, unless the register is that value. */
#define REQUIRE(D, I)                                                                              \
	{.code = BPF_JMP | BPF_JEQ | BPF_K, .dst_reg = (D), .off = 2, .imm = (int)(I)},            \
		MOV_IMM(BPF_REG_0, TC_ACT_UNSPEC), EXIT
#define COPY(SIZE, TO, FROM)   LOAD(SIZE, BPF_REG_2, FROM), STORE(SIZE, TO, BPF_REG_2)
#define COPY_ADDRESS(TO, FROM) COPY(BPF_DW, TO, FROM), COPY(BPF_DW, (TO) + 8, (FROM) + 8)

/* A MAC's three words, as they stand in memory. */
#define STORE_MAC(O)                                                                               \
	STORE_IMM(BPF_H, O, word[0]), STORE_IMM(BPF_H, (O) + 2, word[1]),                          \
		STORE_IMM(BPF_H, (O) + 4, word[2])

int neighbours_answer_all(const char *dev, struct error **err)
{
	struct rtnl_link link;
	uint16_t word[MAC_SIZE / 2];

	if (rtnl_link_get(dev, &link, err) < 0)
		return -1;
	memcpy(word, link.mac, MAC_SIZE);

	const struct bpf_insn program[] = {
		MOV_REG(BPF_REG_6, BPF_REG_1),
		/* A frame that is shorter is none of ours. */
		MOV_IMM(BPF_REG_2, 0),
		STACK(BPF_REG_3, IN),
		MOV_IMM(BPF_REG_4, IN_SIZE),
		CALL(skb_load_bytes),
		REQUIRE(BPF_REG_0, 0),
		/* IPv6, ICMPv6 from this link, neighbour solicitation */
		LOAD(BPF_H, BPF_REG_2, IN + 12),
		REQUIRE(BPF_REG_2, htons(0x86dd)),
		LOAD(BPF_H, BPF_REG_2, IN + 20),
		REQUIRE(BPF_REG_2, htons(58 << 8 | 255)),
		LOAD(BPF_H, BPF_REG_2, IN + 54),
		REQUIRE(BPF_REG_2, htons(135 << 8)),
		/* that has a source */
		LOAD(BPF_DW, BPF_REG_2, IN + 22),
		LOAD(BPF_DW, BPF_REG_3, IN + 30),
		ALU_REG(BPF_OR, BPF_REG_2, BPF_REG_3),
		{.code = BPF_JMP | BPF_JNE | BPF_K, .dst_reg = BPF_REG_2, .off = 2, .imm = 0},
		MOV_IMM(BPF_REG_0, TC_ACT_UNSPEC),
		EXIT,
		/* Ethernet */
		COPY(BPF_H, OUT, IN + 6),
		COPY(BPF_H, OUT + 2, IN + 8),
		COPY(BPF_H, OUT + 4, IN + 10),
		STORE_MAC(OUT + 6),
		STORE_IMM(BPF_H, OUT + 12, htons(0x86dd)),
		/* IPv6 */
		STORE_IMM(BPF_W, OUT + 14, htonl(0x60000000)),
		STORE_IMM(BPF_H, OUT + 18, htons(32)),
		STORE_IMM(BPF_H, OUT + 20, htons(58 << 8 | 255)),
		COPY_ADDRESS(OUT + 22, IN + 62),
		COPY_ADDRESS(OUT + 38, IN + 22),
		/* the advertisement */
		STORE_IMM(BPF_H, OUT + 54, htons(136 << 8)),
		STORE_IMM(BPF_H, OUT + 56, 0),
		STORE_IMM(BPF_W, OUT + 58, htonl(FLAGS)),
		COPY_ADDRESS(OUT + 62, IN + 62),
		STORE_IMM(BPF_H, OUT + 78, htons(2 << 8 | 1)),
		STORE_MAC(OUT + 80),
		/* its checksum: over the addresses, itself, its length and its protocol */
		MOV_IMM(BPF_REG_1, 0),
		MOV_IMM(BPF_REG_2, 0),
		STACK(BPF_REG_3, OUT + 22),
		MOV_IMM(BPF_REG_4, 64),
		MOV_IMM(BPF_REG_5, htons(32) + htons(58)),
		CALL(csum_diff),
		MOV_REG(BPF_REG_2, BPF_REG_0),
		ALU_IMM(BPF_AND, BPF_REG_2, 0xffff),
		ALU_IMM(BPF_RSH, BPF_REG_0, 16),
		ALU_IMM(BPF_AND, BPF_REG_0, 0xffff),
		ALU_REG(BPF_ADD, BPF_REG_2, BPF_REG_0),
		MOV_REG(BPF_REG_0, BPF_REG_2),
		ALU_IMM(BPF_RSH, BPF_REG_0, 16),
		ALU_REG(BPF_ADD, BPF_REG_2, BPF_REG_0),
		ALU_IMM(BPF_XOR, BPF_REG_2, 0xffff),
		STORE(BPF_H, OUT + 56, BPF_REG_2),
		/* in the frame's place */
		MOV_REG(BPF_REG_1, BPF_REG_6),
		MOV_IMM(BPF_REG_2, OUT_SIZE),
		MOV_IMM(BPF_REG_3, 0),
		CALL(skb_change_tail),
		REQUIRE(BPF_REG_0, 0),
		MOV_REG(BPF_REG_1, BPF_REG_6),
		MOV_IMM(BPF_REG_2, 0),
		STACK(BPF_REG_3, OUT),
		MOV_IMM(BPF_REG_4, OUT_SIZE),
		MOV_IMM(BPF_REG_5, 0),
		CALL(skb_store_bytes),
		REQUIRE(BPF_REG_0, 0),
		/* and back where it came from */
		MOV_IMM(BPF_REG_1, link.index),
		MOV_IMM(BPF_REG_2, 0),
		CALL(redirect),
		EXIT,
	};

	if (bpf_hook_attach(link.index, program, ARRAY_SIZE(program), ORDER, "edgehop-neighbours",
			    err) < 0)
		return error_wrap(err, "answering for IPv6 neighbours on %s", dev);
	return 0;
}
