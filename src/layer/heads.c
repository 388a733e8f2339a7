#include "layer/heads.h"

#include "layer/place.h"
#include "layer/project.h"
#include "layer/rotary.h"

#include <stdlib.h>
#include <string.h>

enum { PROJECTIONS = ATTN_PROJECTION_OUT }; /* those before attention: query, key, value */

/* What a projection gives, and where attention has it. */
typedef struct side {
    attn_project *project;
    attn_rotary_table *rotary; /* NULL: not turned */
    const attn_shares *shares;
    int64_t heads, counted, width; /* here; of them those with gradients of weights; elements of one */
    void *array;                   /* [B,heads,rows,width] */
    void *own;                     /* array, where it is this one's to free */
    void *gradient;                /* of array, the same shape */
    void *lines;                   /* [lines,counted width]: gradient of what the projection gave */
} side;

struct attn_heads {
    attn_heads_setup of;
    side sides[PROJECTIONS];
    int64_t block;       /* lines of a block */
    void *piece;         /* [block,widest] what a projection gave, on its way to attention */
    void *o, *lse, *d_o; /* [B,heads,rows,Dv], [B,heads,rows] */
};

static const attn_plan *plan_of(const attn_heads *heads)
{
    return attn_dist_plan(heads->of.dist);
}

static attn_dtype type_of(const attn_heads *heads)
{
    return heads->of.problem->attention.dtype;
}

static attn_dtype sum_type_of(const attn_heads *heads)
{
    return attn_dtype_accumulator(type_of(heads));
}

static bool goes_back(const attn_heads *heads)
{
    return plan_of(heads)->pass == ATTN_PASS_BACKWARD;
}

/* As many lines as keep what they become in the caches of the threads, in whole tiles of a product. */
static int64_t block_lines(const attn_heads *heads)
{
    enum { TILE = 64, CACHE = 1 << 20 };
    int64_t widest = 1, lines;

    for (int p = 0; p < PROJECTIONS; p++) {
        const int64_t width = heads->sides[p].heads * heads->sides[p].width;

        widest = width > widest ? width : widest;
    }
    lines = (int64_t)CACHE * plan_of(heads)->threads / (widest * (int64_t)attn_dtype_size(type_of(heads)));
    return lines > 2 * TILE ? lines / TILE * TILE : 2 * TILE;
}

static void describe_sides(attn_heads *heads)
{
    const attn_shape *const shape = &heads->of.problem->attention.shape;
    const attn_part *const part = attn_dist_part(heads->of.dist);
    const side query = {
        .shares = heads->of.queries, .heads = part->head_count, .counted = part->head_count, .width = shape->head_dim};
    side key = {.shares = heads->of.keys,
                .heads = part->kv_head_count,
                .counted = heads->of.kv_counted,
                .width = shape->head_dim};

    heads->sides[ATTN_PROJECTION_QUERY] = query;
    heads->sides[ATTN_PROJECTION_KEY] = key;
    key.width = shape->v_head_dim;
    heads->sides[ATTN_PROJECTION_VALUE] = key;
}

static attn_status create_projection(attn_heads *heads, attn_projection p, attn_error *error)
{
    side *const of = &heads->sides[p];
    const attn_project_setup setup = {.lines = attn_shares_lines(of->shares),
                                      .block = heads->block,
                                      .in = attn_layer_weight_in(heads->of.problem, p),
                                      .out = of->heads * of->width,
                                      .back = of->counted * of->width,
                                      .dtype = type_of(heads),
                                      .y_dtype = type_of(heads),
                                      .bias = heads->of.problem->bias[p],
                                      .backward = goes_back(heads),
                                      .threads = plan_of(heads)->threads};

    return attn_project_create(&setup, &of->project, error);
}

/* Queries and keys are turned by their positions, which count from the first key. */
static attn_status create_rotary(attn_heads *heads, attn_projection p, attn_error *error)
{
    const attn_layer_problem *const problem = heads->of.problem;
    const attn_shape *const shape = &problem->attention.shape;
    const int64_t shift = p == ATTN_PROJECTION_QUERY ? shape->kv_seq - shape->seq : 0;

    if (problem->rotary.style == ATTN_ROTARY_NONE || p == ATTN_PROJECTION_VALUE)
        return ATTN_OK;
    return attn_rotary_create(&problem->rotary, attn_shares_part(heads->sides[p].shares), shift,
                              problem->attention.dtype, &heads->sides[p].rotary, error);
}

/* Turns what was projected, or takes the turn back from its gradient. */
static void turn(const attn_heads *heads, bool back)
{
    const attn_plan *const plan = plan_of(heads);

    for (int p = 0; p < PROJECTIONS; p++) {
        const side *const of = &heads->sides[p];
        const attn_array array =
            attn_array_dense(back ? of->gradient : of->array, of->heads, attn_shares_part(of->shares)->rows, of->width);

        if (of->rotary != NULL)
            attn_rotary_turn(of->rotary, back, plan->problem.shape.batch, of->heads, &array, plan->threads);
    }
}

/* Memory of a side: exchanges through shared memory have their own for k and v. */
static attn_status create_side(attn_heads *heads, attn_projection p, void *given, attn_error *error)
{
    side *const of = &heads->sides[p];
    const attn_dtype dtype = type_of(heads);
    const int64_t lines = attn_shares_lines(of->shares);
    attn_status status = ATTN_OK;

    of->array = given;
    if (given == NULL &&
        (heads->of.problem->projected || (p == ATTN_PROJECTION_QUERY && attn_shares_ranks(heads->of.queries) > 1))) {
        status = attn_lines_allocate(lines, of->heads, of->width, dtype, &of->own, error);
        of->array = of->own;
    }
    if (status == ATTN_OK && goes_back(heads))
        status = attn_lines_allocate(lines, of->heads, of->width, dtype, &of->gradient, error);
    if (status == ATTN_OK && goes_back(heads) && heads->of.problem->projected)
        status = attn_lines_allocate(lines, of->counted, of->width, dtype, &of->lines, error);
    if (status == ATTN_OK && heads->of.problem->projected)
        status = create_projection(heads, p, error);
    if (status == ATTN_OK)
        status = create_rotary(heads, p, error);
    return status;
}

static attn_status create_arrays(attn_heads *heads, attn_error *error)
{
    const side *const query = &heads->sides[ATTN_PROJECTION_QUERY];
    const attn_shape *const shape = &heads->of.problem->attention.shape;
    const int64_t lines = attn_shares_lines(query->shares);
    const attn_dtype dtype = type_of(heads);
    int64_t widest = 0;
    void *given[PROJECTIONS] = {NULL};
    attn_status status = ATTN_OK;

    attn_dist_own_memory(heads->of.dist, &given[ATTN_PROJECTION_KEY], &given[ATTN_PROJECTION_VALUE]);
    for (int p = 0; p < PROJECTIONS && status == ATTN_OK; p++) {
        const int64_t width = heads->sides[p].heads * heads->sides[p].width;

        widest = width > widest ? width : widest;
        status = create_side(heads, (attn_projection)p, given[p], error);
    }
    if (status == ATTN_OK && heads->of.problem->projected)
        status = attn_lines_allocate(heads->block, widest, 1, dtype, &heads->piece, error);
    if (status == ATTN_OK)
        status = attn_lines_allocate(lines, query->heads, shape->v_head_dim, dtype, &heads->o, error);
    if (status == ATTN_OK)
        status = attn_lines_allocate(lines, query->heads, 1, sum_type_of(heads), &heads->lse, error);
    if (status == ATTN_OK && goes_back(heads))
        status = attn_lines_allocate(lines, query->heads, shape->v_head_dim, dtype, &heads->d_o, error);
    return status;
}

attn_status attn_heads_create(const attn_heads_setup *setup, attn_heads **out, attn_error *error)
{
    attn_heads *const heads = calloc(1, sizeof *heads);
    attn_status status;

    *out = heads;
    if (heads == NULL) {
        return attn_error_set(error, ATTN_MEMORY, "no memory for heads");
    }
    heads->of = *setup;
    describe_sides(heads);
    heads->block = block_lines(heads);
    status = create_arrays(heads, error);
    return status;
}

void attn_heads_destroy(attn_heads *heads)
{
    if (heads == NULL)
        return;
    for (int p = 0; p < PROJECTIONS; p++) {
        attn_project_destroy(heads->sides[p].project);
        attn_rotary_destroy(heads->sides[p].rotary);
        free(heads->sides[p].own);
        free(heads->sides[p].gradient);
        free(heads->sides[p].lines);
    }
    free(heads->piece);
    free(heads->o);
    free(heads->lse);
    free(heads->d_o);
    attn_dist_destroy(heads->of.dist);
    free(heads);
}

/* Adds a pass of dist, which began at the last lap, to the phases. */
static void take_pass(attn_laps *laps, const double seconds[ATTN_PHASE_COUNT])
{
    for (int phase = 0; phase < ATTN_PHASE_COUNT; phase++)
        if (phase != ATTN_PHASE_TOTAL)
            laps->seconds[phase] += seconds[phase];
    laps->last += seconds[ATTN_PHASE_TOTAL];
}

static attn_placing placing_of(const attn_heads *heads, const side *of)
{
    return (attn_placing){.shares = of->shares,
                          .end = attn_shares_lines(of->shares),
                          .heads = of->heads,
                          .width = of->width,
                          .first = of->heads - of->counted,
                          .count = of->counted,
                          .stride = of->counted * of->width,
                          .dtype = type_of(heads),
                          .threads = plan_of(heads)->threads};
}

/* Projects a block of lines and puts it where attention has it. */
static int64_t project_block(attn_heads *heads, attn_projection p, const attn_heads_weights *weights, const void *from,
                             int64_t begin)
{
    side *const of = &heads->sides[p];
    attn_placing placing = placing_of(heads, of);

    placing.begin = begin;
    placing.end = attn_project_end(of->project, begin);
    placing.first = 0;
    placing.count = of->heads;
    placing.stride = of->heads * of->width;
    attn_project_forward(of->project, begin, from, weights->weight[p], weights->bias[p], heads->piece);
    attn_lines_to_heads(&placing, heads->piece, of->array);
    return placing.end;
}

/* The lines of x make q, and in self-attention k and v, block by block. */
static void project(attn_heads *heads, const attn_heads_weights *weights, const void *x, const void *context)
{
    const int64_t queries = attn_shares_lines(heads->of.queries), keys = attn_shares_lines(heads->of.keys);
    const bool self = heads->of.problem->context_dim == 0;
    int64_t next;

    for (int64_t begin = 0; begin < queries; begin = next) {
        next = project_block(heads, ATTN_PROJECTION_QUERY, weights, x, begin);
        if (self) {
            project_block(heads, ATTN_PROJECTION_KEY, weights, x, begin);
            project_block(heads, ATTN_PROJECTION_VALUE, weights, x, begin);
        }
    }
    for (int64_t begin = 0; !self && begin < keys; begin = next) {
        next = project_block(heads, ATTN_PROJECTION_KEY, weights, context, begin);
        project_block(heads, ATTN_PROJECTION_VALUE, weights, context, begin);
    }
}

/* What attention reads: without projections the lines themselves, where they stand as [B,1,rows,D] already. */
static attn_dist_buffers buffers_of(const attn_heads *heads, const void *x)
{
    const side *const sides = heads->sides;
    attn_dist_buffers buffers = {.q = sides[ATTN_PROJECTION_QUERY].array,
                                 .k = sides[ATTN_PROJECTION_KEY].array,
                                 .v = sides[ATTN_PROJECTION_VALUE].array,
                                 .o = heads->o,
                                 .lse = heads->lse};

    if (heads->of.problem->projected)
        return buffers;
    if (attn_shares_ranks(heads->of.queries) == 1)
        buffers.q = x;
    buffers.k = buffers.v = buffers.q;
    return buffers;
}

attn_status attn_heads_forward(attn_heads *heads, const attn_heads_weights *weights, const void *x, const void *context,
                               void *o, int64_t o_stride, attn_laps *laps, attn_error *error)
{
    const side *const query = &heads->sides[ATTN_PROJECTION_QUERY];
    const attn_dist_buffers buffers = buffers_of(heads, x);
    attn_placing placing = placing_of(heads, query);
    double seconds[ATTN_PHASE_COUNT];
    attn_status status;

    if (heads->of.problem->projected)
        project(heads, weights, x, context);
    else if (buffers.q != x)
        attn_lines_to_heads(&placing, x, query->array);
    turn(heads, false);
    attn_lap(laps, ATTN_PHASE_PROJECTION);
    status = attn_dist_forward(heads->of.dist, &buffers, seconds, error);
    if (status != ATTN_OK)
        return status;
    take_pass(laps, seconds);
    placing.width = heads->of.problem->attention.shape.v_head_dim;
    placing.stride = o_stride;
    attn_heads_to_lines(&placing, heads->o, o);
    attn_lap(laps, ATTN_PHASE_PROJECTION);
    return ATTN_OK;
}

attn_status attn_heads_backward(attn_heads *heads, const void *x, const void *d_o, int64_t o_stride, attn_laps *laps,
                                attn_error *error)
{
    side *const sides = heads->sides;
    const attn_dist_buffers forward = buffers_of(heads, x);
    const attn_dist_backward_buffers buffers = {.q = forward.q,
                                                .k = forward.k,
                                                .v = forward.v,
                                                .o = heads->o,
                                                .lse = heads->lse,
                                                .d_o = heads->d_o,
                                                .dq = sides[ATTN_PROJECTION_QUERY].gradient,
                                                .dk = sides[ATTN_PROJECTION_KEY].gradient,
                                                .dv = sides[ATTN_PROJECTION_VALUE].gradient};
    attn_placing placing = placing_of(heads, &sides[ATTN_PROJECTION_QUERY]);
    double seconds[ATTN_PHASE_COUNT];
    attn_status status;

    placing.width = heads->of.problem->attention.shape.v_head_dim;
    placing.stride = o_stride;
    attn_lines_to_heads(&placing, d_o, heads->d_o);
    attn_lap(laps, ATTN_PHASE_PROJECTION);
    status = attn_dist_backward(heads->of.dist, &buffers, seconds, error);
    if (status != ATTN_OK)
        return status;
    take_pass(laps, seconds);
    turn(heads, true);
    for (int p = 0; heads->of.problem->projected && p < PROJECTIONS; p++) {
        placing = placing_of(heads, &sides[p]);
        attn_heads_to_lines(&placing, sides[p].gradient, sides[p].lines);
    }
    attn_lap(laps, ATTN_PHASE_PROJECTION);
    return ATTN_OK;
}

void attn_heads_weights_backward(attn_heads *heads, const void *x, const void *context,
                                 const attn_heads_gradients *gradients, attn_laps *laps)
{
    for (int p = 0; heads->of.problem->projected && p < PROJECTIONS; p++)
        attn_project_weights(heads->sides[p].project, heads->sides[p].lines, p == ATTN_PROJECTION_QUERY ? x : context,
                             gradients->weight[p], gradients->bias[p]);
    attn_lap(laps, ATTN_PHASE_PROJECTION);
}

/* Without projections each line is the sum of its dq, dk and dv. */
static void sum_lines(const attn_heads *heads, void *dx)
{
    const side *const sides = heads->sides;
    const attn_dtype dtype = type_of(heads);
    const int64_t lines = attn_shares_lines(heads->of.queries), width = sides[0].width;
    const int64_t rows = attn_shares_part(heads->of.queries)->rows;
    const size_t size = attn_dtype_size(dtype), sum_size = attn_dtype_size(sum_type_of(heads));

    if (sides[0].heads == 0) {
        memset(dx, 0, (size_t)(lines * width) * sum_size);
        return;
    }
#pragma omp parallel for schedule(static) num_threads(plan_of(heads)->threads)
    for (int64_t line = 0; line < lines; line++) {
        const attn_line_run run = attn_shares_run(heads->of.queries, line, line + 1);
        const size_t at = (size_t)((run.batch * rows + run.row) * width) * size;

        for (int p = 0; p < PROJECTIONS; p++)
            attn_add_line(dtype, (const char *)sides[p].gradient + at, width, p > 0,
                          (char *)dx + (size_t)(line * width) * sum_size);
    }
}

void attn_heads_data_backward(attn_heads *heads, const attn_heads_weights *weights, bool add, void *dx, void *d_context,
                              attn_laps *laps)
{
    const bool self = heads->of.problem->context_dim == 0;

    if (!heads->of.problem->projected) {
        if (dx != NULL)
            sum_lines(heads, dx);
        attn_lap(laps, ATTN_PHASE_PROJECTION);
        return;
    }
    for (int p = 0; p < PROJECTIONS; p++) {
        const bool first = p == ATTN_PROJECTION_QUERY || (p == ATTN_PROJECTION_KEY && !self);
        void *const to = p == ATTN_PROJECTION_QUERY || self ? dx : d_context;

        if (to != NULL)
            attn_project_data(heads->sides[p].project, heads->sides[p].lines, weights->weight[p], sum_type_of(heads),
                              add || !first, to);
    }
    attn_lap(laps, ATTN_PHASE_PROJECTION);
}
