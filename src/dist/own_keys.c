#include "dist/own_keys.h"

#include "core/checked.h"

#include <attn/memory.h>

#include <assert.h>
#include <stdlib.h>

struct attn_own_keys {
    attn_group group;
    int ranks, mine;
    bool alone;              /* own rows see no keys of others */
    attn_scratch *scratch;   /* of all passes */
    attn_forward **forward;  /* [ranks] of the rows of each rank; NULL: they see none of these keys */
    void *o_sum;             /* own partial o in the accumulator type; NULL: it is gathered in the caller's array */
    attn_exchange_call call; /* of the pass under way */
    attn_array o, lse;       /* where its own partial result is gathered */
};

static attn_partial_rows rows_of(const attn_plan *plan, const attn_needs *needs, const attn_part *part, int j)
{
    return (attn_partial_rows){plan, part->head_begin, part->head_count, needs->q_rows[j]->rows};
}

static attn_partial_rows rows_here(const attn_own_keys *keys, int j)
{
    return rows_of(keys->group.plan, keys->group.needs, keys->group.part, j);
}

int64_t attn_own_keys_q_bytes(const attn_plan *plan, const attn_needs *needs, const attn_part *part, int j)
{
    return plan->problem.shape.batch * part->head_count * needs->q_rows[j]->rows * plan->problem.shape.head_dim *
           (int64_t)attn_dtype_size(plan->problem.dtype);
}

int64_t attn_own_keys_packed_bytes(const attn_plan *plan, const attn_needs *needs, const attn_part *part, int j)
{
    const attn_partial_rows of = rows_of(plan, needs, part, j);

    return (int64_t)(attn_partial_o_bytes(&of) + attn_partial_lse_bytes(&of));
}

static bool needs_sum(const attn_plan *plan, const attn_needs *needs, int mine)
{
    return needs->q_reach[mine] > 0 && plan->problem.dtype != attn_dtype_accumulator(plan->problem.dtype);
}

double attn_own_keys_extra_bytes(const attn_plan *plan, const attn_needs *needs, const attn_part *part)
{
    const attn_partial_rows of = rows_of(plan, needs, part, part->seq_index);

    return needs_sum(plan, needs, part->seq_index) ? (double)attn_partial_o_bytes(&of) : 0;
}

static attn_status make_pass(attn_own_keys *keys, int j, attn_error *error)
{
    const attn_group *group = &keys->group;
    const attn_problem *problem = &group->plan->problem;
    const bool whole = j == keys->mine && keys->alone;
    const attn_forward_setup setup = {.problem = problem,
                                      .head_begin = group->part->head_begin,
                                      .head_count = group->part->head_count,
                                      .kv_head_begin = group->part->kv_head_begin,
                                      .q_rows = group->needs->q_rows[j],
                                      .part_count = 1,
                                      .part_rows = (const attn_segments *const *)&group->needs->kv_rows[keys->mine],
                                      .o_dtype = whole ? problem->dtype : attn_dtype_accumulator(problem->dtype),
                                      .add_sinks = whole,
                                      .threads = group->plan->threads,
                                      .scratch = keys->scratch};

    return attn_forward_create(group->plan->kernel, &setup, &keys->forward[j], error);
}

attn_status attn_own_keys_create(const attn_group *group, attn_own_keys **out, attn_error *error)
{
    attn_own_keys *keys = calloc(1, sizeof *keys);
    attn_status status;

    *out = NULL;
    if (keys == NULL)
        return attn_error_set(error, ATTN_MEMORY, "no memory for the exchange");
    keys->group = *group;
    keys->ranks = group->plan->grid.seq;
    keys->mine = group->part->seq_index;
    keys->alone = group->needs->q_reach[keys->mine] == 0;
    keys->forward = attn_calloc_array(keys->ranks, sizeof(attn_forward *));
    status = attn_scratch_create(&keys->scratch, error);
    if (status == ATTN_OK && keys->forward == NULL)
        status = attn_error_set(error, ATTN_MEMORY, "no memory for %d passes", keys->ranks);
    if (status == ATTN_OK && needs_sum(group->plan, group->needs, keys->mine)) {
        const attn_partial_rows of = rows_here(keys, keys->mine);

        keys->o_sum = attn_aligned_alloc(attn_partial_o_bytes(&of));
        if (keys->o_sum == NULL)
            status = attn_error_set(error, ATTN_MEMORY, "no memory for partial results of %lld rows and %lld heads",
                                    (long long)of.rows, (long long)of.heads);
    }
    for (int j = 0; j < keys->ranks && status == ATTN_OK; j++)
        if (j == keys->mine || attn_needs_see(group->needs, j, keys->mine))
            status = make_pass(keys, j, error);
    if (status != ATTN_OK) {
        attn_own_keys_destroy(keys);
        return status;
    }
    *out = keys;
    return ATTN_OK;
}

void attn_own_keys_destroy(attn_own_keys *keys)
{
    if (keys == NULL)
        return;
    for (int j = 0; keys->forward != NULL && j < keys->ranks; j++)
        attn_forward_destroy(keys->forward[j]);
    attn_scratch_destroy(keys->scratch);
    free(keys->forward);
    free(keys->o_sum);
    free(keys);
}

static void compute(attn_own_keys *keys, int j, const attn_array *q, const attn_array *o, const attn_array *lse,
                    const attn_progress *progress, attn_laps *laps)
{
    const attn_part *part = keys->group.part;
    const attn_shape *shape = &keys->group.plan->problem.shape;
    const attn_array k = attn_array_of_const(keys->call.k, part->kv_head_count, part->kv_rows->rows, shape->head_dim);
    const attn_array v = attn_array_of_const(keys->call.v, part->kv_head_count, part->kv_rows->rows, shape->v_head_dim);
    const attn_forward_buffers buffers = {.q = *q, .k = &k, .v = &v, .o = *o, .lse = *lse, .progress = *progress};

    assert(keys->forward[j] != NULL);
    attn_forward_execute(keys->forward[j], &buffers);
    attn_lap(laps, ATTN_PHASE_COMPUTE);
}

void attn_own_keys_begin(attn_own_keys *keys, const attn_exchange_call *call, const attn_progress *progress,
                         attn_laps *laps)
{
    const attn_partial_rows of = rows_here(keys, keys->mine);

    keys->call = *call;
    keys->lse = call->lse;
    keys->o = keys->o_sum == NULL
                  ? call->o
                  : attn_array_dense(keys->o_sum, of.heads, of.rows, keys->group.plan->problem.shape.v_head_dim);
    compute(keys, keys->mine, &call->q, &keys->o, &keys->lse, progress, laps);
}

void attn_own_keys_compute(attn_own_keys *keys, int j, const void *q, void *packed, const attn_progress *progress,
                           attn_laps *laps)
{
    const attn_partial_rows of = rows_here(keys, j);
    const attn_array rows = attn_array_of_const(q, of.heads, of.rows, keys->group.plan->problem.shape.head_dim);
    attn_array o, lse;

    attn_partial_packed(&of, packed, &o, &lse);
    compute(keys, j, &rows, &o, &lse, progress, laps);
}

void attn_own_keys_merge(attn_own_keys *keys, int j, void *packed, const void *other, attn_laps *laps)
{
    const attn_partial_rows of = rows_here(keys, j);
    attn_array o, lse, other_o, other_lse;

    attn_partial_packed(&of, packed, &o, &lse);
    attn_partial_packed(&of, other, &other_o, &other_lse);
    attn_partial_merge(&of, &o, &lse, NULL, &other_o, &other_lse);
    attn_lap(laps, ATTN_PHASE_MERGE);
}

void attn_own_keys_gather(attn_own_keys *keys, const void *packed, attn_laps *laps)
{
    const attn_partial_rows of = rows_here(keys, keys->mine);
    attn_array o, lse;

    attn_partial_packed(&of, packed, &o, &lse);
    attn_partial_merge(&of, &keys->o, &keys->lse, NULL, &o, &lse);
    attn_lap(laps, ATTN_PHASE_MERGE);
}

void attn_own_keys_end(attn_own_keys *keys, attn_laps *laps)
{
    const attn_partial_rows of = rows_here(keys, keys->mine);

    if (keys->alone)
        return;
    attn_partial_finish(&of, &keys->o, &keys->lse, &keys->call.o, &keys->call.lse);
    attn_lap(laps, ATTN_PHASE_MERGE);
}
