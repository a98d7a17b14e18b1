/* SPDX-License-Identifier: GPL-2.0-or-later */
#include "tests/unit/test-netswitch-kit.h"

#include <errno.h>

static void test_addresses_read_and_written(void **state)
{
	static const struct {
		const char *text, *full, *host, *network;
	} cases[] = {
		{"10.80.1.10", "10.80.1.10/32", "10.80.1.10", "10.80.1.10/32"},
		{"10.80.1.10/24", "10.80.1.10/24", "10.80.1.10", "10.80.1.0/24"},
		{"10.80.129.10/17", "10.80.129.10/17", "10.80.129.10", "10.80.128.0/17"},
		{"0.0.0.0/0", "0.0.0.0/0", "0.0.0.0", "0.0.0.0/0"},
		{"255.255.255.255/1", "255.255.255.255/1", "255.255.255.255", "128.0.0.0/1"},
		{"2001:db8::1/64", "2001:db8::1/64", "2001:db8::1", "2001:db8::/64"},
		{"2001:DB8:0:0:ff::1", "2001:db8::ff:0:0:1/128", "2001:db8::ff:0:0:1", NULL},
	};

	(void)state;
	for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
		struct ip_addr addr = ip(cases[i].text), network = ip_network(&addr);
		char text[IP_TEXT];

		if (i < 6)
			assert_string_equal(ip_format(&addr, text), cases[i].full);
		assert_string_equal(ip_format(&network, text),
				    cases[i].network ? cases[i].network : ip_format(&addr, text));
		addr = ip_host(&addr);
		assert_int_equal(addr.prefix, ip_size(&addr) * 8);
	}
}

static void test_bad_addresses_refused(void **state)
{
	static const char *const bad[] = {
		"",
		"10.80.1",
		"10.80.1.256",
		"10.80.1.10/33",
		"10.80.1.10/",
		"10.80.1.10/-1",
		"10.80.1.10/1x",
		"10.80.1.10 ",
		"2001:db8::1/129",
		"::g",
		"010.1.1.1/8",
		"1.2.3.4/4294967296",
		"1111:1111:1111:1111:1111:1111:1111:1111:1111:1111:1111:1111:1111:1111:1111",
	};
	struct ip_addr addr;

	(void)state;
	for (size_t i = 0; i < sizeof(bad) / sizeof(bad[0]); i++)
		assert_error(ip_parse(bad[i], &addr, &err), EINVAL);
}

static void test_addresses_compared(void **state)
{
	const uint8_t mapped[16] = {[10] = 0xff, [11] = 0xff, 10, 80, 1, 10};
	struct ip_addr a = ip("10.80.1.10/24"), b = ip("10.80.1.10"), v6 = ip("a50:10a::");
	struct ip_addr from_socket = ip_from_bytes(AF_INET6, mapped);
	struct ip_addr network = ip("10.80.1.0/24"), other = ip("10.80.2.0/24"),
		       all = ip("0.0.0.0/0");

	(void)state;
	assert_true(ip_same(&a, &b));
	assert_true(ip_same(&a, &from_socket));
	assert_int_equal(from_socket.prefix, 32);
	assert_false(ip_same(&a, &v6)); /* its first four bytes are those of a */
	assert_true(ip_within(&a, &network));
	assert_false(ip_within(&a, &other));
	assert_true(ip_within(&a, &all));
	assert_false(ip_within(&v6, &all));
}

static void test_macs(void **state)
{
	static const char *const bad[] = {
		"",
		"52:54:00:00:00",
		"52:54:00:00:00:0g",
		"52-54-00-00-00-01",
		"52:54:00:00:00:01:",
		"00:00:00:00:00:00",
		"01:00:5e:00:00:01",
		"ff:ff:ff:ff:ff:ff",
		" 2:54:00:00:00:01",
	};
	uint8_t mac[MAC_SIZE];
	char text[MAC_TEXT];

	(void)state;
	assert_ok(mac_parse("52:54:00:aB:00:01", mac, &err));
	assert_string_equal(mac_format(mac, text), "52:54:00:ab:00:01");
	for (size_t i = 0; i < sizeof(bad) / sizeof(bad[0]); i++)
		assert_error(mac_parse(bad[i], mac, &err), EINVAL);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_addresses_read_and_written),
		cmocka_unit_test(test_bad_addresses_refused),
		cmocka_unit_test(test_addresses_compared),
		cmocka_unit_test(test_macs),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
