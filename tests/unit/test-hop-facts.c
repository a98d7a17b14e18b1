/* SPDX-License-Identifier: GPL-2.0-or-later */
#include "tests/unit/test-config.h"

#include "common/cleanup.h"
#include "migrate/hop/facts.h"

#define HOP	"5d0f3b1a-7c1e-4d3f-9a55-2f6b8d4c1e90"
#define HELD	"11111111-7c1e-4d3f-9a55-2f6b8d4c1e90"
#define SOURCE	"22222222-2222-4333-8444-555555555555"
#define DESTINY "33333333-2222-4333-8444-555555555555"

static const char vm[] = "name: web\n"
			 "uuid: 6c1d8f5e-3b0a-4d6e-9a51-0e6d67656801\n"
			 "accel: tcg\nmachine: pc-q35-7.2\ncpu: qemu64\nmemory: 256M\nvcpus: 1\n"
			 "disks: [{name: disk0, file: disk0.img}]\n"
			 "nics:\n"
			 "  - {name: nic0, mac: \"52:54:00:eb:00:01\"}\n"
			 "  - {name: nic1, mac: \"52:54:00:eb:00:02\"}\n"
			 "  - {name: nic2, mac: \"52:54:00:eb:00:03\", network: mgmt}\n"
			 "  - {name: nic3, mac: \"52:54:00:eb:00:04\", network: mgmt}\n"
			 "  - {name: nic4, mac: \"52:54:00:eb:00:05\", network: private}\n"
			 "sites:\n"
			 "  east:\n"
			 "    addresses:\n"
			 "      - {address: 10.80.1.10/24, gateway: 10.80.1.1}\n"
			 "      - {address: \"fd80:1::10/64\"}\n"
			 "      - {address: 10.70.1.10/24, network: mgmt}\n"
			 "  west:\n"
			 "    addresses:\n"
			 "      - {address: 10.80.2.10/24, gateway: 10.80.2.1}\n"
			 "      - {dhcp: 4, network: mgmt}\n";

static struct ip_config config(const char *address, const char *gateway)
{
	struct ip_config c = {0};

	assert_int_equal(ip_parse(address, &c.address, NULL), 0);
	if (gateway)
		assert_int_equal(ip_parse(gateway, &c.gateway, NULL), 0);
	return c;
}

static struct hop_facts *make(void)
{
	struct hop_facts *facts = calloc(1, sizeof(*facts));

	facts->vm = vm_def_parse("v", vm, strlen(vm), NULL);
	assert_non_null(facts->vm);
	strcpy(facts->hop, HOP);
	strcpy(facts->source, "host-a");
	strcpy(facts->destination, "host-b");
	strcpy(facts->source_site, "east");
	strcpy(facts->destination_site, "west");
	strcpy(facts->source_uuid, SOURCE);
	strcpy(facts->destination_uuid, DESTINY);
	strcpy(facts->first_path, "wan1");
	facts->epoch = 7;
	facts->legs[0] = (struct leg){
		.kind = LEG_SWITCH,
		.network = "site",
		.old_nic = "nic0",
		.new_nic = "nic1",
		.old = {config("10.80.1.10/24", "10.80.1.1"), config("fd80:1::10/64", NULL)},
		.old_count = 2,
		.new = {config("10.80.2.10/24", "10.80.2.1")},
		.new_count = 1,
	};
	facts->legs[1] = (struct leg){
		.kind = LEG_SWITCH,
		.network = "mgmt",
		.old_nic = "nic2",
		.new_nic = "nic3",
		.old = {config("10.70.1.10/24", NULL)},
		.old_count = 1,
		.new_dhcp = true,
	};
	facts->legs[2] = (struct leg){
		.kind = LEG_FIXED, .network = "private", .old_nic = "nic4", .new_nic = "nic4"};
	facts->leg_count = 3;
	return facts;
}

static void test_round_trip(void **unused)
{
	auto_facts facts = make();
	auto_json json = NULL;
	auto_json again = NULL;
	auto_facts read = NULL;
	auto_error err = NULL;
	enum hop_side side;

	(void)unused;
	strcpy(facts->home, "east");
	strcpy(facts->supersedes, HELD);
	json = hop_facts_to_json(facts, HOP_DESTINATION, NULL);
	read = hop_facts_from_json(json, &side, &err);
	if (err)
		fail_msg("%s", error_text(err));
	assert_non_null(read);
	assert_int_equal(side, HOP_DESTINATION);
	assert_int_equal(read->leg_count, 3);
	assert_memory_equal(read->legs, facts->legs, sizeof(facts->legs));
	assert_string_equal(read->home, "east");
	assert_string_equal(read->supersedes, HELD);
	assert_true(hop_has_tunnel(read));
	again = hop_facts_to_json(read, HOP_DESTINATION, NULL);
	assert_true(json_equal(json, again));
}

static void test_ownership(void **unused)
{
	auto_facts facts = make();
	struct owner owner;

	(void)unused;
	owner = hop_owner_source(facts);
	assert_int_equal(owner.epoch, 7);
	assert_string_equal(owner_nic(&owner, "mgmt"), "nic2");
	owner = hop_owner_accepted(facts);
	assert_int_equal(owner.epoch, 8);
	assert_string_equal(owner_nic(&owner, "site"), "nic1");
	assert_string_equal(owner_nic(&owner, "mgmt"), "nic3");
	assert_string_equal(owner_nic(&owner, "private"), "nic4");
	assert_string_equal(owner.home, "");
	/* A VM without an agent keeps its home until it is there again. */
	facts->vm->agent = false;
	owner = hop_owner_accepted(facts);
	assert_string_equal(owner.home, "east");
	strcpy(facts->home, "west");
	owner = hop_owner_accepted(facts);
	assert_string_equal(owner.home, "");
	owner = hop_owner_retaken(facts);
	assert_string_equal(owner.home, "west");
	assert_int_equal(owner.epoch, 9);
}

/* As the first version wrote it: one network, addresses from the definition. */
static void test_first_version(void **unused)
{
	auto_facts facts = make();
	auto_json json = hop_facts_to_json(facts, HOP_SOURCE, NULL);
	auto_facts read = NULL;
	auto_error err = NULL;
	char text[IP_TEXT];

	(void)unused;
	json_object_del(json, "legs");
	assert_null(hop_facts_from_json(json, NULL, &err));
	assert_string_equal(error_text(err), "field old-nic: found nothing, expected a string");
	json_object_set_new(json, "old-nic", json_string("nic1"));
	json_object_set_new(json, "new-nic", json_string("nic0"));
	read = hop_facts_from_json(json, NULL, NULL);
	assert_non_null(read);
	assert_int_equal(read->leg_count, 1);
	assert_int_equal(read->legs[0].kind, LEG_SWITCH);
	assert_string_equal(read->legs[0].network, "site");
	assert_string_equal(read->legs[0].old_nic, "nic1");
	assert_string_equal(read->legs[0].new_nic, "nic0");
	assert_int_equal(read->legs[0].old_count, 2);
	assert_int_equal(read->legs[0].new_count, 1);
	assert_string_equal(ip_format(&read->legs[0].new[0].address, text), "10.80.2.10/24");
}

static void test_mistakes(void **unused)
{
	static const struct {
		int leg;
		const char *key, *value, *message;
	} cases[] = {
		{0, "kind", "\"x\"", "found \"x\", expected switch, fixed or tunnel"},
		{0, "new-nic", "\"nic0\"", "old and new vNIC are both nic0, expected two"},
		{0, "new-nic", "\"nic3\"",
		 "vNIC nic3: found it on network mgmt, expected it on site"},
		{0, "new-nic", "\"nic9\"", "no vNIC \"nic9\""},
		{0, "new", "[]", "network site: found no new address"},
		{0, "old", "[{\"address\":\"x\"}]", "field old: "},
		{0, "old", "[{\"address\":\"10.0.0.1/8\",\"gateway\":\"::1\"}]", "family"},
		{0, "old", "7", "field old: expected a list"},
		{1, "network", "\"site\"", "vNIC nic2"},
		{1, "network", "\"../x\"", "field network"},
		{2, "new-nic", "\"nic3\"", "vNIC nic3"},
		{2, "kind", "\"switch\"", "old and new vNIC are both nic4"},
	};

	(void)unused;
	for (size_t i = 0; i < ARRAY_SIZE(cases); i++) {
		auto_facts facts = make();
		auto_json json = hop_facts_to_json(facts, HOP_SOURCE, NULL);
		auto_error err = NULL;

		json_object_set_new(
			json_array_get(json_object_get(json, "legs"), (size_t)cases[i].leg),
			cases[i].key, json_loads(cases[i].value, JSON_DECODE_ANY, NULL));
		assert_null(hop_facts_from_json(json, NULL, &err));
		if (!strstr(error_text(err), cases[i].message))
			fail_msg("%s: %s", cases[i].value, error_text(err));
	}
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_round_trip),
		cmocka_unit_test(test_ownership),
		cmocka_unit_test(test_first_version),
		cmocka_unit_test(test_mistakes),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
