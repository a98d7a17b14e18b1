/* SPDX-License-Identifier: GPL-2.0-or-later */
#include <errno.h>
#include <getopt.h>
#include <limits.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "common/bytes.h"
#include "common/cleanup.h"
#include "common/clock.h"
#include "common/places.h"
#include "common/units.h"
#include "hotskip/cmd/cmd.h"
#include "hotskip/sim/trace.h"
#include "hotskip/sim/watch.h"
#include "hotskip/words.h"

static const char help[] =
	"usage: edgehop-hotskip record [OPTION...] VM|--pid PID FILE\n"
	"Writes down which pages of a running guest are written, interval by interval,\n"
	"until the time is over, the guest ends, or it is interrupted (Ctrl-C).\n"
	"The guest is not paused. --pid takes any process.\n\n"
	"  --pid PID        the process instead of a VM's name\n"
	"  --size SIZE      of the guest's memory; default: the largest mapping\n"
	"  --interval TIME  at most 100ms (default 100ms)\n"
	"  --time TIME      how long (default 60s)\n";

struct options {
	pid_t pid;
	uint64_t size;
	int64_t interval_ns, time_ns;
	const char *path;
};

static volatile sig_atomic_t interrupted;

static void interrupt(int signal)
{
	(void)signal;
	interrupted = 1;
}

static int find_vm(const char *name, pid_t *pid, struct error **err)
{
	auto_free char *text = NULL;
	char path[PATH_MAX];
	uint64_t number;

	if (strchr(name, '/') || place(path, err, PLACE_RUN "/vms/%s/pid", name) < 0)
		return error_set(err, EINVAL, "VM: found \"%s\", expected a name", name);
	text = read_file(path, 32, NULL, err);
	if (!text)
		return error_wrap(err, "VM %s does not run here", name);
	text[strcspn(text, "\n")] = '\0';
	if (!units_parse_number(text, 1, INT_MAX, &number))
		return error_set(err, EINVAL, "%s: found \"%s\", expected a process", path, text);
	*pid = (pid_t)number;
	return 0;
}

struct recording {
	uint64_t intervals, late;
	int64_t longest_ns;
};

/*
 * Looks are due at multiples of the interval. One that takes longer makes the next due at once;
 * what is written down is the time that has passed between the looks.
 */
static int record(const struct options *options, struct watch *watch, struct trace_writer *writer,
		  uint64_t *dirty, struct recording *recording, struct error **err)
{
	int64_t begun = clock_ns(), last = begun, due = begun + options->interval_ns;

	while (!interrupted && last < begun + options->time_ns) {
		int64_t now = clock_ns(), length;

		if (now < due)
			nanosleep(&(struct timespec){(due - now) / NS_PER_SEC,
						     (due - now) % NS_PER_SEC},
				  NULL);
		now = clock_ns();
		if (watch_look(watch, dirty, err) < 0)
			return -1;
		length = now - last;
		last = now;
		due += options->interval_ns;
		if (due < clock_ns())
			due = clock_ns();
		if (trace_write(writer, (uint64_t)length, dirty, err) < 0)
			return -1;
		recording->intervals++;
		recording->late += length > options->interval_ns + options->interval_ns / 10;
		if (length > recording->longest_ns)
			recording->longest_ns = length;
	}
	return 0;
}

static void report(const struct options *options, const struct recording *recording)
{
	char asked[UNITS_TEXT], longest[UNITS_TEXT];

	printf("%llu intervals are in %s\n", (unsigned long long)recording->intervals,
	       options->path);
	if (recording->late)
		cmd_complain("%llu of the intervals are longer than the %s asked for, up to %s: "
			     "their real lengths are recorded",
			     (unsigned long long)recording->late,
			     units_duration_text(options->interval_ns, asked),
			     units_duration_text(recording->longest_ns, longest));
}

static int run(const struct options *options, struct error **err)
{
	struct trace_header header = {watch_page_size(), 0, (uint64_t)options->interval_ns};
	struct recording recording = {0};
	struct error *why = NULL;
	auto_free uint64_t *dirty = NULL;
	struct trace_writer *writer;
	struct watch_range range;
	struct watch *watch;
	int status;

	if (watch_find(options->pid, options->size, &range, err) < 0)
		return -1;
	watch = watch_create(options->pid, &range, err);
	if (!watch)
		return -1;
	header.pages = watch_pages(watch);
	dirty = words_create(header.pages);
	writer = dirty ? trace_create(options->path, &header, err) : NULL;
	if (!writer) {
		watch_destroy(watch);
		return dirty ? -1 : error_set(err, ENOMEM, "no memory for a bitmap");
	}
	status = record(options, watch, writer, dirty, &recording, &why);
	watch_destroy(watch);
	/* a guest that ends is no failure, once there is something */
	if (status < 0 && why->code == ESRCH && recording.intervals > 0) {
		error_free(why);
		status = 0;
	}
	if (trace_close(writer, status < 0 ? NULL : err) < 0 && status == 0)
		return -1;
	if (status < 0)
		return error_propagate(err, why);
	report(options, &recording);
	return 0;
}

static bool read_option(struct options *options, int option, const char *value)
{
	uint64_t number;

	switch (option) {
	case 'p':
		if (!units_parse_number(value, 1, INT_MAX, &number))
			return false;
		options->pid = (pid_t)number;
		return true;
	case 's':
		return units_parse_bytes(value, &options->size) && options->size > 0;
	case 'i':
		return units_parse_duration(value, &options->interval_ns) &&
		       options->interval_ns >= NS_PER_MS && options->interval_ns <= 100 * NS_PER_MS;
	default:
		return units_parse_duration(value, &options->time_ns) && options->time_ns > 0;
	}
}

static int read_options(struct options *options, int argc, char **argv)
{
	static const struct option long_options[] = {
		{"pid", required_argument, NULL, 'p'},	    {"size", required_argument, NULL, 's'},
		{"interval", required_argument, NULL, 'i'}, {"time", required_argument, NULL, 't'},
		{"help", no_argument, NULL, 'h'},	    {NULL, 0, NULL, 0},
	};
	auto_error why = NULL;
	int option, index = 0, wanted;

	while ((option = getopt_long(argc, argv, "", long_options, &index)) != -1) {
		if (option == 'h')
			return fputs(help, stdout) < 0 ? CMD_FAILED : -1;
		if (option == '?')
			return CMD_USAGE;
		if (!read_option(options, option, optarg)) {
			cmd_complain("--%s: found \"%s\", which it does not take (see --help)",
				     long_options[index].name, optarg);
			return CMD_USAGE;
		}
	}
	wanted = options->pid ? 1 : 2;
	if (argc - optind != wanted) {
		cmd_complain("found %d arguments, expected VM or --pid PID, and FILE (see --help)",
			     argc - optind);
		return CMD_USAGE;
	}
	options->path = argv[argc - 1];
	if (!options->pid && find_vm(argv[optind], &options->pid, &why) < 0)
		return cmd_fail(why);
	return CMD_DONE;
}

int cmd_record(int argc, char **argv)
{
	struct options options = {.interval_ns = 100 * NS_PER_MS, .time_ns = 60 * NS_PER_SEC};
	struct sigaction action = {.sa_handler = interrupt};
	auto_error why = NULL;
	int status = read_options(&options, argc, argv);

	if (status != CMD_DONE)
		return status < 0 ? CMD_DONE : status;
	sigaction(SIGINT, &action, NULL);
	sigaction(SIGTERM, &action, NULL);
	return run(&options, &why) < 0 ? cmd_fail(why) : CMD_DONE;
}
