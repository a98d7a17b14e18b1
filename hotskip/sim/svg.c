/* SPDX-License-Identifier: GPL-2.0-or-later */
#include <math.h>

#include "common/cleanup.h"
#include "hotskip/sim/report.h"

/*
 *	 title
 *	s |\
 *	  | \__		legend
 *	  |____\___
 *	    Mbit/s
 */
#define WIDTH  760
#define HEIGHT 440
#define LEFT   70
#define TOP    50
#define PLOT_W 490
#define PLOT_H 320
#define TICKS  5

static const char *const colours[] = {"#333333", "#1f77b4", "#2ca02c", "#d62728",
				      "#ff7f0e", "#9467bd", "#8c564b", "#17becf"};
static const char *const dashes[] = {"none", "6 3"};

struct scale {
	double low, high; /* bandwidth, bit/s */
	double most;	  /* s, at the top */
};

static double x_of(const struct scale *scale, double bandwidth)
{
	double width = scale->high - scale->low;

	return LEFT + (width > 0 ? (bandwidth - scale->low) / width : 0.5) * PLOT_W;
}

static double y_of(const struct scale *scale, double seconds)
{
	return TOP + PLOT_H - seconds / scale->most * PLOT_H;
}

/* The next of 1, 1.25, 1.5, 2, 2.5, 5 times a power of 10. */
static double round_up(double value)
{
	static const double steps[] = {1, 1.25, 1.5, 2, 2.5, 5, 10};
	double power = pow(10, floor(log10(value)));

	for (size_t i = 0; i < ARRAY_SIZE(steps); i++)
		if (value <= steps[i] * power * (1 + 1e-9))
			return steps[i] * power;
	return value;
}

static struct scale find_scale(const struct sim_table *table)
{
	struct scale scale = {table->rows[0].bandwidth, table->rows[table->count - 1].bandwidth, 0};

	for (size_t i = 0; i < table->count; i++)
		scale.most = fmax(scale.most, table->rows[i].result.seconds);
	scale.most = round_up(scale.most / TICKS) * TICKS;
	return scale;
}

/* A model's specification is the user's text. */
static void put_text(FILE *out, const char *text)
{
	for (; *text; text++) {
		if (*text == '<')
			fputs("&lt;", out);
		else if (*text == '&')
			fputs("&amp;", out);
		else
			fputc(*text, out);
	}
}

static void put_axes(FILE *out, const struct sim_table *table, const struct scale *scale)
{
	double last = 0;

	fprintf(out,
		"<svg xmlns=\"http://www.w3.org/2000/svg\" width=\"%d\" height=\"%d\" "
		"font-family=\"sans-serif\" font-size=\"12\">\n"
		"<rect width=\"100%%\" height=\"100%%\" fill=\"white\"/>\n"
		"<text x=\"%d\" y=\"20\" font-size=\"14\">Migration time against bandwidth, "
		"target downtime %g s</text>\n<text x=\"%d\" y=\"38\" fill=\"#555\">",
		WIDTH, HEIGHT, LEFT, table->downtime, LEFT);
	put_text(out, table->model);
	fputs("</text>\n", out);
	for (int i = 0; i <= TICKS; i++) {
		double value = scale->most * i / TICKS;

		fprintf(out,
			"<path d=\"M%d %.1fh%d\" stroke=\"#ddd\"/>"
			"<text x=\"%d\" y=\"%.1f\" text-anchor=\"end\">%g</text>\n",
			LEFT, y_of(scale, value), PLOT_W, LEFT - 6, y_of(scale, value) + 4, value);
	}
	for (size_t i = 0; i < table->count; i++) {
		double bandwidth = table->rows[i].bandwidth;

		if (bandwidth == last)
			continue;
		last = bandwidth;
		fprintf(out,
			"<path d=\"M%.1f %dv5\" stroke=\"black\"/>"
			"<text x=\"%.1f\" y=\"%d\" text-anchor=\"middle\">%g</text>\n",
			x_of(scale, bandwidth), TOP + PLOT_H, x_of(scale, bandwidth),
			TOP + PLOT_H + 20, bandwidth / 1e6);
	}
	fprintf(out,
		"<path d=\"M%d %dv%dh%d\" fill=\"none\" stroke=\"black\"/>\n"
		"<text x=\"%d\" y=\"%d\" text-anchor=\"middle\">bandwidth, Mbit/s</text>\n"
		"<text transform=\"translate(18 %d) rotate(-90)\" text-anchor=\"middle\">total "
		"time, "
		"pause included, s</text>\n",
		LEFT, TOP, PLOT_H, PLOT_W, LEFT + PLOT_W / 2, TOP + PLOT_H + 42, TOP + PLOT_H / 2);
}

static void put_line(FILE *out, const struct sim_table *table, const struct scale *scale,
		     size_t which, size_t lines)
{
	const struct sim_row *first = &table->rows[which];
	const char *colour = colours[(size_t)(first->algorithm - algorithms) % ARRAY_SIZE(colours)];
	const char *dash = dashes[first->smart];
	int y = TOP + 10 + 20 * (int)which;
	char name[SIM_NAME];

	fprintf(out,
		"<polyline fill=\"none\" stroke-width=\"2\" stroke=\"%s\" stroke-dasharray=\"%s\" "
		"points=\"",
		colour, dash);
	for (size_t i = which; i < table->count; i += lines)
		fprintf(out, "%.1f,%.1f ", x_of(scale, table->rows[i].bandwidth),
			y_of(scale, table->rows[i].result.seconds));
	fputs("\"/>\n", out);
	for (size_t i = which; i < table->count; i += lines)
		fprintf(out, "<circle cx=\"%.1f\" cy=\"%.1f\" r=\"3\" fill=\"%s\"/>",
			x_of(scale, table->rows[i].bandwidth),
			y_of(scale, table->rows[i].result.seconds), colour);
	fprintf(out,
		"\n<path d=\"M%d %dh26\" stroke-width=\"2\" stroke=\"%s\" stroke-dasharray=\"%s\"/>"
		"<text x=\"%d\" y=\"%d\">%s</text>\n",
		LEFT + PLOT_W + 20, y, colour, dash, LEFT + PLOT_W + 52, y + 4,
		sim_row_name(first, name));
}

void report_svg(FILE *out, const struct sim_table *table)
{
	struct scale scale;
	size_t lines = 0;

	if (table->count == 0)
		return;
	scale = find_scale(table);
	while (lines < table->count && table->rows[lines].bandwidth == table->rows[0].bandwidth)
		lines++;
	put_axes(out, table, &scale);
	for (size_t which = 0; which < lines; which++)
		put_line(out, table, &scale, which, lines);
	fputs("</svg>\n", out);
}
