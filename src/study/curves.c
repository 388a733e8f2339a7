/* The picture of curves over steps: what one training has beside another. Curves that lie on each other are told by
 * their widths, the first ones being drawn wide and below. */
#include "study/drawing.h"
#include "study/gnuplot.h"

#include <attn/study.h>

#include <math.h>
#include <stdlib.h>
#include <string.h>

attn_status attn_study_check_picture(const char *path, attn_error *error)
{
    return attn_draw_terminal(path) != NULL
               ? ATTN_OK
               : attn_error_set(error, ATTN_ARGUMENT, "picture %s: a name ending in .png, .svg or .pdf is accepted",
                                path);
}

/* Finite numbers of all curves; positive ones where only these count. */
static void find_range(const attn_curve *curves, size_t count, double *lo, double *hi)
{
    *lo = INFINITY;
    *hi = -INFINITY;
    for (size_t c = 0; c < count; c++)
        for (int64_t n = 0; n < curves[c].count; n++)
            if (isfinite(curves[c].values[n])) {
                *lo = fmin(*lo, curves[c].values[n]);
                *hi = fmax(*hi, curves[c].values[n]);
            }
}

static void write_data(const attn_curve *curves, size_t count, FILE *script)
{
    for (size_t c = 0; c < count; c++) {
        fprintf(script, "$c%zu << END\n", c);
        for (int64_t n = 0; n < curves[c].count; n++)
            if (isfinite(curves[c].values[n]))
                fprintf(script, "%lld %.9g\n", (long long)n + 1, curves[c].values[n]);
            else
                fprintf(script, "%lld NaN\n", (long long)n + 1);
        fputs("END\n", script);
    }
}

static void write_script(const attn_curve *curves, size_t count, const char *x_label, const char *y_label, double lo,
                         double hi, const char *terminal, FILE *script)
{
    fprintf(script, "set terminal %s\nset encoding utf8\nset datafile missing 'NaN'\n", terminal);
    write_data(curves, count, script);
    fputs("set border 3 lw 1.2\nset grid lt 1 lw 0.6 lc rgb '#C8C8C8'\nset tics nomirror\n"
          "set key top right Left reverse samplen 3 spacing 1.3\nset xlabel ",
          script);
    attn_draw_quoted(x_label, strlen(x_label), script);
    fputs("\nset ylabel ", script);
    attn_draw_quoted(y_label, strlen(y_label), script);
    fputc('\n', script);
    if (lo > 0 && hi > 10 * lo) {
        fprintf(script, "set logscale y\nset yrange [%.9g:%.9g]\n", lo / 1.4, hi * 1.4);
        attn_draw_log_ticks("y", lo / 1.4, hi * 1.4, script);
    } else {
        fprintf(script, "set yrange [%.9g:%.9g]\n", fmin(0, lo), hi > 0 ? 1.1 * hi : 1);
    }
    for (size_t c = 0; c < count; c++) {
        fprintf(script, "%s$c%zu using 1:2 with lines lw %g lc rgb '%s' title ", c == 0 ? "plot " : ", ", c,
                1.5 + 1.5 * (double)(count - 1 - c), attn_draw_colours[c % ATTN_DRAW_COLOURS]);
        attn_draw_quoted(curves[c].name, strlen(curves[c].name), script);
    }
    fputc('\n', script);
}

attn_status attn_study_plot_curves(const attn_curve *curves, size_t count, const char *x_label, const char *y_label,
                                   const char *path, attn_error *error)
{
    attn_status status = attn_study_check_picture(path, error);
    char *script = NULL;
    size_t length = 0;
    double lo, hi;
    FILE *stream;

    if (status != ATTN_OK)
        return status;
    find_range(curves, count, &lo, &hi);
    if (!(lo <= hi))
        return attn_error_set(error, ATTN_UNSUPPORTED, "nothing to draw: no curve has a step");
    stream = open_memstream(&script, &length);
    if (stream == NULL)
        return attn_error_set(error, ATTN_MEMORY, "no memory for the script of a picture");
    write_script(curves, count, x_label, y_label, lo, hi, attn_draw_terminal(path), stream);
    status = fclose(stream) == 0 ? attn_gnuplot_draw(script, length, path, error)
                                 : attn_error_set(error, ATTN_MEMORY, "no memory for the script of a picture");
    free(script);
    return status;
}
