#include "dist/redistribute.h"

#include "dist/partial.h"
#include "dist/pieces.h"
#include "dist/transfers.h"

#include <attn/comm.h>
#include <attn/memory.h>

#include "core/checked.h"

#include <assert.h>
#include <limits.h>
#include <stdlib.h>
#include <string.h>

enum { ROWS_OF_A_RUN = 64, TAG_MOVE = 1 };

/* A line is a row of one head and batch. What one member has for another: of each batch b the lines
 * [start + b batch_stride, + lines). */
typedef struct line_block {
    int64_t start, batch_stride, lines;
} line_block;

/* All that goes one way between this rank and the members. */
typedef struct line_blocks {
    line_block *of; /* [members] */
    int64_t most;   /* lines of the largest block between any two members */
} line_blocks;

/* Lines of one width and type. */
typedef struct line_kind {
    int64_t width;
    attn_dtype dtype;
    MPI_Datatype type; /* of a line, for blocking transfers */
} line_kind;

/* Rows of a member that follow each other among those of all. */
typedef struct row_run {
    int member;
    int64_t local, merged, length; /* first row at the member and among all */
} row_run;

enum { KIND_Q, KIND_V, KIND_LSE, KIND_DK, KIND_DV, KIND_COUNT };

struct attn_redistribute {
    attn_redistribute_setup setup;
    attn_head_share share;
    attn_redistributed arrays;
    line_kind kinds[KIND_COUNT];
    line_blocks q_home, q_share; /* queries: at their owners, and where their heads are computed */
    line_blocks kv_home, kv_share, sums_home;
    row_run *runs; /* [run_count] of all members */
    int64_t run_count;
    void *rows[4];               /* q and o in turns; backward: and what comes and dq, o, do */
    void *lse[2];                /* of the rows of all, and on its way */
    void *dk_shares, *dv_shares; /* sums from all members that have a head of this rank's; NULL: made in place */
    int *counts;                 /* [4][members] of a blocking transfer */
    attn_transfers keys, moving; /* nonblocking: keys and values, and all else */
};

/* ---- Shares, blocks and volumes ---- */

attn_head_share attn_redistribute_share(const attn_problem *problem, const attn_part *part, int members, int member)
{
    const int64_t group = attn_shape_group(&problem->shape);
    const int64_t begin = attn_share_begin(part->head_count, members, member);
    const int64_t end = attn_share_begin(part->head_count, members, member + 1);
    attn_head_share share = {.head_begin = part->head_begin + begin, .head_count = end - begin};

    share.kv_head_begin = share.head_begin / group;
    if (share.head_count > 0)
        share.kv_head_count = (share.head_begin + share.head_count - 1) / group + 1 - share.kv_head_begin;
    return share;
}

static attn_head_share share_of(const attn_redistribute_setup *setup, int member)
{
    return attn_redistribute_share(&setup->plan->problem, setup->part, setup->members, member);
}

/* Key-value heads of all shares together. */
static int64_t dealt_kv_heads(const attn_redistribute_setup *setup)
{
    int64_t heads = 0;

    for (int m = 0; m < setup->members; m++)
        heads += share_of(setup, m).kv_head_count;
    return heads;
}

static bool kv_heads_shared(const attn_redistribute_setup *setup)
{
    return dealt_kv_heads(setup) > setup->part->kv_head_count;
}

attn_dtype attn_redistribute_sum_dtype(const attn_redistribute_setup *setup)
{
    return kv_heads_shared(setup) ? attn_dtype_accumulator(setup->plan->problem.dtype) : setup->dkv_dtype;
}

static int64_t all_rows(const attn_redistribute_setup *setup, const attn_segments *const *rows)
{
    int64_t count = 0;

    for (int m = 0; m < setup->members; m++)
        count += rows[m]->rows;
    return count;
}

static line_kind kind_of(const attn_redistribute_setup *setup, int kind)
{
    const attn_problem *problem = &setup->plan->problem;
    const attn_dtype sums = attn_redistribute_sum_dtype(setup);

    switch (kind) {
    case KIND_Q:
        return (line_kind){problem->shape.head_dim, problem->dtype, MPI_DATATYPE_NULL};
    case KIND_V:
        return (line_kind){problem->shape.v_head_dim, problem->dtype, MPI_DATATYPE_NULL};
    case KIND_LSE:
        return (line_kind){1, attn_dtype_accumulator(problem->dtype), MPI_DATATYPE_NULL};
    case KIND_DK:
        return (line_kind){problem->shape.head_dim, sums, MPI_DATATYPE_NULL};
    default:
        return (line_kind){problem->shape.v_head_dim, sums, MPI_DATATYPE_NULL};
    }
}

static int64_t line_bytes(const line_kind *kind)
{
    return kind->width * (int64_t)attn_dtype_size(kind->dtype);
}

/* Lines that a call of a blocking transfer takes to each other member. */
static int64_t lines_of_a_call(const attn_redistribute_setup *setup, const line_kind *kind)
{
    return attn_piece_items(setup->message_bytes / (setup->members - 1), line_bytes(kind));
}

/* Adds a block of so many lines in each batch. */
static void predict_block(const attn_redistribute_setup *setup, int kind_number, int64_t lines, attn_prediction *out)
{
    const line_kind kind = kind_of(setup, kind_number);
    const int64_t batch = setup->plan->problem.shape.batch, bytes = lines * line_bytes(&kind);

    out->exchange_bytes += (double)(batch * bytes);
    out->messages += (double)(batch * (setup->plan->transfer == ATTN_TRANSFER_BLOCKING
                                           ? attn_piece_count(lines, lines_of_a_call(setup, &kind))
                                           : attn_transfers_messages(bytes, setup->message_bytes)));
}

/* What goes to another member: as its queries' owner, and as the one that computes for it. */
static void predict_member(const attn_redistribute_setup *setup, int m, attn_prediction *out)
{
    const bool backward = setup->plan->pass == ATTN_PASS_BACKWARD;
    const attn_head_share mine = share_of(setup, setup->mine), other = share_of(setup, m);
    const int64_t to = other.head_count * setup->q_rows[setup->mine]->rows;
    const int64_t back = mine.head_count * setup->q_rows[m]->rows;
    const int64_t kv_to = setup->kv_seen[setup->mine] ? other.kv_head_count * setup->kv_rows[setup->mine]->rows : 0;
    const int64_t kv_back = setup->kv_seen[m] ? mine.kv_head_count * setup->kv_rows[m]->rows : 0;

    predict_block(setup, KIND_Q, to, out);
    predict_block(setup, KIND_Q, kv_to, out);
    predict_block(setup, KIND_V, kv_to, out);
    if (!backward) {
        predict_block(setup, KIND_V, back, out);
        predict_block(setup, KIND_LSE, back, out);
        return;
    }
    predict_block(setup, KIND_V, to, out); /* o */
    predict_block(setup, KIND_V, to, out); /* do */
    predict_block(setup, KIND_LSE, to, out);
    predict_block(setup, KIND_Q, back, out); /* dq */
    predict_block(setup, KIND_DK, kv_back, out);
    predict_block(setup, KIND_DV, kv_back, out);
}

/* Bytes of the buffers. */
typedef struct buffer_bytes {
    size_t rows, lse; /* of each */
    int row_buffers;
    size_t k, v, dk, dv;         /* sums of this rank's share */
    size_t dk_shares, dv_shares; /* sums of this rank's rows from all shares */
} buffer_bytes;

static buffer_bytes bytes_of(const attn_redistribute_setup *setup)
{
    const attn_problem *problem = &setup->plan->problem;
    const attn_head_share share = share_of(setup, setup->mine);
    const bool backward = setup->plan->pass == ATTN_PASS_BACKWARD;
    const int64_t D = problem->shape.head_dim, Dv = problem->shape.v_head_dim, batch = problem->shape.batch;
    const size_t element = attn_dtype_size(problem->dtype), sum = attn_dtype_size(attn_redistribute_sum_dtype(setup));
    const size_t rows = (size_t)(batch * share.head_count * setup->all_q_rows->rows);
    const size_t room = (size_t)(batch * share.kv_head_count * setup->kv_room);
    const size_t kv_rows = (size_t)(batch * share.kv_head_count * all_rows(setup, setup->kv_rows));
    const size_t shares = (size_t)(batch * dealt_kv_heads(setup) * setup->kv_rows[setup->mine]->rows);
    buffer_bytes bytes = {.rows = rows * (size_t)(D > Dv ? D : Dv) * element,
                          .lse = rows * attn_dtype_size(attn_dtype_accumulator(problem->dtype)),
                          .row_buffers = backward ? 4 : 2,
                          .k = room * (size_t)D * element,
                          .v = room * (size_t)Dv * element};

    if (backward) {
        bytes.dk = kv_rows * (size_t)D * sum;
        bytes.dv = kv_rows * (size_t)Dv * sum;
    }
    if (backward && kv_heads_shared(setup)) {
        bytes.dk_shares = shares * (size_t)D * sum;
        bytes.dv_shares = shares * (size_t)Dv * sum;
    }
    return bytes;
}

void attn_redistribute_predict(const attn_redistribute_setup *setup, attn_prediction *out)
{
    const buffer_bytes bytes = bytes_of(setup);

    for (int m = 0; m < setup->members; m++)
        if (m != setup->mine)
            predict_member(setup, m, out);
    out->extra_bytes += (double)bytes.row_buffers * (double)bytes.rows + 2 * (double)bytes.lse + (double)bytes.k +
                        (double)bytes.v + (double)bytes.dk + (double)bytes.dv + (double)bytes.dk_shares +
                        (double)bytes.dv_shares;
}

/* ---- Making it ---- */

void attn_redistribute_destroy(attn_redistribute *redistribute)
{
    line_blocks *blocks[5];

    if (redistribute == NULL)
        return;
    blocks[0] = &redistribute->q_home;
    blocks[1] = &redistribute->q_share;
    blocks[2] = &redistribute->kv_home;
    blocks[3] = &redistribute->kv_share;
    blocks[4] = &redistribute->sums_home;
    for (int n = 0; n < 5; n++)
        free(blocks[n]->of);
    for (int n = 0; n < KIND_COUNT; n++)
        if (redistribute->kinds[n].type != MPI_DATATYPE_NULL)
            MPI_Type_free(&redistribute->kinds[n].type);
    for (int n = 0; n < 4; n++)
        free(redistribute->rows[n]);
    free(redistribute->lse[0]);
    free(redistribute->lse[1]);
    free(redistribute->arrays.k);
    free(redistribute->arrays.v);
    free(redistribute->arrays.dk);
    free(redistribute->arrays.dv);
    free(redistribute->dk_shares);
    free(redistribute->dv_shares);
    free(redistribute->runs);
    free(redistribute->counts);
    attn_transfers_release(&redistribute->keys);
    attn_transfers_release(&redistribute->moving);
    free(redistribute);
}

/* All threads read and write all of it: its pages are dealt to them by touching them first. Keys that do not come are
 * zeros at first, and in a room that a ring borrows whatever came before: nobody sees them. */
static attn_status allocate(size_t bytes, int threads, void **out, attn_error *error)
{
    enum { PIECE = 1 << 16 };

    *out = attn_aligned_alloc(bytes);
    if (*out == NULL)
        return attn_error_set(error, ATTN_MEMORY, "no memory for heads of all rows, %lld bytes", (long long)bytes);
#pragma omp parallel for schedule(static) num_threads(threads)
    for (int64_t at = 0; at < (int64_t)bytes; at += PIECE)
        memset((char *)*out + at, 0, bytes - (size_t)at < PIECE ? bytes - (size_t)at : PIECE);
    return ATTN_OK;
}

static attn_status make_buffers(attn_redistribute *redistribute, attn_error *error)
{
    const attn_redistribute_setup *setup = &redistribute->setup;
    const buffer_bytes bytes = bytes_of(setup);
    const bool backward = setup->plan->pass == ATTN_PASS_BACKWARD, shared = kv_heads_shared(setup);
    struct {
        void **at;
        size_t bytes;
        bool wanted;
    } list[] = {{&redistribute->rows[0], bytes.rows, true},
                {&redistribute->rows[1], bytes.rows, true},
                {&redistribute->rows[2], bytes.rows, backward},
                {&redistribute->rows[3], bytes.rows, backward},
                {&redistribute->lse[0], bytes.lse, true},
                {&redistribute->lse[1], bytes.lse, true},
                {&redistribute->arrays.k, bytes.k, true},
                {&redistribute->arrays.v, bytes.v, true},
                {&redistribute->arrays.dk, bytes.dk, backward},
                {&redistribute->arrays.dv, bytes.dv, backward},
                {&redistribute->dk_shares, bytes.dk_shares, backward && shared},
                {&redistribute->dv_shares, bytes.dv_shares, backward && shared}};
    attn_status status = ATTN_OK;

    for (size_t n = 0; n < sizeof list / sizeof list[0] && status == ATTN_OK; n++)
        if (list[n].wanted)
            status = allocate(list[n].bytes, setup->plan->threads, list[n].at, error);
    return status;
}

/* The blocks at a rank that has some rows of all shares, one head after the other. */
static void blocks_at_home(const attn_redistribute *redistribute, bool keys, line_blocks *blocks)
{
    const attn_redistribute_setup *setup = &redistribute->setup;
    const attn_part *part = setup->part;
    const int64_t rows = keys ? setup->kv_rows[setup->mine]->rows : setup->q_rows[setup->mine]->rows;

    for (int m = 0; m < setup->members; m++) {
        const attn_head_share share = share_of(setup, m);

        if (keys)
            blocks->of[m] = (line_block){(share.kv_head_begin - part->kv_head_begin) * rows, part->kv_head_count * rows,
                                         setup->kv_seen[setup->mine] ? share.kv_head_count * rows : 0};
        else
            blocks->of[m] = (line_block){(share.head_begin - part->head_begin) * rows, part->head_count * rows,
                                         share.head_count * rows};
    }
}

/* The blocks at a rank that has all rows of its share, one member's after the other. */
static void blocks_at_share(const attn_redistribute *redistribute, bool keys, line_blocks *blocks)
{
    const attn_redistribute_setup *setup = &redistribute->setup;
    const attn_segments *const *rows = keys ? setup->kv_rows : setup->q_rows;
    const int64_t heads = keys ? redistribute->share.kv_head_count : redistribute->share.head_count;
    int64_t before = 0;

    for (int m = 0; m < setup->members; m++) {
        blocks->of[m] = (line_block){setup->plan->problem.shape.batch * heads * before, heads * rows[m]->rows,
                                     keys && !setup->kv_seen[m] ? 0 : heads * rows[m]->rows};
        before += rows[m]->rows;
    }
}

/* Sums that come from all shares: in the place of their heads, or side by side where several have the same head. */
static void blocks_of_sums(const attn_redistribute *redistribute, line_blocks *blocks)
{
    const attn_redistribute_setup *setup = &redistribute->setup;
    int64_t before = 0;

    blocks_at_home(redistribute, true, blocks);
    for (int m = 0; m < setup->members && kv_heads_shared(setup); m++) {
        const int64_t lines = share_of(setup, m).kv_head_count * setup->kv_rows[setup->mine]->rows;

        blocks->of[m].start = before;
        blocks->of[m].batch_stride = lines;
        before += setup->plan->problem.shape.batch * lines;
    }
}

/* The largest block between any two members: alike on all of them, as they call together. */
static int64_t most_lines(const attn_redistribute_setup *setup, bool keys)
{
    int64_t heads = 0, rows = 0;

    for (int m = 0; m < setup->members; m++) {
        const attn_head_share share = share_of(setup, m);
        const int64_t h = keys ? share.kv_head_count : share.head_count;
        const int64_t r = keys ? (setup->kv_seen[m] ? setup->kv_rows[m]->rows : 0) : setup->q_rows[m]->rows;

        heads = h > heads ? h : heads;
        rows = r > rows ? r : rows;
    }
    return heads * rows;
}

static attn_status make_blocks(attn_redistribute *redistribute, attn_error *error)
{
    const attn_redistribute_setup *setup = &redistribute->setup;
    line_blocks *const lists[] = {&redistribute->q_home, &redistribute->q_share, &redistribute->kv_home,
                                  &redistribute->kv_share, &redistribute->sums_home};

    for (int n = 0; n < 5; n++) {
        lists[n]->of = attn_calloc_array(setup->members, sizeof *lists[n]->of);
        if (lists[n]->of == NULL)
            return attn_error_set(error, ATTN_MEMORY, "no memory for an all-to-all of %d ranks", setup->members);
        lists[n]->most = most_lines(setup, n >= 2);
    }
    blocks_at_home(redistribute, false, &redistribute->q_home);
    blocks_at_share(redistribute, false, &redistribute->q_share);
    blocks_at_home(redistribute, true, &redistribute->kv_home);
    blocks_at_share(redistribute, true, &redistribute->kv_share);
    blocks_of_sums(redistribute, &redistribute->sums_home);
    return ATTN_OK;
}

/* Runs of rows, short enough to be dealt to threads. */
static attn_status make_runs(attn_redistribute *redistribute, attn_error *error)
{
    const attn_redistribute_setup *setup = &redistribute->setup;
    int64_t count = 0;

    for (int m = 0; m < setup->members; m++)
        for (int64_t s = 0; s < setup->q_rows[m]->count; s++)
            count += attn_piece_count(setup->q_rows[m]->list[s].length, ROWS_OF_A_RUN);
    redistribute->runs = attn_calloc_array(count + 1, sizeof *redistribute->runs);
    if (redistribute->runs == NULL)
        return attn_error_set(error, ATTN_MEMORY, "no memory for %lld runs of rows", (long long)count);
    for (int m = 0; m < setup->members; m++)
        for (int64_t s = 0; s < setup->q_rows[m]->count; s++) {
            const attn_segment *segment = &setup->q_rows[m]->list[s];
            const int64_t merged = attn_segments_below(setup->all_q_rows, segment->begin);

            for (int64_t done = 0; done < segment->length; done += ROWS_OF_A_RUN)
                redistribute->runs[redistribute->run_count++] = (row_run){
                    m, segment->offset + done, merged + done, attn_piece_length(segment->length, done, ROWS_OF_A_RUN)};
        }
    return ATTN_OK;
}

/* Requests for blocks to and from all others, with pieces. */
static attn_status make_nonblocking(attn_redistribute *redistribute, attn_error *error)
{
    const attn_redistribute_setup *setup = &redistribute->setup;
    const attn_shape *shape = &setup->plan->problem.shape;
    const int64_t width = shape->head_dim + shape->v_head_dim;
    const int64_t messages = 4 * shape->batch * setup->members;
    const size_t element = attn_dtype_size(attn_dtype_accumulator(setup->plan->problem.dtype));
    /* Both ends of all heads and rows, all sums: more than is ever under way. */
    const int64_t lines = setup->part->head_count * setup->q_rows[setup->mine]->rows +
                          redistribute->share.head_count * setup->all_q_rows->rows;
    const int64_t kv_lines = dealt_kv_heads(setup) * setup->kv_rows[setup->mine]->rows +
                             redistribute->share.kv_head_count * all_rows(setup, setup->kv_rows);
    attn_status status =
        attn_transfers_create(setup->comm, setup->message_bytes, messages,
                              shape->batch * kv_lines * width * (int64_t)element, &redistribute->keys, error);

    if (status == ATTN_OK)
        status = attn_transfers_create(setup->comm, setup->message_bytes, messages,
                                       shape->batch * lines * width * (int64_t)element, &redistribute->moving, error);
    return status;
}

/* MPI counts lines in int, and where they stand. */
static attn_status make_blocking(attn_redistribute *redistribute, attn_error *error)
{
    const attn_redistribute_setup *setup = &redistribute->setup;
    const attn_shape *shape = &setup->plan->problem.shape;
    attn_status status = ATTN_OK;

    const int64_t seq = shape->seq > shape->kv_seq ? shape->seq : shape->kv_seq;

    if (shape->batch * shape->heads > INT_MAX / seq)
        return attn_error_set(error, ATTN_UNSUPPORTED,
                              "%lld rows of %lld heads and batches: MPI counts up to %d; --transfer nonblocking",
                              (long long)seq, (long long)(shape->batch * shape->heads), INT_MAX);
    redistribute->counts = attn_calloc_array(4 * (int64_t)setup->members, sizeof *redistribute->counts);
    if (redistribute->counts == NULL)
        return attn_error_set(error, ATTN_MEMORY, "no memory for an all-to-all of %d ranks", setup->members);
    for (int n = 0; n < KIND_COUNT && status == ATTN_OK; n++)
        status = attn_mpi_run(redistribute->kinds[n].dtype, redistribute->kinds[n].width, &redistribute->kinds[n].type,
                              error);
    return status;
}

/* Where each array stands: what comes and goes is in rows[0] or rows[1] before or after it is in order. */
static void place_arrays(attn_redistribute *redistribute)
{
    const attn_shape *shape = &redistribute->setup.plan->problem.shape;
    const int64_t heads = redistribute->share.head_count, rows = redistribute->setup.all_q_rows->rows;
    attn_redistributed *a = &redistribute->arrays;

    a->q = attn_array_dense(redistribute->rows[1], heads, rows, shape->head_dim);
    a->lse = attn_array_dense(redistribute->lse[1], heads, rows, 1);
    a->dq = attn_array_dense(redistribute->rows[0], heads, rows, shape->head_dim);
    a->d_o = attn_array_dense(redistribute->rows[3], heads, rows, shape->v_head_dim);
}

attn_status attn_redistribute_create(const attn_redistribute_setup *setup, attn_redistribute **out, attn_error *error)
{
    attn_redistribute *redistribute = calloc(1, sizeof *redistribute);
    attn_status status;

    *out = NULL;
    assert(setup->members >= 2);
    if (redistribute == NULL)
        return attn_error_set(error, ATTN_MEMORY, "no memory for an all-to-all");
    redistribute->setup = *setup;
    redistribute->share = share_of(setup, setup->mine);
    for (int n = 0; n < KIND_COUNT; n++)
        redistribute->kinds[n] = kind_of(setup, n);
    status = make_blocks(redistribute, error);
    if (status == ATTN_OK)
        status = make_runs(redistribute, error);
    if (status == ATTN_OK)
        status = setup->plan->transfer == ATTN_TRANSFER_BLOCKING ? make_blocking(redistribute, error)
                                                                 : make_nonblocking(redistribute, error);
    if (status == ATTN_OK)
        status = make_buffers(redistribute, error);
    if (status != ATTN_OK) {
        attn_redistribute_destroy(redistribute);
        return status;
    }
    place_arrays(redistribute);
    *out = redistribute;
    return ATTN_OK;
}

const attn_redistributed *attn_redistribute_arrays(const attn_redistribute *redistribute)
{
    return &redistribute->arrays;
}

/* ---- Moving ---- */

/* A batch's lines of one member's block. */
static char *lines_at(const line_kind *kind, const void *data, const line_block *block, int64_t b)
{
    return (char *)attn_array_of_const(data, 1, 1, 1).data +
           (size_t)((block->start + b * block->batch_stride) * line_bytes(kind));
}

/* What stays on this rank, by all threads. */
static void copy_own(const attn_redistribute *redistribute, const line_kind *kind, const void *from,
                     const line_blocks *sent, void *to, const line_blocks *received)
{
    const attn_plan *plan = redistribute->setup.plan;
    const line_block *source = &sent->of[redistribute->setup.mine];
    const line_block *target = &received->of[redistribute->setup.mine];
    const int64_t bytes = line_bytes(kind);

    assert(source->lines == target->lines);
#pragma omp parallel for collapse(2) schedule(static) num_threads(plan->threads)
    for (int64_t b = 0; b < plan->problem.shape.batch; b++)
        for (int64_t line = 0; line < source->lines; line += ROWS_OF_A_RUN)
            memcpy(lines_at(kind, to, target, b) + line * bytes, lines_at(kind, from, source, b) + line * bytes,
                   (size_t)(attn_piece_length(source->lines, line, ROWS_OF_A_RUN) * bytes));
}

/* Counts and places of one call: lines [done, done + piece) of batch b of every other member's block. */
static void count_lines(const attn_redistribute *redistribute, const line_blocks *blocks, int64_t b, int64_t done,
                        int64_t piece, int *counts, int *places)
{
    for (int m = 0; m < redistribute->setup.members; m++) {
        const line_block *block = &blocks->of[m];
        const int64_t lines = m == redistribute->setup.mine ? 0 : attn_piece_length(block->lines, done, piece);

        counts[m] = (int)lines;
        places[m] = lines > 0 ? (int)(block->start + b * block->batch_stride + done) : 0;
    }
}

static attn_status move_blocking(attn_redistribute *redistribute, const line_kind *kind, const void *from,
                                 const line_blocks *sent, void *to, const line_blocks *received, attn_error *error)
{
    const attn_redistribute_setup *setup = &redistribute->setup;
    const int64_t piece = lines_of_a_call(setup, kind);
    int *const counts = redistribute->counts, *const places = counts + setup->members;
    int *const got_counts = places + setup->members, *const got_places = got_counts + setup->members;
    attn_status status = ATTN_OK;

    for (int64_t b = 0; b < setup->plan->problem.shape.batch; b++)
        for (int64_t done = 0; done < sent->most && status == ATTN_OK; done += piece) {
            count_lines(redistribute, sent, b, done, piece, counts, places);
            count_lines(redistribute, received, b, done, piece, got_counts, got_places);
            status = attn_comm_check(
                MPI_Alltoallv(from, counts, places, kind->type, to, got_counts, got_places, kind->type, setup->comm),
                "MPI_Alltoallv", error);
        }
    return status;
}

static void start_nonblocking(const attn_redistribute *redistribute, attn_transfers *transfers, const line_kind *kind,
                              const void *from, const line_blocks *sent, void *to, const line_blocks *received)
{
    const attn_redistribute_setup *setup = &redistribute->setup;

    for (int n = 1; n < setup->members; n++) {
        const int source = (setup->mine - n + setup->members) % setup->members;
        const int target = (setup->mine + n) % setup->members;

        for (int64_t b = 0; b < setup->plan->problem.shape.batch; b++) {
            const line_block *got = &received->of[source], *given = &sent->of[target];

            attn_transfers_receive(transfers, lines_at(kind, to, got, b), got->lines * line_bytes(kind), source,
                                   TAG_MOVE);
            attn_transfers_send(transfers, lines_at(kind, from, given, b), given->lines * line_bytes(kind), target,
                                TAG_MOVE);
        }
    }
}

/* Starts to move blocks of a kind; a blocking transfer is then done, otherwise a wait for `transfers` follows. */
static attn_status move(attn_redistribute *redistribute, attn_transfers *transfers, int kind_number, const void *from,
                        const line_blocks *sent, void *to, const line_blocks *received, attn_laps *laps,
                        attn_error *error)
{
    const line_kind *kind = &redistribute->kinds[kind_number];
    attn_status status = ATTN_OK;

    if (redistribute->setup.plan->transfer == ATTN_TRANSFER_BLOCKING) {
        status = move_blocking(redistribute, kind, from, sent, to, received, error);
        attn_lap(laps, ATTN_PHASE_EXCHANGE_WAIT);
    } else {
        start_nonblocking(redistribute, transfers, kind, from, sent, to, received);
        attn_lap(laps, ATTN_PHASE_EXCHANGE);
    }
    copy_own(redistribute, kind, from, sent, to, received);
    attn_lap(laps, ATTN_PHASE_PACK);
    return status;
}

static attn_status wait_for(attn_transfers *transfers, attn_laps *laps, attn_error *error)
{
    const attn_status status = attn_transfers_wait(transfers, error);

    attn_lap(laps, ATTN_PHASE_EXCHANGE_WAIT);
    return status;
}

/* Between blocks of members' rows and rows of all in order. */
static void reorder(const attn_redistribute *redistribute, int kind_number, char *blocks, char *all, bool to_blocks,
                    attn_laps *laps)
{
    const attn_redistribute_setup *setup = &redistribute->setup;
    const line_kind *kind = &redistribute->kinds[kind_number];
    const int64_t heads = redistribute->share.head_count, rows = setup->all_q_rows->rows, bytes = line_bytes(kind);
    const int64_t lines = setup->plan->problem.shape.batch * heads;

#pragma omp parallel for collapse(2) schedule(static) num_threads(setup->plan->threads)
    for (int64_t line = 0; line < lines; line++)
        for (int64_t n = 0; n < redistribute->run_count; n++) {
            const row_run *run = &redistribute->runs[n];
            const line_block *block = &redistribute->q_share.of[run->member];
            char *const there = blocks + (block->start + line * setup->q_rows[run->member]->rows + run->local) * bytes;
            char *const here = all + (line * rows + run->merged) * bytes;

            memcpy(to_blocks ? there : here, to_blocks ? here : there, (size_t)(run->length * bytes));
        }
    attn_lap(laps, ATTN_PHASE_PACK);
}

/* Brings rows of queries here and puts them in order; they pass through `blocks`. */
static attn_status rows_in(attn_redistribute *redistribute, int kind, const attn_array *home, void *blocks, void *all,
                           attn_laps *laps, attn_error *error)
{
    const int64_t batch_stride = home->batch_stride / redistribute->kinds[kind].width;
    attn_status status;

    for (int m = 0; m < redistribute->setup.members; m++)
        redistribute->q_home.of[m].batch_stride = batch_stride;
    status = move(redistribute, &redistribute->moving, kind, home->data, &redistribute->q_home, blocks,
                  &redistribute->q_share, laps, error);
    if (status == ATTN_OK)
        status = wait_for(&redistribute->moving, laps, error);
    if (status == ATTN_OK)
        reorder(redistribute, kind, blocks, all, false, laps);
    return status;
}

/* Takes rows of all back to where they are at home; they pass through `blocks`. A wait for `moving` follows. */
static attn_status rows_out(attn_redistribute *redistribute, int kind, void *all, void *blocks, const attn_array *home,
                            attn_laps *laps, attn_error *error)
{
    const int64_t batch_stride = home->batch_stride / redistribute->kinds[kind].width;

    for (int m = 0; m < redistribute->setup.members; m++)
        redistribute->q_home.of[m].batch_stride = batch_stride;
    reorder(redistribute, kind, blocks, all, true, laps);
    return move(redistribute, &redistribute->moving, kind, blocks, &redistribute->q_share, home->data,
                &redistribute->q_home, laps, error);
}

static attn_status keys_in(attn_redistribute *redistribute, const attn_exchange_call *call, attn_laps *laps,
                           attn_error *error)
{
    attn_status status = move(redistribute, &redistribute->keys, KIND_Q, call->k, &redistribute->kv_home,
                              redistribute->arrays.k, &redistribute->kv_share, laps, error);

    return status == ATTN_OK ? move(redistribute, &redistribute->keys, KIND_V, call->v, &redistribute->kv_home,
                                    redistribute->arrays.v, &redistribute->kv_share, laps, error)
                             : status;
}

attn_status attn_redistribute_forward_in(attn_redistribute *redistribute, const attn_exchange_call *call,
                                         attn_laps *laps, attn_error *error)
{
    const attn_shape *shape = &redistribute->setup.plan->problem.shape;
    /* Keys and values are on their way while queries are put in order. */
    attn_status status = keys_in(redistribute, call, laps, error);

    redistribute->arrays.o = attn_array_dense(redistribute->rows[0], redistribute->share.head_count,
                                              redistribute->setup.all_q_rows->rows, shape->v_head_dim);
    if (status == ATTN_OK)
        status = rows_in(redistribute, KIND_Q, &call->q, redistribute->rows[0], redistribute->rows[1], laps, error);
    return status == ATTN_OK ? wait_for(&redistribute->keys, laps, error) : status;
}

attn_status attn_redistribute_forward_out(attn_redistribute *redistribute, const attn_exchange_call *call,
                                          attn_laps *laps, attn_error *error)
{
    attn_status status =
        rows_out(redistribute, KIND_V, redistribute->rows[0], redistribute->rows[1], &call->o, laps, error);

    if (status == ATTN_OK)
        status = rows_out(redistribute, KIND_LSE, redistribute->lse[1], redistribute->lse[0], &call->lse, laps, error);
    return status == ATTN_OK ? wait_for(&redistribute->moving, laps, error) : status;
}

/* ---- Backward ---- */

attn_status attn_redistribute_backward_in(attn_redistribute *redistribute, const attn_exchange_call *call,
                                          attn_laps *laps, attn_error *error)
{
    void *const *const rows = redistribute->rows;
    const attn_shape *shape = &redistribute->setup.plan->problem.shape;
    attn_status status = keys_in(redistribute, call, laps, error);

    redistribute->arrays.o = attn_array_dense(rows[2], redistribute->share.head_count,
                                              redistribute->setup.all_q_rows->rows, shape->v_head_dim);
    if (status == ATTN_OK)
        status = rows_in(redistribute, KIND_Q, &call->q, rows[0], rows[1], laps, error);
    if (status == ATTN_OK)
        status = rows_in(redistribute, KIND_V, &call->o, rows[0], rows[2], laps, error);
    if (status == ATTN_OK)
        status = rows_in(redistribute, KIND_V, &call->d_o, rows[0], rows[3], laps, error);
    if (status == ATTN_OK)
        status = rows_in(redistribute, KIND_LSE, &call->lse, redistribute->lse[0], redistribute->lse[1], laps, error);
    return status == ATTN_OK ? wait_for(&redistribute->keys, laps, error) : status;
}

/* The sums of one key-value head of this rank's rows, over the members that have it, in their order. */
static void sum_head(const attn_redistribute *redistribute, const line_kind *kind, void *shares, int64_t b,
                     int64_t head, char *to)
{
    const attn_redistribute_setup *setup = &redistribute->setup;
    const int64_t rows = setup->kv_rows[setup->mine]->rows;
    const int64_t global = setup->part->kv_head_begin + head;
    char *sums = NULL;

    for (int m = 0; m < setup->members; m++) {
        const attn_head_share share = share_of(setup, m);
        const int64_t first = (global - share.kv_head_begin) * rows;
        char *part;

        if (global < share.kv_head_begin || global >= share.kv_head_begin + share.kv_head_count)
            continue;
        part = lines_at(kind, shares, &redistribute->sums_home.of[m], b) + first * line_bytes(kind);
        if (sums == NULL)
            sums = part;
        else
            attn_partial_add(setup->plan, rows * line_bytes(kind), sums, part);
    }
    assert(sums != NULL);
    attn_convert(setup->dkv_dtype, to, kind->dtype, sums, (size_t)(rows * kind->width));
}

/* dk or dv at home, after all shares of the sums have come. */
static void finish_sums(const attn_redistribute *redistribute, int kind_number, void *shares, void *to)
{
    const attn_redistribute_setup *setup = &redistribute->setup;
    const line_kind *kind = &redistribute->kinds[kind_number];
    const int64_t batch = setup->plan->problem.shape.batch, heads = setup->part->kv_head_count;
    const int64_t elements = setup->kv_rows[setup->mine]->rows * kind->width;
    const size_t bytes = (size_t)elements * attn_dtype_size(setup->dkv_dtype);

    if (!setup->kv_seen[setup->mine])
        memset(to, 0, (size_t)(batch * heads) * bytes);
    else if (shares != NULL)
        for (int64_t b = 0; b < batch; b++)
            for (int64_t head = 0; head < heads; head++)
                sum_head(redistribute, kind, shares, b, head, (char *)to + (size_t)(b * heads + head) * bytes);
}

attn_status attn_redistribute_backward_out(attn_redistribute *redistribute, const attn_exchange_call *call,
                                           attn_laps *laps, attn_error *error)
{
    const bool shared = redistribute->dk_shares != NULL;
    attn_status status =
        move(redistribute, &redistribute->keys, KIND_DK, redistribute->arrays.dk, &redistribute->kv_share,
             shared ? redistribute->dk_shares : call->dk, &redistribute->sums_home, laps, error);

    if (status == ATTN_OK)
        status = move(redistribute, &redistribute->keys, KIND_DV, redistribute->arrays.dv, &redistribute->kv_share,
                      shared ? redistribute->dv_shares : call->dv, &redistribute->sums_home, laps, error);
    if (status == ATTN_OK)
        status = rows_out(redistribute, KIND_Q, redistribute->rows[0], redistribute->rows[1], &call->dq, laps, error);
    if (status == ATTN_OK)
        status = wait_for(&redistribute->keys, laps, error);
    if (status == ATTN_OK) {
        finish_sums(redistribute, KIND_DK, redistribute->dk_shares, call->dk);
        finish_sums(redistribute, KIND_DV, redistribute->dv_shares, call->dv);
        attn_lap(laps, ATTN_PHASE_MERGE);
        status = wait_for(&redistribute->moving, laps, error);
    }
    return status;
}
