/* SPDX-License-Identifier: GPL-2.0-or-later */
#include "migrate/codec/link_meter.h"

#define UP     0.7 /* weight of a window that shows more than was known */
#define DOWN   0.3
#define RAISE  1.2
#define HARDLY 1.15

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

static void note_busy(struct link_meter *m, double rate)
{
	m->windows = rate <= HARDLY * m->last ? m->windows + 1 : 0;
	m->last = rate;
	if (m->rate > 0)
		m->rate += (rate > m->rate ? UP : DOWN) * (rate - m->rate);
	else
		m->rate = rate;
	m->known |= m->windows >= LINK_WINDOWS;
}

/* What a window of so many seconds tells. */
static void learn(struct link_meter *m, double seconds, double arrived)
{
	double rate = arrived / seconds;

	if (m->busy && arrived > 0)
		note_busy(m, rate);
	else if (m->rate > 0 && 2 * m->hungry >= m->looks)
		m->rate = RAISE * (rate > m->rate ? rate : m->rate);
}

static bool is_busy(const struct link_meter *m, const struct link_look *look)
{
	uint64_t under_way = look->given - look->delivered;

	return look->waiting > 0 || (m->recent > 0 && (double)under_way > LINK_QUEUE_S * m->recent);
}

static void begin_window(struct link_meter *m, const struct link_look *look)
{
	m->window_ns = look->now_ns;
	m->window_delivered = look->delivered;
	m->busy = is_busy(m, look);
	m->looks = m->hungry = 0;
}

bool link_meter_look(struct link_meter *m, const struct link_look *look)
{
	bool busy = is_busy(m, look);
	double arrived, seconds;

	while (m->first_mark < m->next_mark &&
	       m->marks[m->first_mark % LINK_MARKS].out <= look->delivered)
		m->arrived = m->marks[m->first_mark++ % LINK_MARKS].in;
	m->busy &= busy;
	m->looks++;
	m->hungry += !busy && look->to_code;
	if (look->now_ns - m->window_ns < LINK_WINDOW_NS)
		return false;
	seconds = (double)(look->now_ns - m->window_ns) / NS_PER_SEC;
	arrived = (double)(look->delivered - m->window_delivered);
	learn(m, seconds, arrived);
	m->recent = arrived / seconds;
	begin_window(m, look);
	return true;
}

double link_meter_rate(const struct link_meter *m)
{
	return m->known ? m->rate : 0;
}
