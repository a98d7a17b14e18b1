/* SPDX-License-Identifier: GPL-2.0-or-later */
#include "migrate/cmd/attach.h"

#include <errno.h>
#include <signal.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

#include "common/cleanup.h"
#include "common/clock.h"
#include "common/jsonl.h"
#include "common/units.h"
#include "migrate/hop/ctl.h"
#include "migrate/hop/keeper.h"
#include "migrate/hop/report.h"

/* A worker that died is recovered by its keeper, whose patience ends after 10 minutes. */
#define KEEPER_NS   (620 * NS_PER_SEC)
#define TOGETHER_NS (500 * NS_PER_MS)

static volatile sig_atomic_t interrupts;

/* A Ctrl-C may come as two signals at once, from the terminal and from a wrapper that it ended. */
static void on_interrupt(int signal_number)
{
	static volatile int64_t last_ns;
	int64_t now = clock_ns();

	(void)signal_number;
	if (now - last_ns > TOGETHER_NS)
		interrupts++;
	last_ns = now;
}

/* What is on the screen, so that a line is begun when the stage changes, or the paths are lost. */
struct screen {
	bool terminal, json;
	char stage[32];
	bool lost; /* that all paths are was said */
};

static void print_figures(const json_t *snapshot, FILE *out)
{
	json_int_t done = json_integer_value(json_object_get(snapshot, "done"));
	json_int_t total = json_integer_value(json_object_get(snapshot, "total"));
	json_int_t round = json_integer_value(json_object_get(snapshot, "round"));
	json_int_t eta = json_integer_value(json_object_get(snapshot, "eta_ms"));
	json_int_t pause_ms = json_integer_value(json_object_get(snapshot, "expected_downtime_ms"));
	char done_text[UNITS_TEXT], total_text[UNITS_TEXT], rate_text[UNITS_TEXT];

	if (total <= 0)
		return;
	fprintf(out, "  %s of %s  %s", units_bytes_text((uint64_t)done, done_text),
		units_bytes_text((uint64_t)total, total_text),
		units_rate_text(8 * json_number_value(json_object_get(snapshot, "rate")),
				rate_text));
	if (round)
		fprintf(out, "  round %d", (int)round);
	if (eta)
		fprintf(out, "  ETA %d s", (int)((eta + 999) / 1000));
	if (pause_ms)
		fprintf(out, "  pause ~%d ms", (int)pause_ms);
}

void attach_print_progress(const json_t *snapshot, bool figures, FILE *out)
{
	const char *stage = json_string_value(json_object_get(snapshot, "stage"));
	const char *message = json_string_value(json_object_get(snapshot, "message"));
	const json_t *phase = json_object_get(snapshot, "phase");

	if (phase)
		fprintf(out, "phase %d  ", (int)json_integer_value(phase));
	fprintf(out, "%s", stage ? stage : "starting");
	if (message)
		fprintf(out, "  %s", message);
	if (figures)
		print_figures(snapshot, out);
}

static void show_progress(struct screen *screen, const json_t *snapshot)
{
	const char *stage = json_string_value(json_object_get(snapshot, "stage"));
	bool lost = json_object_get(snapshot, "lost_ms") != NULL;
	bool fresh;

	if (screen->json || !stage)
		return;
	fresh = strcmp(stage, screen->stage) != 0 || lost != screen->lost;
	screen->lost = lost;
	if (!fresh && !screen->terminal)
		return;
	snprintf(screen->stage, sizeof(screen->stage), "%s", stage);
	if (screen->terminal)
		fputs("\r\033[K", stderr);
	attach_print_progress(snapshot, screen->terminal, stderr);
	if (!screen->terminal)
		fputc('\n', stderr);
	fflush(stderr);
}

static int show_end(const struct screen *screen, const json_t *end)
{
	const json_t *report = json_object_get(end, "report");
	const char *error = json_string_value(json_object_get(end, "error"));
	const char *note = json_string_value(json_object_get(end, "note"));

	if (screen->terminal && !screen->json)
		fprintf(stderr, "\r\033[K");
	if (screen->json) {
		json_dumpf(report ? report : end, stdout, JSON_INDENT(2));
		putchar('\n');
	} else if (report) {
		report_print(report, stdout);
	}
	if (note && !screen->json)
		printf("%s\n", note);
	if (error)
		fprintf(stderr, "edgehop: %s\n", error);
	return (int)json_integer_value(json_object_get(end, "status"));
}

/* The worker is gone without an end: its keeper recovers, and writes one. */
static int await_keeper(const struct screen *screen, const char *hop)
{
	int64_t deadline = clock_ns() + KEEPER_NS;
	bool told = false;

	while (clock_ns() < deadline && interrupts < 2) {
		bool lives = keeper_lives(hop); /* before the end is read: its last act */
		auto_json end = keeper_read_end(hop, NULL);

		if (end)
			return show_end(screen, end);
		if (!lives)
			break;
		if (!told && !screen->json)
			fprintf(stderr, "the hop's worker died; it is being recovered\n");
		told = true;
		clock_sleep_ms(100);
	}
	fprintf(stderr,
		"edgehop: hop %s has no end yet: see `edgehop status`, then run `edgehop "
		"recover`\n",
		hop);
	return 3;
}

static int connect_to_worker(const char *hop)
{
	int64_t deadline = clock_ns() + 5 * NS_PER_SEC;

	for (;;) {
		int fd = ctl_connect(hop, NULL);

		if (fd >= 0 || clock_ns() > deadline)
			return fd;
		if (keeper_has_end(hop))
			return -1;
		clock_sleep_ms(10);
	}
}

/* Passes the first interrupt on, in a hop that is this command's. True: leave the hop alone. */
static bool handle_interrupts(const char *hop, bool mine, int *handled)
{
	if (interrupts >= (mine ? 2 : 1))
		return true;
	if (interrupts == 1 && *handled == 0) {
		*handled = 1;
		fprintf(stderr, "\naborting; once more to leave the hop alone\n");
		json_decref(ctl_ask(hop, "abort", clock_ns() + 2 * NS_PER_SEC, NULL));
	}
	return false;
}

static int follow(const char *hop, bool mine, int fd, struct screen *screen, struct jsonl *lines)
{
	int handled = 0;

	for (;;) {
		auto_error why = NULL;
		auto_json line = jsonl_read(lines, fd, clock_ns() + 200 * NS_PER_MS, &why);
		const char *event = json_string_value(json_object_get(line, "event"));

		if (event && strcmp(event, "end") == 0)
			return show_end(screen, line);
		if (line)
			show_progress(screen, line);
		else if (why->code != ETIMEDOUT)
			return await_keeper(screen, hop);
		if (handle_interrupts(hop, mine, &handled)) {
			fprintf(stderr,
				"edgehop: hop %s goes on without this command: `edgehop "
				"status`, `edgehop abort`\n",
				hop);
			return 3;
		}
	}
}

int attach_to_hop(const char *hop, bool mine, bool json)
{
	struct screen screen = {.terminal = isatty(STDERR_FILENO), .json = json};
	struct sigaction on = {.sa_handler = on_interrupt};
	auto_json request = json_pack("{s:s}", "op", "watch");
	auto_close fd = connect_to_worker(hop);
	struct jsonl *lines;
	int status;

	sigaction(SIGINT, &on, NULL);
	sigaction(SIGTERM, &on, NULL);
	signal(SIGPIPE, SIG_IGN);
	if (fd < 0 || jsonl_write(fd, request, clock_ns() + NS_PER_SEC, NULL) < 0)
		return await_keeper(&screen, hop);
	lines = jsonl_create((size_t)1 << 20);
	if (!lines)
		return 3;
	status = follow(hop, mine, fd, &screen, lines);
	jsonl_destroy(lines);
	return status;
}
