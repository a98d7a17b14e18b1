/* SPDX-License-Identifier: GPL-2.0-or-later */
#include "migrate/codec/link_meter.h"

#define UP	    0.7 /* weight of a window that shows more than was known */
#define DOWN	    0.3
#define RAISE	    1.2
#define CODER_LEAST 0.5 /* of a window: the coder held things up */

void link_meter_begin(struct link_meter *m, int64_t now_ns)
{
	m->window_ns = now_ns;
}

void link_meter_mark(struct link_meter *m, uint64_t in, uint64_t out)
{
	const struct link_mark *last = &m->marks[(m->next_mark - 1) % LINK_MARKS];

	if (m->next_mark > m->first_mark && out < last->out + LINK_MARK_EVERY)
		return;
	if (m->next_mark - m->first_mark == LINK_MARKS)
		m->first_mark++; /* what it told will be told by the next one, a little later */
	m->marks[m->next_mark++ % LINK_MARKS] = (struct link_mark){in, out};
}

bool link_meter_look(struct link_meter *m, int64_t now_ns, uint64_t delivered, size_t waiting)
{
	while (m->first_mark < m->next_mark &&
	       m->marks[m->first_mark % LINK_MARKS].out <= delivered)
		m->arrived = m->marks[m->first_mark++ % LINK_MARKS].in;
	m->busy &= waiting > 0;
	return now_ns - m->window_ns >= LINK_WINDOW_NS;
}

/* What a window of so many seconds tells. */
static void learn(struct link_meter *m, double seconds, double arrived, double coder_s)
{
	double rate = arrived / seconds;

	if (m->busy && arrived > 0) {
		m->rate += (m->rate > 0 ? (rate > m->rate ? UP : DOWN) : 1) * (rate - m->rate);
		m->windows++;
	} else if (m->rate > 0 && coder_s >= CODER_LEAST * seconds) {
		m->rate = RAISE * (rate > m->rate ? rate : m->rate);
	}
}

void link_meter_close(struct link_meter *m, int64_t now_ns, uint64_t delivered, size_t waiting,
		      double coder_s)
{
	learn(m, (double)(now_ns - m->window_ns) / NS_PER_SEC,
	      (double)(delivered - m->window_delivered), coder_s - m->window_coder_s);
	m->window_ns = now_ns;
	m->window_delivered = delivered;
	m->window_coder_s = coder_s;
	m->busy = waiting > 0;
}

double link_meter_rate(const struct link_meter *m)
{
	return m->windows >= LINK_WINDOWS ? m->rate : 0;
}
