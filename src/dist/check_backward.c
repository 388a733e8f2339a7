/* The check of distributed gradients against float64, row by row and key by key.
 *
 * Rows of dq: (1) the exact row of the forward pass gives lse, o and with do delta; (2) every rank that holds keys of
 * the head adds up its ds k; (3) a plain all-reduce brings the sums together. Keys: (1) the owner of a key gives k and
 * v to all; (2) every rank adds up p do and ds q over its own query rows of the group, with lse and o as stored; (3)
 * the same. */
#include <attn/comm.h>

#include "core/checked.h"
#include "dist/check.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>

/* Working memory beside that of the exact rows. */
typedef struct gradient_work {
    check_work rows;
    double *d_o;     /* [rows][Dv] */
    double *dq;      /* [rows][D] */
    double *keys;    /* [rows][D + Dv]: k and v */
    double *sums;    /* [rows][D + Dv]: dk and dv */
    double *buffers; /* [rows][D + Dv] for the reference: a row of q and do, or of k and v */
} gradient_work;

static void release(gradient_work *work)
{
    attn_check_release(&work->rows);
    free(work->d_o);
    free(work->dq);
    free(work->keys);
    free(work->sums);
    free(work->buffers);
}

static attn_status allocate(const attn_shape *shape, gradient_work *work, attn_error *error)
{
    const int64_t D = shape->head_dim, Dv = shape->v_head_dim;
    const attn_status status = attn_check_allocate(shape, &work->rows, error);

    work->d_o = attn_calloc_array(ROWS_AT_ONCE * Dv, sizeof(double));
    work->dq = attn_calloc_array(ROWS_AT_ONCE * D, sizeof(double));
    work->keys = attn_calloc_array(ROWS_AT_ONCE * (D + Dv), sizeof(double));
    work->sums = attn_calloc_array(ROWS_AT_ONCE * (D + Dv), sizeof(double));
    work->buffers = attn_calloc_array(ROWS_AT_ONCE * (D + Dv), sizeof(double));
    if (status == ATTN_OK &&
        (work->d_o == NULL || work->dq == NULL || work->keys == NULL || work->sums == NULL || work->buffers == NULL))
        return attn_error_set(error, ATTN_MEMORY, "no memory for checking the gradients of %d rows", (int)ROWS_AT_ONCE);
    return status;
}

/* A row of an array [B,heads,rows,width] in float64. */
static void read_row(attn_dtype dtype, const void *array, int64_t head, int64_t rows, int64_t row, int64_t width,
                     double *to)
{
    attn_convert(ATTN_FLOAT64, to, dtype,
                 (const char *)array + (size_t)((head * rows + row) * width) * attn_dtype_size(dtype), (size_t)width);
}

/* The largest error of a row of an array against exact numbers. */
static double compare_row(attn_dtype dtype, const void *array, int64_t head, int64_t rows, int64_t row, int64_t width,
                          const double *want)
{
    double worst = 0;

    for (int64_t d = 0; d < width; d++)
        worst =
            fmax(worst, attn_check_error(attn_load(dtype, array, (size_t)((head * rows + row) * width + d)), want[d]));
    return worst;
}

/* The number of (b, h) in this rank's arrays of query heads, and of the row's key-value head in those of k and v. */
static int64_t query_head(const attn_part *part, const attn_row *row)
{
    return row->b * part->head_count + row->h - part->head_begin;
}

static int64_t key_head(const attn_dist *dist, const attn_row *row)
{
    const attn_part *part = attn_dist_part(dist);
    const int64_t global = row->h / attn_shape_group(&attn_dist_plan(dist)->problem.shape);

    if (global < part->kv_head_begin || global >= part->kv_head_begin + part->kv_head_count)
        return -1;
    return row->b * part->kv_head_count + global - part->kv_head_begin;
}

/* The key that is checked with a row, global number. */
static int64_t key_of(const attn_shape *shape, const attn_row *row)
{
    return (int64_t)((double)row->i / (double)shape->seq * (double)shape->kv_seq);
}

/* do reaches all ranks: its owner adds it to zeros. */
static attn_status share_d_o(const attn_dist *dist, const void *d_o, const attn_row *rows, int count,
                             gradient_work *work, attn_error *error)
{
    const attn_problem *problem = &attn_dist_plan(dist)->problem;
    const attn_part *part = attn_dist_part(dist);
    const int64_t Dv = problem->shape.v_head_dim;

    memset(work->d_o, 0, (size_t)(count * Dv) * sizeof *work->d_o);
    for (int n = 0; n < count; n++) {
        const int64_t r = attn_check_local(part->q_rows, rows[n].i);

        if (r >= 0 && attn_check_holds(part, rows[n].h))
            read_row(problem->dtype, d_o, query_head(part, &rows[n]), part->q_rows->rows, r, Dv, work->d_o + n * Dv);
    }
    return attn_comm_sum(attn_dist_comm(dist), work->d_o, count * Dv, error);
}

/* Exact rows of dq; the same on every rank. */
static attn_status solve_rows(const attn_dist *dist, const attn_dist_backward_buffers *buffers, const attn_row *rows,
                              int count, gradient_work *work, attn_error *error)
{
    const attn_problem *problem = &attn_dist_plan(dist)->problem;
    const attn_shape *shape = &problem->shape;
    const attn_part *part = attn_dist_part(dist);
    const int64_t D = shape->head_dim, Dv = shape->v_head_dim;
    const attn_array k = attn_array_of_const(buffers->k, part->kv_head_count, part->kv_rows->rows, D);
    const attn_array v = attn_array_of_const(buffers->v, part->kv_head_count, part->kv_rows->rows, Dv);
    const double *sinks = problem->score.sinks;
    attn_status status = attn_check_solve(dist, buffers->q, buffers->k, buffers->v, rows, count, &work->rows, error);

    if (status == ATTN_OK)
        status = share_d_o(dist, buffers->d_o, rows, count, work, error);
    if (status != ATTN_OK)
        return status;
    memset(work->dq, 0, (size_t)(count * D) * sizeof *work->dq);
#pragma omp parallel for schedule(dynamic, 1) num_threads(attn_dist_plan(dist)->threads)
    for (int n = 0; n < count; n++) {
        attn_partial *row = &work->rows.partials[n];
        const double lse = attn_reference_finish(row, sinks != NULL ? &sinks[rows[n].h] : NULL, Dv);
        double delta = 0;

        for (int64_t d = 0; d < Dv; d++)
            delta += row->weighted[d] * work->d_o[n * Dv + d];
        if (attn_check_holds(part, rows[n].h))
            attn_reference_add_dq(problem, work->rows.q + n * D, work->d_o + n * Dv, lse, delta, rows[n].b, rows[n].h,
                                  rows[n].i, &k, &v, problem->dtype,
                                  rows[n].h / attn_shape_group(shape) - part->kv_head_begin, part->kv_rows,
                                  work->buffers + n * (D + Dv), work->dq + n * D);
    }
    return attn_comm_sum(attn_dist_comm(dist), work->dq, count * D, error);
}

/* Keys and values reach all ranks: of those that hold them, the one that has the row's query head adds them to
 * zeros. */
static attn_status share_keys(const attn_dist *dist, const attn_dist_backward_buffers *buffers, const attn_row *rows,
                              int count, gradient_work *work, attn_error *error)
{
    const attn_problem *problem = &attn_dist_plan(dist)->problem;
    const attn_part *part = attn_dist_part(dist);
    const int64_t D = problem->shape.head_dim, Dv = problem->shape.v_head_dim;

    memset(work->keys, 0, (size_t)(count * (D + Dv)) * sizeof *work->keys);
    for (int n = 0; n < count; n++) {
        const int64_t r = attn_check_local(part->kv_rows, key_of(&problem->shape, &rows[n]));
        double *to = work->keys + n * (D + Dv);

        if (r < 0 || !attn_check_holds(part, rows[n].h))
            continue;
        read_row(problem->dtype, buffers->k, key_head(dist, &rows[n]), part->kv_rows->rows, r, D, to);
        read_row(problem->dtype, buffers->v, key_head(dist, &rows[n]), part->kv_rows->rows, r, Dv, to + D);
    }
    return attn_comm_sum(attn_dist_comm(dist), work->keys, count * (D + Dv), error);
}

/* What one query row of this rank adds to a key. */
static void add_query(const attn_dist *dist, const attn_dist_backward_buffers *buffers, int64_t b, int64_t h, int64_t r,
                      int64_t j, const double *key, double *buffer, double *sums)
{
    const attn_problem *problem = &attn_dist_plan(dist)->problem;
    const attn_part *part = attn_dist_part(dist);
    const int64_t D = problem->shape.head_dim, Dv = problem->shape.v_head_dim, rows = part->q_rows->rows;
    const int64_t own = b * part->head_count + h - part->head_begin;
    const int64_t in_o = b * attn_dist_output_heads(dist) + h - attn_dist_output_head_begin(dist);
    const double lse = attn_load(attn_dtype_accumulator(problem->dtype), buffers->lse, (size_t)(own * rows + r));
    double delta = 0;

    read_row(problem->dtype, buffers->q, own, rows, r, D, buffer);
    read_row(problem->dtype, buffers->d_o, own, rows, r, Dv, buffer + D);
    for (int64_t d = 0; d < Dv; d++)
        delta += buffer[D + d] * attn_load(problem->dtype, buffers->o, (size_t)((in_o * rows + r) * Dv + d));
    attn_reference_add_pair(problem, buffer, buffer + D, lse, delta, b, h, attn_segments_global(part->q_rows, r), j,
                            key, key + D, sums, sums + D);
}

/* Exact dk and dv of the keys; the same on every rank. */
static attn_status solve_keys(const attn_dist *dist, const attn_dist_backward_buffers *buffers, const attn_row *rows,
                              int count, gradient_work *work, attn_error *error)
{
    const attn_problem *problem = &attn_dist_plan(dist)->problem;
    const attn_shape *shape = &problem->shape;
    const attn_part *part = attn_dist_part(dist);
    const int64_t width = shape->head_dim + shape->v_head_dim, group = attn_shape_group(shape);
    attn_status status = share_keys(dist, buffers, rows, count, work, error);

    if (status != ATTN_OK)
        return status;
    memset(work->sums, 0, (size_t)(count * width) * sizeof *work->sums);
#pragma omp parallel for schedule(dynamic, 1) num_threads(attn_dist_plan(dist)->threads)
    for (int n = 0; n < count; n++) {
        const int64_t j = key_of(shape, &rows[n]), first = rows[n].h / group * group;
        double *sums = work->sums + n * width;

        for (int64_t r = 0; r < part->q_rows->rows; r++) {
            const attn_interval keys =
                attn_mask_row(&problem->mask, shape, rows[n].b, attn_segments_global(part->q_rows, r));

            for (int64_t h = first; h < first + group && keys.lo <= j && j < keys.hi; h++)
                if (attn_check_holds(part, h))
                    add_query(dist, buffers, rows[n].b, h, r, j, work->keys + n * width, work->buffers + n * width,
                              sums);
        }
        for (int64_t d = 0; d < shape->head_dim; d++)
            sums[d] *= problem->score.scale;
    }
    return attn_comm_sum(attn_dist_comm(dist), work->sums, count * width, error);
}

/* The largest error of row n in what this rank holds of it. */
static double compare(const attn_dist *dist, const attn_dist_backward_buffers *buffers, const attn_row *row, int n,
                      const gradient_work *work)
{
    const attn_problem *problem = &attn_dist_plan(dist)->problem;
    const attn_part *part = attn_dist_part(dist);
    const int64_t D = problem->shape.head_dim, Dv = problem->shape.v_head_dim, head = key_head(dist, row);
    const int64_t r = attn_check_local(part->q_rows, row->i);
    const int64_t j = attn_check_local(part->kv_rows, key_of(&problem->shape, row));
    const double *want = work->sums + n * (D + Dv);
    double worst = 0;

    if (r >= 0 && attn_check_holds(part, row->h))
        worst =
            compare_row(problem->dtype, buffers->dq, query_head(part, row), part->q_rows->rows, r, D, work->dq + n * D);
    if (j >= 0 && head >= 0) {
        worst = fmax(worst, compare_row(problem->dtype, buffers->dk, head, part->kv_rows->rows, j, D, want));
        worst = fmax(worst, compare_row(problem->dtype, buffers->dv, head, part->kv_rows->rows, j, Dv, want + D));
    }
    return worst;
}

static attn_status check_rows(const attn_dist *dist, const attn_dist_backward_buffers *buffers, const attn_row *rows,
                              int count, gradient_work *work, attn_check *check, attn_error *error)
{
    const int64_t D = attn_dist_plan(dist)->problem.shape.head_dim;
    attn_status status = solve_rows(dist, buffers, rows, count, work, error);

    if (status == ATTN_OK)
        status = solve_keys(dist, buffers, rows, count, work, error);
    if (status != ATTN_OK)
        return status;
    for (int n = 0; n < count; n++) {
        bool nan = false;

        for (int64_t d = 0; d < D; d++)
            nan = nan || isnan(work->dq[n * D + d]);
        check->nan_rows += nan;
        check->max_score = fmax(check->max_score, work->rows.max_abs[n]);
        work->rows.max[n] = compare(dist, buffers, &rows[n], n, work);
    }
    status = attn_comm_max(attn_dist_comm(dist), work->rows.max, count, error);
    for (int n = 0; n < count && status == ATTN_OK; n++)
        if (work->rows.max[n] > check->max_error || check->rows + n == 0) {
            check->max_error = work->rows.max[n];
            check->worst = rows[n];
        }
    check->rows += count;
    return status;
}

attn_status attn_dist_check_backward(attn_dist *dist, const attn_dist_backward_buffers *buffers, const attn_row *rows,
                                     int64_t count, double eps, attn_check *out, attn_error *error)
{
    gradient_work work = {0};
    attn_check check = {0};
    attn_status status =
        attn_comm_agree(attn_dist_comm(dist), allocate(&attn_dist_plan(dist)->problem.shape, &work, error), error);

    if (status == ATTN_OK)
        status = attn_check_count_ranks(dist, rows, count, &check, error);
    for (int64_t begin = 0; begin < count && status == ATTN_OK; begin += ROWS_AT_ONCE) {
        const int64_t left = count - begin;

        status = check_rows(dist, buffers, rows + begin, (int)(left < ROWS_AT_ONCE ? left : ROWS_AT_ONCE), &work,
                            &check, error);
    }
    release(&work);
    if (status != ATTN_OK)
        return status;
    check.tolerance = attn_tolerance_backward(eps, check.max_score);
    check.valid = check.max_error <= check.tolerance;
    *out = check;
    return ATTN_OK;
}

double attn_tolerance_backward(double eps, double max_score)
{
    return eps >= attn_dtype_epsilon(ATTN_FLOAT16) ? 8 * eps : 32 * eps * fmax(1, max_score);
}
