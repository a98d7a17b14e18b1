/* SPDX-License-Identifier: GPL-2.0-or-later */
#include "tests/unit/test-config.h"

#include <errno.h>
#include <sys/wait.h>

#include "common/bytes.h"
#include "common/cleanup.h"
#include "common/seal.h"
#include "common/uuid.h"
#include "migrate/vm/owner.h"
#include "migrate/vm/vm_store.h"

#define VM_UUID	  "5d0f6c3e-9a3b-4f5e-8a57-0c2c5d0f6c3e"
#define HOST_UUID "11111111-2222-4333-8444-555555555555"

static const char good[] = "{\"edgehop-owner\":1,\"vm\":\"" VM_UUID "\",\"epoch\":7,"
			   "\"owner\":\"" HOST_UUID "\",\"nic\":\"nic1\",\"site\":\"west\"}";

static char top[64];

static int set_up(void **unused)
{
	char path[PATH_MAX];

	(void)unused;
	snprintf(top, sizeof(top), "/tmp/test-vm-owner.XXXXXX");
	assert_non_null(mkdtemp(top));
	setenv("EDGEHOP_ROOT", top, 1);
	assert_int_equal(vm_store_path(path, "web", NULL, NULL), 0);
	return make_dirs(path, NULL);
}

static int tear_down(void **unused)
{
	char command[128];

	(void)unused;
	snprintf(command, sizeof(command), "rm -rf '%s'", top);
	return system(command);
}

static void put(const char *text)
{
	char path[PATH_MAX];

	assert_int_equal(vm_store_path(path, "web", "owner.json", NULL), 0);
	assert_int_equal(write_file_durably(path, text, strlen(text), NULL), 0);
}

static void test_round_trip(void **unused)
{
	struct owner owner, again;
	auto_error err = NULL;

	(void)unused;
	put(good);
	assert_int_equal(owner_read("web", &owner, NULL), 0);
	assert_int_equal(owner.epoch, 7);
	assert_string_equal(owner.host, HOST_UUID);
	assert_string_equal(owner_nic(&owner, "site"), "nic1");
	owner.epoch = 8;
	assert_string_equal(owner.host_name, ""); /* written before hosts' names were kept */
	strcpy(owner.host_name, "west");
	assert_int_equal(owner_write("web", &owner, NULL), 0);
	assert_int_equal(owner_read("web", &again, NULL), 0);
	assert_memory_equal(&owner, &again, sizeof(owner));
	/* The same again, and nothing older. */
	assert_int_equal(owner_write("web", &owner, NULL), 0);
	owner.epoch = 7;
	assert_int_equal(owner_write("web", &owner, &err), -1);
	assert_int_equal(err->code, ESTALE);
	assert_int_equal(owner_require_self("web", &again, NULL), -1);
}

/* One of the second version, with its sum. */
static void put_sealed(const char *nic)
{
	auto_json object =
		json_pack("{s:i, s:s, s:i, s:s, s:{s:s}, s:s}", "edgehop-owner", 2, "vm", VM_UUID,
			  "epoch", 7, "owner", HOST_UUID, "nics", "site", nic, "site", "west");
	auto_free char *text = NULL;

	assert_int_equal(seal_add(object, NULL), 0);
	text = json_dumps(object, JSON_COMPACT);
	put(text);
}

static void test_a_sum_is_required(void **unused)
{
	struct owner owner;
	auto_error err = NULL;

	(void)unused;
	put_sealed("nic0");
	assert_int_equal(owner_read("web", &owner, NULL), 0);
	put("{\"edgehop-owner\":2,\"vm\":\"" VM_UUID "\",\"epoch\":7,\"owner\":\"" HOST_UUID
	    "\",\"nics\":{\"site\":\"nic0\"},\"site\":\"west\"}");
	assert_int_equal(owner_read("web", &owner, &err), -1);
	assert_non_null(strstr(err->message, "found no sum"));
}

/* What the first version wrote is read; several networks come back as they were written. */
static void test_networks(void **unused)
{
	struct owner owner, again;
	auto_error err = NULL;

	(void)unused;
	put(good);
	assert_int_equal(owner_read("web", &owner, NULL), 0);
	assert_int_equal(owner.nic_count, 1);
	assert_null(owner_nic(&owner, "mgmt"));
	owner_set_nic(&owner, "mgmt", "nic3");
	owner_set_nic(&owner, "site", "nic0");
	strcpy(owner.home, "east");
	assert_int_equal(owner_write("web", &owner, NULL), 0);
	assert_int_equal(owner_read("web", &again, NULL), 0);
	assert_memory_equal(&owner, &again, sizeof(owner));
	assert_string_equal(owner_nic(&again, "site"), "nic0");
	assert_string_equal(owner_nic(&again, "mgmt"), "nic3");
	assert_string_equal(again.home, "east");
	put_sealed("../x");
	assert_int_equal(owner_read("web", &owner, &err), -1);
	assert_non_null(
		strstr(err->message, "field nics: found \"../x\" of \"site\", expected names"));
}

static void test_mistakes(void **unused)
{
	static const struct mistake mistakes[] = {
		{"\"edgehop-owner\":1", "\"edgehop-owner\":3",
		 "field edgehop-owner: found 3, expected 1 to 2"},
		{"\"epoch\":7", "\"epoch\":0",
		 "field epoch: found 0, expected 1 to 9223372036854775807"},
		{"\"epoch\":7", "\"epoch\":7.5",
		 "field epoch: found a real, expected a whole number"},
		{"nic1", "../x", "field nic: found \"../x\", expected a name"},
		{"\"vm\":\"5", "\"vm\":\"x",
		 "field vm: found \"xd0f6c3e-9a3b-4f5e-8a57-0c2c5d0f6c3e\", expected a UUID"},
		{"\"site\"", "\"nic\"",
		 "found duplicate object key near '\"nic\"', expected a JSON object"},
		{"\"site\"", "\"s\"", "field site: found nothing, expected a string"},
	};
	struct owner owner;

	(void)unused;
	for (size_t i = 0; i < ARRAY_SIZE(mistakes); i++) {
		auto_free char *text = with_change(good, mistakes[i].from, mistakes[i].to);
		auto_error err = NULL;
		const char *tail;

		put(text);
		assert_int_equal(owner_read("web", &owner, &err), -1);
		tail = strstr(error_text(err), "owner.json: ");
		assert_non_null(tail);
		assert_string_equal(tail + strlen("owner.json: "), mistakes[i].message);
	}
}

static void test_absent(void **unused)
{
	auto_error err = NULL;
	struct owner owner;

	(void)unused;
	assert_int_equal(owner_read("web", &owner, &err), -1);
	assert_int_equal(err->code, ENOENT);
}

static void test_uuids(void **unused)
{
	char one[UUID_SIZE], other[UUID_SIZE];

	(void)unused;
	assert_int_equal(uuid_make(one, NULL), 0);
	assert_int_equal(uuid_make(other, NULL), 0);
	assert_string_not_equal(one, other);
	assert_true(uuid_parse(one, other));
	assert_string_equal(one, other);
	assert_int_equal(one[14], '4');
	assert_non_null(strchr("89ab", one[19]));
	assert_true(uuid_parse("5D0F6C3E-9A3B-4F5E-8A57-0C2C5D0F6C3E", one));
	assert_string_equal(one, VM_UUID);
	assert_false(uuid_parse("5d0f6c3e-9a3b-4f5e-8a57-0c2c5d0f6c3", one));
	assert_false(uuid_parse("5d0f6c3e-9a3b-4f5e-8a57-0c2c5d0f6c3e0", one));
	assert_false(uuid_parse("5d0f6c3e09a3b-4f5e-8a57-0c2c5d0f6c3e", one));
	assert_false(uuid_parse("00000000-0000-0000-0000-000000000000", one));
	assert_false(uuid_parse("", one));
}

/* Who asks first, and how many ask at a time, makes no difference. */
static void test_host_uuid(void **unused)
{
	char path[PATH_MAX], first[UUID_SIZE], uuid[UUID_SIZE];
	pid_t children[8];
	int status;

	(void)unused;
	for (size_t i = 0; i < ARRAY_SIZE(children); i++) {
		children[i] = fork();
		if (children[i] == 0) {
			snprintf(path, sizeof(path), "%s/asked-%zu", top, i);
			_exit(uuid_of_host(uuid, NULL) < 0 ||
			      write_file_durably(path, uuid, UUID_SIZE, NULL) < 0);
		}
	}
	for (size_t i = 0; i < ARRAY_SIZE(children); i++) {
		assert_int_equal(waitpid(children[i], &status, 0), children[i]);
		assert_int_equal(status, 0);
	}
	assert_int_equal(uuid_of_host(first, NULL), 0);
	for (size_t i = 0; i < ARRAY_SIZE(children); i++) {
		auto_free char *asked = NULL;

		snprintf(path, sizeof(path), "%s/asked-%zu", top, i);
		asked = read_file(path, UUID_SIZE, NULL, NULL);
		assert_string_equal(asked, first);
	}
}

#define TEST(NAME) cmocka_unit_test_setup_teardown(NAME, set_up, tear_down)

int main(void)
{
	const struct CMUnitTest tests[] = {
		TEST(test_round_trip), TEST(test_networks), TEST(test_a_sum_is_required),
		TEST(test_mistakes),   TEST(test_absent),   TEST(test_uuids),
		TEST(test_host_uuid),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
