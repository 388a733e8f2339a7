#include "dist/share_heads.h"

#include <attn/comm.h>
#include <attn/memory.h>

#include "core/checked.h"
#include "dist/pieces.h"
#include "plan/part.h"

#include <stdlib.h>
#include <string.h>

enum { SHARED_MOST = 2 }; /* only the first and the last head of a rank can be another's too */

/* A head and the ranks of the head group that hold it. */
typedef struct holders {
    int64_t kv_head; /* local number */
    int first, last; /* in the head group; those between without a query head hold nothing */
    int count, mine; /* holders, and the number of this rank among them */
} holders;

typedef struct shared_head {
    holders of;
    int *ranks;    /* [of.count] in the head group */
    char *partial; /* [L][D + Dv] accumulators: this rank's sums */
    char *others;  /* [of.count - 1][m][D + Dv] accumulators: the others' sums of this rank's rows */
    char *total;   /* [L][D + Dv] elements */
    MPI_Request *requests;
    int64_t request_room;
} shared_head;

struct attn_share {
    attn_group group;
    int64_t lines, width; /* L = B rows, and D + Dv */
    MPI_Datatype sum_line, line;
    int head_count;
    shared_head heads[SHARED_MOST];
};

static bool holds(const attn_plan *plan, const attn_part *part, int head_index, int64_t global_kv_head)
{
    attn_part other = *part;

    attn_part_assign_heads(&other, &plan->problem, plan->grid, head_index);
    return global_kv_head >= other.kv_head_begin && global_kv_head < other.kv_head_begin + other.kv_head_count;
}

static holders find_holders(const attn_plan *plan, const attn_part *part, int64_t kv_head)
{
    const int64_t global = part->kv_head_begin + kv_head;
    holders of = {.kv_head = kv_head, .first = part->head_index, .last = part->head_index};

    for (int r = 0; r < plan->grid.head; r++)
        if (holds(plan, part, r, global)) {
            of.first = r < of.first ? r : of.first;
            of.last = r;
            of.mine += r < part->head_index;
            of.count++;
        }
    return of;
}

/* The shared heads of a part; returns how many. */
static int find_shared(const attn_plan *plan, const attn_part *part, holders list[SHARED_MOST])
{
    int count = 0;

    for (int64_t end = 0; end < SHARED_MOST && end < part->kv_head_count; end++) {
        const holders of = find_holders(plan, part, end == 0 ? 0 : part->kv_head_count - 1);

        if (of.count > 1)
            list[count++] = of;
    }
    return count;
}

bool attn_share_needed(const attn_plan *plan, const attn_part *part)
{
    holders list[SHARED_MOST];

    return find_shared(plan, part, list) > 0;
}

/* The rows dealt to holder n. */
static int64_t dealt(int64_t lines, const holders *of, int n)
{
    return attn_share_begin(lines, of->count, n + 1) - attn_share_begin(lines, of->count, n);
}

void attn_share_predict(const attn_plan *plan, const attn_part *part, attn_prediction *out)
{
    const attn_shape *shape = &plan->problem.shape;
    const int64_t lines = shape->batch * part->kv_rows->rows, width = shape->head_dim + shape->v_head_dim;
    const int64_t sum_bytes = width * (int64_t)attn_dtype_size(attn_dtype_accumulator(plan->problem.dtype));
    const int64_t bytes = width * (int64_t)attn_dtype_size(plan->problem.dtype);
    const int64_t sum_piece = attn_piece_items(ATTN_MESSAGE_BYTES, sum_bytes);
    const int64_t piece = attn_piece_items(ATTN_MESSAGE_BYTES, bytes);
    holders list[SHARED_MOST];
    const int count = find_shared(plan, part, list);

    for (int s = 0; s < count; s++) {
        const holders *of = &list[s];
        const int64_t own = dealt(lines, of, of->mine);

        for (int n = 0; n < of->count; n++) {
            if (n == of->mine)
                continue;
            out->exchange_bytes += (double)(dealt(lines, of, n) * sum_bytes) + (double)(own * bytes);
            out->messages += (double)(attn_piece_count(dealt(lines, of, n), sum_piece) + attn_piece_count(own, piece));
        }
        out->extra_bytes += (double)((lines + (of->count - 1) * own) * sum_bytes) + (double)(lines * bytes);
    }
    if (count > 0 && bytes != sum_bytes) /* partial sums of all heads, beside dk and dv */
        out->extra_bytes += (double)(lines * part->kv_head_count * sum_bytes);
}

static bool allocate_head(const attn_share *share, const holders *of, shared_head *head)
{
    const attn_plan *plan = share->group.plan;
    const attn_dtype dtype = plan->problem.dtype;
    const size_t sum_bytes = (size_t)share->width * attn_dtype_size(attn_dtype_accumulator(dtype));
    const size_t bytes = (size_t)share->width * attn_dtype_size(dtype);
    const size_t lines = (size_t)share->lines, own = (size_t)dealt(share->lines, of, of->mine);
    const int64_t piece = attn_piece_items(share->group.message_bytes, (int64_t)sum_bytes);
    int next = 0;

    head->of = *of;
    head->request_room = 2 * of->count * (attn_piece_count(share->lines, piece) + 1);
    head->ranks = attn_calloc_array(of->count, sizeof *head->ranks);
    head->partial = attn_aligned_alloc(lines * sum_bytes);
    head->others = attn_aligned_alloc((size_t)(of->count - 1) * own * sum_bytes);
    head->total = attn_aligned_alloc(lines * bytes);
    head->requests = attn_calloc_array(head->request_room, sizeof *head->requests);
    if (head->ranks == NULL || head->partial == NULL || head->others == NULL || head->total == NULL ||
        head->requests == NULL)
        return false;
    for (int r = of->first; r <= of->last; r++)
        if (holds(plan, share->group.part, r, share->group.part->kv_head_begin + of->kv_head))
            head->ranks[next++] = r;
    return true;
}

attn_status attn_share_create(const attn_group *group, attn_share **out, attn_error *error)
{
    const attn_problem *problem = &group->plan->problem;
    const attn_shape *shape = &problem->shape;
    attn_share *share = calloc(1, sizeof *share);
    holders list[SHARED_MOST];
    attn_status status = ATTN_OK;

    *out = NULL;
    if (share == NULL)
        return attn_error_set(error, ATTN_MEMORY, "no memory for the shared heads");
    share->group = *group;
    share->lines = shape->batch * group->part->kv_rows->rows;
    share->width = shape->head_dim + shape->v_head_dim;
    share->sum_line = share->line = MPI_DATATYPE_NULL;
    share->head_count = find_shared(group->plan, group->part, list);
    for (int s = 0; s < share->head_count && status == ATTN_OK; s++)
        if (!allocate_head(share, &list[s], &share->heads[s]))
            status = attn_error_set(error, ATTN_MEMORY, "no memory for the gradients of a shared head of %lld rows",
                                    (long long)share->lines);
    if (status == ATTN_OK)
        status = attn_mpi_run(attn_dtype_accumulator(problem->dtype), share->width, &share->sum_line, error);
    if (status == ATTN_OK)
        status = attn_mpi_run(problem->dtype, share->width, &share->line, error);
    if (status != ATTN_OK) {
        attn_share_destroy(share);
        return status;
    }
    *out = share;
    return ATTN_OK;
}

void attn_share_destroy(attn_share *share)
{
    if (share == NULL)
        return;
    for (int s = 0; s < SHARED_MOST; s++) {
        free(share->heads[s].ranks);
        free(share->heads[s].partial);
        free(share->heads[s].others);
        free(share->heads[s].total);
        free(share->heads[s].requests);
    }
    if (share->sum_line != MPI_DATATYPE_NULL)
        MPI_Type_free(&share->sum_line);
    if (share->line != MPI_DATATYPE_NULL)
        MPI_Type_free(&share->line);
    free(share);
}

/* Copies a head between an array [B,kv_head_count,rows,columns] and columns of lines [L][width], bytes each. */
static void copy_head(const attn_share *share, const shared_head *head, char *array, int64_t columns, char *lines,
                      int64_t offset, size_t element, bool to_lines)
{
    const attn_part *part = share->group.part;
    const int64_t rows = part->kv_rows->rows;

    for (int64_t line = 0; line < share->lines; line++) {
        const int64_t b = line / rows, r = line % rows;
        char *const at =
            array + (size_t)(((b * part->kv_head_count + head->of.kv_head) * rows + r) * columns) * element;
        char *const other = lines + (size_t)(line * share->width + offset) * element;

        memcpy(to_lines ? other : at, to_lines ? at : other, (size_t)columns * element);
    }
}

/* A transfer of some lines in pieces; posts receives or sends. */
static attn_status post(const attn_share *share, char *lines, int64_t count, bool sums, int peer, bool send,
                        MPI_Request *requests, int *posted, attn_error *error)
{
    enum { TAG = 2 };
    const attn_dtype dtype = share->group.plan->problem.dtype;
    const size_t bytes = (size_t)share->width * attn_dtype_size(sums ? attn_dtype_accumulator(dtype) : dtype);
    const MPI_Datatype type = sums ? share->sum_line : share->line;
    const int64_t piece = attn_piece_items(share->group.message_bytes, (int64_t)bytes);
    attn_status status = ATTN_OK;

    for (int64_t done = 0; done < count && status == ATTN_OK; done += piece) {
        char *const at = lines + (size_t)done * bytes;
        const int now = (int)attn_piece_length(count, done, piece);

        status = send ? attn_comm_check(MPI_Isend(at, now, type, peer, TAG, share->group.comm, &requests[(*posted)++]),
                                        "MPI_Isend", error)
                      : attn_comm_check(MPI_Irecv(at, now, type, peer, TAG, share->group.comm, &requests[(*posted)++]),
                                        "MPI_Irecv", error);
    }
    return status;
}

/* Starts a round of one head. Sums: the others' rows of `partial` go to them, and theirs of mine come to `others`. Then
 * the totals: my rows of `total` go to all others, and theirs come to their places. */
static attn_status start_round(const attn_share *share, shared_head *head, bool sums, int *posted, attn_error *error)
{
    const attn_dtype dtype = share->group.plan->problem.dtype;
    const size_t bytes = (size_t)share->width * attn_dtype_size(sums ? attn_dtype_accumulator(dtype) : dtype);
    const holders *of = &head->of;
    const int64_t own = dealt(share->lines, of, of->mine);
    char *mine = head->total + (size_t)attn_share_begin(share->lines, of->count, of->mine) * bytes;
    attn_status status = ATTN_OK;

    *posted = 0;
    for (int pass = 0; pass < 2; pass++) /* receives first, so that what arrives has its place */
        for (int n = 0; n < of->count && status == ATTN_OK; n++) {
            const int64_t place = attn_share_begin(share->lines, of->count, n), theirs = dealt(share->lines, of, n);
            const int before = n < of->mine ? n : n - 1;

            if (n == of->mine)
                continue;
            if (pass == 0)
                status = post(
                    share, sums ? head->others + (size_t)(before * own) * bytes : head->total + (size_t)place * bytes,
                    sums ? own : theirs, sums, head->ranks[n], false, head->requests, posted, error);
            else
                status = post(share, sums ? head->partial + (size_t)place * bytes : mine, sums ? theirs : own, sums,
                              head->ranks[n], true, head->requests, posted, error);
        }
    return status;
}

/* This rank's rows of all holders, added in rank order, become its rows of the total. */
static void add_sums(const attn_share *share, shared_head *head)
{
    const attn_dtype dtype = share->group.plan->problem.dtype, sum_dtype = attn_dtype_accumulator(dtype);
    const size_t sum_element = attn_dtype_size(sum_dtype), element = attn_dtype_size(dtype);
    const holders *of = &head->of;
    const int64_t own = dealt(share->lines, of, of->mine);
    const int64_t place = attn_share_begin(share->lines, of->count, of->mine);

#pragma omp parallel for schedule(static) num_threads(share->group.plan->threads)
    for (int64_t line = 0; line < own; line++) {
        char *const mine = head->partial + (size_t)((place + line) * share->width) * sum_element;

        for (int64_t d = 0; d < share->width; d++) {
            double sum = 0;

            for (int n = 0; n < of->count; n++) {
                const int before = n < of->mine ? n : n - 1;
                const char *from =
                    n == of->mine ? mine : head->others + (size_t)((before * own + line) * share->width) * sum_element;

                sum += attn_load(sum_dtype, from, (size_t)d);
            }
            attn_store(sum_dtype, mine, (size_t)d, sum);
        }
        attn_convert(dtype, head->total + (size_t)((place + line) * share->width) * element, sum_dtype, mine,
                     (size_t)share->width);
    }
}

/* Both rounds run for all shared heads at once, so that a chain of ranks with shared heads does not wait in turn. */
static attn_status run_round(attn_share *share, bool sums, attn_error *error)
{
    int posted[SHARED_MOST] = {0};
    attn_status status = ATTN_OK;

    for (int s = 0; s < share->head_count && status == ATTN_OK; s++)
        status = start_round(share, &share->heads[s], sums, &posted[s], error);
    for (int s = 0; s < share->head_count && status == ATTN_OK; s++)
        status = attn_comm_check(MPI_Waitall(posted[s], share->heads[s].requests, MPI_STATUSES_IGNORE), "MPI_Waitall",
                                 error);
    return status;
}

static char *without_const(const void *read)
{
    return attn_array_of_const(read, 1, 1, 1).data;
}

attn_status attn_share_run(attn_share *share, const void *partial_dk, const void *partial_dv, void *dk, void *dv,
                           attn_error *error)
{
    const attn_shape *shape = &share->group.plan->problem.shape;
    const attn_dtype dtype = share->group.plan->problem.dtype;
    const size_t sum_element = attn_dtype_size(attn_dtype_accumulator(dtype)), element = attn_dtype_size(dtype);
    attn_status status;

    for (int s = 0; s < share->head_count; s++) {
        shared_head *head = &share->heads[s];

        copy_head(share, head, without_const(partial_dk), shape->head_dim, head->partial, 0, sum_element, true);
        copy_head(share, head, without_const(partial_dv), shape->v_head_dim, head->partial, shape->head_dim,
                  sum_element, true);
    }
    status = run_round(share, true, error);
    for (int s = 0; s < share->head_count && status == ATTN_OK; s++)
        add_sums(share, &share->heads[s]);
    if (status == ATTN_OK)
        status = run_round(share, false, error);
    for (int s = 0; s < share->head_count && status == ATTN_OK; s++) {
        shared_head *head = &share->heads[s];

        copy_head(share, head, dk, shape->head_dim, head->total, 0, element, false);
        copy_head(share, head, dv, shape->v_head_dim, head->total, shape->head_dim, element, false);
    }
    return status;
}
