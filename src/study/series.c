#include "study/series.h"
#include "study/points.h"

#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

/* How finely the points of one problem are split: not at all when every rank count stands once and nothing contradicts,
 * otherwise by exchange and layout, otherwise by the shape of the grid too. */
enum { SPLIT_NOT, SPLIT_EXCHANGE, SPLIT_GRID, LABEL_MAX = 256, FAMILY_MAX = sizeof((attn_series *)0)->family };

static const char *text_of(const attn_point *point, const char *name)
{
    return attn_attributes_text(point->result->factors, name, "");
}

static int64_t integer_of(const attn_point *point, const char *name)
{
    return attn_attributes_integer(point->result->factors, name, 1);
}

/* What weak scaling keeps the same for each rank; NAN in strong scaling, where the key has it all. */
static double weak_base(const attn_point *point)
{
    const char *scaling = text_of(point, "scaling");
    const double ranks = (double)point->ranks;

    if (strcmp(scaling, "weak-seq") == 0)
        return (double)integer_of(point, "seq") / ranks;
    if (strcmp(scaling, "weak-batch") == 0)
        return (double)integer_of(point, "batch") / ranks;
    if (strncmp(scaling, "weak", 4) == 0)
        return point->flops / ranks;
    return NAN;
}

/* Equal work for each rank is met only as well as whole rows allow. */
static bool same_base(const attn_point *a, const attn_point *b)
{
    const double x = weak_base(a), y = weak_base(b);
    const double tolerance = strcmp(text_of(a, "scaling"), "weak-work") == 0 ? 0.25 : 1e-9;

    return isnan(x) || isnan(y) || fabs(x - y) <= tolerance * fmax(x, y);
}

static bool same_problem(const attn_keyed_point *a, const attn_keyed_point *b)
{
    return strcmp(a->key, b->key) == 0 && same_base(&a->point, &b->point) &&
           (!a->by_threads || a->point.threads == b->point.threads);
}

/* Whether two points share keys and values in the same way: the exchange, and what it leaves open. */
static bool same_exchange(const attn_point *a, const attn_point *b)
{
    static const char *const names[] = {"exchange", "transfer", "hybrid", "inner", "layout"};

    for (size_t n = 0; n < sizeof names / sizeof names[0]; n++)
        if (strcmp(text_of(a, names[n]), text_of(b, names[n])) != 0)
            return false;
    return true;
}

static bool same_place(const attn_point *a, const attn_point *b)
{
    return a->ranks == b->ranks && integer_of(a, "grid_seq") == integer_of(b, "grid_seq") &&
           integer_of(a, "grid_head") == integer_of(b, "grid_head") && same_exchange(a, b) &&
           strcmp(text_of(a, "combine"), text_of(b, "combine")) == 0;
}

/* Numbers the problems. Where the same place was run with several thread counts, threads were swept, and each count is
 * a series of its own. */
static size_t group_points(attn_keyed_point *points, size_t count)
{
    size_t groups = 0;

    for (size_t i = 0; i < count; i++)
        for (size_t j = 0; j < i; j++)
            if (points[i].point.threads != points[j].point.threads && same_problem(&points[i], &points[j]) &&
                same_place(&points[i].point, &points[j].point))
                for (size_t k = 0; k < count; k++)
                    points[k].by_threads = points[k].by_threads || strcmp(points[k].key, points[i].key) == 0;
    for (size_t i = 0; i < count; i++) {
        size_t j = 0;

        while (j < i && !same_problem(&points[j], &points[i]))
            j++;
        points[i].group = j < i ? points[j].group : groups++;
    }
    return groups;
}

static void grid_family(const attn_point *point, char *out)
{
    const long long heads = integer_of(point, "grid_head");

    if (heads == 1)
        snprintf(out, FAMILY_MAX, "grid Px1");
    else if (integer_of(point, "grid_seq") == 1)
        snprintf(out, FAMILY_MAX, "grid 1xP");
    else
        snprintf(out, FAMILY_MAX, "grid (P/%lld)x%lld", heads, heads);
}

static void write_exchange(const attn_point *point, bool alone, char *out)
{
    static const char *const more[] = {"transfer", "hybrid", "inner", "layout"};

    snprintf(out, LABEL_MAX, "%.60s", alone ? "none" : text_of(point, "exchange"));
    for (size_t n = 0; n < sizeof more / sizeof more[0] && !alone; n++)
        if (text_of(point, more[n])[0] != '\0')
            snprintf(out + strlen(out), LABEL_MAX - strlen(out), " %.20s", text_of(point, more[n]));
}

static void make_label(const attn_point *point, int split, char *out)
{
    const bool alone = integer_of(point, "grid_seq") == 1;
    char family[FAMILY_MAX];

    out[0] = '\0';
    if (split >= SPLIT_EXCHANGE)
        write_exchange(point, alone, out);
    if (split >= SPLIT_GRID) {
        grid_family(point, family);
        snprintf(out + strlen(out), LABEL_MAX - strlen(out), " %s %.60s", family,
                 integer_of(point, "grid_head") == 1 ? "" : text_of(point, "combine"));
    }
}

/* Whether two points can stand in one unsplit series: exchange and layout mean nothing where a sequence group has one
 * rank, combine means nothing where a head group has one. */
static bool compatible(const attn_point *a, const attn_point *b)
{
    const bool exchange = integer_of(a, "grid_seq") == 1 || integer_of(b, "grid_seq") == 1 || same_exchange(a, b);
    const bool combine = integer_of(a, "grid_head") == 1 || integer_of(b, "grid_head") == 1 ||
                         strcmp(text_of(a, "combine"), text_of(b, "combine")) == 0;

    return exchange && combine;
}

static bool in_series(const attn_keyed_point *point, size_t group, const char *label, int split)
{
    char own[LABEL_MAX];

    if (point->group != group || point->point.ranks == 1)
        return false;
    make_label(&point->point, split, own);
    return strcmp(own, label) == 0;
}

/* Whether a split leaves no rank count twice in a series. */
static bool unambiguous(const attn_keyed_point *points, size_t count, size_t group, int split)
{
    for (size_t i = 0; i < count; i++) {
        const attn_point *a = &points[i].point;
        char label[LABEL_MAX];

        if (points[i].group != group)
            continue;
        make_label(a, split, label);
        for (size_t j = 0; j < i; j++) {
            const attn_point *b = &points[j].point;

            if (points[j].group != group)
                continue;
            if (split == SPLIT_NOT && (a->ranks == b->ranks || !compatible(a, b)))
                return false;
            if (split != SPLIT_NOT && a->ranks == b->ranks && in_series(&points[j], group, label, split))
                return false;
        }
    }
    return true;
}

static int choose_split(const attn_keyed_point *points, size_t count, size_t group)
{
    int split = SPLIT_NOT;

    while (split < SPLIT_GRID && !unambiguous(points, count, group, split))
        split++;
    return split;
}

/* The case of 1 rank that is nearest to a series: its layout and exchange do nothing, but may have been swept. */
static const attn_keyed_point *find_single(const attn_keyed_point *points, size_t count, size_t group,
                                           const attn_point *like)
{
    const attn_keyed_point *best = NULL;
    int best_score = -1;

    for (size_t i = 0; i < count; i++) {
        const attn_point *point = &points[i].point;
        int score;

        if (points[i].group != group || point->ranks != 1)
            continue;
        score = 4 * point->valid + 2 * (strcmp(text_of(point, "layout"), text_of(like, "layout")) == 0) +
                (strcmp(text_of(point, "exchange"), text_of(like, "exchange")) == 0);
        if (score > best_score) {
            best = &points[i];
            best_score = score;
        }
    }
    return best;
}

static int compare_ranks(const void *a, const void *b)
{
    const attn_point *x = a, *y = b;

    if (x->ranks != y->ranks)
        return x->ranks < y->ranks ? -1 : 1;
    return (integer_of(x, "grid_head") > integer_of(y, "grid_head")) -
           (integer_of(x, "grid_head") < integer_of(y, "grid_head"));
}

static double useful_work(const attn_point *point, const attn_point *baseline)
{
    const bool strong = strncmp(text_of(point, "scaling"), "weak", 4) != 0;

    if (point->flops > 0 && baseline->flops > 0)
        return point->flops / baseline->flops;
    return strong ? 1 : NAN;
}

static void measure_against_baseline(attn_series *series)
{
    for (size_t p = 0; p < series->count && series->baseline == NULL; p++)
        if (series->points[p].valid)
            series->baseline = &series->points[p];
    for (size_t p = 0; p < series->count; p++) {
        attn_point *point = &series->points[p];
        const attn_point *base = series->baseline;
        double work, cores;

        series->per_core = series->per_core || point->threads != series->points[0].threads;
        point->speedup = point->speedup_lo = point->speedup_hi = NAN;
        point->efficiency = point->efficiency_lo = point->efficiency_hi = NAN;
        if (base == NULL || !point->valid)
            continue;
        work = useful_work(point, base);
        cores = (double)(point->ranks * point->threads) / (double)(base->ranks * base->threads);
        point->speedup = work * base->time / point->time;
        point->speedup_lo = point == base ? 1 : work * base->lo / point->hi;
        point->speedup_hi = point == base ? 1 : work * base->hi / point->lo;
        point->efficiency = point->speedup / cores;
        point->efficiency_lo = point->speedup_lo / cores;
        point->efficiency_hi = point->speedup_hi / cores;
    }
}

/* Makes the series of all points that carry the label of `like`; of one point alone when that has 1 rank. */
static attn_status make_series(const attn_keyed_point *points, size_t count, const attn_keyed_point *like, int split,
                               attn_series *out, attn_error *error)
{
    const attn_keyed_point *single = like;
    char label[LABEL_MAX];

    *out = (attn_series){.by_threads = like->by_threads};
    out->points = calloc(count, sizeof *out->points);
    if (out->points == NULL)
        return attn_error_set(error, ATTN_MEMORY, "no memory for a scaling series of %zu points", count);
    make_label(&like->point, split, label);
    if (like->point.ranks > 1) {
        single = find_single(points, count, like->group, &like->point);
        for (size_t i = 0; i < count; i++)
            if (in_series(&points[i], like->group, label, split))
                out->points[out->count++] = points[i].point;
    }
    if (split == SPLIT_GRID && like->point.ranks > 1)
        grid_family(&like->point, out->family);
    if (single != NULL)
        out->points[out->count++] = single->point;
    qsort(out->points, out->count, sizeof *out->points, compare_ranks);
    measure_against_baseline(out);
    return ATTN_OK;
}

static bool wants_series(const attn_keyed_point *points, size_t count, size_t at, int split)
{
    char label[LABEL_MAX];

    make_label(&points[at].point, split, label);
    for (size_t i = 0; i < count; i++) {
        if (points[i].group != points[at].group || i == at)
            continue;
        if (points[at].point.ranks == 1 && points[i].point.ranks > 1)
            return false; /* it belongs to those */
        if (points[at].point.ranks > 1 && i < at && in_series(&points[i], points[at].group, label, split))
            return false; /* that one made it */
    }
    return true;
}

attn_status attn_scaling_find(const attn_results *results, attn_scaling **out, attn_error *error)
{
    attn_keyed_point *points = NULL;
    size_t count = 0, groups;
    attn_scaling *scaling;
    attn_status status = attn_points_make(results, &points, &count, error);

    *out = NULL;
    if (status != ATTN_OK)
        return status;
    scaling = calloc(1, sizeof *scaling);
    if (scaling != NULL)
        scaling->series = calloc(count + 1, sizeof *scaling->series);
    if (scaling == NULL || scaling->series == NULL) {
        status = attn_error_set(error, ATTN_MEMORY, "no memory for %zu scaling series", count);
        goto cleanup;
    }
    groups = group_points(points, count);
    for (size_t g = 0; g < groups; g++) {
        const int split = choose_split(points, count, g);

        for (size_t i = 0; i < count; i++) {
            if (points[i].group != g || !wants_series(points, count, i, split))
                continue;
            status = make_series(points, count, &points[i], split, &scaling->series[scaling->count], error);
            if (status != ATTN_OK)
                goto cleanup;
            scaling->count++;
        }
    }
    *out = scaling;
    scaling = NULL;

cleanup:
    attn_scaling_destroy(scaling);
    attn_points_release(points, count);
    return status;
}

void attn_scaling_destroy(attn_scaling *scaling)
{
    if (scaling == NULL)
        return;
    for (size_t s = 0; scaling->series != NULL && s < scaling->count; s++)
        free(scaling->series[s].points);
    free(scaling->series);
    free(scaling);
}
