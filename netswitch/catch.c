/* SPDX-License-Identifier: GPL-2.0-or-later */
#include "netswitch/catch.h"

#include <arpa/inet.h>
#include <errno.h>
#include <net/if.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>
#include <sys/syscall.h>
#include <unistd.h>

#include <linux/bpf.h>
#include <linux/if_ether.h>
#include <linux/if_packet.h>
#include <linux/pkt_cls.h>
#include <linux/rtnetlink.h>

#include "common/cleanup.h"
#include "netswitch/rtnl-send.h"
#include "netswitch/rtnl.h"

/*
 * Theory of operation
 *
 * The kernel marks a frame whose destination is another MAC as PACKET_OTHERHOST, also on a
 * promiscuous device, and IP and ARP drop those. Before they see it a frame passes the ingress
 * hook of its device (a clsact qdisc), where a BPF program of six instructions, attached by
 * netlink, changes the mark to PACKET_HOST. Broadcasts keep theirs.
 */
static int load_program(struct error **err)
{
	const struct bpf_insn program[] = {
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
	union bpf_attr attr;
	int fd;

	memset(&attr, 0, sizeof(attr));
	attr.prog_type = BPF_PROG_TYPE_SCHED_CLS;
	attr.insn_cnt = ARRAY_SIZE(program);
	attr.insns = (uintptr_t)program;
	attr.license = (uintptr_t) "GPL";
	fd = (int)syscall(SYS_bpf, BPF_PROG_LOAD, &attr, sizeof(attr));
	return fd < 0 ? error_errno(err, "loading a BPF program") : fd;
}

static struct tcmsg *start(struct nl_msg *msg, uint16_t type, uint16_t flags, int ifindex)
{
	struct tcmsg *tc = nl_start(msg, type, flags, sizeof(*tc));

	tc->tcm_family = AF_UNSPEC;
	tc->tcm_ifindex = ifindex;
	return tc;
}

static int add_hook(int ifindex, struct error **err)
{
	struct nl_msg msg;
	struct tcmsg *tc = start(&msg, RTM_NEWQDISC, NLM_F_CREATE | NLM_F_EXCL, ifindex);

	tc->tcm_parent = TC_H_CLSACT;
	tc->tcm_handle = TC_H_MAKE(TC_H_CLSACT, 0);
	nl_put_string(&msg, TCA_KIND, "clsact");
	return rtnl_send(&msg, EEXIST, err);
}

static int attach_program(int ifindex, int program, struct error **err)
{
	struct nl_msg msg;
	struct tcmsg *tc = start(&msg, RTM_NEWTFILTER, NLM_F_CREATE | NLM_F_REPLACE, ifindex);
	struct nlattr *options;

	tc->tcm_parent = TC_H_MAKE(TC_H_CLSACT, TC_H_MIN_INGRESS);
	tc->tcm_handle = 1;
	tc->tcm_info = TC_H_MAKE(1U << 16, htons(ETH_P_ALL)); /* priority and protocol */
	nl_put_string(&msg, TCA_KIND, "bpf");
	options = nl_nest(&msg, TCA_OPTIONS);
	nl_put_u32(&msg, TCA_BPF_FD, (uint32_t)program);
	nl_put_string(&msg, TCA_BPF_NAME, "edgehop-catch");
	nl_put_u32(&msg, TCA_BPF_FLAGS, TCA_BPF_FLAG_ACT_DIRECT);
	nl_nest_end(&msg, options);
	return rtnl_send(&msg, 0, err);
}

int catch_all(const char *dev, struct error **err)
{
	int ifindex = rtnl_link_index(dev, err);
	auto_close program = -1;

	if (ifindex < 0)
		return -1;
	program = load_program(err);
	if (program < 0 || add_hook(ifindex, err) < 0 || attach_program(ifindex, program, err) < 0)
		return error_wrap(err, "taking frames to any MAC on %s", dev);
	return 0;
}

int catch_all_undo(const char *dev, struct error **err)
{
	int ifindex = (int)if_nametoindex(dev);
	struct error *why = NULL;
	struct nl_msg msg;
	struct tcmsg *tc;

	if (ifindex == 0)
		return 0;
	tc = start(&msg, RTM_DELQDISC, 0, ifindex);
	tc->tcm_parent = TC_H_CLSACT;
	if (rtnl_send(&msg, ENOENT, &why) == 0)
		return 0;
	/* "Cannot find specified qdisc": EINVAL from some kernels. */
	if (why->code == EINVAL) {
		error_free(why);
		return 0;
	}
	return error_propagate(err, why);
}
