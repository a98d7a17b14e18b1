/* SPDX-License-Identifier: GPL-2.0-or-later */
#include "migrate/hop/recover_later.h"

#include "common/cleanup.h"
#include "common/clock.h"
#define LOG_MODULE "recover"
#include "common/log.h"
#include "migrate/hop/keeper.h"
#include "migrate/hop/resolve.h"

#define PATIENCE_NS (600 * NS_PER_SEC)

struct later {
	const char *rsh;
	const struct fleet *fleet;
};

static int recover(const char *hop, void *context, const char **outcome)
{
	const struct later *later = context;
	auto_error why = NULL;
	int status = recover_hop(hop, later->fleet, later->rsh, clock_ns() + PATIENCE_NS, &why);

	if (why)
		log_error("%s", error_text(why));
	*outcome = status == 0 ? "its end of the hop was recovered"
			       : "it could not be recovered yet: run `edgehop recover`";
	return status;
}

int recover_later(const char *hop, const struct fleet *fleet, const char *rsh, struct error **err)
{
	struct later later = {rsh, fleet};
	const struct keeper_job job = {.hop = hop, .recover = recover, .context = &later};

	return keeper_start(&job, err);
}
