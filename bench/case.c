#include "case.h"
#include "names.h"
#include "roofs.h"

#include <attn/random.h>

#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

/* The lengths where none is given: of all keys, and of the query rows of a decoding step. */
enum { USUAL_SEQ = 4096, DECODE_SEQ = 1 };

/* Grows an extent by a factor; an extent that leaves int64_t is caught by attn_shape_check as the largest there is. */
static int64_t grow(int64_t extent, double factor)
{
    const double grown = round((double)extent * factor);

    return grown < 9e18 ? (int64_t)grown : INT64_MAX;
}

/* The extents of the point, grown with the ranks as --scaling says. */
static attn_shape point_shape(const sweep *lists, const int64_t *at, int ranks)
{
    const bool decode = lists->pass == ATTN_PASS_DECODE;
    const int64_t seq = at[AXIS_SEQ] > 0 ? at[AXIS_SEQ] : decode ? DECODE_SEQ : USUAL_SEQ;
    attn_shape shape = {
        .batch = at[AXIS_BATCH],
        .heads = at[AXIS_HEADS],
        .kv_heads = at[AXIS_KV_HEADS] > 0 ? at[AXIS_KV_HEADS] : at[AXIS_HEADS],
        .seq = seq,
        .kv_seq = at[AXIS_KV_SEQ] > 0 ? at[AXIS_KV_SEQ]
                  : decode            ? USUAL_SEQ
                                      : seq,
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
        shape.seq = decode ? shape.seq : grow(shape.seq, factor);
        shape.kv_seq = grow(shape.kv_seq, factor);
        break;
    case SCALING_STRONG:
        break;
    }
    return shape;
}

/* The problem of a point without its arrays. */
static attn_problem point_problem(const sweep *lists, const int64_t *at, int ranks)
{
    attn_problem problem = attn_problem_init(point_shape(lists, at, ranks),
                                             at[AXIS_DTYPE] == NAME_AUTO ? ATTN_FLOAT32 : (attn_dtype)at[AXIS_DTYPE]);

    problem.mask.causal = lists->causal;
    problem.mask.window_left = at[AXIS_WINDOW_LEFT];
    problem.mask.window_right = at[AXIS_WINDOW_RIGHT];
    problem.score.softcap = lists->softcaps.values[at[AXIS_SOFTCAP]];
    if (lists->scale_given)
        problem.score.scale = lists->scale;
    problem.dropout = lists->dropouts.values[at[AXIS_DROPOUT]];
    problem.dropout_seed = lists->seed;
    return problem;
}

static int64_t point_documents(const sweep *lists, const int64_t *at, const attn_problem *problem)
{
    return documents_count(&lists->documents.laws[at[AXIS_DOCUMENTS]], problem->shape.seq, lists->seed);
}

/* Adds the arrays to a problem whose extents were checked. */
static attn_status make_arrays(const sweep *lists, const int64_t *at, bench_case *out, attn_error *error)
{
    attn_problem *problem = &out->problem;
    const size_t heads = (size_t)problem->shape.heads;
    attn_status status;

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
    status = documents_starts(&lists->documents.laws[at[AXIS_DOCUMENTS]], problem->shape.seq, lists->seed,
                              out->documents, &out->cu_seqlens, error);
    if (status != ATTN_OK)
        return status;
    problem->mask.cu_seqlens = out->cu_seqlens;
    problem->mask.documents = out->documents;
    problem->score.alibi_slopes = out->slopes;
    problem->score.sinks = out->sinks;
    return attn_problem_check(problem, error);
}

attn_status bench_case_problem(const sweep *lists, const sweep_point *point, int ranks, bench_case *out,
                               attn_error *error)
{
    attn_status status;

    out->problem = point_problem(lists, point->at, ranks);
    out->documents = point_documents(lists, point->at, &out->problem);
    status = attn_problem_check(&out->problem, error);
    if (status == ATTN_OK)
        status = documents_check(out->documents, out->problem.shape.seq, error);
    return status == ATTN_OK ? make_arrays(lists, point->at, out, error) : status;
}

attn_plan_options bench_case_choices(const sweep *lists, const bench_case *one)
{
    const int64_t *at = one->point.at;
    const size_t best = one->group->kernels[lists->pass][one->problem.dtype][one->problem.dropout > 0];
    const int64_t kernel = at[AXIS_KERNEL] == NAME_AUTO ? (int64_t)best : at[AXIS_KERNEL];

    return (attn_plan_options){
        .grid = lists->grids[at[AXIS_GRID]],
        .exchange = at[AXIS_EXCHANGE] == NAME_AUTO ? NULL : attn_exchange_at((size_t)at[AXIS_EXCHANGE]),
        .layout = at[AXIS_LAYOUT] == NAME_AUTO ? NULL : attn_layout_at((size_t)at[AXIS_LAYOUT]),
        .combine = attn_combine_at((size_t)at[AXIS_COMBINE]),
        .kernel = attn_kernel_at((size_t)kernel),
        .pass = lists->pass,
        .transfer = at[AXIS_TRANSFER] == NAME_AUTO ? ATTN_TRANSFER_AUTO : (attn_transfer)(at[AXIS_TRANSFER] + 1),
        .hybrid = {lists->hybrids[at[AXIS_HYBRID]].seq, lists->hybrids[at[AXIS_HYBRID]].head, at[AXIS_INNER] == 1},
        .node_ranks = lists->node_ranks > 0 ? lists->node_ranks : one->group->consecutive,
        .threads = one->threads,
        .deterministic = lists->deterministic,
    };
}

bool bench_case_planned(const sweep *lists, const bench_case *one)
{
    const attn_plan_options choices = bench_case_choices(lists, one);

    return lists->plan != ATTN_PLAN_MODE_RULE && attn_plan_open(one->group->ranks, &choices);
}

static attn_status plan_by_rule(const sweep *lists, bench_case *out, attn_error *error)
{
    const attn_plan_options choices = bench_case_choices(lists, out);

    return attn_plan_make(&out->problem, out->group->ranks, &choices, &out->plan, error);
}

/* The case is loaded. */
static attn_status plan_by_model(const sweep *lists, const attn_machine *machine, bench_case *out, attn_error *error)
{
    const attn_plan_options choices = bench_case_choices(lists, out);

    return attn_plan_choose(&out->problem, out->group->ranks, &choices, machine, &out->plan, NULL, error);
}

/* Three digits, and all digits before the point: "0.0312 GiB", "1563 GiB". */
static const char *write_gib(double bytes, char out[32])
{
    const double gib = bytes / (1024.0 * 1024.0 * 1024.0);

    snprintf(out, 32, gib < 100 ? "%.3g GiB" : "%.0f GiB", gib);
    return out;
}

static attn_status compare_memory(const bench_case *one, double needed, const char *words, attn_error *error)
{
    char wanted[32], available[32];

    if (needed <= one->group->memory)
        return ATTN_OK;
    return attn_error_set(error, ATTN_UNSUPPORTED, "needs %s%s on a node, %s are free", words,
                          write_gib(needed, wanted), write_gib(one->group->memory, available));
}

/* From the extents alone: the nodes hold q, k, v and o once at least, and each rank the starts of all documents. */
static attn_status check_least_memory(const bench_case *one, attn_error *error)
{
    const double starts = one->generated && one->documents > 0 ? (double)one->documents + 1 : 0;
    const attn_shape *shape = &one->problem.shape;
    const double element = (double)attn_dtype_size(one->problem.dtype), batch = (double)shape->batch;
    const double query_rows = batch * (double)shape->heads * (double)shape->seq;
    const double key_rows = batch * (double)shape->kv_heads * (double)shape->kv_seq;
    const double width = (double)shape->head_dim + (double)shape->v_head_dim;
    const double arrays = element * width * (query_rows + key_rows) / one->group->nodes;

    return compare_memory(one, arrays + starts * sizeof(int64_t) * one->group->node_ranks, "at least ", error);
}

attn_status bench_case_check_memory(const bench_case *one, attn_error *error)
{
    return compare_memory(one, one->prediction.memory * one->group->node_ranks, "", error);
}

attn_status bench_case_load(const sweep *lists, bench_case *one, attn_error *error)
{
    attn_status status = ATTN_OK;

    if (one->generated)
        status = make_arrays(lists, one->point.at, one, error);
    one->plan.problem = one->problem;
    return status;
}

void bench_case_unload(bench_case *one)
{
    free(one->slopes);
    free(one->sinks);
    free(one->cu_seqlens);
    one->slopes = one->sinks = NULL;
    one->cu_seqlens = NULL;
    if (one->generated) {
        one->problem.mask.cu_seqlens = NULL;
        one->problem.mask.documents = 0;
        one->problem.score.alibi_slopes = one->problem.score.sinks = NULL;
        one->plan.problem = one->problem;
    }
}

/* On the ranks of the group. A plan is made before memory is looked at, so that a case which does not fit here has the
 * name that it has where it fits; by the rule, as the model looks at every row.
 *   machine  in, NULL: by the rule */
static attn_status prepare(const sweep *lists, const attn_machine *machine, bench_case *out, attn_error *error)
{
    attn_status status = plan_by_rule(lists, out, error);

    if (status == ATTN_UNSUPPORTED && machine != NULL)
        status = ATTN_OK; /* the model may find another */
    if (status == ATTN_OK && out->generated)
        status = documents_check(out->documents, out->problem.shape.seq, error);
    if (status == ATTN_OK)
        status = check_least_memory(out, error);
    if (status == ATTN_OK)
        status = bench_case_load(lists, out, error);
    if (status == ATTN_OK && machine != NULL)
        status = plan_by_model(lists, machine, out, error);
    if (status != ATTN_OK)
        return status;
    out->flops =
        lists->pass == ATTN_PASS_BACKWARD ? attn_flops_backward(&out->problem) : attn_flops_forward(&out->problem);
    out->bytes = roofs_bytes(out);
    status = attn_plan_predict_all(&out->plan, &out->prediction, error);
    return status == ATTN_OK ? bench_case_check_memory(out, error) : status;
}

attn_status bench_case_create(const bench *launch, const sweep *lists, const sweep_point *point,
                              const rank_groups *groups, machines *known, const attn_problem *file, bench_case *out,
                              attn_error *error)
{
    attn_machine machine;
    const rank_group *group = rank_groups_find(groups, point->at[AXIS_RANKS]);
    attn_status status = ATTN_OK;
    bool measured;

    memset(out, 0, sizeof *out);
    out->point = *point;
    out->group = group;
    out->generated = file == NULL;
    out->threads = point->at[AXIS_THREADS] > 0 ? (int)point->at[AXIS_THREADS] : group->threads;
    if (file == NULL) {
        out->problem = point_problem(lists, point->at, group->ranks);
        out->documents = point_documents(lists, point->at, &out->problem);
    } else {
        out->problem = *file;
        out->documents = file->mask.documents;
        if (point->at[AXIS_DTYPE] != NAME_AUTO)
            out->problem.dtype = (attn_dtype)point->at[AXIS_DTYPE];
    }
    measured = known != NULL && bench_case_planned(lists, out);
    if (measured) {
        const attn_plan_options choices = bench_case_choices(lists, out);

        if (rank_group_has(group, launch))
            status = machines_find(known, group, &out->problem, &choices, &machine, &out->reason);
        if (status != ATTN_MPI && attn_comm_sleep_barrier(launch->comm, &out->reason) != ATTN_OK)
            status = ATTN_MPI;
    }
    if (status == ATTN_OK && rank_group_has(group, launch))
        status = prepare(lists, measured ? &machine : NULL, out, &out->reason);
    bench_case_unload(out);
    /* CPUs may differ, and with them the kernels. */
    out->runnable = attn_comm_agree(launch->comm, status, &out->reason);
    if (out->runnable == ATTN_MPI)
        return attn_error_set(error, out->runnable, "%s", out->reason.message);
    return ATTN_OK;
}

void bench_case_release(bench_case *one)
{
    bench_case_unload(one);
    memset(one, 0, sizeof *one);
}

bool bench_case_oversubscribed(const bench_case *one)
{
    return (int64_t)one->group->ranks * one->threads > one->group->cores;
}

bool bench_case_has_bound(const bench_case *one)
{
    return !bench_case_oversubscribed(one);
}
