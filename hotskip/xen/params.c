/* SPDX-License-Identifier: GPL-2.0-or-later */
#include "hotskip/xen/params.h"

#include <errno.h>
#include <limits.h>
#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "common/cleanup.h"

#define TEXT_MOST  4096
#define SEPARATORS ", \t\r\n"

static int figure(const char *key, const char *value, double most, double *figure,
		  struct error **err)
{
	char *end;
	double found = strtod(value, &end);

	if (end == value || *end || !(found >= 0 && found <= most))
		return error_set(err, EINVAL, "found %s=%s, expected a number from 0 to %g", key,
				 value, most);
	*figure = found;
	return 0;
}

static int whole(const char *key, const char *value, uint64_t most, uint64_t *number,
		 struct error **err)
{
	unsigned long long found;
	char *end;

	errno = 0;
	found = strtoull(value, &end, 10);
	if (strspn(value, "0123456789") == 0 || *end || errno || found < 1 || found > most)
		return error_set(err, EINVAL, "found %s=%s, expected a whole number from 1 to %llu",
				 key, value, (unsigned long long)most);
	*number = found;
	return 0;
}

/* The index of a value in a list of words, or -1. */
static int word(const char *key, const char *value, const char *const *words, int count,
		struct error **err)
{
	for (int i = 0; i < count; i++)
		if (strcmp(value, words[i]) == 0)
			return i;
	return error_set(err, EINVAL, "found %s=%s, which is none of the words for it", key, value);
}

static int set_figure(struct xen_params *params, const char *key, const char *value,
		      struct error **err)
{
	if (strcmp(key, "downtime") == 0)
		return figure(key, value, 1e6, &params->stop.downtime, err);
	if (strcmp(key, "fixed") == 0)
		return figure(key, value, 1e6, &params->stop.fixed, err);
	if (strcmp(key, "time") == 0)
		return figure(key, value, 1e9, &params->stop.time_limit, err);
	if (strcmp(key, "share") == 0)
		return figure(key, value, 1, &params->policy.share, err);
	if (strcmp(key, "threshold") == 0)
		return figure(key, value, 1e9, &params->policy.threshold, err);
	if (strcmp(key, "rate") == 0)
		return figure(key, value, 1e15, &params->rate, err);
	return 1;
}

static int set_whole(struct xen_params *params, const char *key, const char *value,
		     struct error **err)
{
	uint64_t number;
	int rc;

	if (strcmp(key, "pages") == 0)
		return whole(key, value, 1ull << 52, &params->stop.xen_pages, err);
	if (strcmp(key, "rounds") == 0) {
		if ((rc = whole(key, value, UINT_MAX, &number, err)) == 0)
			params->stop.xen_rounds = (unsigned)number;
		return rc;
	}
	if (strcmp(key, "window") == 0) {
		if ((rc = whole(key, value, STOP_WINDOW_MOST, &number, err)) == 0)
			params->stop.window = (unsigned)number;
		return rc;
	}
	return 1;
}

static int set_rules(struct xen_params *params, char *value, struct error **err)
{
	unsigned rules = 0;
	char *place;

	for (char *name = strtok_r(value, "+", &place); name; name = strtok_r(NULL, "+", &place)) {
		enum stop_reason rule = STOP_NOT + 1;

		while (rule < STOP_REASONS && strcmp(name, stop_reason_name(rule)) != 0)
			rule++;
		/* the name that the rule's reason has, or the short one of the header */
		if (rule == STOP_REASONS && strcmp(name, "few") == 0)
			rule = STOP_FEW;
		if (rule == STOP_REASONS || rule == STOP_QEMU)
			return error_set(err, EINVAL,
					 "found the rule %s in stop=, expected target, smart, "
					 "time, few or rounds",
					 name);
		rules |= 1u << rule;
	}
	if (!rules)
		return error_set(err, EINVAL, "found stop= without a rule: pre-copy would not end");
	params->stop.rules = rules;
	return 0;
}

static int set_word(struct xen_params *params, const char *key, char *value, struct error **err)
{
	static const char *const of[] = {
		[POLICY_OF_MEMORY] = "memory", [POLICY_OF_DIRTY] = "dirty"};
	static const char *const unmet[] = {"pause", "abort"};
	static const char *const redirtied[] = {"send", "skip"};
	int i;

	if (strcmp(key, "stop") == 0)
		return set_rules(params, value, err);
	if (strcmp(key, "rule") == 0) {
		const char *rules[POLICY_RULES];

		for (i = 0; i < POLICY_RULES; i++)
			rules[i] = policy_rule_name((enum policy_rule)i);
		if ((i = word(key, value, rules, POLICY_RULES, err)) < 0)
			return -1;
		params->policy.rule = (enum policy_rule)i;
	} else if (strcmp(key, "of") == 0) {
		if ((i = word(key, value, of, ARRAY_SIZE(of), err)) < 0)
			return -1;
		params->policy.share_of = (enum policy_share_of)i;
	} else if (strcmp(key, "unmet") == 0) {
		if ((i = word(key, value, unmet, ARRAY_SIZE(unmet), err)) < 0)
			return -1;
		params->abort_unmet = i == 1;
	} else if (strcmp(key, "redirtied") == 0) {
		if ((i = word(key, value, redirtied, ARRAY_SIZE(redirtied), err)) < 0)
			return -1;
		params->skip_redirtied = i == 1;
	} else {
		return error_set(err, EINVAL, "there is no parameter %s", key);
	}
	return 0;
}

static int set(struct xen_params *params, char *pair, struct error **err)
{
	char *value = strchr(pair, '=');
	int rc;

	if (!value || !value[1])
		return error_set(err, EINVAL, "found %s, expected KEY=VALUE", pair);
	*value++ = '\0';
	if ((rc = set_figure(params, pair, value, err)) != 1)
		return rc;
	if ((rc = set_whole(params, pair, value, err)) != 1)
		return rc;
	return set_word(params, pair, value, err);
}

static void blank_comments(char *text)
{
	char *end;

	while ((text = strchr(text, '#'))) {
		end = text + strcspn(text, "\n");
		memset(text, ' ', (size_t)(end - text));
	}
}

/* What does not fit together. */
static int check(struct xen_params *params, struct error **err)
{
	struct stop_config *stop = &params->stop;

	if (!stop->rules) {
		stop->rules = 1 << STOP_TARGET | 1 << STOP_SMART;
		if (stop->time_limit > 0)
			stop->rules |= 1 << STOP_TIME;
	}
	if (stop->rules >> STOP_TIME & 1 && !(stop->time_limit > 0))
		return error_set(err, EINVAL, "found time among the rules of stop=, but no time=");
	if (!(stop->rules & (1 << STOP_SMART | 1 << STOP_TIME | 1 << STOP_ROUNDS)))
		return error_set(err, EINVAL,
				 "found only rules in stop= that may never be met: "
				 "expected smart, time or rounds beside them");
	if (stop->rules >> STOP_TARGET & 1 && !(stop->downtime > stop->fixed))
		return error_set(err, EINVAL,
				 "found downtime=%g and fixed=%g, expected a longer downtime",
				 stop->downtime, stop->fixed);
	return 0;
}

int xen_params_parse(const char *text, struct xen_params *params, struct error **err)
{
	struct xen_params found = {
		.policy = {.rule = POLICY_EXPECTED, .share = 0.1, .threshold = 1},
		.stop = {.downtime = 0.3},
		.skip_redirtied = true,
	};
	auto_free char *copy = NULL;
	char *place;

	if (strlen(text) > TEXT_MOST)
		return error_set(err, EINVAL, "found %zu bytes of parameters, expected at most %d",
				 strlen(text), TEXT_MOST);
	copy = strdup(text);
	if (!copy)
		return error_set(err, ENOMEM, "no memory for the parameters");
	blank_comments(copy);
	for (char *pair = strtok_r(copy, SEPARATORS, &place); pair;
	     pair = strtok_r(NULL, SEPARATORS, &place))
		if (set(&found, pair, err) < 0)
			return -1;
	if (check(&found, err) < 0)
		return -1;
	*params = found;
	return 0;
}
