# SPDX-License-Identifier: GPL-2.0-or-later
# Draws a hop as SVG: what the client received (above), what the source sent on each path (below), and the phases.
#
#	awk -F, -f plot-hop.awk -v title=TEXT -v facts=TEXT -v at_source=TEXT -v at_destination=TEXT \
#		phases.csv client.csv wan.csv >hop.svg
#
# The files have a header each. phases.csv: phase, stage, begin, end. client.csv, wan.csv: time, counters of bytes (one
# for each curve; a curve's name is the header up to "_"). Times in seconds, 0 is the beginning of the hop. Colours
# are Okabe and Ito's, which colour-blind people can tell apart.

BEGIN {
	width = 960; height = 600; left = 58; right = 936
	ribbon = 76; strip = 106; row = 15
	panel_top[1] = 182; panel_top[2] = 382; panel_height = 150
	ink = "#1f2933"; faint = "#5f6b76"
	colour["east"] = "#cc79a7"; colour["west"] = "#0072b2"
	colour["wan1"] = "#d55e00"; colour["wan2"] = "#009e73"
	tick = 0.1; window_most = 0.5
}

FNR == 1 {
	file++
	for (i = 2; i <= NF; i++)
		name[file, i] = substr($i, 1, index($i, "_") - 1)
	curves[file] = NF
	next
}
file == 1 { add_stage($1, $2, $3, $4) }
file > 1 {
	n = ++samples[file]
	time[file, n] = $1
	for (i = 2; i <= NF; i++)
		count[file, n, i] = $i
}
END { draw() }

# Stages of one phase make one band, which is named after the longest of them.
function add_stage(phase, stage, begin, end)
{
	if (!(phase in band_begin)) {
		bands++
		order[bands] = phase
		band_begin[phase] = begin
		longest[phase] = -1
	}
	if (end - begin > longest[phase]) {
		longest[phase] = end - begin
		band_name[phase] = stage
	}
	band_end[phase] = end
	if (stage == "switchover")
		switched = (begin + end) / 2
}

# --- numbers

function time_of(n) { return t_min + window_most / 2 + n * tick }
function x_of(t) { return left + (t - t_min) / (t_max - t_min) * (right - left) }
function y_of(panel, v) { return panel_top[panel] + panel_height * (1 - v / y_max[panel]) }

# Bytes of a curve at a time between the samples. Times only grow from call to call, save to a new curve.
function bytes_at(file, curve, t,    a, b)
{
	if (cursor_of != file SUBSEP curve || time[file, cursor] > t)
		cursor = 1
	cursor_of = file SUBSEP curve
	while (cursor < samples[file] - 1 && time[file, cursor + 1] <= t)
		cursor++
	a = time[file, cursor]; b = time[file, cursor + 1]
	if (t <= a)
		return count[file, cursor, curve]
	if (t >= b)
		return count[file, cursor + 1, curve]
	return count[file, cursor, curve] + \
		(count[file, cursor + 1, curve] - count[file, cursor, curve]) * (t - a) / (b - a)
}

# Rates in Mbit/s, each over the window around its time; a file's curves are stacked on each other.
function find_rates(file, panel, window,    curve, n, side)
{
	points = int((t_max - t_min - window_most) / tick)
	for (curve = 2; curve <= curves[file]; curve++)
		for (side = -1; side <= 1; side += 2)
			for (n = 1; n <= points; n++)
				top[file, curve, n] += side * 8 / 1e6 / window * \
					bytes_at(file, curve, time_of(n) + side * window / 2)
	for (n = 1; n <= points; n++) {
		for (curve = 3; curve <= curves[file]; curve++)
			top[file, curve, n] += top[file, curve - 1, n]
		if (top[file, curves[file], n] > y_max[panel])
			y_max[panel] = top[file, curves[file], n]
	}
	y_step[panel] = nice_step(y_max[panel] / 4)
	y_max[panel] = y_step[panel] * int(y_max[panel] / y_step[panel] + 1)
}

# The smallest of 1, 2, 5, 10, 20 ... that is not below v
function nice_step(v,    step)
{
	for (step = 1; step < v; step *= 10)
		if (2 * step >= v)
			return 2 * step
		else if (5 * step >= v)
			return 5 * step
	return step
}

# --- shapes

function escaped(what)
{
	gsub(/&/, "\\&amp;", what); gsub(/</, "\\&lt;", what); gsub(/>/, "\\&gt;", what)
	return what
}

function text(x, y, what, attributes)
{
	printf "<text x=\"%.1f\" y=\"%.1f\" %s>%s</text>\n", x, y, attributes, escaped(what)
}

function rect(x, y, w, h, attributes)
{
	printf "<rect x=\"%.1f\" y=\"%.1f\" width=\"%.1f\" height=\"%.1f\" %s/>\n", x, y, w, h, attributes
}

function line(x1, y1, x2, y2, attributes)
{
	printf "<line x1=\"%.1f\" y1=\"%.1f\" x2=\"%.1f\" y2=\"%.1f\" %s/>\n", x1, y1, x2, y2, attributes
}

# A curve from one point to another, and the area between it and the one below
function curve_shape(file, curve, panel, first, last, paint,    i, edge, back)
{
	for (i = first; i <= last; i++)
		edge = edge sprintf("%s%.1f %.1f", i == first ? "M" : "L", x_of(time_of(i)),
			y_of(panel, top[file, curve, i]))
	for (i = last; i >= first; i--)
		back = back sprintf("L%.1f %.1f", x_of(time_of(i)),
			y_of(panel, curve > 2 ? top[file, curve - 1, i] : 0))
	printf "<path d=\"%s%sZ\" fill=\"%s\" fill-opacity=\"0.4\"/>\n", edge, back, paint
	printf "<path d=\"%s\" fill=\"none\" stroke=\"%s\" stroke-width=\"1.6\" stroke-linejoin=\"round\"/>\n", edge, paint
}

# --- parts of the picture

function draw_frame()
{
	printf "<svg xmlns=\"http://www.w3.org/2000/svg\" viewBox=\"0 0 %d %d\" width=\"%d\" height=\"%d\" role=\"img\" " \
		"font-family=\"'DejaVu Sans','Segoe UI',Verdana,sans-serif\" font-size=\"12\" fill=\"%s\">\n",
		width, height, width, height, ink
	printf "<title>%s</title>\n<desc>%s</desc>\n", escaped(title), escaped(facts)
	rect(0, 0, width, height, "fill=\"#ffffff\"")
	text(left, 34, title, "font-size=\"20\" font-weight=\"bold\"")
	text(left, 56, facts, "font-size=\"13\" fill=\"" faint "\"")
}

# Where the VM is, from left to right
function draw_ribbon(    x)
{
	x = x_of(switched)
	draw_place(left, x - 1.5, at_source, colour["east"], "#1f0a16")
	draw_place(x + 1.5, right, at_destination, colour["west"], "#ffffff")
}

# Of the words, what there's room for, up to a comma
function draw_place(x1, x2, words, paint, pen)
{
	rect(x1, ribbon, x2 - x1, 22, "rx=\"4\" fill=\"" paint "\"")
	while (8 * length(words) > x2 - x1 && sub(/,[^,]*$/, "", words))
		continue
	text((x1 + x2) / 2, ribbon + 15.5, words, "text-anchor=\"middle\" font-weight=\"bold\" fill=\"" pen "\"")
}

function label_of(phase,    seconds)
{
	seconds = band_end[phase] - band_begin[phase]
	return phase " " band_name[phase] " " sprintf(seconds < 0.95 ? "%.2f s" : "%.1f s", seconds)
}

# Bands over both panels. A label that its band has no room for stands beside all bands, with a line that leads to it.
function draw_bands(    i, phase, x1, x2, bottom, label, below, side, x)
{
	bottom = panel_top[2] + panel_height
	for (i = 1; i <= bands; i++) {
		phase = order[i]
		x1 = x_of(band_begin[phase]); x2 = x_of(band_end[phase])
		rect(x1, strip, x2 - x1, bottom - strip,
			"fill=\"" (band_name[phase] == "switchover" ? "#f9c9a8" : i % 2 ? "#e6eaee" : "#f2f4f6") "\"")
	}
	for (i = 1; i <= bands; i++) {
		phase = order[i]
		x1 = x_of(band_begin[phase]); x2 = x_of(band_end[phase])
		label = label_of(phase)
		if (x2 - x1 > 7.5 * length(label)) {
			text((x1 + x2) / 2, strip + row * 1.5 + 5, label, "text-anchor=\"middle\"")
			continue
		}
		side = (x1 + x2) / 2 < (x_of(0) + x_of(band_end[order[bands]])) / 2 ? -1 : 1
		x = side < 0 ? x_of(0) - 8 : x_of(band_end[order[bands]]) + 8
		below = strip + row * (side < 0 ? 1 : rows++) + 8
		line((x1 + x2) / 2, below, x, below, "stroke=\"" faint "\"")
		rect((x1 + x2) / 2 - 1.5, below - 1.5, 3, 3, "fill=\"" faint "\"")
		text(x + side * 4, below + 4, label, side < 0 ? "text-anchor=\"end\"" : "")
	}
}

function draw_axes(panel, title,    v, y, t, x)
{
	text(left, panel_top[panel] - 9, title, "font-weight=\"bold\"")
	for (v = 0; v <= y_max[panel] + 1e-9; v += y_step[panel]) {
		y = y_of(panel, v)
		line(left, y, right, y, v == 0 ? "stroke=\"" faint "\"" : "stroke=\"#cbd2d9\" stroke-width=\"0.6\"")
		text(left - 7, y + 4, v, "text-anchor=\"end\" fill=\"" faint "\"")
	}
	for (t = 5 * int(t_min / 5); t <= t_max; t += 5) {
		x = x_of(t)
		line(x, y_of(panel, 0), x, y_of(panel, 0) + 5, "stroke=\"" faint "\"")
		text(x, y_of(panel, 0) + 18, t, "text-anchor=\"middle\" fill=\"" faint "\"")
	}
}

function draw_legend(    i, x, y)
{
	x = x_of(band_end[order[bands]]) + 24
	y = panel_top[2] + 24
	for (i = 2; i <= curves[3]; i++) {
		rect(x, y - 8, 22, 10, "fill=\"" colour[name[3, i]] "\" fill-opacity=\"0.25\"")
		line(x, y - 8, x + 22, y - 8, "stroke=\"" colour[name[3, i]] "\" stroke-width=\"2\"")
		text(x + 30, y + 1, "path " name[3, i], "")
		y += 20
	}
}

function draw(    here, i)
{
	t_min = time[2, 1] > time[3, 1] ? time[2, 1] : time[3, 1]
	t_max = time[2, samples[2]] < time[3, samples[3]] ? time[2, samples[2]] : time[3, samples[3]]
	find_rates(2, 1, 0.3)
	find_rates(3, 2, 0.5)
	draw_frame()
	draw_bands()
	draw_ribbon()
	draw_axes(1, "The client receives, Mbit/s")
	draw_axes(2, "East sends to west over both paths, Mbit/s")
	here = int((switched - time_of(0)) / tick)
	curve_shape(2, 2, 1, 1, here, colour["east"])
	curve_shape(2, 2, 1, here, points, colour["west"])
	for (i = 2; i <= curves[3]; i++)
		curve_shape(3, i, 2, 1, points, colour[name[3, i]])
	draw_legend()
	text((left + right) / 2, panel_top[2] + panel_height + 38, "seconds since the hop began",
		"text-anchor=\"middle\" fill=\"" faint "\"")
	print "</svg>"
}
