/* SPDX-License-Identifier: GPL-2.0-or-later */
#include <arpa/inet.h>
#include <errno.h>
#include <linux/genetlink.h>
#include <netinet/in.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>
#include <cmocka.h>

#include "common/bytes.h"
#include "common/cleanup.h"
#include "migrate/disk/drbd_command.h"
#include "migrate/disk/drbd_helper.h"
#include "migrate/disk/drbd_join.h"
#include "migrate/disk/drbd_minors.h"
#include "migrate/disk/drbd_streams.h"

/* The bitmap has a bit for each 4 KiB and begins after 36 KiB. */
static void test_meta_bytes(void **unused)
{
	static const uint64_t sizes[] = {
		512,	    1 << 20,	      128ULL << 20, (128ULL << 20) + 512,
		1ULL << 30, (1ULL << 40) + 1, 1ULL << 50};

	(void)unused;
	for (size_t i = 0; i < ARRAY_SIZE(sizes); i++) {
		uint64_t bits = (sizes[i] + 4095) / 4096, bytes = drbd_meta_bytes(sizes[i]);

		assert_true(bytes >= 36864 + (bits + 7) / 8);
		assert_true(bytes <= 36864 + (bits + 7) / 8 + 4096 || bytes == 1 << 20);
		assert_int_equal(bytes % 4096, 0);
	}
	/* as the users' guide reckons it: 72 sectors and 8 for each 2^18 of the disk */
	assert_int_equal(drbd_meta_bytes(1ULL << 40), (8192 * 8 + 72) * 512);
}

static void is(struct program program, const char *expected)
{
	char text[PROGRAM_TEXT];

	assert_false(program.overflow);
	assert_string_equal(program_text(&program, text, sizeof(text)), expected);
}

static void has(struct program program, const char *word)
{
	char text[PROGRAM_TEXT];

	if (!strstr(program_text(&program, text, sizeof(text)), word))
		fail_msg("no %s in: %s", word, text);
}

static void test_commands(void **unused)
{
	char name[DRBD_RESOURCE_SIZE];

	(void)unused;
	assert_string_equal(drbd_resource_name("web", "disk0", name), "edgehop-web-disk0");
	is(drbd_create_meta(1000, "/dev/loop1"),
	   "drbdmeta --force 1000 v08 /dev/loop1 flex-external create-md "
	   "--peer-max-bio-size=1M");
	is(drbd_new_resource(name), "drbdsetup new-resource edgehop-web-disk0");
	is(drbd_new_minor(name, 1000), "drbdsetup new-minor edgehop-web-disk0 1000 0");
	has(drbd_attach(1000, "/dev/loop0", "/dev/loop1"),
	    "drbdsetup attach 1000 /dev/loop0 /dev/loop1 flexible ");
	is(drbd_primary(1000, false), "drbdsetup primary 1000");
	is(drbd_primary(1000, true), "drbdsetup primary 1000 --force");
	is(drbd_be_synchronous(1000), "drbdsetup net-options ipv4:127.83.3.232:7879 "
				      "ipv4:127.83.3.232:7880 --protocol=C");
	is(drbd_disconnect(9999, true), "drbdsetup disconnect ipv4:127.83.39.15:7879 "
					"ipv4:127.83.39.15:7880 --force");
}

/* A resync as fast as the pacer lets it */
static void test_rate(void **unused)
{
	(void)unused;
	has(drbd_attach(1000, "a", "b"), " --c-plan-ahead=0 --resync-rate=4194304 --c-min-rate=0");
}

static uint32_t buffers_of(uint64_t buffer)
{
	const struct drbd_join join = {"r", 1000, buffer, "s"};
	const struct nlattr *parts[6], *net[35];
	struct nl_msg msg;

	drbd_join_message(&msg, 30, &join);
	assert_false(msg.overflow);
	nl_parse(nl_header(&msg), GENL_HDRLEN + 8, parts, 5);
	nl_parse_nested(parts[5], net, 34);
	return nl_u32(net[14]);
}

static void test_join(void **unused)
{
	const struct drbd_join join = {"edgehop-web-disk0", 1000, 0, "a secret"};
	const struct nlattr *parts[6], *context[5], *net[35];
	struct sockaddr_in peer;
	struct nl_msg msg;

	(void)unused;
	drbd_join_message(&msg, 30, &join);
	assert_false(msg.overflow);
	assert_int_equal(nl_header(&msg)->nlmsg_type, 30);
	nl_parse(nl_header(&msg), GENL_HDRLEN + 8, parts, 5);
	nl_parse_nested(parts[2], context, 4);
	assert_string_equal(nl_string(context[2]), "edgehop-web-disk0");
	assert_int_equal(mnl_attr_get_payload_len(context[4]), sizeof(peer));
	memcpy(&peer, mnl_attr_get_payload(context[4]), sizeof(peer));
	assert_int_equal(ntohl(peer.sin_addr.s_addr), 0x7f5303e8);
	assert_int_equal(ntohs(peer.sin_port), 7880);
	nl_parse_nested(parts[5], net, 34);
	assert_string_equal(nl_string(net[1]), "a secret");
	assert_string_equal(nl_string(net[2]), "sha256");
	assert_int_equal(nl_u32(net[6]), 1);
	/* how a split brain is settled, and two Primaries: the kernel's defaults, which do neither
	 */
	for (int i = 17; i <= 20; i++)
		assert_null(net[i]);
	assert_null(net[24]);
	assert_int_equal(buffers_of(0), 8192);
	assert_int_equal(buffers_of(1), 2048);
	assert_int_equal(buffers_of(64 << 20), 32768);
	assert_int_equal(buffers_of(SIZE_MAX), 131072);
}

static void test_join_refuses(void **unused)
{
	struct drbd_join join = {"r", 1000, 0, ""};
	char secret[DISK_SECRET_TEXT + 1];

	(void)unused;
	assert_int_equal(drbd_join(&join, NULL), -1);
	memset(secret, 'a', sizeof(secret));
	secret[DISK_SECRET_TEXT] = '\0';
	join.secret = secret;
	assert_int_equal(drbd_join(&join, NULL), -1);
}

static void test_program(void **unused)
{
	struct program echo = {0}, no = {0}, absent = {0}, many = {0};
	auto_error why = NULL;
	auto_error why_absent = NULL;
	char said[16];

	(void)unused;
	program_add(&echo, "echo");
	program_add(&echo, "%s", "a b;$HOME");
	assert_int_equal(program_run(&echo, said, sizeof(said), NULL), 0);
	assert_string_equal(said, "a b;$HOME\n");
	assert_int_equal(program_run(&echo, said, 10, NULL), -1);
	assert_int_equal(program_run(&echo, said, 11, NULL), 0);
	program_add(&no, "sh");
	program_add(&no, "-c");
	program_add(&no, "echo one >&2; echo two >&2; exit 3");
	assert_int_equal(program_run(&no, NULL, 0, &why), -1);
	assert_int_equal(why->code, EIO);
	assert_non_null(strstr(why->message, ": two (status 3)"));
	program_add(&absent, "edgehop-no-such-program");
	assert_int_equal(program_run(&absent, NULL, 0, &why_absent), -1);
	assert_int_equal(why_absent->code, ENOENT);
	for (int i = 0; i <= PROGRAM_WORDS; i++)
		program_add(&many, "true");
	assert_true(many.overflow);
	assert_int_equal(program_run(&many, NULL, 0, NULL), -1);
}

static void test_first_packet(void **unused)
{
	static const uint8_t data[] = {0x83, 0x74, 0x02, 0x67, 0xff, 0xf2, 0, 0};
	static const uint8_t meta[] = {0x83, 0x74, 0x02, 0x67, 0xff, 0xf1, 0, 0};
	static const uint8_t other[] = {0x83, 0x74, 0x02, 0x67, 0xff, 0xfe, 0, 0};
	static const uint8_t http[] = "GET / HT";

	(void)unused;
	assert_int_equal(drbd_stream_of(data), DRBD_STREAM_DATA);
	assert_int_equal(drbd_stream_of(meta), DRBD_STREAM_META);
	assert_int_equal(drbd_stream_of(other), -1);
	assert_int_equal(drbd_stream_of(http), -1);
}

static void test_helper(void **unused)
{
	struct drbd_device device = {.minor = 1000, .resource = "edgehop-web-disk0"};
	char text[DRBD_HELPER_TEXT];

	(void)unused;
	strcpy(device.data, "/d/disk0.img");
	strcpy(device.meta, "/d/disk0.img.drbd");
	assert_int_equal(drbd_helper_text(&device, "east", text, NULL), 0);
	assert_string_equal(text, "# made by edgehop for the kernel's questions to drbdadm\n"
				  "resource \"edgehop-web-disk0\" {\n"
				  "\tdevice minor 1000;\n"
				  "\tdisk \"/d/disk0.img\";\n"
				  "\tmeta-disk \"/d/disk0.img.drbd\";\n"
				  "\ton \"east\" { address ipv4 127.83.3.232:7879; }\n"
				  "\ton \"edgehop-peer\" { address ipv4 127.83.3.232:7880; }\n"
				  "}\n");
}

static void make_vm(const char *vm)
{
	char path[256];

	snprintf(path, sizeof(path), "%s/var/lib/edgehop/vms/%s", getenv("EDGEHOP_ROOT"), vm);
	assert_int_equal(make_dirs(path, NULL), 0);
	strcat(path, "/vm.yaml");
	assert_int_equal(write_file_durably(path, "", 0, NULL), 0);
}

static void test_minors(void **unused)
{
	char root[] = "/tmp/test-disk-XXXXXX", command[128], path[128];
	struct drbd_minors minors;

	(void)unused;
	assert_non_null(mkdtemp(root));
	setenv("EDGEHOP_ROOT", root, 1);
	make_vm("a");
	make_vm("b");
	assert_int_equal(drbd_minors_read("a", &minors, NULL), 0);
	assert_int_equal(minors.count, 0);
	assert_int_equal(drbd_minors_add("a", "disk0", NULL), 1000);
	assert_int_equal(drbd_minors_add("b", "disk0", NULL), 1001);
	assert_int_equal(drbd_minors_add("a", "disk1", NULL), 1002);
	assert_int_equal(drbd_minors_read("a", &minors, NULL), 0);
	assert_int_equal(minors.count, 2);
	assert_int_equal(drbd_minors_find(&minors, "disk1"), 1002);
	assert_int_equal(drbd_minors_find(&minors, "disk2"), -1);
	drbd_minors_remove(&minors, "disk0");
	assert_int_equal(drbd_minors_write("a", &minors, NULL), 0);
	assert_int_equal(drbd_minors_next(NULL), 1000);
	/* what can't be read could have any */
	snprintf(path, sizeof(path), "%s/var/lib/edgehop/vms/b/drbd.json", root);
	assert_int_equal(write_file_durably(path, "{\"edgehop-drbd\":1,\"disks\":{}}", 29, NULL),
			 0);
	assert_int_equal(drbd_minors_next(NULL), -1);
	assert_int_equal(drbd_minors_add("a", "disk2", NULL), -1);
	snprintf(command, sizeof(command), "rm -rf %s", root);
	assert_int_equal(system(command), 0);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_meta_bytes),   cmocka_unit_test(test_commands),
		cmocka_unit_test(test_rate),	     cmocka_unit_test(test_join),
		cmocka_unit_test(test_join_refuses), cmocka_unit_test(test_program),
		cmocka_unit_test(test_first_packet), cmocka_unit_test(test_helper),
		cmocka_unit_test(test_minors),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
