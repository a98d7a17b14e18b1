/* SPDX-License-Identifier: GPL-2.0-or-later */
#include "tests/unit/test-config.h"

#include "common/cleanup.h"
#include "common/clock.h"
#include "migrate/config/fleet.h"

static const char good[] = "hosts:\n"
			   "  east:\n"
			   "    site: east\n"
			   "    bridge: br-site\n"
			   "    ssh: {user: admin, identity: /root/.ssh/id, port: 2222}\n"
			   "    addresses: {wan1: 10.81.1.1, wan2: 10.81.2.1}\n"
			   "  west:\n"
			   "    site: west\n"
			   "    bridge: br0\n"
			   "    addresses: {wan1: 10.81.1.2, wan2: \"fd00::2\"}\n"
			   "sites:\n"
			   "  east: {hosts: [east]}\n"
			   "  west: {hosts: [west]}\n"
			   "paths:\n"
			   "  wan1: {rate: 100M, rtt: 20ms}\n"
			   "  wan2:\n"
			   "port: 7000\n"
			   "hold: 90s\n"
			   "resume: 90s\n"
			   "join-timeout: 10s\n"
			   "checkpoints: {size: 512M, age: 90m}\n"
			   "base-images: [/srv/images/debian.img, /dev/base]\n";

static struct fleet *parse(const char *text, struct error **err)
{
	return fleet_parse("f", text, strlen(text), err);
}

static void test_good(void **unused)
{
	auto_fleet fleet = parse(good, NULL);
	const struct fleet_host *east;
	char text[IP_TEXT];

	(void)unused;
	assert_non_null(fleet);
	east = fleet_host(fleet, "east", NULL);
	assert_non_null(east);
	assert_string_equal(east->site, "east");
	assert_string_equal(fleet_bridge(east, "site", NULL), "br-site");
	assert_string_equal(east->ssh.user, "admin");
	assert_string_equal(east->ssh.identity, "/root/.ssh/id");
	assert_null(east->ssh.known_hosts);
	assert_int_equal(east->ssh.port, 2222);
	assert_string_equal(ip_format_host(fleet_address(east, "wan2"), text), "10.81.2.1");
	assert_null(fleet_address(east, "wan3"));
	assert_int_equal(fleet_path(fleet, "wan1")->rate, 100000000);
	assert_int_equal(fleet_path(fleet, "wan1")->rtt_ns, 20 * NS_PER_MS);
	assert_int_equal(fleet_path(fleet, "wan2")->rate, 0);
	assert_string_equal(fleet_site(fleet, "west", NULL)->hosts[0], "west");
	assert_int_equal(fleet->port, 7000);
	assert_int_equal(fleet->hold_ns, 90 * NS_PER_SEC);
	assert_int_equal(fleet->resume_ns, 90 * NS_PER_SEC);
	assert_int_equal(fleet->join_ns, 10 * NS_PER_SEC);
	assert_int_equal(fleet->checkpoints.size, 512 << 20);
	assert_int_equal(fleet->checkpoints.total, 16ll << 30);
	assert_int_equal(fleet->checkpoints.age_ns, 5400 * NS_PER_SEC);
	assert_int_equal(fleet->base_image_count, 2);
	assert_string_equal(fleet->base_images[0], "/srv/images/debian.img");
	assert_string_equal(fleet->base_images[1], "/dev/base");
}

static void test_defaults(void **unused)
{
	auto_free char *text = with_change(good,
					   "port: 7000\nhold: 90s\nresume: 90s\njoin-timeout: 10s\n"
					   "checkpoints: {size: 512M, age: 90m}\n"
					   "base-images: [/srv/images/debian.img, /dev/base]\n",
					   "");
	auto_fleet fleet = parse(text, NULL);

	(void)unused;
	assert_non_null(fleet);
	assert_int_equal(fleet->port, 0);
	assert_int_equal(fleet->hold_ns, 60 * NS_PER_SEC);
	assert_int_equal(fleet->resume_ns, 300 * NS_PER_SEC);
	assert_int_equal(fleet->join_ns, 30 * NS_PER_SEC);
	assert_int_equal(fleet->checkpoints.size, 4ll << 30);
	assert_int_equal(fleet->checkpoints.age_ns, 168 * 3600 * NS_PER_SEC);
	assert_string_equal(fleet_host(fleet, "west", NULL)->ssh.user, "root");
	assert_int_equal(fleet_host(fleet, "west", NULL)->ssh.port, 22);
}

static char *dump(const struct fleet *fleet)
{
	char *text = NULL;
	size_t size;
	FILE *out = open_memstream(&text, &size);

	fleet_dump(fleet, out);
	fclose(out);
	return text;
}

static void test_dump_reads_back(void **unused)
{
	auto_fleet fleet = parse(good, NULL);
	auto_free char *once = dump(fleet);
	auto_fleet again = parse(once, NULL);
	auto_free char *twice = NULL;

	(void)unused;
	assert_non_null(again);
	twice = dump(again);
	assert_string_equal(once, twice);
	assert_non_null(strstr(once, "rate: 100M"));
}

/* After the other host's addresses, so that lines stay what they are elsewhere. */
static void test_rate_limit(void **unused)
{
	auto_free char *text =
		with_change(good, "\"fd00::2\"}\n", "\"fd00::2\"}\n    rate-limit: 150M\n");
	auto_free char *bad =
		with_change(good, "\"fd00::2\"}\n", "\"fd00::2\"}\n    rate-limit: off\n");
	auto_fleet fleet = parse(text, NULL);
	auto_free char *once = dump(fleet);
	auto_fleet again = parse(once, NULL);
	auto_error why = NULL;

	(void)unused;
	assert_int_equal(fleet_host(again, "west", NULL)->rate_limit, 150000000);
	assert_int_equal(fleet_host(again, "east", NULL)->rate_limit, 0);
	assert_null(parse(bad, &why));
	assert_string_equal(why->message, "f:11:17: hosts.west.rate-limit: found \"off\", expected "
					  "a rate in bit/s of at least 64k such as 100M");
}

static void test_bridges(void **unused)
{
	auto_free char *text = with_change(good, "bridge: br0", "bridges: {site: br0, mgmt: br1}");
	auto_free char *both = with_change(good, "bridge: br0", "bridge: br0\n    bridges: {a: b}");
	auto_fleet fleet = parse(text, NULL);
	auto_error err = NULL;
	auto_error unknown = NULL;
	const struct fleet_host *west;

	(void)unused;
	assert_non_null(fleet);
	west = fleet_host(fleet, "west", NULL);
	assert_string_equal(fleet_bridge(west, "site", NULL), "br0");
	assert_string_equal(fleet_bridge(west, "mgmt", NULL), "br1");
	assert_null(fleet_bridge(west, "wan", &unknown));
	assert_string_equal(unknown->message, "host west has no bridge to network \"wan\", its "
					      "bridges are to site, mgmt");
	assert_null(parse(both, &err));
	assert_string_equal(err->message, "f:9:5: hosts.west.bridge: found it beside bridges, "
					  "expected one of the two");
}

static void test_mistakes(void **unused)
{
	static const struct mistake mistakes[] = {
		{"bridge: br0", "brige: br0",
		 "f:9:5: hosts.west.brige: found an unknown key, expected perhaps bridge"},
		{"    bridge: br0\n", "",
		 "f:8:5: hosts.west.bridge: found nothing, expected a network device's name of at "
		 "most 15 characters, or bridges, a map from network to bridge"},
		{"port: 7000", "port: 70000",
		 "f:17:7: port: found \"70000\", expected a port from 0 (any free one) to 65535"},
		{"hold: 90s", "hold: 90",
		 "f:18:7: hold: found \"90\", expected a duration such as 20ms, 5s or 2m, of at "
		 "most 24h"},
		{"size: 512M", "size: much",
		 "f:21:21: checkpoints.size: found \"much\", expected a size such as 512M or 8G, "
		 "or 0"},
		{"age: 90m", "age: 0s",
		 "f:21:32: checkpoints.age: found \"0s\", expected a duration such as 90m or 168h, "
		 "of at most 8760h"},
		{"/dev/base]", "base.img]",
		 "f:22:39: base-images[1]: found \"base.img\", expected an absolute path"},
		{"10.81.1.2", "10.81.1.256",
		 "f:10:23: hosts.west.addresses.wan1: found \"10.81.1.256\", expected an IPv4 or "
		 "IPv6 address"},
		{"{wan1: 10.81.1.2", "{wan3: 10.81.1.2",
		 "f:10:17: hosts.west.addresses.wan3: found an unknown path, expected one of those "
		 "in paths"},
		{"site: west", "site: north",
		 "f:8:11: hosts.west.site: found \"north\", expected a site whose list of hosts "
		 "has west"},
		{"[west]", "[west, north]",
		 "f:13:24: sites.west.hosts[1]: found \"north\", expected a host that hosts "
		 "describes"},
		{"[west]", "[west, east]",
		 "f:13:24: sites.west.hosts[1]: found \"east\", which is at site east, expected "
		 "hosts whose site is west"},
		{"[west]", "west",
		 "f:13:17: sites.west.hosts: found \"west\", expected a list of its hosts"},
		{"[west]", "[]", "f:13:17: sites.west.hosts: found 0 entries, expected 1 to 1024"},
		{"    site: west\n", "",
		 "f:8:5: hosts.west.site: found nothing, expected the name of its site"},
		{"rate: 100M", "rate: fast",
		 "f:15:16: paths.wan1.rate: found \"fast\", expected a rate in bit/s of at least "
		 "64k such as 100M"},
		{"rate: 100M", "rate: 100",
		 "f:15:16: paths.wan1.rate: found \"100\", expected a rate in bit/s of at least "
		 "64k "
		 "such as 100M"},
		{"  west:", "  West:",
		 "f:7:3: hosts.West: found this key, expected 1 to 32 characters of a-z, 0-9 and "
		 "-"},
		{"port: 2222", "port: 0",
		 "f:5:55: hosts.east.ssh.port: found \"0\", expected a port from 1 to 65535"},
		{"/root/.ssh/id", "id",
		 "f:5:34: hosts.east.ssh.identity: found \"id\", expected an absolute path"},
		{"hold: 90s", "port: 1", "f:18:1: port: this key is there twice"},
		{"hold: 90s", "hold: *x", "f:18:8: aliases are not taken"},
		{"hold: 90s", "hold: !!str 90s", "f:18:13: anchors and tags are not taken"},
	};

	(void)unused;
	for (size_t i = 0; i < ARRAY_SIZE(mistakes); i++) {
		auto_free char *text = with_change(good, mistakes[i].from, mistakes[i].to);
		auto_fleet fleet = NULL;
		auto_error err = NULL;

		fleet = parse(text, &err);
		assert_null(fleet);
		assert_string_equal(error_text(err), mistakes[i].message);
	}
}

/* The place and our word for it; what follows is the library's. */
static void test_syntax(void **unused)
{
	auto_free char *text = with_change(good, "paths:\n", "paths: [\n");
	auto_error err = NULL;

	(void)unused;
	assert_null(parse(text, &err));
	assert_memory_equal(error_text(err), "f:16:3: not YAML: ", 18);
}

static void test_self(void **unused)
{
	auto_fleet fleet = parse(good, NULL);
	auto_error err = NULL;

	(void)unused;
	setenv("EDGEHOP_HOST", "west", 1);
	assert_ptr_equal(fleet_self(fleet, NULL), fleet_host(fleet, "west", NULL));
	setenv("EDGEHOP_HOST", "north", 1);
	assert_null(fleet_self(fleet, &err));
	assert_string_equal(error_text(err), "EDGEHOP_HOST: host \"north\" is not in the fleet, "
					     "expected one of east, west");
	unsetenv("EDGEHOP_HOST");
	assert_null(fleet_site(fleet, "north", NULL));
}

/* Each prefix of a good text, and each with one byte changed, is read or refused: no more. */
static void test_damaged_text(void **unused)
{
	char text[sizeof(good)];

	(void)unused;
	for (size_t i = 0; i < sizeof(good) - 1; i++) {
		auto_error err = NULL;

		fleet_free(fleet_parse("f", good, i, &err));
	}
	for (size_t i = 0; i < 4 * (sizeof(good) - 1); i++) {
		auto_error err = NULL;

		memcpy(text, good, sizeof(good));
		text[i / 4] = "[\n&\xff"[i % 4];
		fleet_free(fleet_parse("f", text, sizeof(good) - 1, &err));
	}
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_good),
		cmocka_unit_test(test_defaults),
		cmocka_unit_test(test_bridges),
		cmocka_unit_test(test_mistakes),
		cmocka_unit_test(test_dump_reads_back),
		cmocka_unit_test(test_rate_limit),
		cmocka_unit_test(test_syntax),
		cmocka_unit_test(test_self),
		cmocka_unit_test(test_damaged_text),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
