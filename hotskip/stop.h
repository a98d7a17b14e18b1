/* SPDX-License-Identifier: GPL-2.0-or-later */
#ifndef HOTSKIP_STOP_H
#define HOTSKIP_STOP_H

#include <stdbool.h>
#include <stdint.h>

/*
 * When pre-copy ends: rules that are asked after each round, in the order below, any set of them
 * at a time. The first that says stop is the reason. Nothing is allocated; a rule's state is in
 * struct stop. O(1) a round.
 */
enum stop_reason {
	STOP_NOT, /* go on */
	/* What remains passes within the target downtime: remaining <= rate * (downtime - fixed).
	 */
	STOP_TARGET,
	/* QEMU's rule: remaining < rate * downtime, with the rate that the round showed. */
	STOP_QEMU,
	/* Xen's rule, few pages (libxc: 50). */
	STOP_FEW,
	/* Xen's rule, many rounds (libxc: 5). */
	STOP_ROUNDS,
	/*
	 * CloudNet's smart stop (section III-B.3): once a round has dirtied more pages than it sent
	 * (the crossover), stop at the first round after which fewer pages remain than after each
	 * of the last `window` rounds. A remainder that grows for ever never stops it: give a time
	 * limit too.
	 */
	STOP_SMART,
	/* The time limit. */
	STOP_TIME,
	STOP_REASONS
};

#define STOP_WINDOW_MOST 16
#define STOP_TEXT	 160

struct stop_config {
	unsigned rules;	     /* 1 << STOP_TARGET | ... */
	double downtime;     /* s, for target and QEMU's rule */
	double fixed;	     /* s of the downtime that are not for pages: device state, switching */
	double time_limit;   /* s since the first round began */
	unsigned xen_rounds; /* 0: 5 */
	uint64_t xen_pages;  /* 0: 50 */
	unsigned window;     /* rounds that the smart stop compares with; 0: 4 */
};

/* A round that has just ended. Pages are pages of any one size. */
struct stop_round {
	uint64_t sent;	    /* in this round */
	uint64_t dirtied;   /* in this round, whether or not they had been dirty before */
	uint64_t remaining; /* to be sent from here on: dirtied and skipped ones, each once */
	double elapsed;	    /* s since the first round began */
	double rate;	    /* pages/s that the link carries */
};

struct stop {
	struct stop_config config;
	unsigned rounds; /* seen so far */
	bool crossed;
	uint64_t remainders[STOP_WINDOW_MOST]; /* of the last rounds, a ring */
};

/* A window above STOP_WINDOW_MOST counts as that. */
void stop_init(struct stop *stop, const struct stop_config *config);

/* To be asked once a round. text (may be NULL) says why, or what is still missing, with figures. */
enum stop_reason stop_ask(struct stop *stop, const struct stop_round *round, char text[STOP_TEXT]);

/* Pages that fit the target downtime: rate * (downtime - fixed), at least 0. */
uint64_t stop_target_pages(const struct stop_config *config, double rate);

const char *stop_reason_name(enum stop_reason reason); /* "target", "smart", ... */

#endif
