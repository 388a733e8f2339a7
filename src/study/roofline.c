/* The roofline (Williams, Waterman and Patterson 2009): rate over arithmetic intensity, the operations of a case for
 * each byte that it must read or write at least. Roofs are what the cases' own launches measured: the peak of the
 * arithmetic of their kernels, and what the read bandwidth allows at an intensity. */
#include "study/describe.h"
#include "study/drawing.h"
#include "study/gnuplot.h"
#include "study/points.h"

#include <attn/study.h>

#include <math.h>
#include <stdlib.h>
#include <string.h>

enum { MOST_NUMBERED = 24, ROOF_NAME_MAX = 96, WIDTH = 1200, HEIGHT = 800, TEXT_HEIGHT = 18 };

#define LEFT 0.08
#define RIGHT 0.97

static const char note[] = "FLOP/byte: bytes that must be read or written at least, each array once. Bars: interval of "
                           "the median";

/* What bounds the points of some ranks and threads. */
typedef struct roof {
    char name[ROOF_NAME_MAX]; /* "fma-float32-avx512, 2 threads" */
    int64_t ranks, threads;
    double peak;      /* FLOP/s */
    double bandwidth; /* B/s, 0: not measured */
} roof;

typedef struct roofline_drawing {
    const attn_point **points; /* [count], those that are valid and have an intensity */
    char **names;              /* [count] */
    size_t count;
    roof *roofs; /* [roof_count] */
    size_t roof_count;
    char *title;
    double x_lo, x_hi, y_lo, y_hi; /* FLOP/byte, GFLOP/s */
} roofline_drawing;

static double intensity(const attn_point *point)
{
    return point->flops / attn_attributes_real(point->result->outcomes, "memory_bytes", NAN);
}

static bool drawable(const attn_point *point)
{
    return point->valid && point->time > 0 && point->flops > 0 && isfinite(intensity(point)) &&
           attn_attributes_real(point->result->outcomes, "compute_peak", 0) > 0;
}

/* Launches differ a little: the roof is the highest that any of them measured. */
static void add_roof(roofline_drawing *d, const attn_point *point, const char *level_name, const char *peak_name)
{
    const attn_attributes *outcomes = point->result->outcomes;
    const double peak = attn_attributes_real(outcomes, peak_name, 0);
    roof *at = d->roofs;
    char name[ROOF_NAME_MAX];

    snprintf(name, sizeof name, "%.40s, %lld%s%lld thread%s", attn_attributes_text(outcomes, level_name, ""),
             (long long)point->ranks, point->ranks == 1 ? " rank x " : " ranks x ", (long long)point->threads,
             point->threads == 1 ? "" : "s");
    while (at < d->roofs + d->roof_count && strcmp(at->name, name) != 0)
        at++;
    if (at == d->roofs + d->roof_count) {
        *at = (roof){.ranks = point->ranks, .threads = point->threads};
        memcpy(at->name, name, sizeof name);
        d->roof_count++;
    }
    at->peak = fmax(at->peak, peak);
    at->bandwidth = fmax(at->bandwidth, attn_attributes_real(outcomes, "read_bandwidth", 0));
}

/* A bandwidth that one launch measured holds for all roofs of as many ranks and threads. */
static void share_bandwidths(roofline_drawing *d)
{
    for (size_t a = 0; a < d->roof_count; a++)
        for (size_t b = 0; b < d->roof_count; b++)
            if (d->roofs[a].ranks == d->roofs[b].ranks && d->roofs[a].threads == d->roofs[b].threads)
                d->roofs[a].bandwidth = fmax(d->roofs[a].bandwidth, d->roofs[b].bandwidth);
}

static int by_peak(const void *a, const void *b)
{
    const roof *const first = a, *const second = b;

    return (first->peak > second->peak) - (first->peak < second->peak);
}

static void find_extent(roofline_drawing *d)
{
    d->x_lo = d->y_lo = INFINITY;
    for (size_t p = 0; p < d->count; p++) {
        const attn_point *point = d->points[p];

        d->x_lo = fmin(d->x_lo, intensity(point));
        d->x_hi = fmax(d->x_hi, intensity(point));
        d->y_lo = fmin(d->y_lo, 1e-9 * point->flops / point->hi);
        d->y_hi = fmax(d->y_hi, 1e-9 * point->flops / point->lo);
    }
    for (size_t r = 0; r < d->roof_count; r++) {
        const roof *at = &d->roofs[r];

        d->y_hi = fmax(d->y_hi, 1e-9 * at->peak);
        if (at->bandwidth > 0) {
            d->x_lo = fmin(d->x_lo, at->peak / at->bandwidth);
            d->x_hi = fmax(d->x_hi, at->peak / at->bandwidth);
        }
    }
    d->x_lo /= 3;
    d->x_hi *= 8;
    d->y_lo /= 2;
    d->y_hi *= 2;
}

/* The line of a roof, up the bandwidth and along the peak, and above its right end its name, higher where it would
 * touch that of the roof beneath.
 *   pixels  in, height of the panel */
static void write_roof(const roofline_drawing *d, size_t r, double pixels, double *labelled, FILE *script)
{
    const roof *at = &d->roofs[r];
    const double peak = 1e-9 * at->peak, ridge = at->bandwidth > 0 ? at->peak / at->bandwidth : d->x_lo;
    const double pixel = pow(d->y_hi / d->y_lo, 1 / pixels), least = *labelled * pow(pixel, TEXT_HEIGHT);
    double place = peak * pow(pixel, TEXT_HEIGHT / 2 + 3);
    char text[ROOF_NAME_MAX + 32];

    if (place < least)
        place = least;
    *labelled = place;
    fprintf(script, "$r%zu << END\n", r);
    if (at->bandwidth > 0)
        fprintf(script, "%.9g %.9g\n", d->x_lo, 1e-9 * at->bandwidth * d->x_lo);
    fprintf(script, "%.9g %.9g\n%.9g %.9g\nEND\n", ridge, peak, d->x_hi, peak);
    snprintf(text, sizeof text, "%s: %.4g GFLOP/s", at->name, peak);
    fputs("set label ", script);
    attn_draw_quoted(text, strlen(text), script);
    fprintf(script, " at %.9g, %.9g right textcolor rgb '#404040' front\n", d->x_hi / 1.05, place);
}

/* The bandwidths, along their lines: of each number of ranks and threads one. */
static void write_bandwidths(const roofline_drawing *d, double bottom, double top, FILE *script)
{
    const double decades_x = log10(d->x_hi / d->x_lo) / ((RIGHT - LEFT) * WIDTH);
    const double decades_y = log10(d->y_hi / d->y_lo) / ((top - bottom) * HEIGHT);
    const double angle = atan2(1 / decades_y, 1 / decades_x) * 180 / acos(-1);

    for (size_t r = 0; r < d->roof_count; r++) {
        const roof *at = &d->roofs[r];
        bool said = at->bandwidth <= 0;
        double x, ridge, least = d->x_lo;
        char text[ROOF_NAME_MAX];

        for (size_t s = 0; s < r; s++)
            said = said || (d->roofs[s].ranks == at->ranks && d->roofs[s].threads == at->threads);
        if (said)
            continue;
        ridge = at->peak / at->bandwidth;
        if (1e-9 * at->bandwidth * least < d->y_lo)
            least = 1e9 * d->y_lo / at->bandwidth;
        x = least * pow(ridge / least, 0.5);
        snprintf(text, sizeof text, "read bandwidth %.3g GB/s", 1e-9 * at->bandwidth);
        fputs("set label ", script);
        attn_draw_quoted(text, strlen(text), script);
        fprintf(script, " at %.9g, %.9g center rotate by %.1f offset 0, 0.8 textcolor rgb '#404040' front\n", x,
                1e-9 * at->bandwidth * x, angle);
    }
}

/* Which marker a point has, and of how many: its own, or that of its kernel where there are too many points. */
static size_t group_of(const roofline_drawing *d, size_t p)
{
    size_t group = 0;

    if (d->count <= MOST_NUMBERED)
        return p;
    for (size_t q = 0; q < p; q++) {
        bool first = true;

        if (strcmp(d->names[q], d->names[p]) == 0)
            return group_of(d, q);
        for (size_t s = 0; s < q; s++)
            first = first && strcmp(d->names[s], d->names[q]) != 0;
        group += first;
    }
    return group;
}

static bool first_of_group(const roofline_drawing *d, size_t p)
{
    for (size_t q = 0; q < p; q++)
        if (group_of(d, q) == group_of(d, p))
            return false;
    return true;
}

/* How many earlier points are so near that their numbers stand where that of this one would. */
static int near_before(const roofline_drawing *d, size_t p)
{
    const attn_point *point = d->points[p];
    int count = 0;

    for (size_t q = 0; q < p; q++) {
        const attn_point *other = d->points[q];
        const double x = log(intensity(point) / intensity(other)) / log(d->x_hi / d->x_lo);
        const double y = log(point->flops / point->time * other->time / other->flops) / log(d->y_hi / d->y_lo);

        count += fabs(x) < 0.02 && fabs(y) < 0.05;
    }
    return count;
}

static void write_points(const roofline_drawing *d, FILE *script)
{
    for (size_t p = 0; p < d->count; p++) {
        const attn_point *point = d->points[p];

        fprintf(script, "$p%zu << END\n%.9g %.9g %.9g %.9g\nEND\n", p, intensity(point),
                1e-9 * point->flops / point->time, 1e-9 * point->flops / point->hi, 1e-9 * point->flops / point->lo);
        if (d->count <= MOST_NUMBERED)
            fprintf(script, "set label '%zu' at %.9g, %.9g left offset %.1f, 0 front\n", p + 1, intensity(point),
                    1e-9 * point->flops / point->time, 1 + 2.5 * near_before(d, p));
    }
}

static void write_plot(const roofline_drawing *d, FILE *script)
{
    fputs("plot ", script);
    for (size_t r = 0; r < d->roof_count; r++)
        fprintf(script, "%s$r%zu using 1:2 with lines lw 2 dt %zu lc rgb '#606060'", r > 0 ? ", " : "", r, r % 5 + 1);
    for (size_t p = 0; p < d->count; p++) {
        const size_t group = group_of(d, p);
        const char *colour = attn_draw_colours[group % ATTN_DRAW_COLOURS];

        fprintf(script, ", $p%zu using 1:2:3:4 with yerrorbars pt -1 lw 2 lc rgb '%s'", p, colour);
        fprintf(script, ", $p%zu using 1:2 with points pt %d lc rgb '%s'", p,
                attn_draw_markers[group % ATTN_DRAW_MARKERS], colour);
    }
    fputc('\n', script);
}

static void write_legend(const roofline_drawing *d, int columns, FILE *script)
{
    const char *separator = "";

    fprintf(script,
            "unset border\nunset tics\nunset xlabel\nunset ylabel\nunset logscale\nunset grid\nset xrange [0:1]\n"
            "set yrange [0:1]\nset key center center horizontal Left reverse samplen 1 spacing 1.2 maxcols %d\nplot ",
            columns);
    for (size_t p = 0; p < d->count; p++) {
        const size_t group = group_of(d, p);

        if (!first_of_group(d, p))
            continue;
        fprintf(script, "%sNaN with points pt %d lc rgb '%s' title ", separator,
                attn_draw_markers[group % ATTN_DRAW_MARKERS], attn_draw_colours[group % ATTN_DRAW_COLOURS]);
        attn_draw_quoted(d->names[p], strlen(d->names[p]), script);
        separator = ", ";
    }
    fputc('\n', script);
}

static void write_script(const roofline_drawing *d, const char *terminal, FILE *script)
{
    size_t longest = 24, entries = 0;
    int columns, lines;
    double bottom, top, labelled = 0;

    for (size_t p = 0; p < d->count; p++) {
        longest = strlen(d->names[p]) > longest ? strlen(d->names[p]) : longest;
        entries += first_of_group(d, p);
    }
    columns = longest > 54 ? 1 : longest > 33 ? 2 : longest > 23 ? 3 : 4; /* by the width of a letter */
    bottom = 0.155 + 0.031 * (double)((entries + (size_t)columns - 1) / (size_t)columns);
    fprintf(script, "set terminal %s\nset encoding utf8\nset datafile missing 'NaN'\n", terminal);
    fputs("set multiplot\nset key off\nset border 3 lw 1.2\nset grid lt 1 lw 0.6 lc rgb '#C8C8C8'\n"
          "set logscale xy\nset xlabel 'arithmetic intensity, FLOP/byte'\nset ylabel 'GFLOP/s'\n",
          script);
    lines = attn_draw_title(d->title, script);
    top = 0.95 - 0.03 * lines;
    fprintf(script, "set tmargin at screen %.3f\nset bmargin at screen %.3f\n", top, bottom);
    fprintf(script, "set lmargin at screen %g\nset rmargin at screen %g\n", LEFT, RIGHT);
    fprintf(script, "set xrange [%.9g:%.9g]\nset yrange [%.9g:%.9g]\n", d->x_lo, d->x_hi, d->y_lo, d->y_hi);
    attn_draw_log_ticks("x", d->x_lo, d->x_hi, script);
    attn_draw_log_ticks("y", d->y_lo, d->y_hi, script);
    for (size_t r = 0; r < d->roof_count; r++)
        write_roof(d, r, (top - bottom) * HEIGHT, &labelled, script);
    write_bandwidths(d, bottom, top, script);
    write_points(d, script);
    write_plot(d, script);
    fprintf(script, "unset label\nset tmargin at screen %.3f\nset bmargin at screen 0.045\n", bottom - 0.09);
    fprintf(script, "set label '%s' at screen 0.5, screen 0.02 center textcolor rgb '#404040'\n", note);
    write_legend(d, columns, script);
    fputs("unset multiplot\n", script);
}

/* The name of a point: its number and what tells it from the others, or its kernel where there are too many. */
static attn_status write_name(const roofline_drawing *d, size_t p, const attn_description *cases, char **out,
                              attn_error *error)
{
    const attn_result *result = d->points[p]->result;
    size_t size;
    FILE *stream = open_memstream(out, &size);

    if (stream == NULL)
        return attn_error_set(error, ATTN_MEMORY, "no memory for the name of a case");
    if (d->count > MOST_NUMBERED) {
        fprintf(stream, "%s, %s", attn_attributes_text(result->factors, "kernel", ""),
                attn_attributes_text(result->factors, "dtype", ""));
    } else {
        fprintf(stream, "%zu", p + 1);
        if (attn_description_varies(cases)) {
            fputs(": ", stream);
            attn_description_case(cases, result, stream);
        }
    }
    return fclose(stream) == 0 ? ATTN_OK : attn_error_set(error, ATTN_MEMORY, "no memory for the name of a case");
}

/* Names and title, from what the cases have in common and what tells them apart. */
static attn_status describe(roofline_drawing *d, attn_error *error)
{
    const attn_result **cases = calloc(d->count, sizeof *cases);
    attn_description *words = NULL;
    FILE *stream;
    size_t size;
    attn_status status;

    if (cases == NULL)
        return attn_error_set(error, ATTN_MEMORY, "no memory to describe %zu cases", d->count);
    for (size_t p = 0; p < d->count; p++)
        cases[p] = d->points[p]->result;
    status = attn_description_create(cases, d->count, "scaling|seed", &words, error);
    free(cases);
    if (status != ATTN_OK)
        return status;
    stream = open_memstream(&d->title, &size);
    if (stream != NULL)
        attn_description_common(words, stream);
    if (stream == NULL || fclose(stream) != 0)
        status = attn_error_set(error, ATTN_MEMORY, "no memory for the title of a picture");
    for (size_t p = 0; p < d->count && status == ATTN_OK; p++)
        status = write_name(d, p, words, &d->names[p], error);
    attn_description_destroy(words);
    return status;
}

static attn_status make_drawing(const attn_keyed_point *points, size_t count, roofline_drawing *d, attn_error *error)
{
    d->points = calloc(count + 1, sizeof *d->points);
    d->names = calloc(count + 1, sizeof *d->names);
    d->roofs = calloc(2 * count + 1, sizeof *d->roofs);
    if (d->points == NULL || d->names == NULL || d->roofs == NULL)
        return attn_error_set(error, ATTN_MEMORY, "no memory to draw %zu cases", count);
    for (size_t p = 0; p < count; p++)
        if (drawable(&points[p].point))
            d->points[d->count++] = &points[p].point;
    if (d->count == 0)
        return attn_error_set(error, ATTN_UNSUPPORTED,
                              "nothing to draw: none of the cases is valid, timed and has the peak beside it");
    for (size_t p = 0; p < d->count; p++) {
        add_roof(d, d->points[p], "fma_level", "fma_peak");
        add_roof(d, d->points[p], "compute_level", "compute_peak");
    }
    share_bandwidths(d);
    qsort(d->roofs, d->roof_count, sizeof *d->roofs, by_peak);
    find_extent(d);
    return describe(d, error);
}

static void release_drawing(roofline_drawing *d)
{
    for (size_t p = 0; d->names != NULL && p < d->count; p++)
        free(d->names[p]);
    free(d->names);
    free(d->points);
    free(d->roofs);
    free(d->title);
}

attn_status attn_study_plot_roofline(const attn_results *results, const char *path, attn_error *error)
{
    const char *terminal = attn_draw_terminal(path);
    roofline_drawing drawing = {.count = 0};
    attn_keyed_point *points = NULL;
    char *script = NULL;
    size_t length = 0, count;
    FILE *stream;
    attn_status status;

    if (terminal == NULL)
        return attn_error_set(error, ATTN_ARGUMENT, "picture %s: a name that ends in .png, .svg or .pdf", path);
    status = attn_points_make(results, &points, &count, error);
    if (status == ATTN_OK)
        status = make_drawing(points, count, &drawing, error);
    if (status == ATTN_OK) {
        stream = open_memstream(&script, &length);
        if (stream != NULL)
            write_script(&drawing, terminal, stream);
        if (stream == NULL || fclose(stream) != 0)
            status = attn_error_set(error, ATTN_MEMORY, "no memory to draw %s", path);
        else
            status = attn_gnuplot_draw(script, length, path, error);
    }
    free(script);
    release_drawing(&drawing);
    attn_points_release(points, count);
    return status;
}
