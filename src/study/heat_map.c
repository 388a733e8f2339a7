/* The picture of attention weights: a panel a head, keys to the right, query rows downwards. */
#include "study/drawing.h"
#include "study/gnuplot.h"

#include <attn/study.h>

#include <math.h>
#include <stdlib.h>
#include <string.h>

enum { LABELS = 16, CELLS_WITH_NUMBERS = 12 };

static int64_t heads_of(const attn_weight_map *map)
{
    return map->head_end - map->head_begin;
}

static size_t place_of(const attn_weight_map *map, int64_t h, int64_t i, int64_t j)
{
    return (size_t)((h * map->seq + i) * map->kv_seq + j);
}

static bool is_masked(const attn_weight_map *map, size_t place)
{
    return map->scores != NULL && map->scores[place] == -INFINITY;
}

/* The end of the colour scale: the largest weight that is drawn. */
static double largest(const attn_weight_map *map)
{
    double most = 0;

    for (int64_t h = map->head_begin; h < map->head_end; h++)
        for (int64_t i = map->row_begin; i < map->row_end; i++)
            for (int64_t j = map->key_begin; j < map->key_end; j++)
                most = fmax(most, map->weights[place_of(map, h, i, j)]);
    return most > 0 ? most : 1;
}

/* Columns: key, row, weight, and the weight as a text. */
static void write_data(const attn_weight_map *map, FILE *script)
{
    for (int64_t h = map->head_begin; h < map->head_end; h++) {
        fprintf(script, "$h%lld << END\n", (long long)h);
        for (int64_t i = map->row_begin; i < map->row_end; i++)
            for (int64_t j = map->key_begin; j < map->key_end; j++) {
                const size_t place = place_of(map, h, i, j);

                if (!is_masked(map, place))
                    fprintf(script, "%lld %lld %.9g %.2f\n", (long long)j, (long long)i, map->weights[place],
                            map->weights[place]);
            }
        /* A cell outside of the picture, as gnuplot refuses to draw none. */
        fprintf(script, "%lld %lld 0 0\nEND\n", (long long)map->key_begin - 9, (long long)map->row_begin - 9);
    }
}

/* Numbers or names of rows or keys; every second, fifth, tenth ... where they are many. */
static void write_ticks(const char *axis, int64_t begin, int64_t end, const char *const *names, FILE *script)
{
    static const int64_t steps[] = {1, 2, 5, 10, 20};
    size_t s = 0;

    while (s + 1 < sizeof steps / sizeof steps[0] && (end - begin - 1) / steps[s] >= LABELS)
        s++;
    fprintf(script, "set %stics (", axis);
    for (int64_t n = begin; n < end; n += steps[s]) {
        fputs(n > begin ? ", " : "", script);
        if (names != NULL)
            attn_draw_quoted(names[n], strlen(names[n]), script);
        else
            fprintf(script, "'%lld'", (long long)n);
        fprintf(script, " %lld", (long long)n);
    }
    fputs(") nomirror out\n", script);
}

static void write_panel(const attn_weight_map *map, int64_t h, double most, bool numbers, FILE *script)
{
    if (heads_of(map) > 1 || map->head_begin > 0)
        fprintf(script, "set title 'head %lld'\n", (long long)h);
    fprintf(script, "plot $h%lld using 1:2:(0.5):(0.5):3 with boxxyerror fillstyle solid noborder linecolor palette",
            (long long)h);
    if (numbers)
        fprintf(
            script,
            ", $h%lld using 1:2:(stringcolumn(4)):($3 > %.9g ? 0xFFFFFF : 0x000000) with labels textcolor rgb variable",
            (long long)h, 0.6 * most);
    fputc('\n', script);
}

static void write_script(const attn_weight_map *map, const char *terminal, FILE *script)
{
    const int64_t rows = map->row_end - map->row_begin, keys = map->key_end - map->key_begin;
    const int64_t across = (int64_t)ceil(sqrt((double)heads_of(map))), down = (heads_of(map) - 1) / across + 1;
    const bool numbers = rows * down <= CELLS_WITH_NUMBERS && keys * across <= CELLS_WITH_NUMBERS;
    const double most = largest(map);

    fprintf(script, "set terminal %s\nset encoding utf8\n", terminal);
    write_data(map, script);
    /* A sequential palette that stays in order when printed in grey. */
    fputs("set palette defined (0 '#F7FBFF', 0.5 '#6BAED6', 1 '#08306B')\nset key off\nset border 0\n"
          "set object 1 rectangle from graph 0,0 to graph 1,1 behind fillstyle solid noborder fillcolor rgb '#D9D9D9'\n"
          "set xlabel 'key'\nset ylabel 'query row'\nset cblabel 'attention weight'\n",
          script);
    fprintf(script, "set cbrange [0:%.9g]\nset xrange [%.1f:%.1f]\nset yrange [%.1f:%.1f]\nset size ratio %.3f\n", most,
            (double)map->key_begin - 0.5, (double)map->key_end - 0.5, (double)map->row_end - 0.5,
            (double)map->row_begin - 0.5, fmin(1.5, fmax(0.1, (double)rows / (double)keys)));
    write_ticks("x", map->key_begin, map->key_end, map->key_names, script);
    write_ticks("y", map->row_begin, map->row_end, map->row_names, script);
    if (map->key_names != NULL && keys > 8)
        fputs("set xtics rotate\n", script);
    fprintf(script, "set multiplot layout %lld,%lld\n", (long long)down, (long long)across);
    for (int64_t h = map->head_begin; h < map->head_end; h++)
        write_panel(map, h, most, numbers, script);
    fputs("unset multiplot\n", script);
}

attn_status attn_study_plot_weights(const attn_weight_map *map, const char *path, attn_error *error)
{
    const char *terminal = attn_draw_terminal(path);
    char *script = NULL;
    size_t length = 0;
    FILE *stream;
    attn_status status;

    if (terminal == NULL)
        return attn_error_set(error, ATTN_ARGUMENT, "picture %s: a name that ends in .png, .svg or .pdf", path);
    stream = open_memstream(&script, &length);
    if (stream != NULL)
        write_script(map, terminal, stream);
    if (stream == NULL || fclose(stream) != 0)
        status = attn_error_set(error, ATTN_MEMORY, "no memory to draw %s", path);
    else
        status = attn_gnuplot_draw(script, length, path, error);
    free(script);
    return status;
}
