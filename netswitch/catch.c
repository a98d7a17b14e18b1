/* SPDX-License-Identifier: GPL-2.0-or-later */
#include "netswitch/catch.h"

#include <net/if.h>
#include <stddef.h>

#include <linux/bpf.h>
#include <linux/if_packet.h>
#include <linux/pkt_cls.h>

#include "common/cleanup.h"
#include "netswitch/bpf-hook.h"
#include "netswitch/rtnl.h"

/*
 * Theory of operation
 *
 * The kernel marks a frame whose destination is another MAC as PACKET_OTHERHOST, also on a
 * promiscuous device, and IP and ARP drop those. Before they see it a frame passes the ingress
 * hook of its device, where a BPF program of six instructions changes the mark to PACKET_HOST.
 * Broadcasts keep theirs.
 */
#define ORDER 2 /* after neighbours.c */

int catch_all(const char *dev, struct error **err)
{
	static const struct bpf_insn program[] = {
		/* r2 = skb->pkt_type; if (r2 != PACKET_OTHERHOST) goto out */
		{.code = BPF_LDX | BPF_MEM | BPF_W,
		 .dst_reg = BPF_REG_2,
		 .src_reg = BPF_REG_1,
		 .off = offsetof(struct __sk_buff, pkt_type)},
		{.code = BPF_JMP | BPF_JNE | BPF_K,
		 .dst_reg = BPF_REG_2,
		 .off = 2,
		 .imm = PACKET_OTHERHOST},
		/* bpf_skb_change_type(skb, PACKET_HOST) */
		{.code = BPF_ALU64 | BPF_MOV | BPF_K, .dst_reg = BPF_REG_2, .imm = PACKET_HOST},
		{.code = BPF_JMP | BPF_CALL, .imm = BPF_FUNC_skb_change_type},
		/* out: return TC_ACT_OK */
		{.code = BPF_ALU64 | BPF_MOV | BPF_K, .dst_reg = BPF_REG_0, .imm = TC_ACT_OK},
		{.code = BPF_JMP | BPF_EXIT},
	};
	int ifindex = rtnl_link_index(dev, err);

	if (ifindex < 0)
		return -1;
	if (bpf_hook_attach(ifindex, program, ARRAY_SIZE(program), ORDER, "edgehop-catch", err) < 0)
		return error_wrap(err, "taking frames to any MAC on %s", dev);
	return 0;
}

int catch_all_undo(const char *dev, struct error **err)
{
	return bpf_hook_remove((int)if_nametoindex(dev), err);
}
