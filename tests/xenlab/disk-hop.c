/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * A hop of disks alone, without a VM: what the two workers of a hop do with its disks, in that
 * order and through the same channels, for tests of migrate/disk.
 *
 *	disk-hop target VM PORT				waits for one hop
 *	disk-hop source VM ADDRESS PORT [OPTION...]	gives the VM's disks and its ownership away
 *	disk-hop accept VM				what a recovery does that finds RELEASED
 *
 *	--rate BYTES	pace at so many bytes/s
 *	--hang STAGE	sleep for ever at STAGE: copying, finished, settled, released, owned
 *	--undo STAGE	end there, and undo
 *
 * Each side holds the disks open as a hypervisor does: the source until the VM is gone, the
 * destination before it comes.
 *
 * Both read "HOP-UUID KEY" from standard input. The source prints one JSON object at the end.
 */
#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "common/bytes.h"
#include "common/cleanup.h"
#include "common/clock.h"
#include "common/jsonl.h"
#include "common/log.h"
#include "migrate/control/control.h"
#include "migrate/disk/disk.h"
#include "migrate/transport/channel.h"
#include "migrate/transport/mptcp.h"
#include "migrate/transport/pacer.h"
#include "migrate/transport/relay.h"
#include "migrate/vm/vm_store.h"

#define STEP_NS	   (120 * NS_PER_SEC)
#define SILENCE_MS 20000

struct hop {
	struct vm_def *def;
	struct channel_key key;
	struct control *control;
	struct disk *disks[VM_DISKS_MOST];
	struct relay *relays[VM_DISKS_MOST][DISK_STREAMS_MOST];
	int held[VM_DISKS_MOST]; /* 0: not */
	uint64_t bytes;
	/* the source's */
	struct ip_addr address;
	uint16_t port;
	struct pacer *pacer;
	const char *hang, *undo;
	bool undoing;
	/* the target's */
	struct listener *listener;
	struct owner owner; /* as it is to be once the disks are here */
	bool done;
};

static void read_key(struct channel_key *key)
{
	char hex[CHANNEL_KEY_HEX];

	if (scanf("%36s %64s", key->hop, hex) != 2 || channel_key_from_hex(hex, key, NULL) < 0) {
		fprintf(stderr, "disk-hop: expected HOP-UUID KEY on standard input\n");
		exit(2);
	}
}

static void channel_name(char name[32], size_t disk, size_t stream)
{
	snprintf(name, 32, "d%zu%s", disk, stream ? "m" : "");
}

static int make_link(const struct hop *hop, size_t disk, struct disk_link *link, struct error **err)
{
	char purpose[32];

	*link = (struct disk_link){0};
	snprintf(purpose, sizeof(purpose), "disk %zu", disk);
	return channel_key_secret(&hop->key, purpose, link->secret, err);
}

static void count_and_close(struct hop *hop)
{
	for (size_t i = 0; i < VM_DISKS_MOST; i++)
		for (size_t k = 0; k < DISK_STREAMS_MOST; k++) {
			struct relay_stats stats;

			if (!hop->relays[i][k])
				continue;
			relay_stats(hop->relays[i][k], &stats);
			hop->bytes += stats.sent + stats.received;
			relay_destroy(hop->relays[i][k]);
			hop->relays[i][k] = NULL;
		}
}

/* As a hypervisor: for writing, and without a look at what is in it. */
static int hold(struct hop *hop, size_t disk, struct error **err)
{
	char path[PATH_MAX];

	if (disk_guest_path(hop->disks[disk], path, err) < 0)
		return -1;
	hop->held[disk] = open(path, O_RDWR | O_CLOEXEC);
	return hop->held[disk] < 0 ? error_errno(err, "%s", path) : 0;
}

static void let_go(struct hop *hop)
{
	for (size_t i = 0; i < VM_DISKS_MOST; i++) {
		if (hop->held[i] > 0)
			close(hop->held[i]);
		hop->held[i] = 0;
	}
}

static int each(struct hop *hop, int (*action)(struct disk *disk, struct error **err),
		struct error **err)
{
	for (size_t i = 0; i < hop->def->disk_count; i++)
		if (action(hop->disks[i], err) < 0)
			return -1;
	return 0;
}

/* ---- Target ---- */

static int make_folder(struct hop *hop, const json_t *request, struct error **err)
{
	const char *text = json_get_string(request, "definition", err);
	const char *owner = json_get_string(request, "owner", err);
	char folder[PATH_MAX], path[PATH_MAX];
	struct owner stored;
	int64_t epoch;

	if (!text || !owner || json_get_int(request, "epoch", 1, 1 << 30, &epoch, err) < 0)
		return -1;
	hop->def = vm_def_parse("definition", text, strlen(text), err);
	if (!hop->def || vm_store_path(folder, hop->def->name, NULL, err) < 0 ||
	    vm_store_path(path, hop->def->name, "vm.yaml", err) < 0 || make_dirs(folder, err) < 0)
		return -1;
	if (owner_require_self(hop->def->name, &stored, NULL) == 0)
		return error_set(err, EEXIST, "this host owns the VM already");
	hop->owner = (struct owner){.epoch = (uint64_t)epoch, .site = "test"};
	strcpy(hop->owner.vm, hop->def->uuid);
	snprintf(hop->owner.host, UUID_SIZE, "%s", owner);
	if (owner_write_in(folder, &hop->owner, err) < 0 ||
	    write_file_durably(path, hop->def->text, hop->def->text_size, err) < 0)
		return -1;
	hop->owner.epoch++;
	return uuid_of_host(hop->owner.host, err);
}

static int receive_disk(struct hop *hop, size_t i, uint64_t bytes, json_t *states,
			struct error **err)
{
	char state[DISK_STATE_TEXT];

	hop->disks[i] = disk_open_as("drbd", hop->def, i, err);
	if (!hop->disks[i] || disk_receive(hop->disks[i], bytes, state, err) < 0 ||
	    hold(hop, i, err) < 0)
		return -1;
	return json_array_append_new(states, json_string(state));
}

static int do_receive(struct hop *hop, const json_t *request, json_t *answer, struct error **err)
{
	const json_t *sizes = json_object_get(request, "sizes");
	json_t *states = json_array();

	json_object_set_new(answer, "states", states);
	if (make_folder(hop, request, err) < 0)
		return -1;
	json_object_set_new(answer, "uuid", json_string(hop->owner.host));
	for (size_t i = 0; i < hop->def->disk_count; i++)
		if (receive_disk(hop, i, (uint64_t)json_integer_value(json_array_get(sizes, i)),
				 states, err) < 0)
			return -1;
	return 0;
}

static int do_open(struct hop *hop, const json_t *request, json_t *answer, struct error **err)
{
	int fds[DISK_STREAMS_MOST];
	struct disk_link link;
	int64_t disk;
	char name[32];

	(void)answer;
	if (json_get_int(request, "disk", 0, VM_DISKS_MOST - 1, &disk, err) < 0 ||
	    make_link(hop, (size_t)disk, &link, err) < 0 ||
	    disk_receive_open(hop->disks[disk], &link, fds, clock_ns() + STEP_NS, err) < 0)
		return -1;
	for (size_t k = 0; k < disk_streams(hop->disks[disk]); k++) {
		struct channel *channel;

		channel_name(name, (size_t)disk, k);
		channel = listener_take(hop->listener, name, clock_ns() + STEP_NS, err);
		if (!channel)
			return -1;
		hop->relays[disk][k] = relay_start(channel, fds[k], SILENCE_MS, err);
		if (!hop->relays[disk][k])
			return -1;
	}
	return 0;
}

static int do_settle(struct hop *hop, const json_t *request, json_t *answer, struct error **err)
{
	(void)request;
	(void)answer;
	return each(hop, disk_settle, err);
}

static int do_own(struct hop *hop, const json_t *request, json_t *answer, struct error **err)
{
	(void)request;
	(void)answer;
	if (owner_write(hop->def->name, &hop->owner, err) < 0)
		return -1;
	return each(hop, disk_own, err);
}

static int do_arrived(struct hop *hop, const json_t *request, json_t *answer, struct error **err)
{
	(void)request;
	(void)answer;
	hop->done = true;
	return each(hop, disk_arrived, err);
}

static int do_abandon(struct hop *hop, const json_t *request, json_t *answer, struct error **err)
{
	(void)request;
	(void)answer;
	hop->done = true;
	let_go(hop);
	return each(hop, disk_abandon, err);
}

static const struct {
	const char *name;
	int (*serve)(struct hop *hop, const json_t *request, json_t *answer, struct error **err);
} requests[] = {
	{"receive", do_receive}, {"open", do_open},	  {"settle", do_settle},
	{"own", do_own},	 {"arrived", do_arrived}, {"abandon", do_abandon},
};

static void serve(struct hop *hop, const json_t *request)
{
	const char *name = json_get_string(request, "do", NULL);
	auto_json answer = json_pack("{s:s*}", "done", name);
	auto_error why = NULL;

	for (size_t i = 0; name && i < ARRAY_SIZE(requests); i++)
		if (strcmp(requests[i].name, name) == 0 &&
		    requests[i].serve(hop, request, answer, &why) < 0) {
			fprintf(stderr, "disk-hop target: %s: %s\n", name, error_text(why));
			json_object_set_new(answer, "failed", json_string(name));
			json_object_set_new(answer, "error", json_string(error_text(why)));
		}
	control_send(hop->control, answer, NULL);
}

static int target(struct hop *hop, uint16_t port, struct error **err)
{
	int fd = mptcp_listen(&port, 0, err);
	struct channel *channel;

	hop->listener = fd < 0 ? NULL : listener_start(fd, &hop->key, false, err);
	channel = hop->listener ? listener_take(hop->listener, "control", clock_ns() + STEP_NS, err)
				: NULL;
	hop->control = channel ? control_start(channel, err) : NULL;
	if (!hop->control)
		return -1;
	while (!hop->done) {
		auto_json request = control_receive(hop->control, INT64_MAX, err);

		if (!request)
			return -1;
		serve(hop, request);
	}
	clock_sleep_ms(500); /* the last answer is on its way */
	return 0;
}

/* ---- Source ---- */

static int call(struct hop *hop, json_t *request, json_t **answer, struct error **err)
{
	int sent = control_send(hop->control, request, err);
	json_t *got;

	json_decref(request);
	got = sent < 0 ? NULL : control_receive(hop->control, clock_ns() + STEP_NS, err);
	if (!got || control_check(got, "target", err) < 0) {
		json_decref(got);
		return -1;
	}
	if (answer)
		*answer = got;
	else
		json_decref(got);
	return 0;
}

/* A stage is reached: goes on, sleeps, or turns back. */
static int reached(struct hop *hop, const char *stage, struct error **err)
{
	fprintf(stderr, "disk-hop source: %s\n", stage);
	if (hop->hang && strcmp(hop->hang, stage) == 0)
		for (;;)
			pause();
	if (!hop->undo || strcmp(hop->undo, stage) != 0)
		return 0;
	hop->undoing = true;
	return error_set(err, ECANCELED, "undone, as was wished");
}

static int connect_channel(struct hop *hop, const char *name, struct channel **channel,
			   struct error **err)
{
	*channel = channel_connect(&hop->address, 1, hop->port, &hop->key, name, 0, false,
				   clock_ns() + STEP_NS, err);
	return *channel ? 0 : -1;
}

static int open_disk(struct hop *hop, size_t i, struct error **err)
{
	int fds[DISK_STREAMS_MOST];
	struct channel *channel;
	struct disk_link link;
	char name[32];

	if (make_link(hop, i, &link, err) < 0 ||
	    disk_send_open(hop->disks[i], &link, fds, clock_ns() + STEP_NS, err) < 0)
		return -1;
	for (size_t k = 0; k < disk_streams(hop->disks[i]); k++) {
		channel_name(name, i, k);
		if (connect_channel(hop, name, &channel, err) < 0)
			return -1;
		hop->relays[i][k] = relay_start(channel, fds[k], SILENCE_MS, err);
		if (!hop->relays[i][k])
			return -1;
		relay_set_pacer(hop->relays[i][k], hop->pacer);
	}
	return call(hop, json_pack("{s:s s:i}", "do", "open", "disk", (int)i), NULL, err);
}

static int plan(struct hop *hop, const char **copy, struct error **err)
{
	static const char *const names[] = {"nothing", "changes", "all"};
	json_t *request, *sizes = json_array();
	auto_json answer = NULL;
	struct owner owner;
	enum disk_copy what = DISK_COPY_NOTHING;

	if (owner_require_self(hop->def->name, &owner, err) < 0)
		return -1;
	for (size_t i = 0; i < hop->def->disk_count; i++) {
		uint64_t bytes;

		if (vm_store_disk_size(hop->def, i, &bytes, err) < 0)
			return -1;
		json_array_append_new(sizes, json_integer((json_int_t)bytes));
	}
	request = json_pack("{s:s s:s s:s s:I s:o}", "do", "receive", "definition", hop->def->text,
			    "owner", owner.host, "epoch", (json_int_t)owner.epoch, "sizes", sizes);
	if (call(hop, request, &answer, err) < 0)
		return -1;
	for (size_t i = 0; i < hop->def->disk_count; i++) {
		const char *state =
			json_string_value(json_array_get(json_object_get(answer, "states"), i));

		hop->disks[i] = disk_open(hop->def, i, err);
		if (!hop->disks[i] ||
		    disk_plan(hop->disks[i], state ? state : "", &what, err) < 0 ||
		    hold(hop, i, err) < 0)
			return -1;
	}
	*copy = names[what];
	hop->owner = owner;
	hop->owner.epoch++;
	snprintf(hop->owner.host, UUID_SIZE, "%s",
		 json_string_value(json_object_get(answer, "uuid")));
	return 0;
}

static int copy_disks(struct hop *hop, struct error **err)
{
	bool converged = false, told = false;

	for (size_t i = 0; i < hop->def->disk_count; i++)
		if (open_disk(hop, i, err) < 0)
			return -1;
	while (!converged) {
		converged = true;
		for (size_t i = 0; i < hop->def->disk_count; i++) {
			struct disk_progress progress;

			if (disk_progress(hop->disks[i], &progress, err) < 0)
				return -1;
			converged = converged && progress.converged;
			if (!told && progress.done > 0) {
				told = true;
				if (reached(hop, "copying", err) < 0)
					return -1;
			}
		}
		clock_sleep_ms(500);
	}
	return reached(hop, "converged", err);
}

static int hand_over(struct hop *hop, struct error **err)
{
	int64_t deadline = clock_ns() + STEP_NS;

	if (each(hop, disk_synchronous, err) < 0)
		return -1;
	for (size_t i = 0; i < hop->def->disk_count; i++)
		if (disk_finish(hop->disks[i], deadline, err) < 0)
			return -1;
	if (reached(hop, "finished", err) < 0 ||
	    call(hop, json_pack("{s:s}", "do", "settle"), NULL, err) < 0 ||
	    reached(hop, "settled", err) < 0 || owner_write(hop->def->name, &hop->owner, err) < 0 ||
	    reached(hop, "released", err) < 0 ||
	    call(hop, json_pack("{s:s}", "do", "own"), NULL, err) < 0 ||
	    reached(hop, "owned", err) < 0)
		return -1;
	return 0;
}

static int leave(struct hop *hop, struct error **err)
{
	let_go(hop);
	if (each(hop, disk_leave, err) < 0)
		return -1;
	return call(hop, json_pack("{s:s}", "do", "arrived"), NULL, err);
}

static int source(struct hop *hop, const char *vm, struct error **err)
{
	int64_t begun = clock_ns(), copied = 0, paused = 0;
	struct channel *channel;
	const char *copy = "";

	hop->def = vm_store_load(vm, err);
	if (!hop->def || connect_channel(hop, "control", &channel, err) < 0)
		return -1;
	hop->control = control_start(channel, err);
	if (!hop->control || plan(hop, &copy, err) < 0)
		return -1;
	if (copy_disks(hop, err) < 0 || (copied = clock_ns(), hand_over(hop, err)) < 0)
		return -1;
	paused = clock_ns();
	if (leave(hop, err) < 0)
		return -1;
	count_and_close(hop);
	printf("{\"copy\":\"%s\",\"bytes\":%llu,\"copy_seconds\":%.2f,\"hand_over_seconds\":%.2f}"
	       "\n",
	       copy, (unsigned long long)hop->bytes, (double)(copied - begun) / NS_PER_SEC,
	       (double)(paused - copied) / NS_PER_SEC);
	return 0;
}

static int undo(struct hop *hop, struct error **err)
{
	if (hop->control && hop->undoing)
		call(hop, json_pack("{s:s}", "do", "abandon"), NULL, NULL);
	count_and_close(hop);
	return hop->disks[0] ? each(hop, disk_undo, err) : 0;
}

/* The source has given the VM away, and nobody has told this host. */
static int accept_released(const char *vm, struct error **err)
{
	struct hop hop = {.def = vm_store_load(vm, err)};

	if (!hop.def || owner_read(vm, &hop.owner, err) < 0)
		return -1;
	hop.owner.epoch++;
	if (uuid_of_host(hop.owner.host, err) < 0 || owner_write(vm, &hop.owner, err) < 0)
		return -1;
	for (size_t i = 0; i < hop.def->disk_count; i++) {
		hop.disks[i] = disk_open(hop.def, i, err);
		if (!hop.disks[i] || disk_up(hop.disks[i], err) < 0)
			return -1;
	}
	return each(&hop, disk_own, err) < 0 ? -1 : each(&hop, disk_arrived, err);
}

static void parse_options(struct hop *hop, int argc, char **argv)
{
	for (int i = 5; i + 1 < argc; i += 2) {
		if (strcmp(argv[i], "--hang") == 0)
			hop->hang = argv[i + 1];
		else if (strcmp(argv[i], "--undo") == 0)
			hop->undo = argv[i + 1];
		else if (strcmp(argv[i], "--rate") == 0 && (hop->pacer = pacer_create(NULL)))
			pacer_set_rate(hop->pacer, strtoull(argv[i + 1], NULL, 10));
	}
}

int main(int argc, char **argv)
{
	struct hop hop = {0};
	auto_error why = NULL;
	auto_error more = NULL;
	bool is_target = argc == 4 && strcmp(argv[1], "target") == 0;

	signal(SIGPIPE, SIG_IGN);
	if (argc == 3 && strcmp(argv[1], "accept") == 0) {
		if (accept_released(argv[2], &why) == 0)
			return 0;
		fprintf(stderr, "disk-hop accept: %s\n", error_text(why));
		return 1;
	}
	if (!is_target && argc < 5)
		return 2;
	read_key(&hop.key);
	if (getenv("DISK_HOP_DEBUG"))
		log_set_debug("all");
	if (is_target) {
		if (target(&hop, (uint16_t)atoi(argv[3]), &why) == 0)
			return 0;
		for (size_t i = 0; i < VM_DISKS_MOST; i++)
			if (hop.disks[i])
				disk_arrived(hop.disks[i], NULL);
		fprintf(stderr, "disk-hop target: %s\n", error_text(why));
		return 1;
	}
	parse_options(&hop, argc, argv);
	hop.port = (uint16_t)atoi(argv[4]);
	if (ip_parse(argv[3], &hop.address, &why) == 0 && source(&hop, argv[2], &why) == 0)
		return 0;
	fprintf(stderr, "disk-hop source: %s\n", error_text(why));
	if (undo(&hop, &more) < 0)
		fprintf(stderr, "disk-hop source: not undone: %s\n", error_text(more));
	return 1;
}
