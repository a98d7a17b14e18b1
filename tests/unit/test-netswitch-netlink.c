/* SPDX-License-Identifier: GPL-2.0-or-later */
#include "tests/unit/test-netswitch-kit.h"

#include <errno.h>
#include <linux/genetlink.h>
#include <linux/mptcp.h>

#include "common/clock.h"

static void test_what_is_put_is_parsed(void **state)
{
	const struct nlattr *attrs[8], *in[8];
	struct nl_msg msg;
	struct nlattr *nest;

	(void)state;
	genl_start(&msg, 30, 1, 1, 0);
	nl_put_u8(&msg, 1, 0xab);
	nl_put_u16(&msg, 2, 0xabcd);
	nest = nl_nest(&msg, 3);
	nl_put_u32(&msg, 1, 0xdeadbeef);
	nl_put_string(&msg, 2, "inside");
	nl_nest_end(&msg, nest);
	nl_put(&msg, 5, "no end", 6);
	nl_put_u32(&msg, 99, 1); /* beyond the table */
	assert_false(msg.overflow);
	nl_parse(nl_header(&msg), GENL_HDRLEN, attrs, 7);
	assert_int_equal(nl_u8(attrs[1]), 0xab);
	assert_int_equal(nl_u16(attrs[2]), 0xabcd);
	assert_null(attrs[4]);
	assert_int_equal(nl_u32(attrs[4]), 0);
	assert_string_equal(nl_string(attrs[4]), "");
	assert_int_equal(nl_u32(attrs[1]), 0); /* too short for it */
	assert_int_equal(nl_u16(attrs[5]), 0); /* too long */
	assert_string_equal(nl_string(attrs[5]), "");
	nl_parse_nested(attrs[3], in, 7);
	assert_int_equal(nl_u32(in[1]), 0xdeadbeef);
	assert_string_equal(nl_string(in[2]), "inside");
	nl_parse_nested(NULL, in, 7);
	assert_null(in[1]);
}

static void test_overflow_is_noticed(void **state)
{
	auto_nl sock = nl_open(NETLINK_ROUTE, NULL);
	uint8_t block[400] = {0};
	struct nl_msg msg;

	(void)state;
	nl_start(&msg, RTM_GETLINK, 0, sizeof(struct ifinfomsg));
	for (int i = 0; i < 3; i++)
		nl_put(&msg, 1, block, sizeof(block));
	nl_nest_end(&msg, nl_nest(&msg, 2));
	assert_true(msg.overflow);
	assert_true(nl_header(&msg)->nlmsg_len <= NL_MSG_ROOM);
	assert_error(nl_request(sock, &msg, &err), EMSGSIZE);
}

static void test_nest_without_room_is_noticed(void **state)
{
	uint8_t block[NL_MSG_ROOM - NLMSG_HDRLEN - NLA_HDRLEN] = {0};
	struct nl_msg msg;

	(void)state;
	nl_start(&msg, RTM_GETLINK, 0, 0);
	nl_put(&msg, 1, block, sizeof(block));
	assert_false(msg.overflow);
	assert_null(nl_nest(&msg, 2));
	nl_nest_end(&msg, NULL);
	assert_true(msg.overflow);
	assert_int_equal(nl_header(&msg)->nlmsg_len, NL_MSG_ROOM);
}

/* Attributes with impossible lengths end the walk and are never read past the message. */
static void test_broken_attributes_are_bounded(void **state)
{
	const struct nlattr *attrs[8];

	(void)state;
	for (unsigned int seed = 1; seed < 20000; seed++) {
		size_t size = 16 + seed % 48;
		struct nlmsghdr *header = calloc(1, size); /* the sanitizer watches its end */
		uint8_t *p = (uint8_t *)(header + 1);
		unsigned int r = seed;

		header->nlmsg_len = (uint32_t)size;
		for (size_t i = 0; i < size - sizeof(*header); i++) {
			r = r * 1103515245 + 12345;
			p[i] = (r >> 16) % 5 ? (uint8_t)((r >> 24) % 12) : (uint8_t)(r >> 8);
		}
		nl_parse(header, 4, attrs, 7);
		for (int i = 0; i < 8; i++) {
			const struct nlattr *in[4];

			(void)nl_string(attrs[i]);
			(void)nl_u32(attrs[i]);
			nl_parse_nested(attrs[i], in, 3);
		}
		free(header);
	}
}

static void test_families_and_groups(void **state)
{
	auto_nl sock = nl_open(NETLINK_GENERIC, NULL);
	uint32_t group = 0;

	(void)state;
	assert_true(genl_family(sock, MPTCP_PM_NAME, MPTCP_PM_EV_GRP_NAME, &group, NULL) > 0);
	assert_true(group > 0);
	assert_error(genl_family(sock, "no_such_family", NULL, NULL, &err), ENOENT);
	assert_error(genl_family(sock, MPTCP_PM_NAME, "no_such_group", &group, &err), ENOENT);
}

/* Beyond the errno: what the kernel's extended acknowledgement says. */
static void test_the_kernel_says_why(void **state)
{
	struct error *why = NULL;

	(void)state;
	veth_create("x0", "x1", -1);
	assert_int_equal(rtnl_link_mtu("x0", 1, &why), -1);
	assert_int_equal(why->code, EINVAL);
	assert_non_null(strstr(why->message, "(mtu less than device minimum)"));
	error_free(why);
	assert_ok(rtnl_link_delete("x0", &err));
}

static void count_links(const struct nlmsghdr *header, void *context)
{
	int *count = context;

	if (!header)
		*count = 0;
	else if (header->nlmsg_type == RTM_NEWLINK)
		(*count)++;
}

static void test_events_arrive(void **state)
{
	auto_nl sock = nl_open(NETLINK_ROUTE, NULL);
	int count = 0;

	(void)state;
	assert_ok(nl_join(sock, RTNLGRP_LINK, &err));
	assert_error(nl_receive(sock, clock_ns() + 5 * NS_PER_MS, count_links, &count, &err),
		     ETIMEDOUT);
	veth_create("e0", "e1", -1);
	assert_ok(nl_receive(sock, clock_ns() + NS_PER_SEC, count_links, &count, &err));
	assert_true(count > 0);
	assert_ok(rtnl_link_delete("e0", &err));
}

static void count_all_but_links(const struct nlmsghdr *header, void *context)
{
	int *count = context;

	if (!header)
		*count = 0;
	else if (header->nlmsg_type != RTM_NEWLINK)
		(*count)++;
}

/*
 * Events that wait on a socket are not taken for the answer to its request: of a link, which have
 * no sequence number, and of a route, which have that of whoever changed it, here the same.
 */
static void test_events_are_no_answers(void **state)
{
	auto_nl sock = nl_open(NETLINK_ROUTE, NULL);
	auto_nl other = nl_open(NETLINK_ROUTE, NULL);
	struct rtnl_route route = {.to = ip("192.0.2.0/24"), .ifindex = 1};
	struct nl_msg msg;
	int count = 0;

	(void)state;
	nl_start(&msg, RTM_GETLINK, NLM_F_DUMP, sizeof(struct ifinfomsg));
	assert_ok(nl_join(sock, RTNLGRP_IPV4_ROUTE, &err));
	assert_ok(rtnl_route_replace(&route, &err));
	assert_ok(nl_query(sock, &msg, count_all_but_links, &count, &err));
	assert_int_equal(count, 0);
	assert_ok(nl_join(other, RTNLGRP_LINK, &err));
	veth_create("e0", "e1", -1);
	assert_ok(nl_query(other, &msg, count_links, &count, &err));
	assert_int_equal(count, 3);
	assert_ok(rtnl_link_delete("e0", &err));
	assert_ok(rtnl_route_del(&route, &err));
}

static void test_dump_of_many(void **state)
{
	char name[IF_NAMESIZE], peer[IF_NAMESIZE];
	struct rtnl_link *list;
	size_t count;

	(void)state;
	for (int i = 0; i < 100; i++) {
		snprintf(name, sizeof(name), "m%d", i);
		snprintf(peer, sizeof(peer), "n%d", i);
		veth_create(name, peer, -1);
	}
	assert_ok(rtnl_link_list(&list, &count, &err));
	assert_int_equal(count, 201);
	for (size_t i = 1; i < count; i++)
		assert_true(list[i - 1].index < list[i].index);
	free(list);
}

static int set_up(void **state)
{
	(void)state;
	ns_create();
	return 0;
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_what_is_put_is_parsed),
		cmocka_unit_test(test_overflow_is_noticed),
		cmocka_unit_test(test_nest_without_room_is_noticed),
		cmocka_unit_test(test_broken_attributes_are_bounded),
		cmocka_unit_test(test_families_and_groups),
		cmocka_unit_test(test_the_kernel_says_why),
		cmocka_unit_test(test_events_arrive),
		cmocka_unit_test(test_events_are_no_answers),
		cmocka_unit_test(test_dump_of_many),
	};

	if (!may_make_namespaces())
		return 77;
	return cmocka_run_group_tests(tests, set_up, NULL);
}
