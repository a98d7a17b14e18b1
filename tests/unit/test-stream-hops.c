/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * Streams of a real QEMU, whose guest writes all the time, on their way through the page scheduler:
 * what comes out has of every page the version that went in last. HOPS in the environment: how
 * many, one after the other, under each rule in turn.
 */
#include "tests/unit/test-stream-qemu.h"

#include <pthread.h>
#include <stdatomic.h>
#define XXH_INLINE_ALL
#include <xxhash.h>

#include "migrate/hypervisor/hypervisor.h"
#include "migrate/stream/memory_stream.h"
#include "migrate/stream/stream_format.h"

#define HOPS_DEFAULT 4
#define RATE	     (6u << 20) /* of the link, bytes/s */
#define DOWNTIME_NS  (300 * NS_PER_MS)
#define HOP_NS	     (20 * NS_PER_SEC) /* then it is forced */

/* 8 KiB more than 32 MiB: QEMU before 9.0 loses writes of an emulated CPU at a multiple of 64
 * pages. */
#define GUEST                                                                                      \
	"-machine pc-i440fx-7.2 -m 32776K -vga none "                                              \
	"-drive if=floppy,format=raw,readonly=on,file=BOOT"
#define GUEST_BYTES ((32ull << 20) + 8192)

/* A stream as it is seen at one place: the digest of each page's last version. */
struct track {
	struct qemu_reader *reader;
	uint64_t *last[QEMU_BLOCKS_MOST];
	uint64_t pages[QEMU_BLOCKS_MOST];
	size_t blocks, seen, again;
	bool over, late, failed;
};

static int track_opaque(void *arg, const uint8_t *bytes, size_t n, struct error **err)
{
	(void)arg;
	(void)bytes;
	(void)n;
	(void)err;
	return 0;
}

static int track_block(void *arg, size_t index, const struct qemu_block *block, struct error **err)
{
	struct track *t = arg;

	(void)err;
	t->pages[index] = block->bytes / QEMU_PAGE;
	t->last[index] = calloc(t->pages[index], sizeof(uint64_t));
	t->blocks = index + 1;
	return 0;
}

static int track_part(void *arg, bool last, struct error **err)
{
	(void)arg;
	(void)last;
	(void)err;
	return 0;
}

static int track_end(void *arg, bool last, struct error **err)
{
	(void)err;
	((struct track *)arg)->over |= last;
	return 0;
}

static int track_page(void *arg, size_t block, uint64_t page, const uint8_t *content, uint8_t fill,
		      struct error **err)
{
	struct track *t = arg;
	uint64_t digest = content ? XXH3_64bits(content, QEMU_PAGE) : 1ull + fill;

	(void)err;
	t->late |= t->over;
	t->seen++;
	t->again += t->last[block][page] != 0;
	t->last[block][page] = digest;
	return 0;
}

static void track_start(struct track *t)
{
	struct qemu_stream_sink sink = {track_opaque, track_block, track_part,
					track_page,   track_end,   t};

	memset(t, 0, sizeof(*t));
	t->reader = qemu_reader_create(&sink, NULL);
}

static void track_clear(struct track *t)
{
	for (size_t i = 0; i < t->blocks; i++)
		free(t->last[i]);
	qemu_reader_destroy(t->reader);
}

/* ---- The two ends ---- */

struct hop {
	struct track in, out;
	int listener, link; /* where QEMU connects; the link's far end */
	_Atomic uint64_t delivered;
	struct memory_stream *stream;
};

static int listen_at(const char *file)
{
	struct sockaddr_un address;
	char path[PATH_MAX];
	int fd;

	in_top(file, path);
	unlink(path);
	fd = unix_socket(path, &address);
	assert_int_equal(bind(fd, (struct sockaddr *)&address, sizeof(address)), 0);
	assert_int_equal(listen(fd, 1), 0);
	return fd;
}

/* What QEMU sends, to the scheduler, and into `in`. */
static void *carry_in(void *arg)
{
	static uint8_t chunk[1 << 16];
	struct hop *h = arg;
	struct sockaddr_un address;
	char path[PATH_MAX];
	ssize_t n;

	auto_close from = accept(h->listener, NULL, NULL);

	in_top("scheduler.sock", path);

	auto_close to = unix_socket(path, &address);

	h->in.failed |= connect(to, (struct sockaddr *)&address, sizeof(address)) < 0;
	while ((n = read(from, chunk, sizeof(chunk))) > 0)
		h->in.failed |= qemu_reader_feed(h->in.reader, chunk, (size_t)n, NULL) < 0 ||
				write_all(to, chunk, (size_t)n, NULL) < 0;
	shutdown(to, SHUT_WR);
	return NULL;
}

/* The link: so many bytes a second, into `out`. */
static void *carry_out(void *arg)
{
	static uint8_t chunk[1 << 14];
	struct hop *h = arg;
	int64_t begun = clock_ns();
	ssize_t n;

	while ((n = read(h->link, chunk, sizeof(chunk))) > 0) {
		int64_t due;

		h->out.failed |= qemu_reader_feed(h->out.reader, chunk, (size_t)n, NULL) < 0;
		h->delivered += (uint64_t)n;
		due = begun + (int64_t)((double)h->delivered * 1e9 / RATE);
		if (due > clock_ns())
			clock_sleep_ms((due - clock_ns()) / NS_PER_MS + 1);
		else
			begun += clock_ns() - due; /* no catching up */
	}
	shutdown(h->link, SHUT_RDWR);
	return NULL;
}

static uint64_t delivered(void *arg)
{
	return ((struct hop *)arg)->delivered;
}

static bool look(void *arg, uint64_t page, size_t pages, uint8_t *content)
{
	return hv_guest_memory_read(arg, page * QEMU_PAGE, content, pages * QEMU_PAGE) == 0;
}

static void find_memory(struct machine *m, struct hv_guest_memory *memory)
{
	auto_json answer =
		ask(m, "human-monitor-command", json_pack("{s:s}", "command-line", "gpa2hva 0"));
	const char *is = strstr(json_string_value(answer), " is ");
	unsigned long long address;

	assert_non_null(is);
	assert_int_equal(sscanf(is, " is %llx", &address), 1);
	*memory = (struct hv_guest_memory){m->pid, address, GUEST_BYTES};
}

/* ---- A hop ---- */

static void set_downtime(struct machine *m, int ms)
{
	tell(m, "migrate-set-parameters",
	     json_pack("{s:i,s:I}", "downtime-limit", ms, "max-bandwidth", (json_int_t)1 << 33));
}

/* As the hop's worker does. */
static void steer(struct machine *m, struct hop *h)
{
	int64_t forced_ns = clock_ns() + HOP_NS;
	bool ordered = false;

	for (;;) {
		int64_t asked_ns = clock_ns();
		auto_json answer = ask(m, "query-migrate", NULL);
		const json_t *ram = json_object_get(answer, "ram");
		const char *status = json_string_value(json_object_get(answer, "status"));
		struct memory_stream_stats stats;
		auto_error err = NULL;

		assert_string_not_equal(status, "failed");
		if (strcmp(status, "completed") == 0)
			return;
		if (memory_stream_check(h->stream, &err) < 0)
			fail_msg("%s", error_text(err));
		memory_stream_set_remaining(
			h->stream, (uint64_t)json_integer_value(json_object_get(ram, "remaining")),
			(unsigned)json_integer_value(json_object_get(ram, "dirty-sync-count")),
			asked_ns);
		memory_stream_stats(h->stream, &stats);
		if (!ordered && (stats.pages.ready || clock_ns() > forced_ns)) {
			memory_stream_finish(h->stream);
			set_downtime(m, 2000000);
			ordered = true;
		}
		clock_sleep_ms(20);
	}
}

static size_t differences(const struct track *a, const struct track *b)
{
	size_t count = 0;

	assert_int_equal(a->blocks, b->blocks);
	for (size_t i = 0; i < a->blocks; i++)
		for (uint64_t page = 0; page < a->pages[i]; page++)
			count += a->last[i][page] != b->last[i][page];
	return count;
}

static void one_hop(struct machine *m, enum hot_rule rule, int number)
{
	struct scheduler_options options = {.format = &stream_format_qemu,
					    .rule = rule,
					    .hot_share = 0.02,
					    .hot_rate = 1,
					    .hold_most = 16u << 20,
					    .downtime_ns = DOWNTIME_NS};
	struct hop h = {.listener = listen_at("source.sock")};
	int own = listen_at("scheduler.sock"), pair[2];
	struct memory_stream_stats stats;
	struct hv_guest_memory memory;
	char path[PATH_MAX], uri[PATH_MAX + 8];
	pthread_t in, out;

	track_start(&h.in);
	track_start(&h.out);
	find_memory(m, &memory);
	if (rule == HOT_EXPECTED) {
		options.peek = look;
		options.peek_arg = &memory;
		options.peek_bytes = GUEST_BYTES;
	}
	assert_int_equal(socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, pair), 0);
	h.link = pair[1];
	h.stream = memory_stream_start(own, pair[0], &options, delivered, &h, NULL);
	assert_non_null(h.stream);
	assert_int_equal(pthread_create(&in, NULL, carry_in, &h), 0);
	assert_int_equal(pthread_create(&out, NULL, carry_out, &h), 0);
	set_downtime(m, 1);
	in_top("source.sock", path);
	snprintf(uri, sizeof(uri), "unix:%s", path);
	tell(m, "migrate", json_pack("{s:s}", "uri", uri));
	steer(m, &h);
	pthread_join(in, NULL);
	pthread_join(out, NULL);
	memory_stream_stats(h.stream, &stats);
	memory_stream_destroy(h.stream);
	print_message("hop %d, %s: %zu pages in, %zu again; %zu out; %lu superseded, %lu stale, "
		      "%lu fetched, %u rounds\n",
		      number, hot_rule_name(rule), h.in.seen, h.in.again, h.out.seen,
		      stats.pages.pages_superseded, stats.pages.pages_stale,
		      stats.pages.pages_fetched, stats.pages.rounds);
	assert_false(h.in.failed || h.out.failed || h.out.late);
	assert_true(h.in.over && h.out.over);
	assert_int_equal(qemu_reader_end(h.out.reader, NULL), 0);
	assert_true(h.in.again > 0);
	/* a page that was read in the pause is newer than what came of it last */
	assert_true(differences(&h.in, &h.out) <= stats.pages.pages_fetched);
	tell(m, "cont", NULL);
	track_clear(&h.in);
	track_clear(&h.out);
	close(h.listener);
	close(h.link);
}

static void test_hops(void **unused)
{
	const char *text = getenv("HOPS");
	int hops = text ? atoi(text) : HOPS_DEFAULT;
	struct machine source;

	(void)unused;
	assert_true(hops > 0);
	start_machine(&source, GUEST, "");
	wait_busy(&source);
	for (int i = 0; i < hops; i++)
		one_hop(&source, (enum hot_rule)(i % HOT_RULES), i + 1);
	stop_machine(&source);
}

int main(void)
{
	const struct CMUnitTest tests[] = {cmocka_unit_test(test_hops)};

	signal(SIGPIPE, SIG_IGN);
	return cmocka_run_group_tests(tests, set_up, tear_down);
}
