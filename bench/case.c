#include "case.h"
#include "names.h"

#include <attn/random.h>

#include <math.h>
#include <stdlib.h>
#include <string.h>

/* Grows an extent by a factor; an extent that leaves int64_t is caught by attn_shape_check as the largest there is. */
static int64_t grow(int64_t extent, double factor)
{
    const double grown = round((double)extent * factor);

    return grown < 9e18 ? (int64_t)grown : INT64_MAX;
}

/* The extents of the point, grown with the ranks as --scaling says. */
static attn_shape point_shape(const sweep *lists, const int64_t *at, int ranks)
{
    attn_shape shape = {
        .batch = at[AXIS_BATCH],
        .heads = at[AXIS_HEADS],
        .kv_heads = at[AXIS_KV_HEADS] > 0 ? at[AXIS_KV_HEADS] : at[AXIS_HEADS],
        .seq = at[AXIS_SEQ],
        .kv_seq = at[AXIS_KV_SEQ] > 0 ? at[AXIS_KV_SEQ] : at[AXIS_SEQ],
        .head_dim = at[AXIS_HEAD_DIM],
        .v_head_dim = at[AXIS_V_HEAD_DIM] > 0 ? at[AXIS_V_HEAD_DIM] : at[AXIS_HEAD_DIM],
    };
    double factor;

    switch (lists->scaling) {
    case SCALING_WEAK_BATCH:
        shape.batch = grow(shape.batch, ranks);
        break;
    case SCALING_WEAK_SEQ:
    case SCALING_WEAK_WORK: /* work grows with the square of the length */
        factor = lists->scaling == SCALING_WEAK_SEQ ? ranks : sqrt(ranks);
        shape.seq = grow(shape.seq, factor);
        shape.kv_seq = grow(shape.kv_seq, factor);
        break;
    case SCALING_STRONG:
        break;
    }
    return shape;
}

static attn_status make_arrays(const sweep *lists, const int64_t *at, bench_case *out, attn_error *error)
{
    const size_t heads = (size_t)out->problem.shape.heads;

    if (lists->alibi) {
        out->slopes = malloc(heads * sizeof *out->slopes);
        if (out->slopes == NULL)
            return attn_error_set(error, ATTN_MEMORY, "no memory for the slopes of %zu heads", heads);
        attn_alibi_slopes((int64_t)heads, out->slopes);
    }
    if (lists->sinks) {
        out->sinks = malloc(heads * sizeof *out->sinks);
        if (out->sinks == NULL)
            return attn_error_set(error, ATTN_MEMORY, "no memory for the sinks of %zu heads", heads);
        for (size_t h = 0; h < heads; h++)
            out->sinks[h] = attn_random_normal(lists->seed, ATTN_STREAM_SINKS, h);
    }
    return documents_starts(&lists->documents.laws[at[AXIS_DOCUMENTS]], out->problem.shape.seq, lists->seed,
                            &out->cu_seqlens, &out->problem.mask.documents, error);
}

attn_status bench_case_problem(const sweep *lists, const sweep_point *point, int ranks, bench_case *out,
                               attn_error *error)
{
    const int64_t *at = point->at;
    attn_problem *problem = &out->problem;
    attn_status status;

    *problem = (attn_problem){
        .shape = point_shape(lists, at, ranks),
        .dtype = at[AXIS_DTYPE] == NAME_AUTO ? ATTN_FLOAT32 : (attn_dtype)at[AXIS_DTYPE],
        .mask = {.causal = lists->causal, .window_left = at[AXIS_WINDOW_LEFT], .window_right = at[AXIS_WINDOW_RIGHT]},
        .score = {.softcap = lists->softcaps.values[at[AXIS_SOFTCAP]]},
    };
    status = attn_shape_check(&problem->shape, error);
    if (status == ATTN_OK)
        status = make_arrays(lists, at, out, error);
    if (status != ATTN_OK)
        return status;
    problem->mask.cu_seqlens = out->cu_seqlens;
    problem->score.scale = lists->scale != 0 ? lists->scale : attn_scale_default(problem->shape.head_dim);
    problem->score.alibi_slopes = out->slopes;
    problem->score.sinks = out->sinks;
    return attn_problem_check(problem, error);
}

static attn_status plan_case(const sweep *lists, bench_case *out, attn_error *error)
{
    const int64_t *at = out->point.at;
    const int64_t kernel =
        at[AXIS_KERNEL] == NAME_AUTO ? (int64_t)out->group->kernels[out->problem.dtype] : at[AXIS_KERNEL];
    const attn_plan_options choices = {
        .grid = lists->grids[at[AXIS_GRID]],
        .exchange = at[AXIS_EXCHANGE] == NAME_AUTO ? NULL : attn_exchange_at((size_t)at[AXIS_EXCHANGE]),
        .layout = at[AXIS_LAYOUT] == NAME_AUTO ? NULL : attn_layout_at((size_t)at[AXIS_LAYOUT]),
        .combine = attn_combine_at((size_t)at[AXIS_COMBINE]),
        .kernel = attn_kernel_at((size_t)kernel),
        .threads = out->threads,
    };

    return attn_plan_make(&out->problem, out->group->ranks, &choices, &out->plan, error);
}

static attn_status predict(bench_case *one, attn_error *error)
{
    case_prediction *sum = &one->prediction;
    double most_pairs = 0;

    for (int rank = 0; rank < one->group->ranks; rank++) {
        attn_prediction of;
        const attn_status status = attn_plan_predict(&one->plan, rank, &of, error);

        if (status != ATTN_OK)
            return status;
        sum->bytes = fmax(sum->bytes, of.exchange_bytes + of.combine_bytes);
        sum->messages = fmax(sum->messages, of.messages);
        sum->memory = fmax(sum->memory, of.input_bytes + of.output_bytes + of.extra_bytes);
        sum->pairs += of.pairs;
        most_pairs = fmax(most_pairs, of.pairs);
    }
    sum->imbalance = sum->pairs > 0 ? most_pairs * one->group->ranks / sum->pairs : 1;
    return ATTN_OK;
}

/* Bytes that a case takes on its fullest node. */
static double node_memory(const bench_case *one)
{
    return one->prediction.memory * one->group->node_ranks;
}

static attn_status check_memory(const bench_case *one, attn_error *error)
{
    const double gib = 1024.0 * 1024.0 * 1024.0, needed = node_memory(one);

    if (needed <= one->group->memory)
        return ATTN_OK;
    return attn_error_set(error, ATTN_UNSUPPORTED, "needs %.3g GiB on a node, %.3g GiB are free", needed / gib,
                          one->group->memory / gib);
}

attn_status bench_case_create(const bench *launch, const sweep *lists, const sweep_point *point,
                              const rank_groups *groups, const attn_problem *file, bench_case *out, attn_error *error)
{
    const rank_group *group = rank_groups_find(groups, point->at[AXIS_RANKS]);
    attn_status status = ATTN_OK;

    memset(out, 0, sizeof *out);
    out->point = *point;
    out->group = group;
    out->threads = point->at[AXIS_THREADS] > 0 ? (int)point->at[AXIS_THREADS] : group->threads;
    if (file == NULL) {
        status = bench_case_problem(lists, point, group->ranks, out, &out->reason);
    } else {
        out->problem = *file;
        if (point->at[AXIS_DTYPE] != NAME_AUTO)
            out->problem.dtype = (attn_dtype)point->at[AXIS_DTYPE];
    }
    if (rank_group_has(group, launch)) {
        if (status == ATTN_OK)
            status = plan_case(lists, out, &out->reason);
        if (status == ATTN_OK)
            status = predict(out, &out->reason);
        if (status == ATTN_OK)
            status = check_memory(out, &out->reason);
    }
    /* CPUs may differ, and with them the kernels. */
    out->runnable = attn_comm_agree(launch->comm, status, &out->reason);
    if (out->runnable == ATTN_MEMORY || out->runnable == ATTN_MPI)
        return attn_error_set(error, out->runnable, "%s", out->reason.message);
    return ATTN_OK;
}

void bench_case_release(bench_case *one)
{
    free(one->slopes);
    free(one->sinks);
    free(one->cu_seqlens);
    memset(one, 0, sizeof *one);
}

bool bench_case_oversubscribed(const bench_case *one)
{
    return (int64_t)one->group->ranks * one->threads > one->group->cores;
}
