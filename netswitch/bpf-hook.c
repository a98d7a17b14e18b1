/* SPDX-License-Identifier: GPL-2.0-or-later */
#include "netswitch/bpf-hook.h"

#include <arpa/inet.h>
#include <errno.h>
#include <string.h>
#include <sys/syscall.h>
#include <unistd.h>

#include <linux/if_ether.h>
#include <linux/pkt_cls.h>
#include <linux/rtnetlink.h>

#include "common/cleanup.h"
#include "netswitch/rtnl-send.h"

int bpf_load(enum bpf_prog_type type, const struct bpf_insn *program, size_t count,
	     struct error **err)
{
	union bpf_attr attr;
	int fd;

	memset(&attr, 0, sizeof(attr));
	attr.prog_type = type;
	attr.insn_cnt = (uint32_t)count;
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

static int attach_program(int ifindex, int program, uint16_t order, const char *name,
			  struct error **err)
{
	struct nl_msg msg;
	struct tcmsg *tc = start(&msg, RTM_NEWTFILTER, NLM_F_CREATE | NLM_F_REPLACE, ifindex);
	struct nlattr *options;

	tc->tcm_parent = TC_H_MAKE(TC_H_CLSACT, TC_H_MIN_INGRESS);
	tc->tcm_handle = 1;
	tc->tcm_info = TC_H_MAKE((uint32_t)order << 16, htons(ETH_P_ALL)); /* and protocol */
	nl_put_string(&msg, TCA_KIND, "bpf");
	options = nl_nest(&msg, TCA_OPTIONS);
	nl_put_u32(&msg, TCA_BPF_FD, (uint32_t)program);
	nl_put_string(&msg, TCA_BPF_NAME, name);
	nl_put_u32(&msg, TCA_BPF_FLAGS, TCA_BPF_FLAG_ACT_DIRECT);
	nl_nest_end(&msg, options);
	return rtnl_send(&msg, 0, err);
}

int bpf_hook_attach(int ifindex, const struct bpf_insn *program, size_t count, uint16_t order,
		    const char *name, struct error **err)
{
	auto_close fd = bpf_load(BPF_PROG_TYPE_SCHED_CLS, program, count, err);

	if (fd < 0 || add_hook(ifindex, err) < 0)
		return -1;
	return attach_program(ifindex, fd, order, name, err);
}

int bpf_hook_remove(int ifindex, struct error **err)
{
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
