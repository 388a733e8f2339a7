/* The picture of timelines: a panel a case, a bar a rank, along it the phases of one repetition. Phases that work are
 * filled with colours of the palette viridis, whose brightness rises evenly, so that they differ in grey and for every
 * eye; phases that wait are hatched or empty. */
#include "study/drawing.h"
#include "study/gnuplot.h"
#include "study/recorded.h"
#include "study/summary.h"

#include <attn/study.h>

#include <math.h>
#include <stdlib.h>
#include <string.h>

enum { MOST_PANELS = 6, MOST_ROWS = 64, ONE_COLUMN = 3, NAME_WIDTH = 92, HEIGHT = 800, TEXT_HEIGHT = 20 };

#define ROW_MAX 0.1 /* height of a rank's row, of the picture */
#define BAR 0.4     /* half of a bar's height, of its row */

static const char note[] = "One more repetition of each case; 0 is each rank's own start after a barrier: clocks of "
                           "ranks are not compared";

/* gnuplot's fill style and colour. */
static const struct {
    const char *fill, *colour;
} looks[] = {
    [ATTN_PHASE_TOTAL] = {"solid noborder", "#000000"},
    [ATTN_PHASE_INPUT_READ] = {"solid noborder", "#A0A0A0"},
    [ATTN_PHASE_PACK] = {"solid noborder", "#440154"},
    [ATTN_PHASE_COMPUTE] = {"solid noborder", "#3B528B"},
    [ATTN_PHASE_EXCHANGE] = {"solid noborder", "#FDE725"},
    [ATTN_PHASE_EXCHANGE_WAIT] = {"pattern 4 border lc rgb '#D55E00'", "#D55E00"},
    [ATTN_PHASE_MERGE] = {"solid noborder", "#35B779"},
    [ATTN_PHASE_COMBINE] = {"solid noborder", "#90D743"},
    [ATTN_PHASE_IMBALANCE_WAIT] = {"empty border lc rgb '#909090'", "#909090"},
    [ATTN_PHASE_PROJECTION] = {"solid noborder", "#21908C"},
    [ATTN_PHASE_GATHER] = {"solid noborder", "#C2DF23"},
    [ATTN_PHASE_WEIGHT_REDUCE] = {"solid noborder", "#E69F00"},
    [ATTN_PHASE_LOSS] = {"solid noborder", "#CC79A7"},
    [ATTN_PHASE_OPTIMISER] = {"solid noborder", "#0072B2"},
};
_Static_assert(sizeof looks / sizeof looks[0] == ATTN_PHASE_COUNT, "every phase has its look");

typedef struct timeline_drawing {
    attn_recorded recorded;
    size_t panels;
    double ends[MOST_PANELS], medians[MOST_PANELS]; /* s; NAN where there is no median */
    bool used[MOST_PANELS][ATTN_PHASE_COUNT];
    const char *unit;
    double factor; /* from s to the unit */
    bool same_axis;
    int64_t rows_left_out, events_lost;
} timeline_drawing;

static int64_t rows_of(const attn_result *result)
{
    return result->ranks < MOST_ROWS ? result->ranks : MOST_ROWS;
}

static attn_status measure_panel(timeline_drawing *d, size_t p, attn_error *error)
{
    const attn_result *const result = d->recorded.cases[p];
    attn_summary summary;
    const attn_status status = attn_summarise(result, &summary, error);

    if (status != ATTN_OK)
        return status;
    d->medians[p] = summary.timed ? summary.time.median : NAN;
    d->ends[p] = summary.timed ? summary.time.median : 0;
    for (int64_t i = 0; i < result->events; i++) {
        const attn_event *const event = &result->timeline[i];

        if (event->rank >= rows_of(result))
            continue;
        d->used[p][event->phase] = true;
        d->ends[p] = fmax(d->ends[p], event->end);
    }
    d->rows_left_out += result->ranks - rows_of(result);
    d->events_lost += result->events_lost;
    return ATTN_OK;
}

/* Panels whose times are of one size share an axis, so that their lengths can be compared. */
static void choose_axes(timeline_drawing *d)
{
    double longest = 0, shortest = INFINITY;

    for (size_t p = 0; p < d->panels; p++) {
        longest = fmax(longest, d->ends[p]);
        shortest = fmin(shortest, d->ends[p]);
    }
    d->unit = longest < 1e-3 ? "µs" : longest < 10 ? "ms" : "s";
    d->factor = longest < 1e-3 ? 1e6 : longest < 10 ? 1e3 : 1;
    d->same_axis = longest <= 4 * shortest;
    for (size_t p = 0; p < d->panels && d->same_axis; p++)
        d->ends[p] = longest;
}

/* Columns: begin, end, rank; a block for each phase of each panel. */
static void write_data(const timeline_drawing *d, FILE *script)
{
    for (size_t p = 0; p < d->panels; p++) {
        const attn_result *const result = d->recorded.cases[p];

        for (int phase = 0; phase < ATTN_PHASE_COUNT; phase++) {
            if (!d->used[p][phase])
                continue;
            fprintf(script, "$p%zu_%d << END\n", p, phase);
            for (int64_t i = 0; i < result->events; i++) {
                const attn_event *const event = &result->timeline[i];

                if ((int)event->phase == phase && event->rank < rows_of(result))
                    fprintf(script, "%.9g %.9g %lld\n", d->factor * event->begin, d->factor * event->end,
                            (long long)event->rank);
            }
            fputs("END\n", script);
        }
    }
}

/* A tick for each 1, 2 or 5 of some power of ten, few enough for their numbers to stand apart. */
static double tick_step(double end, int most)
{
    double step = pow(10, floor(log10(end / most)));

    for (int i = 0; end / step > most; i++)
        step *= i % 3 == 1 ? 2.5 : 2;
    return step;
}

/* Rank 0 on top; a label is left out where it would touch the one before it. */
static void write_rows(int64_t rows, double height, FILE *script)
{
    const double room = height * HEIGHT / TEXT_HEIGHT;
    int64_t step = 1;

    while ((double)((rows + step - 1) / step) > room)
        step *= 2;
    fprintf(script, "set yrange [%.1f:-0.5]\nset ytics 0,%lld nomirror scale 0\n", (double)rows - 0.5, (long long)step);
}

/* The place of a panel, in parts of the picture. */
typedef struct panel_place {
    double left, right, top, bottom;
} panel_place;

static void write_panel(const timeline_drawing *d, size_t p, const panel_place *at, bool lowest, FILE *script)
{
    const char *const name = d->recorded.names[p];
    const double end = d->factor * d->ends[p], median = d->factor * d->medians[p];
    const char *separator = "plot ";

    fprintf(script, "set lmargin at screen %.3f\nset rmargin at screen %.3f\n", at->left, at->right);
    fprintf(script, "set tmargin at screen %.3f\nset bmargin at screen %.3f\n", at->top, at->bottom);
    fputs("set title ", script);
    attn_draw_quoted(name, NAME_WIDTH, script);
    fprintf(script, "\nset xrange [0:%.9g]\nset xtics 0,%g nomirror\nset ylabel 'rank'\n", 1.01 * end,
            tick_step(end, d->panels > ONE_COLUMN ? 8 : 14));
    write_rows(rows_of(d->recorded.cases[p]), at->top - at->bottom, script);
    if (lowest)
        fprintf(script, "set xlabel 'time since the rank started, %s'\n", d->unit);
    else
        fputs("unset xlabel\n", script);
    if (isfinite(median))
        fprintf(script, "set arrow 1 from first %.9g, graph 0 to first %.9g, graph 1 nohead dt 2 lw 2 front\n", median,
                median);
    for (int phase = 0; phase < ATTN_PHASE_COUNT; phase++) {
        if (!d->used[p][phase])
            continue;
        fprintf(script, "%s$p%zu_%d using (($1+$2)/2):3:1:2:($3-%g):($3+%g) with boxxyerror fs %s fc rgb '%s'",
                separator, p, phase, BAR, BAR, looks[phase].fill, looks[phase].colour);
        separator = ", ";
    }
    fputs("\nunset label\nunset arrow\n", script);
}

static void write_legend(const timeline_drawing *d, double top, double bottom, FILE *script)
{
    fprintf(script,
            "unset border\nunset tics\nunset title\nunset xlabel\nunset ylabel\nunset grid\n"
            "set xrange [0:1]\nset yrange [0:1]\n"
            "set lmargin at screen 0.02\nset rmargin at screen 0.98\n"
            "set tmargin at screen %.3f\nset bmargin at screen %.3f\n"
            "set key center center horizontal Left reverse samplen 3 spacing 1.3 maxcols 4\nplot ",
            top, bottom);
    for (int phase = 0; phase < ATTN_PHASE_COUNT; phase++) {
        bool used = false;

        for (size_t p = 0; p < d->panels; p++)
            used = used || d->used[p][phase];
        if (used)
            fprintf(script, "NaN with boxes fs %s fc rgb '%s' title '%s', ", looks[phase].fill, looks[phase].colour,
                    attn_phase_name((attn_phase)phase));
    }
    fputs("NaN with lines dt 2 lw 2 lc rgb 'black' title 'median, slowest rank'\n", script);
}

/* What the picture means and what is not in it; returns the lines. */
static int write_notes(const timeline_drawing *d, FILE *script)
{
    const size_t left_out = d->recorded.count - d->panels;
    const bool second = left_out > 0 || d->rows_left_out > 0 || d->events_lost > 0 || !d->same_axis;
    const char *const place = "center textcolor rgb '#404040'\n";

    fprintf(script, "set label \"%s\" at screen 0.5, screen %.3f %s", note, second ? 0.05 : 0.02, place);
    if (!second)
        return 1;
    fputs("set label '", script);
    if (!d->same_axis)
        fputs("Time axes differ. ", script);
    if (left_out > 0)
        fprintf(script, "Not drawn: %zu further case%s. ", left_out, left_out > 1 ? "s" : "");
    if (d->rows_left_out > 0)
        fprintf(script, "Not drawn: ranks from %d on. ", MOST_ROWS);
    if (d->events_lost > 0)
        fprintf(script, "Not recorded: %lld events at the end of ranks, for want of room.", (long long)d->events_lost);
    fprintf(script, "' at screen 0.5, screen 0.02 %s", place);
    return 2;
}

static void write_script(const timeline_drawing *d, const char *terminal, FILE *script)
{
    const size_t columns = d->panels <= ONE_COLUMN ? 1 : 2, rows = (d->panels + columns - 1) / columns;
    double top, bottom, cell;

    fprintf(script, "set terminal %s\nset encoding utf8\n", terminal);
    write_data(d, script);
    fputs("set multiplot\nset key off\nset border 1 lw 1.2\nset grid xtics lt 1 lw 0.6 lc rgb '#C8C8C8'\n", script);
    top = 0.95 - 0.03 * attn_draw_title(d->recorded.title, script);
    bottom = 0.1 + 0.03 * write_notes(d, script);
    cell = (top - bottom) / (double)rows;
    for (size_t p = 0; p < d->panels; p++) {
        const size_t row = p / columns, column = p % columns;
        panel_place at = {.left = columns == 1 ? 0.07 : 0.06 + 0.5 * (double)column,
                          .right = columns == 1 ? 0.97 : 0.48 + 0.5 * (double)column,
                          .top = top - cell * (double)row - 0.045};
        const bool lowest = p + columns >= d->panels;

        at.bottom =
            fmax(top - cell * (double)(row + 1) + 0.075, at.top - ROW_MAX * (double)rows_of(d->recorded.cases[p]));
        write_panel(d, p, &at, lowest, script);
    }
    write_legend(d, bottom - 0.01, bottom - 0.07, script);
    fputs("unset multiplot\n", script);
}

static attn_status make_drawing(const attn_results *results, timeline_drawing *d, attn_error *error)
{
    attn_status status = attn_recorded_find(results, &d->recorded, error);

    d->panels = d->recorded.count < MOST_PANELS ? d->recorded.count : MOST_PANELS;
    for (size_t p = 0; p < d->panels && status == ATTN_OK; p++)
        status = measure_panel(d, p, error);
    if (status == ATTN_OK)
        choose_axes(d);
    return status;
}

attn_status attn_study_plot_timeline(const attn_results *results, const char *path, attn_error *error)
{
    const char *terminal = attn_draw_terminal(path);
    timeline_drawing drawing = {.panels = 0};
    char *script = NULL;
    size_t length = 0;
    attn_status status;

    if (terminal == NULL)
        return attn_error_set(error, ATTN_ARGUMENT, "picture %s: a name that ends in .png, .svg or .pdf", path);
    status = make_drawing(results, &drawing, error);
    if (status == ATTN_OK) {
        FILE *const stream = open_memstream(&script, &length);

        if (stream != NULL)
            write_script(&drawing, terminal, stream);
        if (stream == NULL || fclose(stream) != 0)
            status = attn_error_set(error, ATTN_MEMORY, "no memory to draw %s", path);
        else
            status = attn_gnuplot_draw(script, length, path, error);
    }
    free(script);
    attn_recorded_release(&drawing.recorded);
    return status;
}
