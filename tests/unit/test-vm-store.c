/* SPDX-License-Identifier: GPL-2.0-or-later */
#include <errno.h>
#include <fcntl.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <cmocka.h>

#include "common/bytes.h"
#include "common/cleanup.h"
#include "common/places.h"
#include "migrate/vm/vm_store.h"

#define IMAGE_SIZE (8 << 20)
#define OTHER_HOST "11111111-2222-4333-8444-555555555555"

static const char text[] = "name: web\n"
			   "uuid: 5d0f6c3e-9a3b-4f5e-8a57-0c2c5d0f6c3e\n"
			   "accel: tcg\n"
			   "machine: q35\n"
			   "cpu: qemu64\n"
			   "memory: 64M\n"
			   "vcpus: 1\n"
			   "disks: [{name: disk0, file: disk0.img}]\n"
			   "nics: [{name: nic0, mac: \"52:54:00:eb:00:01\"}]\n"
			   "sites: {east: {addresses: [{address: 10.0.0.1/24}]}}\n";

static char top[64], image[PATH_MAX];
static struct vm_def *def;

/* An image with one block of data in the middle of a hole. */
static void make_image(void)
{
	uint8_t block[65536];

	assert_true(snprintf(image, sizeof(image), "%s/image", top) > 0);

	auto_close fd = open(image, O_RDWR | O_CREAT | O_TRUNC, 0600);

	memset(block, 0xcd, sizeof(block));
	assert_int_equal(ftruncate(fd, IMAGE_SIZE), 0);
	assert_int_equal(lseek(fd, IMAGE_SIZE / 2, SEEK_SET), IMAGE_SIZE / 2);
	assert_int_equal(write_all(fd, block, sizeof(block), NULL), 0);
}

static int set_up(void **unused)
{
	(void)unused;
	snprintf(top, sizeof(top), "/tmp/test-vm-store.XXXXXX");
	assert_non_null(mkdtemp(top));
	setenv("EDGEHOP_ROOT", top, 1);
	def = vm_def_parse("v", text, strlen(text), NULL);
	assert_non_null(def);
	make_image();
	return 0;
}

static int tear_down(void **unused)
{
	char command[128];

	(void)unused;
	vm_def_free(def);
	snprintf(command, sizeof(command), "rm -rf '%s'", top);
	return system(command);
}

static int define(struct error **err)
{
	const char *images[] = {image};

	return vm_store_define(def, images, "east", err);
}

static bool exists(const char *file)
{
	char path[PATH_MAX];

	assert_int_equal(vm_store_path(path, "web", file, NULL), 0);
	return access(path, F_OK) == 0;
}

static void test_define(void **unused)
{
	char path[PATH_MAX], self[UUID_SIZE];
	auto_free char *copy = NULL;
	auto_vm_def loaded = NULL;
	struct owner owner;
	struct stat st;
	uint64_t bytes;

	(void)unused;
	assert_int_equal(define(NULL), 0);
	loaded = vm_store_load("web", NULL);
	assert_string_equal(loaded->text, text);
	assert_int_equal(vm_store_disk_size(def, 0, &bytes, NULL), 0);
	assert_int_equal(bytes, IMAGE_SIZE);
	assert_int_equal(vm_store_path(path, "web", "disk0.img", NULL), 0);
	copy = read_file(path, IMAGE_SIZE, NULL, NULL);
	assert_int_equal((uint8_t)copy[IMAGE_SIZE / 2], 0xcd);
	assert_int_equal(copy[0], 0);
	assert_int_equal(stat(path, &st), 0);
	assert_true(st.st_blocks * 512 < IMAGE_SIZE / 4);

	assert_int_equal(uuid_of_host(self, NULL), 0);
	assert_int_equal(owner_require_self("web", &owner, NULL), 0);
	assert_string_equal(owner.host, self);
	assert_string_equal(owner.vm, def->uuid);
	assert_string_equal(owner_nic(&owner, "site"), "nic0");
	assert_string_equal(owner.site, "east");
	assert_int_equal(owner.epoch, 1);
}

static void test_define_twice(void **unused)
{
	auto_error err = NULL;

	(void)unused;
	assert_int_equal(define(NULL), 0);
	assert_int_equal(define(&err), -1);
	assert_int_equal(err->code, EEXIST);
}

/* All or nothing. */
static void test_define_without_image(void **unused)
{
	auto_error err = NULL;
	char **names;
	size_t count;

	(void)unused;
	unlink(image);
	assert_int_equal(define(&err), -1);
	assert_non_null(strstr(error_text(err), "VM web was not defined: disk disk0"));
	assert_false(exists(NULL));
	assert_int_equal(vm_store_list(&names, &count, NULL), 0);
	assert_int_equal(count, 0);
	vm_store_free_names(names, count);
}

static void test_list(void **unused)
{
	char **names, path[PATH_MAX];
	size_t count;

	(void)unused;
	assert_int_equal(vm_store_list(&names, &count, NULL), 0);
	assert_int_equal(count, 0);
	vm_store_free_names(names, count);
	assert_int_equal(define(NULL), 0);
	assert_int_equal(place(path, NULL, PLACE_STATE "/vms/half-made"), 0);
	assert_int_equal(make_dirs(path, NULL), 0);
	assert_int_equal(vm_store_list(&names, &count, NULL), 0);
	assert_int_equal(count, 1);
	assert_string_equal(names[0], "web");
	vm_store_free_names(names, count);
}

static void test_names_stay_inside(void **unused)
{
	static const char *const bad[] = {"", "..", "a/b", "/etc", "Web", ".web", "web\n"};
	char path[PATH_MAX];

	(void)unused;
	for (size_t i = 0; i < ARRAY_SIZE(bad); i++) {
		assert_int_equal(vm_store_path(path, bad[i], NULL, NULL), -1);
		assert_null(vm_store_load(bad[i], NULL));
		assert_int_equal(vm_store_lock(bad[i], NULL), -1);
	}
}

static void test_lock(void **unused)
{
	int lock = vm_store_lock("web", NULL);
	auto_error err = NULL;
	char expected[128];
	int status;
	pid_t child;

	(void)unused;
	assert_true(lock >= 0);
	child = fork();
	if (child == 0) {
		close(lock);
		snprintf(expected, sizeof(expected),
			 "VM web is being worked on by process %d; nothing was done",
			 (int)getppid());
		_exit(!vm_store_busy("web") || vm_store_lock("web", &err) != -1 ||
		      err->code != EBUSY || strcmp(err->message, expected) != 0);
	}
	assert_int_equal(waitpid(child, &status, 0), child);
	assert_int_equal(status, 0);
	close(lock);
	assert_false(vm_store_busy("web"));
	lock = vm_store_lock("web", NULL);
	assert_true(lock >= 0);
	close(lock);
}

static struct owner foreign_owner(uint64_t epoch)
{
	struct owner owner = {.epoch = epoch, .host = OTHER_HOST, .site = "east"};

	strcpy(owner.vm, def->uuid);
	return owner;
}

static void test_incoming(void **unused)
{
	struct owner owner = foreign_owner(3), stored;
	uint64_t size = IMAGE_SIZE, bytes;
	auto_error err = NULL;
	char self[UUID_SIZE];

	(void)unused;
	assert_int_equal(vm_store_make_incoming(def, &owner, &size, NULL), 0);
	assert_int_equal(vm_store_disk_size(def, 0, &bytes, NULL), 0);
	assert_int_equal(bytes, IMAGE_SIZE);
	assert_int_equal(owner_require_self("web", &stored, &err), -1);
	assert_int_equal(err->code, EPERM);
	/* Again, over what is there; then accepted: now it is ours and stays. */
	assert_int_equal(vm_store_make_incoming(def, &owner, &size, NULL), 0);
	owner.epoch = 4;
	assert_int_equal(uuid_of_host(self, NULL), 0);
	memcpy(owner.host, self, sizeof(self));
	assert_int_equal(owner_write("web", &owner, NULL), 0);
	assert_int_equal(owner_require_self("web", &stored, NULL), 0);
	assert_int_equal(vm_store_remove("web", NULL), -1);
	owner = foreign_owner(5);
	assert_int_equal(vm_store_make_incoming(def, &owner, &size, NULL), -1);
	assert_true(exists("disk0.img"));
}

static void test_incoming_refusals(void **unused)
{
	struct owner owner = foreign_owner(3);
	uint64_t size = IMAGE_SIZE, odd = 1000;
	auto_error old = NULL;
	auto_error other = NULL;

	(void)unused;
	assert_int_equal(vm_store_make_incoming(def, &owner, &odd, NULL), -1);
	assert_false(exists(NULL));
	assert_int_equal(vm_store_make_incoming(def, &owner, &size, NULL), 0);
	owner.epoch = 2;
	assert_int_equal(vm_store_make_incoming(def, &owner, &size, &old), -1);
	assert_int_equal(old->code, ESTALE);
	owner.epoch = 3;
	strcpy(def->uuid, OTHER_HOST);
	assert_int_equal(vm_store_make_incoming(def, &owner, &size, &other), -1);
	assert_int_equal(other->code, EEXIST);
	assert_true(exists("disk0.img"));
}

/* Where a driver receives the disk: what an earlier stay left stays, whoever may not, does not. */
static void test_kept_incoming(void **unused)
{
	struct owner owner = foreign_owner(3), stored;
	uint64_t size = IMAGE_SIZE, made_by_driver = 0, bytes;
	auto_error old = NULL;
	auto_error own = NULL;
	char self[UUID_SIZE];

	(void)unused;
	assert_int_equal(vm_store_keep_incoming(def, &owner, &made_by_driver, NULL), 0);
	assert_false(exists("disk0.img"));
	assert_int_equal(vm_store_make_incoming(def, &owner, &size, NULL), 0);
	owner.epoch = 4;
	assert_int_equal(vm_store_keep_incoming(def, &owner, &made_by_driver, NULL), 0);
	assert_int_equal(vm_store_disk_size(def, 0, &bytes, NULL), 0);
	assert_int_equal(bytes, IMAGE_SIZE);
	assert_int_equal(owner_read("web", &stored, NULL), 0);
	assert_int_equal(stored.epoch, 4);
	owner.epoch = 2;
	assert_int_equal(vm_store_keep_incoming(def, &owner, &made_by_driver, &old), -1);
	assert_int_equal(old->code, ESTALE);
	/* accepted: now it is ours */
	owner.epoch = 5;
	assert_int_equal(uuid_of_host(self, NULL), 0);
	memcpy(owner.host, self, sizeof(self));
	assert_int_equal(owner_write("web", &owner, NULL), 0);
	owner = foreign_owner(6);
	assert_int_equal(vm_store_keep_incoming(def, &owner, &made_by_driver, &own), -1);
	assert_int_equal(own->code, EPERM);
}

static void test_remove(void **unused)
{
	struct owner owner = foreign_owner(1);
	uint64_t size = IMAGE_SIZE;
	char path[PATH_MAX];

	(void)unused;
	assert_int_equal(vm_store_remove("web", NULL), 0); /* nothing there */
	assert_int_equal(vm_store_make_incoming(def, &owner, &size, NULL), 0);
	assert_int_equal(vm_store_remove("web", NULL), 0);
	assert_false(exists(NULL));
	/* A disk whose owner can't be told is kept. */
	assert_int_equal(vm_store_make_incoming(def, &owner, &size, NULL), 0);
	assert_int_equal(vm_store_path(path, "web", "owner.json", NULL), 0);
	assert_int_equal(write_file_durably(path, "{}", 2, NULL), 0);
	assert_int_equal(vm_store_remove("web", NULL), -1);
	assert_int_equal(unlink(path), 0);
	assert_int_equal(vm_store_remove("web", NULL), -1);
	assert_true(exists("disk0.img"));
}

#define TEST(NAME) cmocka_unit_test_setup_teardown(NAME, set_up, tear_down)

int main(void)
{
	const struct CMUnitTest tests[] = {
		TEST(test_define),
		TEST(test_define_twice),
		TEST(test_define_without_image),
		TEST(test_list),
		TEST(test_names_stay_inside),
		TEST(test_lock),
		TEST(test_incoming),
		TEST(test_incoming_refusals),
		TEST(test_remove),
		TEST(test_kept_incoming),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
