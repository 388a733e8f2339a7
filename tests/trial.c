#include "trial.h"

#include <attn/random.h>

#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

typedef enum field_kind {
    KIND_NUMBER,
    KIND_DTYPE,
    KIND_PASS,
    KIND_EXCHANGE,
    KIND_TRANSFER,
    KIND_LAYOUT,
    KIND_COMBINE,
    KIND_KERNEL
} field_kind;

static const struct {
    const char *name;
    field_kind kind;
    int64_t simplest;
} fields[TRIAL_FIELDS] = {
#define TRIAL_ROW(name, kind, simplest) {#name, KIND_##kind, simplest},
    TRIAL_LIST(TRIAL_ROW)
#undef TRIAL_ROW
};

static trial simplest(void)
{
    trial t;

    for (int f = 0; f < TRIAL_FIELDS; f++)
        t.at[f] = fields[f].simplest;
    return t;
}

/* ---- Drawing ---- */

typedef struct draws {
    uint64_t seed, index;
} draws;

static int64_t below(draws *d, int64_t bound)
{
    return attn_random_below(d->seed, ATTN_STREAM_TEST, d->index++, bound);
}

static bool one_in(draws *d, int64_t times)
{
    return below(d, times) == 0;
}

/* Fewer rows than ranks, some, and more than a block of a kernel. */
static int64_t draw_length(draws *d)
{
    return one_in(d, 4) ? 1 + below(d, 6) : one_in(d, 6) ? 100 + below(d, 100) : 5 + below(d, 66);
}

static int64_t draw_width(draws *d)
{
    return one_in(d, 6) ? 64 + below(d, 80) : 1 + below(d, 40);
}

static void draw_mask(draws *d, trial *t)
{
    t->at[TRIAL_causal] = one_in(d, 2);
    if (one_in(d, 4))
        t->at[TRIAL_window_left] = below(d, t->at[TRIAL_kv_seq] + 4);
    if (one_in(d, 4))
        t->at[TRIAL_window_right] = below(d, t->at[TRIAL_kv_seq] + 4);
    t->at[TRIAL_kv_len] = one_in(d, 4);
    if (one_in(d, 4)) {
        t->at[TRIAL_documents] = 1 + below(d, TRIAL_DOCUMENTS_MAX);
        t->at[TRIAL_kv_seq] = t->at[TRIAL_seq];
    }
}

static void draw_score(draws *d, trial *t)
{
    if (one_in(d, 5))
        t->at[TRIAL_softcap] = 1 + below(d, 20);
    t->at[TRIAL_alibi] = one_in(d, 4);
    t->at[TRIAL_sinks] = one_in(d, 4);
    if (one_in(d, 4))
        t->at[TRIAL_dropout] = 1 + below(d, 80);
    if (one_in(d, 3))
        t->at[TRIAL_scale] = 10 + below(d, 190);
}

trial trial_draw(uint64_t seed)
{
    const int64_t most = 20 * 1000 * 1000; /* multiplications of a fixture */
    draws d = {seed, 0};
    trial t = simplest();
    int64_t *at = t.at;

    at[TRIAL_seed] = (int64_t)seed;
    at[TRIAL_batch] = 1 + below(&d, 3);
    at[TRIAL_kv_heads] = 1 + below(&d, 5);
    at[TRIAL_group] = one_in(&d, 2) ? 1 : 1 + below(&d, 5);
    at[TRIAL_seq] = draw_length(&d);
    at[TRIAL_kv_seq] = one_in(&d, 3) ? at[TRIAL_seq] : draw_length(&d);
    at[TRIAL_head_dim] = draw_width(&d);
    at[TRIAL_v_head_dim] = one_in(&d, 3) ? at[TRIAL_head_dim] : draw_width(&d);
    at[TRIAL_dtype] = below(&d, ATTN_DTYPE_COUNT);
    draw_mask(&d, &t);
    draw_score(&d, &t);
    while (at[TRIAL_batch] * at[TRIAL_kv_heads] * at[TRIAL_group] * at[TRIAL_seq] * at[TRIAL_kv_seq] *
               (at[TRIAL_head_dim] + at[TRIAL_v_head_dim]) >
           most) {
        at[TRIAL_head_dim] = (at[TRIAL_head_dim] + 1) / 2;
        at[TRIAL_v_head_dim] = (at[TRIAL_v_head_dim] + 1) / 2;
    }
    return t;
}

/* ---- The problem ---- */

static int by_value(const void *left, const void *right)
{
    const int64_t a = *(const int64_t *)left, b = *(const int64_t *)right;

    return a < b ? -1 : a > b;
}

/* Sorted random starts; one in four is that of the document before, which is then empty. */
static void make_documents(draws *d, int64_t count, int64_t seq, int64_t *starts)
{
    starts[0] = 0;
    for (int64_t n = 1; n < count; n++)
        starts[n] = one_in(d, 4) ? starts[n - 1] : below(d, seq + 1);
    starts[count] = seq;
    qsort(starts, (size_t)count + 1, sizeof *starts, by_value);
}

void trial_make_problem(const trial *t, trial_problem *out)
{
    const int64_t *at = t->at, heads = at[TRIAL_kv_heads] * at[TRIAL_group];
    attn_problem *p = &out->problem;
    draws d = {(uint64_t)at[TRIAL_seed] + 1000000, 0};

    *p = attn_problem_init((attn_shape){.batch = at[TRIAL_batch],
                                        .heads = heads,
                                        .kv_heads = at[TRIAL_kv_heads],
                                        .seq = at[TRIAL_seq],
                                        .kv_seq = at[TRIAL_documents] > 0 ? at[TRIAL_seq] : at[TRIAL_kv_seq],
                                        .head_dim = at[TRIAL_head_dim],
                                        .v_head_dim = at[TRIAL_v_head_dim]},
                           (attn_dtype)at[TRIAL_dtype]);
    p->mask.causal = at[TRIAL_causal] != 0;
    p->mask.window_left = at[TRIAL_window_left];
    p->mask.window_right = at[TRIAL_window_right];
    for (int64_t b = 0; b < at[TRIAL_batch]; b++)
        out->kv_len[b] = one_in(&d, 3) ? 0 : below(&d, p->shape.kv_seq + 1);
    for (int64_t h = 0; h < heads; h++)
        out->sinks[h] = 3 * attn_random_normal(d.seed, ATTN_STREAM_SINKS, (uint64_t)h);
    attn_alibi_slopes(heads, out->slopes);
    if (at[TRIAL_documents] > 0)
        make_documents(&d, at[TRIAL_documents], at[TRIAL_seq], out->cu_seqlens);
    p->mask.kv_len = at[TRIAL_kv_len] ? out->kv_len : NULL;
    p->mask.cu_seqlens = at[TRIAL_documents] > 0 ? out->cu_seqlens : NULL;
    p->mask.documents = at[TRIAL_documents];
    p->score.softcap = (double)at[TRIAL_softcap];
    p->score.scale *= (double)at[TRIAL_scale] / 100;
    p->score.alibi_slopes = at[TRIAL_alibi] ? out->slopes : NULL;
    p->score.sinks = at[TRIAL_sinks] ? out->sinks : NULL;
    p->dropout = (double)at[TRIAL_dropout] / 100;
    p->dropout_seed = (uint64_t)at[TRIAL_seed];
}

/* ---- The plan ---- */

/* The number of a row in its table. */
#define FIND_ROW(count, row, wanted, index)                                                                            \
    for ((index) = 0; (index) < (int64_t)(count) && row((size_t)(index)) != (wanted); (index)++)                       \
        ;

void trial_set_plan(trial *t, const attn_plan *plan)
{
    t->at[TRIAL_pass] = plan->pass;
    FIND_ROW(attn_exchange_count(), attn_exchange_at, plan->exchange, t->at[TRIAL_exchange])
    FIND_ROW(attn_layout_count(), attn_layout_at, plan->layout, t->at[TRIAL_layout])
    FIND_ROW(attn_combine_count(), attn_combine_at, plan->combine, t->at[TRIAL_combine])
    FIND_ROW(attn_kernel_count(), attn_kernel_at, plan->kernel, t->at[TRIAL_kernel])
    t->at[TRIAL_transfer] = plan->transfer;
    t->at[TRIAL_hybrid_alltoall] = plan->hybrid.alltoall;
    t->at[TRIAL_hybrid_ring] = plan->hybrid.ring;
    t->at[TRIAL_ring_inside] = plan->hybrid.ring_inside;
    t->at[TRIAL_grid_seq] = plan->grid.seq;
    t->at[TRIAL_grid_head] = plan->grid.head;
    t->at[TRIAL_node_ranks] = plan->node_ranks == plan->ranks ? 0 : plan->node_ranks;
    t->at[TRIAL_threads] = plan->threads;
}

bool trial_make_plan(const trial *t, const attn_problem *problem, int ranks, attn_plan *out)
{
    const int64_t *at = t->at;
    const attn_plan_options options = {
        .grid = {(int)at[TRIAL_grid_seq], (int)at[TRIAL_grid_head]},
        .exchange = attn_exchange_at((size_t)at[TRIAL_exchange]),
        .layout = attn_layout_at((size_t)at[TRIAL_layout]),
        .combine = attn_combine_at((size_t)at[TRIAL_combine]),
        .kernel = attn_kernel_at((size_t)at[TRIAL_kernel]),
        .pass = (attn_pass)at[TRIAL_pass],
        .transfer = (attn_transfer)at[TRIAL_transfer],
        .hybrid = {(int)at[TRIAL_hybrid_alltoall], (int)at[TRIAL_hybrid_ring], at[TRIAL_ring_inside] != 0},
        .node_ranks = (int)at[TRIAL_node_ranks],
        .threads = (int)at[TRIAL_threads]};
    attn_error error = ATTN_ERROR_INIT;

    return attn_plan_make(problem, ranks, &options, out, &error) == ATTN_OK;
}

/* ---- Lines ---- */

/* The name of a number in its table; NULL beyond the end, and for plain numbers. */
static const char *value_name(field_kind kind, int64_t value)
{
    const size_t at = (size_t)value;

    switch (kind) {
    case KIND_DTYPE:
        return value < ATTN_DTYPE_COUNT ? attn_dtype_name((attn_dtype)value) : NULL;
    case KIND_PASS:
        return value < ATTN_PASS_COUNT ? attn_pass_name((attn_pass)value) : NULL;
    case KIND_TRANSFER:
        return value < ATTN_TRANSFER_COUNT ? attn_transfer_name((attn_transfer)value) : NULL;
    case KIND_EXCHANGE:
        return at < attn_exchange_count() ? attn_exchange_name(attn_exchange_at(at)) : NULL;
    case KIND_LAYOUT:
        return at < attn_layout_count() ? attn_layout_name(attn_layout_at(at)) : NULL;
    case KIND_COMBINE:
        return at < attn_combine_count() ? attn_combine_name(attn_combine_at(at)) : NULL;
    case KIND_KERNEL:
        return at < attn_kernel_count() ? attn_kernel_name(attn_kernel_at(at)) : NULL;
    case KIND_NUMBER:
        break;
    }
    return NULL;
}

void trial_write(const trial *t, char line[TRIAL_LINE_MAX])
{
    size_t length = 0;

    line[0] = '\0';
    for (int f = 0; f < TRIAL_FIELDS && length < TRIAL_LINE_MAX; f++) {
        const char *name = value_name(fields[f].kind, t->at[f]);
        char number[24];

        if (t->at[f] == fields[f].simplest)
            continue;
        snprintf(number, sizeof number, "%lld", (long long)t->at[f]);
        length += (size_t)snprintf(line + length, TRIAL_LINE_MAX - length, "%s%s=%s", length > 0 ? " " : "",
                                   fields[f].name, name != NULL ? name : number);
    }
}

static bool read_value(field_kind kind, const char *text, int64_t *out)
{
    char *end;

    if (kind == KIND_NUMBER) {
        *out = strtoll(text, &end, 10);
        return *text != '\0' && *end == '\0';
    }
    for (*out = 0; value_name(kind, *out) != NULL; ++*out)
        if (strcmp(value_name(kind, *out), text) == 0)
            return true;
    return false;
}

bool trial_read(const char *line, trial *out)
{
    *out = simplest();
    while (*line != '\0') {
        char name[64], value[64];
        int used = 0, f = 0;

        if (sscanf(line, " %63[^=]=%63s%n", name, value, &used) != 2)
            return line[strspn(line, " ")] == '\0';
        while (f < TRIAL_FIELDS && strcmp(fields[f].name, name) != 0)
            f++;
        if (f == TRIAL_FIELDS || !read_value(fields[f].kind, value, &out->at[f]))
            return false;
        line += used;
    }
    return true;
}

/* ---- Shrinking ---- */

typedef struct shrinking {
    trial best;
    bool (*fails)(const trial *t, void *context);
    void *context;
} shrinking;

static bool take_if_fails(shrinking *s, const trial *t)
{
    if (memcmp(t, &s->best, sizeof *t) == 0 || !s->fails(t, s->context))
        return false;
    s->best = *t;
    return true;
}

/* Without an exchange, and with one over all ranks: choices that only go together. */
static bool shrink_grid(shrinking *s, int ranks)
{
    trial alone = s->best, all = s->best;

    if (alone.at[TRIAL_grid_seq] > 1) {
        alone.at[TRIAL_exchange] = alone.at[TRIAL_transfer] = 0;
        alone.at[TRIAL_hybrid_alltoall] = alone.at[TRIAL_hybrid_ring] = alone.at[TRIAL_ring_inside] = 0;
        alone.at[TRIAL_grid_seq] = 1;
        alone.at[TRIAL_grid_head] = ranks;
        if (take_if_fails(s, &alone))
            return true;
    }
    if (all.at[TRIAL_grid_head] > 1 && all.at[TRIAL_hybrid_alltoall] == 0) {
        all.at[TRIAL_grid_seq] = ranks;
        all.at[TRIAL_grid_head] = 1;
        return take_if_fails(s, &all);
    }
    return false;
}

static bool shrink_field(shrinking *s, int f)
{
    const int64_t least = fields[f].simplest, now = s->best.at[f];
    const int64_t step = now > least ? -1 : 1;
    const int64_t tries[] = {least, least + (now - least) / 2, now + step};

    if (now == least || f == TRIAL_grid_seq || f == TRIAL_grid_head || f == TRIAL_exchange || f == TRIAL_pass)
        return false;
    for (size_t n = 0; n < (fields[f].kind == KIND_NUMBER ? sizeof tries / sizeof tries[0] : 1); n++) {
        trial t = s->best;

        t.at[f] = tries[n];
        if (take_if_fails(s, &t))
            return true;
    }
    return false;
}

trial trial_shrink(const trial *t, int ranks, bool (*fails)(const trial *t, void *context), void *context)
{
    shrinking s = {*t, fails, context};
    bool smaller = true;

    while (smaller) {
        smaller = shrink_grid(&s, ranks);
        for (int f = TRIAL_FIELDS - 1; f >= 0; f--)
            while (shrink_field(&s, f))
                smaller = true;
    }
    return s.best;
}
