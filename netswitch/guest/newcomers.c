/* SPDX-License-Identifier: GPL-2.0-or-later */
#include "netswitch/guest/newcomers.h"

#include <arpa/inet.h>
#include <netinet/in.h>
#include <stddef.h>
#include <string.h>
#include <sys/syscall.h>
#include <unistd.h>

#include <linux/bpf.h>
#include <linux/if_ether.h>
#include <linux/if_link.h>

#include "common/cleanup.h"
#include "netswitch/bpf-hook.h"

/*
 * An XDP program in the kernel's generic mode, which every device has and which needs no module. Of
 * TCP segments it drops those with SYN that have none of ACK, RST and FIN. Extension headers of
 * IPv6 are not followed: such segments pass.
 *
 * r1 the context, r2 what is looked at, r3 the end, r4 and r5 for a moment.
 */
#define LOAD(size, to, from, at)                                                                   \
	{                                                                                          \
		.code = BPF_LDX | BPF_MEM | (size), .dst_reg = (to), .src_reg = (from),            \
		.off = (at)                                                                        \
	}
#define SET(to, value)                                                                             \
	{                                                                                          \
		.code = BPF_ALU64 | BPF_MOV | BPF_K, .dst_reg = (to), .imm = (value)               \
	}
#define COPY(to, from)                                                                             \
	{                                                                                          \
		.code = BPF_ALU64 | BPF_MOV | BPF_X, .dst_reg = (to), .src_reg = (from)            \
	}
#define ADD(to, value)                                                                             \
	{                                                                                          \
		.code = BPF_ALU64 | BPF_ADD | BPF_K, .dst_reg = (to), .imm = (value)               \
	}
#define ADD_TO(to, from)                                                                           \
	{                                                                                          \
		.code = BPF_ALU64 | BPF_ADD | BPF_X, .dst_reg = (to), .src_reg = (from)            \
	}
#define AND(to, value)                                                                             \
	{                                                                                          \
		.code = BPF_ALU64 | BPF_AND | BPF_K, .dst_reg = (to), .imm = (value)               \
	}
#define SHIFT(to, bits)                                                                            \
	{                                                                                          \
		.code = BPF_ALU64 | BPF_LSH | BPF_K, .dst_reg = (to), .imm = (bits)                \
	}
#define IF(test, reg, value, skip)                                                                 \
	{                                                                                          \
		.code = BPF_JMP | (test) | BPF_K, .dst_reg = (reg), .off = (skip), .imm = (value)  \
	}
#define IF_BEYOND(reg, end, skip)                                                                  \
	{                                                                                          \
		.code = BPF_JMP | BPF_JGT | BPF_X, .dst_reg = (reg), .src_reg = (end),             \
		.off = (skip)                                                                      \
	}
#define GO(skip)                                                                                   \
	{                                                                                          \
		.code = BPF_JMP | BPF_JA, .off = (skip)                                            \
	}
#define EXIT                                                                                       \
	{                                                                                          \
		.code = BPF_JMP | BPF_EXIT                                                         \
	}

#define ETHERNET  14
#define V4	  20
#define V6	  40
#define TCP_LEAST 14   /* up to the flags */
#define FLAGS	  0x17 /* FIN, SYN, RST, ACK */
#define SYN	  0x02

static int load(struct error **err)
{
	const struct bpf_insn program[] = {
		/* 0 */ LOAD(BPF_W, BPF_REG_2, BPF_REG_1, offsetof(struct xdp_md, data)),
		/* 1 */ LOAD(BPF_W, BPF_REG_3, BPF_REG_1, offsetof(struct xdp_md, data_end)),
		/* 2 */ SET(BPF_REG_0, XDP_PASS),
		/* 3 */ COPY(BPF_REG_4, BPF_REG_2),
		/* 4 */ ADD(BPF_REG_4, ETHERNET + V4),
		/* 5 */ IF_BEYOND(BPF_REG_4, BPF_REG_3, 27),
		/* 6 */ LOAD(BPF_H, BPF_REG_5, BPF_REG_2, offsetof(struct ethhdr, h_proto)),
		/* 7 */ IF(BPF_JEQ, BPF_REG_5, htons(ETH_P_IPV6), 12),
		/* 8 */ IF(BPF_JNE, BPF_REG_5, htons(ETH_P_IP), 24),
		/* IPv4: TCP, not a later fragment, header of its own length */
		/* 9 */ LOAD(BPF_B, BPF_REG_5, BPF_REG_2, ETHERNET + 9),
		/* 10 */ IF(BPF_JNE, BPF_REG_5, IPPROTO_TCP, 22),
		/* 11 */ LOAD(BPF_H, BPF_REG_5, BPF_REG_2, ETHERNET + 6),
		/* 12 */ AND(BPF_REG_5, htons(0x1fff)),
		/* 13 */ IF(BPF_JNE, BPF_REG_5, 0, 19),
		/* 14 */ LOAD(BPF_B, BPF_REG_5, BPF_REG_2, ETHERNET),
		/* 15 */ AND(BPF_REG_5, 0xf),
		/* 16 */ SHIFT(BPF_REG_5, 2),
		/* 17 */ ADD(BPF_REG_2, ETHERNET),
		/* 18 */ ADD_TO(BPF_REG_2, BPF_REG_5),
		/* 19 */ GO(6),
		/* IPv6 */
		/* 20 */ COPY(BPF_REG_4, BPF_REG_2),
		/* 21 */ ADD(BPF_REG_4, ETHERNET + V6),
		/* 22 */ IF_BEYOND(BPF_REG_4, BPF_REG_3, 10),
		/* 23 */ LOAD(BPF_B, BPF_REG_5, BPF_REG_2, ETHERNET + 6),
		/* 24 */ IF(BPF_JNE, BPF_REG_5, IPPROTO_TCP, 8),
		/* 25 */ ADD(BPF_REG_2, ETHERNET + V6),
		/* TCP's flags */
		/* 26 */ COPY(BPF_REG_4, BPF_REG_2),
		/* 27 */ ADD(BPF_REG_4, TCP_LEAST),
		/* 28 */ IF_BEYOND(BPF_REG_4, BPF_REG_3, 4),
		/* 29 */ LOAD(BPF_B, BPF_REG_5, BPF_REG_2, TCP_LEAST - 1),
		/* 30 */ AND(BPF_REG_5, FLAGS),
		/* 31 */ IF(BPF_JNE, BPF_REG_5, SYN, 1),
		/* 32 */ SET(BPF_REG_0, XDP_DROP),
		/* 33 */ EXIT,
	};

	return bpf_load(BPF_PROG_TYPE_XDP, program, ARRAY_SIZE(program), err);
}

int newcomers_refuse(int ifindex, struct error **err)
{
	auto_close program = load(err);
	union bpf_attr attr;
	int fd;

	if (program < 0)
		return -1;
	memset(&attr, 0, sizeof(attr));
	attr.link_create.prog_fd = (uint32_t)program;
	attr.link_create.target_ifindex = (uint32_t)ifindex;
	attr.link_create.attach_type = BPF_XDP;
	attr.link_create.flags = XDP_FLAGS_SKB_MODE;
	fd = (int)syscall(SYS_bpf, BPF_LINK_CREATE, &attr, sizeof(attr));
	return fd < 0 ? error_errno(err, "attaching an XDP program") : fd;
}
