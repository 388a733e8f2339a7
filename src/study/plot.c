/* The picture of scaling: time and efficiency over ranks, points with intervals, lines only along ranks (Hoefler and
 * Belli, SC15, rule 12). */
#include "study/drawing.h"
#include "study/gnuplot.h"
#include "study/names.h"

#include <attn/study.h>

#include <math.h>
#include <stdlib.h>
#include <string.h>

static const char note[] = "bars: interval of the median, by order statistics";
static const char hollow_note[] = "; hollow: more threads than cores, not a scaling result";

/* What is drawn. */
typedef struct scaling_drawing {
    const attn_series **series; /* [count], those with a valid point */
    char **names;               /* [count] */
    char *title;
    size_t count;
    int64_t *ranks; /* [rank_count], rising, each once */
    size_t rank_count;
    double time_lo, time_hi; /* ms */
    double efficiency_hi;    /* % */
    bool oversubscribed;
} scaling_drawing;

/* Solid as long as colours last; the dashes of the ideal line are never used. */
static int dash_of(size_t series)
{
    return series < ATTN_DRAW_COLOURS ? 1 : 3 + (int)(series / ATTN_DRAW_COLOURS) % 3;
}

static bool drawable(const attn_point *point)
{
    return point->valid && point->time > 0;
}

static bool drawable_series(const attn_series *series)
{
    for (size_t p = 0; p < series->count; p++)
        if (drawable(&series->points[p]))
            return true;
    return false;
}

static double ideal_time(const attn_point *point)
{
    return point->efficiency * point->time; /* the time at an efficiency of 1 */
}

static void add_rank(scaling_drawing *d, int64_t ranks)
{
    size_t at = d->rank_count;

    for (size_t i = 0; i < d->rank_count; i++)
        if (d->ranks[i] == ranks)
            return;
    while (at > 0 && d->ranks[at - 1] > ranks) {
        d->ranks[at] = d->ranks[at - 1];
        at--;
    }
    d->ranks[at] = ranks;
    d->rank_count++;
}

static void add_extent(scaling_drawing *d, const attn_series *series)
{
    for (size_t p = 0; p < series->count; p++) {
        const attn_point *point = &series->points[p];
        const double ideal = ideal_time(point);

        if (!drawable(point))
            continue;
        add_rank(d, point->ranks);
        d->time_lo = fmin(d->time_lo, 1e3 * fmin(point->lo > 0 ? point->lo : point->time, ideal));
        d->time_hi = fmax(d->time_hi, 1e3 * fmax(point->hi, ideal));
        d->efficiency_hi = fmax(d->efficiency_hi, 100 * point->efficiency_hi);
        d->oversubscribed = d->oversubscribed || point->oversubscribed;
    }
}

/* The rank counts that were run; a label is left out where it would touch the one before it. */
static void write_rank_ticks(const scaling_drawing *d, FILE *script)
{
    const double first = (double)d->ranks[0], last = (double)d->ranks[d->rank_count - 1];
    const double lo = first / 1.25, hi = last * 1.25, gap = 0.055 * log(hi / lo);
    double labelled = 0;

    fprintf(script, "set xrange [%.9g:%.9g]\nset xtics (", lo, hi);
    for (size_t i = 0; i < d->rank_count; i++) {
        const double ranks = (double)d->ranks[i];
        const bool label = labelled == 0 || log(ranks / labelled) > gap;

        fprintf(script, "%s", i > 0 ? ", " : "");
        if (label)
            fprintf(script, "'%.0f' %.0f", ranks, ranks);
        else
            fprintf(script, "'' %.0f", ranks);
        labelled = label ? ranks : labelled;
    }
    fputs(") nomirror\n", script);
}

static void write_number(double value, FILE *script)
{
    if (isfinite(value))
        fprintf(script, " %.9g", value);
    else
        fputs(" NaN", script);
}

/* Columns: ranks, time, lo, hi, ideal time (ms), efficiency, lo, hi (%), oversubscribed. */
static void write_data(const scaling_drawing *d, FILE *script)
{
    for (size_t s = 0; s < d->count; s++) {
        fprintf(script, "$s%zu << END\n", s);
        for (size_t p = 0; p < d->series[s]->count; p++) {
            const attn_point *point = &d->series[s]->points[p];
            const double values[] = {1e3 * point->time,         1e3 * point->lo,         1e3 * point->hi,
                                     1e3 * ideal_time(point),   100 * point->efficiency, 100 * point->efficiency_lo,
                                     100 * point->efficiency_hi};

            if (!drawable(point))
                continue;
            fprintf(script, "%lld", (long long)point->ranks);
            for (size_t v = 0; v < sizeof values / sizeof values[0]; v++)
                write_number(values[v], script);
            fprintf(script, " %d\n", point->oversubscribed);
        }
        fputs("END\n", script);
    }
}

/* One panel's series: bars and lines first, so that markers lie on top. Columns of value, its interval and the last
 * column, as in write_data. */
static void write_series(const scaling_drawing *d, int value, FILE *script)
{
    for (size_t s = 0; s < d->count; s++) {
        const char *colour = attn_draw_colours[s % ATTN_DRAW_COLOURS];
        const int marker = attn_draw_markers[s % ATTN_DRAW_MARKERS], dash = dash_of(s);

        fprintf(script, ", $s%zu using 1:%d with lines lw 2 dt %d lc rgb '%s'", s, value, dash, colour);
        fprintf(script, ", $s%zu using 1:%d:%d:%d with yerrorbars pt -1 lw 2 lc rgb '%s'", s, value,
                value == 2 ? 3 : value + 1, value == 2 ? 4 : value + 2, colour);
        fprintf(script, ", $s%zu using 1:($9 == 0 ? $%d : NaN) with points pt %d lc rgb '%s'", s, value, marker,
                colour);
        fprintf(script, ", $s%zu using 1:($9 != 0 ? $%d : NaN) with points pt %d lc rgb 'white'", s, value, marker);
        fprintf(script, ", $s%zu using 1:($9 != 0 ? $%d : NaN) with points pt %d lw 2 lc rgb '%s'", s, value,
                marker - 1, colour);
    }
    fputc('\n', script);
}

/* Ideal lines that coincide are drawn once: dashes over dashes would look solid. */
static bool same_ideal(const attn_series *a, const attn_series *b)
{
    return a->baseline != NULL && b->baseline != NULL && a->baseline->result == b->baseline->result;
}

static void write_time_panel(const scaling_drawing *d, FILE *script)
{
    const double lo = d->time_lo / 1.4, hi = d->time_hi * 1.4;
    bool first = true;

    fputs("set logscale xy\nset ylabel 'time, ms'\nset title 'Time (median of the slowest rank)'\n", script);
    fprintf(script, "set yrange [%.9g:%.9g]\n", lo, hi);
    attn_draw_log_ticks("y", lo, hi, script);
    fputs("plot ", script);
    for (size_t s = 0; s < d->count; s++) {
        bool drawn = false;

        for (size_t t = 0; t < s; t++)
            drawn = drawn || (same_ideal(d->series[t], d->series[s]) && d->series[t]->count >= d->series[s]->count);
        if (drawn)
            continue;
        fprintf(script, "%s$s%zu using 1:5 with lines dt 2 lw 1.5 lc rgb '#808080'", first ? "" : ", ", s);
        first = false;
    }
    write_series(d, 2, script);
}

static void write_efficiency_panel(const scaling_drawing *d, FILE *script)
{
    const double hi = fmax(110, 1.05 * d->efficiency_hi);

    fputs("unset logscale y\nset ylabel 'efficiency, %'\nset title 'Efficiency (speed-up per core)'\n", script);
    fprintf(script, "set yrange [0:%.9g]\nset ytics auto nomirror\n", hi);
    if (hi <= 160)
        fputs("set ytics 0,20 nomirror\n", script);
    fputs("plot 100 with lines dt 2 lw 1.5 lc rgb '#808080'", script);
    write_series(d, 6, script);
}

/* A panel without axes that holds the legend of both others. */
static void write_legend(const scaling_drawing *d, int columns, FILE *script)
{
    fprintf(script,
            "unset border\nunset tics\nunset title\nunset xlabel\nunset ylabel\nunset logscale\nunset grid\n"
            "set xrange [0:1]\nset yrange [0:1]\n"
            "set key center center horizontal Left reverse samplen 3 spacing 1.3 maxcols %d\nplot ",
            columns);
    for (size_t s = 0; s < d->count; s++) {
        fprintf(script, "NaN with linespoints lw 2 pt %d dt %d lc rgb '%s' title ",
                attn_draw_markers[s % ATTN_DRAW_MARKERS], dash_of(s), attn_draw_colours[s % ATTN_DRAW_COLOURS]);
        attn_draw_quoted(d->names[s], strlen(d->names[s]), script);
        fputs(", ", script);
    }
    fputs("NaN with lines dt 2 lw 1.5 lc rgb '#808080' title 'ideal, from the baseline'", script);
    fputc('\n', script);
}

static void write_script(const scaling_drawing *d, const char *terminal, FILE *script)
{
    size_t longest = 24, entries = d->count + 1;
    int columns, rows, lines;
    double bottom, top;

    for (size_t s = 0; s < d->count; s++)
        longest = strlen(d->names[s]) > longest ? strlen(d->names[s]) : longest;
    columns = longest > 60 ? 1 : longest > 36 ? 2 : longest > 24 ? 3 : 4;
    rows = (int)((entries + (size_t)columns - 1) / (size_t)columns);
    bottom = 0.155 + 0.033 * rows;
    fprintf(script, "set terminal %s\nset encoding utf8\nset datafile missing 'NaN'\n", terminal);
    write_data(d, script);
    fputs(
        "set multiplot\nset key off\nset border 3 lw 1.2\nset grid lt 1 lw 0.6 lc rgb '#C8C8C8'\nset xlabel 'ranks'\n",
        script);
    lines = attn_draw_title(d->title, script);
    top = 0.91 - 0.03 * lines;
    fprintf(script, "set tmargin at screen %.3f\nset bmargin at screen %.3f\n", top, bottom);
    fputs("set lmargin at screen 0.075\nset rmargin at screen 0.485\n", script);
    write_rank_ticks(d, script);
    write_time_panel(d, script);
    fputs("unset label\nset lmargin at screen 0.57\nset rmargin at screen 0.98\n", script);
    write_efficiency_panel(d, script);
    fprintf(script,
            "set lmargin at screen 0.02\nset rmargin at screen 0.98\nset tmargin at screen %.3f\n"
            "set bmargin at screen 0.045\n",
            bottom - 0.1);
    fprintf(script, "set label '%s%s' at screen 0.5, screen 0.02 center textcolor rgb '#404040'\n", note,
            d->oversubscribed ? hollow_note : "");
    write_legend(d, columns, script);
    fputs("unset multiplot\n", script);
}

/* Lets a description be written into text of its own. */
static attn_status write_title_text(const attn_description *problem, char **out, attn_error *error)
{
    size_t size;
    FILE *stream = open_memstream(out, &size);

    if (stream == NULL)
        return attn_error_set(error, ATTN_MEMORY, "no memory for the title of a picture");
    attn_description_common(problem, stream);
    if (fclose(stream) != 0)
        return attn_error_set(error, ATTN_MEMORY, "no memory for the title of a picture");
    return ATTN_OK;
}

static attn_status write_name_text(const attn_description *problem, const attn_series *series, char **out,
                                   attn_error *error)
{
    size_t size;
    FILE *stream = open_memstream(out, &size);
    attn_status status;

    if (stream == NULL)
        return attn_error_set(error, ATTN_MEMORY, "no memory for the name of a series");
    status = attn_series_write_name(problem, series, stream, error);
    if (fclose(stream) != 0 && status == ATTN_OK)
        status = attn_error_set(error, ATTN_MEMORY, "no memory for the name of a series");
    return status;
}

static void release_drawing(scaling_drawing *d)
{
    for (size_t s = 0; d->names != NULL && s < d->count; s++)
        free(d->names[s]);
    free(d->names);
    free(d->title);
    free(d->ranks);
    free(d->series);
}

static attn_status make_drawing(const attn_scaling *scaling, scaling_drawing *d, attn_error *error)
{
    attn_description *problem;
    attn_status status;
    size_t points = 1;

    *d = (scaling_drawing){.time_lo = INFINITY, .time_hi = 0, .efficiency_hi = 0};
    for (size_t s = 0; s < scaling->count; s++)
        points += scaling->series[s].count;
    d->series = calloc(scaling->count + 1, sizeof *d->series);
    d->names = calloc(scaling->count + 1, sizeof *d->names);
    d->ranks = calloc(points, sizeof *d->ranks);
    if (d->series == NULL || d->names == NULL || d->ranks == NULL)
        return attn_error_set(error, ATTN_MEMORY, "no memory to draw %zu series", scaling->count);
    for (size_t s = 0; s < scaling->count; s++)
        if (drawable_series(&scaling->series[s]))
            d->series[d->count++] = &scaling->series[s];
    if (d->count == 0)
        return attn_error_set(error, ATTN_UNSUPPORTED, "nothing to draw: none of the cases is valid and timed");
    for (size_t s = 0; s < d->count; s++)
        add_extent(d, d->series[s]);
    status = attn_series_describe(d->series, d->count, &problem, error);
    if (status == ATTN_OK)
        status = write_title_text(problem, &d->title, error);
    for (size_t s = 0; s < d->count && status == ATTN_OK; s++)
        status = write_name_text(problem, d->series[s], &d->names[s], error);
    attn_description_destroy(problem);
    return status;
}

attn_status attn_study_plot_scaling(const attn_results *results, const char *path, attn_error *error)
{
    const char *terminal = attn_draw_terminal(path);
    attn_scaling *scaling;
    scaling_drawing drawing;
    char *script = NULL;
    size_t length = 0;
    FILE *stream = NULL;
    attn_status status;

    if (terminal == NULL)
        return attn_error_set(error, ATTN_ARGUMENT, "picture %s: a name that ends in .png, .svg or .pdf", path);
    status = attn_scaling_find(results, &scaling, error);
    if (status != ATTN_OK)
        return status;
    status = make_drawing(scaling, &drawing, error);
    if (status != ATTN_OK)
        goto cleanup;
    stream = open_memstream(&script, &length);
    if (stream != NULL)
        write_script(&drawing, terminal, stream);
    if (stream == NULL || fclose(stream) != 0)
        status = attn_error_set(error, ATTN_MEMORY, "no memory to draw %s", path);
    else
        status = attn_gnuplot_draw(script, length, path, error);
    free(script);

cleanup:
    release_drawing(&drawing);
    attn_scaling_destroy(scaling);
    return status;
}
