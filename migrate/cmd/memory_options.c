/* SPDX-License-Identifier: GPL-2.0-or-later */
#include "migrate/cmd/memory_options.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "common/cleanup.h"
#include "common/units.h"
#include "migrate/cmd/cmd.h"

#define HOT_PERCENT 10 /* the edge paper's default, 3.3.2 */
#define HOLD_MOST   (256ull << 20)
#define HOLD_LEAST  (1ull << 20)
#define CACHE	    (256ull << 20)
#define CACHE_LEAST (1ull << 20)
#define CACHE_MOST  (1ull << 30) /* what a destination takes */

const struct memory_options memory_options_default = {
	.hot_skip = false,
	.pages = {.rule = HOT_EXPECTED, .hold_most = HOLD_MOST},
	.on_stuck = HOP_WAIT,
	.coding_cache = CACHE,
};

/* A number above 0 and no more than most, with nothing behind it. */
static bool read_number(const char *text, double most, double *number)
{
	char *end;

	*number = strtod(text, &end);
	return end != text && *end == '\0' && isfinite(*number) && *number > 0 && *number <= most;
}

static bool parse_hot_skip(const char *text, struct memory_options *options)
{
	double number = HOT_PERCENT;

	options->hot_skip = strcmp(text, "off") != 0;
	if (!options->hot_skip)
		return true;
	if (strcmp(text, "auto") == 0) {
		options->pages.rule = HOT_EXPECTED;
		return true;
	}
	if (strncmp(text, "rate:", 5) == 0) {
		options->pages.rule = HOT_THRESHOLD;
		return read_number(text + 5, 1e6, &options->pages.hot_rate);
	}
	if (strcmp(text, "top") != 0 &&
	    (strncmp(text, "top:", 4) != 0 || !read_number(text + 4, 100, &number)))
		return false;
	options->pages.rule = HOT_TOP;
	options->pages.hot_share = number / 100;
	return true;
}

bool memory_options_hot_skip(const char *text, struct memory_options *options)
{
	if (parse_hot_skip(text, options))
		return true;
	cmd_complain("--hot-skip: found \"%s\", expected auto, top:PERCENT (of memory), rate:N "
		     "(writes a second) or off; nothing was started",
		     text);
	return false;
}

bool memory_options_hold(const char *text, struct memory_options *options)
{
	if (units_parse_bytes(text, &options->pages.hold_most) &&
	    options->pages.hold_most >= HOLD_LEAST)
		return true;
	cmd_complain("--hold-memory: found \"%s\", expected a size of at least 1M such as 256M; "
		     "nothing was started",
		     text);
	return false;
}

bool memory_options_compress(const char *text, struct memory_options *options)
{
	options->coding = strcmp(text, "auto") == 0;
	if (options->coding || strcmp(text, "off") == 0)
		return true;
	cmd_complain("--compress: found \"%s\", expected auto or off; nothing was started", text);
	return false;
}

bool memory_options_cache(const char *text, struct memory_options *options)
{
	if (units_parse_bytes(text, &options->coding_cache) &&
	    options->coding_cache >= CACHE_LEAST && options->coding_cache <= CACHE_MOST)
		return true;
	cmd_complain("--compress-cache: found \"%s\", expected a size from 1M to 1G such as 256M; "
		     "nothing was started",
		     text);
	return false;
}

bool memory_options_on_stuck(const char *text, struct memory_options *options)
{
	static const struct {
		const char *word;
		enum hop_on_stuck action;
	} actions[] = {{"wait", HOP_WAIT},
		       {"pause", HOP_PAUSE},
		       {"throttle", HOP_THROTTLE},
		       {"abort", HOP_GIVE_UP}};

	for (size_t i = 0; i < ARRAY_SIZE(actions); i++)
		if (strcmp(actions[i].word, text) == 0) {
			options->on_stuck = actions[i].action;
			return true;
		}
	cmd_complain("--on-no-converge: found \"%s\", expected wait, pause, throttle or abort; "
		     "nothing was started",
		     text);
	return false;
}
