#include "dist/owner_sums.h"

#include "core/checked.h"
#include "dist/pieces.h"
#include "dist/transfers.h"

#include <attn/memory.h>

#include <stdlib.h>

static attn_dtype sum_dtype(const attn_plan *plan)
{
    return attn_dtype_accumulator(plan->problem.dtype);
}

int64_t attn_dkv_share_bytes(const attn_plan *plan, const attn_part *part, int64_t rows)
{
    const attn_shape *shape = &plan->problem.shape;

    return shape->batch * part->kv_head_count * rows * (shape->head_dim + shape->v_head_dim) *
           (int64_t)attn_dtype_size(sum_dtype(plan));
}

void attn_dkv_share_arrays(const attn_group *group, void *share, int64_t rows, attn_array *dk, attn_array *dv)
{
    const attn_shape *shape = &group->plan->problem.shape;
    const int64_t heads = group->part->kv_head_count;
    const size_t dk_bytes =
        (size_t)(shape->batch * heads * rows * shape->head_dim) * attn_dtype_size(sum_dtype(group->plan));

    *dk = attn_array_dense(share, heads, rows, shape->head_dim);
    *dv = attn_array_dense((char *)share + dk_bytes, heads, rows, shape->v_head_dim);
}

attn_status attn_dkv_share_whole(int64_t rows, attn_segments **out, attn_error *error)
{
    const int64_t begin = 0;

    return attn_segments_create(1, &begin, &rows, out, error);
}

/* ---- The owner's side ---- */

int64_t attn_own_sums_bytes(const attn_plan *plan, const attn_part *part)
{
    return plan->problem.dtype == sum_dtype(plan) ? 0 : attn_dkv_share_bytes(plan, part, part->kv_rows->rows);
}

attn_status attn_own_sums_create(const attn_group *group, attn_own_sums *out, attn_error *error)
{
    const int64_t bytes = attn_own_sums_bytes(group->plan, group->part);

    *out = (attn_own_sums){.group = group};
    if (bytes == 0)
        return ATTN_OK;
    out->memory = attn_aligned_alloc((size_t)bytes);
    return out->memory != NULL
               ? ATTN_OK
               : attn_error_set(error, ATTN_MEMORY, "no memory for sums of dk and dv, %lld bytes", (long long)bytes);
}

void attn_own_sums_release(attn_own_sums *sums)
{
    free(sums->memory);
    sums->memory = NULL;
}

void attn_own_sums_place(const attn_own_sums *sums, const attn_exchange_call *call, attn_array *dk, attn_array *dv)
{
    const attn_group *group = sums->group;
    const attn_shape *shape = &group->plan->problem.shape;
    const int64_t heads = group->part->kv_head_count, rows = group->part->kv_rows->rows;

    if (sums->memory != NULL) {
        attn_dkv_share_arrays(group, sums->memory, rows, dk, dv);
    } else {
        *dk = attn_array_dense(call->dk, heads, rows, shape->head_dim);
        *dv = attn_array_dense(call->dv, heads, rows, shape->v_head_dim);
    }
}

/* to += from, element by element. */
static void add(attn_dtype dtype, void *to, const void *from, int64_t count, int threads)
{
    if (dtype == ATTN_FLOAT64) {
        double *restrict sums = to;
        const double *restrict share = from;

#pragma omp parallel for simd schedule(static) num_threads(threads)
        for (int64_t n = 0; n < count; n++)
            sums[n] += share[n];
    } else {
        float *restrict sums = to;
        const float *restrict share = from;

#pragma omp parallel for simd schedule(static) num_threads(threads)
        for (int64_t n = 0; n < count; n++)
            sums[n] += share[n];
    }
}

/* The rows of a share of all heads, to their places among the rows of the part. */
static void add_rows(const attn_group *group, const attn_segments *places, const attn_array *to, const attn_array *from)
{
    const attn_plan *plan = group->plan;
    const size_t element = attn_dtype_size(sum_dtype(plan));

    for (int64_t b = 0; b < plan->problem.shape.batch; b++)
        for (int64_t h = 0; h < group->part->kv_head_count; h++)
            for (int64_t n = 0; n < places->count; n++) {
                const attn_segment *run = &places->list[n];
                const int64_t at = b * to->batch_stride + h * to->head_stride + run->begin * to->row_stride;
                const int64_t source = b * from->batch_stride + h * from->head_stride + run->offset * from->row_stride;

                add(sum_dtype(plan), (char *)to->data + (size_t)at * element,
                    (const char *)from->data + (size_t)source * element, run->length * to->row_stride, plan->threads);
            }
}

void attn_own_sums_add(const attn_own_sums *sums, const attn_exchange_call *call, const attn_segments *places,
                       const void *share)
{
    attn_array dk, dv, dk_share, dv_share;

    attn_own_sums_place(sums, call, &dk, &dv);
    attn_dkv_share_arrays(sums->group, attn_array_of_const(share, 1, 1, 1).data, places->rows, &dk_share, &dv_share);
    add_rows(sums->group, places, &dk, &dk_share);
    add_rows(sums->group, places, &dv, &dv_share);
}

void attn_own_sums_store(const attn_own_sums *sums, const attn_exchange_call *call)
{
    const attn_group *group = sums->group;
    const attn_shape *shape = &group->plan->problem.shape;
    const int64_t lines = shape->batch * group->part->kv_head_count * group->part->kv_rows->rows;
    attn_array dk, dv;

    if (sums->memory == NULL)
        return;
    attn_own_sums_place(sums, call, &dk, &dv);
    attn_convert(group->dkv_dtype, call->dk, sum_dtype(group->plan), dk.data, (size_t)(lines * shape->head_dim));
    attn_convert(group->dkv_dtype, call->dv, sum_dtype(group->plan), dv.data, (size_t)(lines * shape->v_head_dim));
}

/* ---- With messages ---- */

struct attn_owner_sums {
    const attn_group *group;
    int ranks, mine;
    int64_t *computed;              /* [ranks], 0 for this rank */
    const attn_segments **returned; /* [ranks], NULL for this rank */
    char *sent, *received;          /* all shares, in rank order */
    attn_own_sums own;
    attn_transfers transfers;
};

/* Bytes of the shares of and from the ranks before r; of all with r = ranks. */
static int64_t sent_before(const attn_owner_sums *sums, int r)
{
    int64_t bytes = 0;

    for (int j = 0; j < r; j++)
        bytes += attn_dkv_share_bytes(sums->group->plan, sums->group->part, sums->computed[j]);
    return bytes;
}

static int64_t received_rows(const attn_owner_sums *sums, int r)
{
    return sums->returned[r] != NULL ? sums->returned[r]->rows : 0;
}

static int64_t received_before(const attn_owner_sums *sums, int r)
{
    int64_t bytes = 0;

    for (int i = 0; i < r; i++)
        bytes += attn_dkv_share_bytes(sums->group->plan, sums->group->part, received_rows(sums, i));
    return bytes;
}

void attn_owner_sums_predict(const attn_plan *plan, const attn_part *part, const attn_owner_setup *setup,
                             attn_prediction *out)
{
    for (int r = 0; r < plan->grid.seq; r++) {
        const int64_t sent = attn_dkv_share_bytes(plan, part, setup->computed[r]);

        if (r == part->seq_index)
            continue;
        out->exchange_bytes += (double)sent;
        out->messages += (double)attn_transfers_messages(sent, ATTN_MESSAGE_BYTES);
        out->extra_bytes += (double)sent;
        if (setup->returned[r] != NULL)
            out->extra_bytes += (double)attn_dkv_share_bytes(plan, part, setup->returned[r]->rows);
    }
    out->extra_bytes += (double)attn_own_sums_bytes(plan, part);
}

attn_status attn_owner_sums_create(const attn_group *group, const attn_owner_setup *setup, attn_owner_sums **out,
                                   attn_error *error)
{
    attn_owner_sums *sums = calloc(1, sizeof *sums);
    int64_t sent, received;
    attn_status status;

    *out = NULL;
    if (sums != NULL) {
        sums->group = group;
        sums->ranks = group->plan->grid.seq;
        sums->mine = group->part->seq_index;
        sums->computed = attn_calloc_array(sums->ranks, sizeof *sums->computed);
        sums->returned = attn_calloc_array(sums->ranks, sizeof(attn_segments *));
    }
    if (sums == NULL || sums->computed == NULL || sums->returned == NULL) {
        attn_owner_sums_destroy(sums);
        return attn_error_set(error, ATTN_MEMORY, "no memory for the gradients of %d parts", group->plan->grid.seq);
    }
    for (int r = 0; r < sums->ranks; r++)
        if (r != sums->mine) {
            sums->computed[r] = setup->computed[r];
            sums->returned[r] = setup->returned[r];
        }
    sent = sent_before(sums, sums->ranks);
    received = received_before(sums, sums->ranks);
    sums->sent = attn_aligned_alloc((size_t)sent);
    sums->received = attn_aligned_alloc((size_t)received);
    status = sums->sent != NULL && sums->received != NULL
                 ? attn_own_sums_create(group, &sums->own, error)
                 : attn_error_set(error, ATTN_MEMORY, "no memory for shares of dk and dv, %lld bytes",
                                  (long long)(sent + received));
    if (status == ATTN_OK)
        status = attn_transfers_create(group->comm, group->message_bytes, 2 * (int64_t)sums->ranks, sent + received,
                                       &sums->transfers, error);
    if (status != ATTN_OK) {
        attn_owner_sums_destroy(sums);
        return status;
    }
    *out = sums;
    return ATTN_OK;
}

void attn_owner_sums_destroy(attn_owner_sums *sums)
{
    if (sums == NULL)
        return;
    free(sums->computed);
    free(sums->returned);
    free(sums->sent);
    free(sums->received);
    attn_own_sums_release(&sums->own);
    attn_transfers_release(&sums->transfers);
    free(sums);
}

void attn_owner_sums_place(const attn_owner_sums *sums, const attn_exchange_call *call, int j, attn_array *dk,
                           attn_array *dv)
{
    if (j == sums->mine)
        attn_own_sums_place(&sums->own, call, dk, dv);
    else
        attn_dkv_share_arrays(sums->group, sums->sent + sent_before(sums, j), sums->computed[j], dk, dv);
}

enum { TAG_SHARE = 20 };

void attn_owner_sums_expect(attn_owner_sums *sums)
{
    for (int i = 0; i < sums->ranks; i++)
        attn_transfers_receive(&sums->transfers, sums->received + received_before(sums, i),
                               attn_dkv_share_bytes(sums->group->plan, sums->group->part, received_rows(sums, i)), i,
                               TAG_SHARE);
}

attn_status attn_owner_sums_return(attn_owner_sums *sums, const attn_exchange_call *call, attn_laps *laps,
                                   attn_error *error)
{
    const attn_group *group = sums->group;
    attn_status status;

    for (int n = 1; n < sums->ranks; n++) { /* not all to the same rank first */
        const int j = (sums->mine + n) % sums->ranks;

        attn_transfers_send(&sums->transfers, sums->sent + sent_before(sums, j),
                            attn_dkv_share_bytes(group->plan, group->part, sums->computed[j]), j, TAG_SHARE);
    }
    attn_lap(laps, ATTN_PHASE_EXCHANGE);
    status = attn_transfers_wait(&sums->transfers, error);
    attn_lap(laps, ATTN_PHASE_EXCHANGE_WAIT);
    if (status != ATTN_OK)
        return status;
    for (int n = 1; n < sums->ranks; n++) {
        const int i = (sums->mine + n) % sums->ranks;

        if (sums->returned[i] != NULL)
            attn_own_sums_add(&sums->own, call, sums->returned[i], sums->received + received_before(sums, i));
    }
    attn_own_sums_store(&sums->own, call);
    attn_lap(laps, ATTN_PHASE_MERGE);
    return ATTN_OK;
}
