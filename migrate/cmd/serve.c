/* SPDX-License-Identifier: GPL-2.0-or-later */
#include "migrate/cmd/cmd.h"

#include <errno.h>
#include <signal.h>
#include <stdint.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

#include "common/cleanup.h"
#include "common/clock.h"
#include "common/jsonl.h"
#include "common/log.h"
#include "migrate/hop/open.h"
#include "migrate/probe/probe.h"

static const char help[] = "usage: edgehop serve\n"
			   "What another host's edgehop starts here through SSH: answers requests, "
			   "JSON lines on standard\n"
			   "input and output. Not for people.\n";

#define IDLE_NS	  (300 * NS_PER_SEC)
#define LINE_MOST ((size_t)1 << 20)

static int answer_all(const struct fleet *fleet, struct jsonl *lines)
{
	for (;;) {
		auto_error why = NULL;
		auto_json request = jsonl_read(lines, STDIN_FILENO, clock_ns() + IDLE_NS, &why);
		auto_json answer = NULL;

		if (!request)
			return why->code == ECONNRESET ? CMD_DONE : cmd_fail(why);
		answer = hop_serve(fleet, request);
		if (!answer || jsonl_write(STDOUT_FILENO, answer, clock_ns() + IDLE_NS, &why) < 0)
			return cmd_fail(why);
	}
}

int cmd_serve(int argc, char **argv)
{
	auto_error why = NULL;
	auto_fleet fleet = NULL;
	struct jsonl *lines;
	int status;

	if (argc > 1 && strcmp(argv[1], "--help") == 0) {
		fputs(help, stdout);
		return CMD_DONE;
	}
	signal(SIGPIPE, SIG_IGN);
	log_set_level(LOG_LEVEL_ERROR); /* the source has its own words for what fails here */
	fleet = fleet_load(NULL, &why);
	if (!fleet)
		return cmd_fail(why);
	lines = jsonl_create(LINE_MOST);
	if (!lines)
		return CMD_FAILED;
	status = answer_all(fleet, lines);
	probe_serve_close();
	jsonl_destroy(lines);
	return status;
}
