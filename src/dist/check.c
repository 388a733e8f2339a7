/* The check of a distributed result against float64.
 *
 * The reference is computed where the keys are, row by row: (1) the owner of a query row gives it to all; (2) every
 * rank that holds keys of that head sums exp(s - max) over its own; (3) plain all-reduces bring maximum and sums
 * together; (4) every rank that holds the row in its o or lse compares. Nothing of the exchanges is used, and of
 * the kernels `reference` alone: under test itself, it is compared with its own sums in another order (its unit tests
 * compare it with plain formulas). */
#include <attn/comm.h>
#include <attn/dist.h>

#include "core/checked.h"
#include "dist/check.h"

#include <math.h>
#include <stdlib.h>

void attn_check_release(check_work *work)
{
    free(work->q);
    free(work->max);
    free(work->sums);
    free(work->max_abs);
    free(work->weighted);
    free(work->buffers);
    free(work->partials);
}

static int64_t widest(const attn_shape *shape)
{
    return shape->head_dim > shape->v_head_dim ? shape->head_dim : shape->v_head_dim;
}

attn_status attn_check_allocate(const attn_shape *shape, check_work *work, attn_error *error)
{
    *work = (check_work){.q = attn_calloc_array(ROWS_AT_ONCE * shape->head_dim, sizeof(double)),
                         .max = attn_calloc_array(ROWS_AT_ONCE, sizeof(double)),
                         .sums = attn_calloc_array(ROWS_AT_ONCE * (1 + shape->v_head_dim), sizeof(double)),
                         .max_abs = attn_calloc_array(ROWS_AT_ONCE, sizeof(double)),
                         .weighted = attn_calloc_array(ROWS_AT_ONCE * shape->v_head_dim, sizeof(double)),
                         .buffers = attn_calloc_array(ROWS_AT_ONCE * widest(shape), sizeof(double)),
                         .partials = attn_calloc_array(ROWS_AT_ONCE, sizeof(attn_partial))};
    if (work->q == NULL || work->max == NULL || work->sums == NULL || work->max_abs == NULL || work->weighted == NULL ||
        work->buffers == NULL || work->partials == NULL)
        return attn_error_set(error, ATTN_MEMORY, "no memory for checking %d rows", (int)ROWS_AT_ONCE);
    return ATTN_OK;
}

bool attn_check_holds(const attn_part *part, int64_t h)
{
    return h >= part->head_begin && h < part->head_begin + part->head_count;
}

int64_t attn_check_local(const attn_segments *rows, int64_t i)
{
    const int64_t row = attn_segments_below(rows, i);

    return row < rows->rows && attn_segments_global(rows, row) == i ? row : -1;
}

/* (1) Query rows reach all ranks: their owner adds them to zeros. */
static attn_status share_queries(const attn_dist *dist, const void *queries, const attn_row *rows, int count,
                                 check_work *work, attn_error *error)
{
    const attn_problem *problem = &attn_dist_plan(dist)->problem;
    const attn_part *part = attn_dist_part(dist);
    const int64_t D = problem->shape.head_dim;

    for (int n = 0; n < count; n++) {
        const int64_t row = attn_check_local(part->q_rows, rows[n].i);
        const bool own = row >= 0 && attn_check_holds(part, rows[n].h);
        const int64_t place =
            ((rows[n].b * part->head_count + rows[n].h - part->head_begin) * part->q_rows->rows + row) * D;

        for (int64_t d = 0; d < D; d++)
            work->q[n * D + d] = own ? attn_load(problem->dtype, queries, (size_t)(place + d)) : 0;
    }
    return attn_comm_sum(attn_dist_comm(dist), work->q, count * D, error);
}

/* (2) This rank's share of each row: its own keys, when it holds the row's head. */
static void compute_partials(const attn_dist *dist, const void *keys, const void *values, const attn_row *rows,
                             int count, check_work *work)
{
    const attn_problem *problem = &attn_dist_plan(dist)->problem;
    const attn_shape *shape = &problem->shape;
    const attn_part *part = attn_dist_part(dist);
    const attn_array k = attn_array_of_const(keys, part->kv_head_count, part->kv_rows->rows, shape->head_dim);
    const attn_array v = attn_array_of_const(values, part->kv_head_count, part->kv_rows->rows, shape->v_head_dim);

#pragma omp parallel for schedule(dynamic, 1) num_threads(attn_dist_plan(dist)->threads)
    for (int n = 0; n < count; n++) {
        attn_partial *partial = &work->partials[n];

        *partial = (attn_partial){.max = -INFINITY, .weighted = work->weighted + n * shape->v_head_dim};
        if (attn_check_holds(part, rows[n].h))
            attn_reference_partial(problem, work->q + n * shape->head_dim, rows[n].b, rows[n].h, rows[n].i, &k, &v,
                                   problem->dtype, rows[n].h / attn_shape_group(shape) - part->kv_head_begin,
                                   part->kv_rows, work->buffers + n * widest(shape), partial);
    }
}

/* (3) The shares of all ranks together; work->partials becomes the whole row. */
static attn_status reduce_partials(const attn_dist *dist, int count, check_work *work, attn_error *error)
{
    const int64_t Dv = attn_dist_plan(dist)->problem.shape.v_head_dim;
    attn_status status;

    for (int n = 0; n < count; n++) {
        work->max[n] = work->partials[n].max;
        work->max_abs[n] = work->partials[n].max_abs;
    }
    status = attn_comm_max(attn_dist_comm(dist), work->max, count, error);
    if (status == ATTN_OK)
        status = attn_comm_max(attn_dist_comm(dist), work->max_abs, count, error);
    if (status != ATTN_OK)
        return status;
    for (int n = 0; n < count; n++) {
        const attn_partial *partial = &work->partials[n];
        const bool empty = partial->max == -INFINITY && partial->sum == 0;
        const double factor = empty ? 0 : exp(partial->max - work->max[n]);
        double *sums = work->sums + n * (1 + Dv);

        sums[0] = empty ? 0 : factor * partial->sum;
        for (int64_t d = 0; d < Dv; d++)
            sums[1 + d] = empty ? 0 : factor * partial->weighted[d];
    }
    status = attn_comm_sum(attn_dist_comm(dist), work->sums, count * (1 + Dv), error);
    for (int n = 0; n < count && status == ATTN_OK; n++) {
        attn_partial *partial = &work->partials[n];

        partial->max = work->max[n];
        partial->max_abs = work->max_abs[n];
        partial->sum = work->sums[n * (1 + Dv)];
        for (int64_t d = 0; d < Dv; d++)
            partial->weighted[d] = work->sums[n * (1 + Dv) + 1 + d];
    }
    return status;
}

attn_status attn_check_solve(const attn_dist *dist, const void *q, const void *k, const void *v, const attn_row *rows,
                             int count, check_work *work, attn_error *error)
{
    const attn_status status = share_queries(dist, q, rows, count, work, error);

    if (status != ATTN_OK)
        return status;
    compute_partials(dist, k, v, rows, count, work);
    return reduce_partials(dist, count, work, error);
}

double attn_check_error(double got, double want)
{
    double error;

    if (got == want || (isnan(got) && isnan(want)))
        return 0;
    error = fabs(got - want) / (1 + fabs(want));
    return isnan(error) ? INFINITY : error;
}

static bool computes(const attn_part *part, const attn_row *row)
{
    return attn_check_holds(part, row->h) && attn_check_local(part->q_rows, row->i) >= 0;
}

/* (4) The largest error of one row in what this rank holds of it; 0 when it holds nothing. *nan tells whether the exact
 * row has a NaN. */
static double compare_row(const attn_dist *dist, const attn_dist_buffers *buffers, const attn_row *row,
                          const attn_partial *whole, bool *nan)
{
    const attn_problem *problem = &attn_dist_plan(dist)->problem;
    const attn_part *part = attn_dist_part(dist);
    const int64_t Dv = problem->shape.v_head_dim, heads = attn_dist_output_heads(dist);
    const int64_t h = row->h - attn_dist_output_head_begin(dist), r = attn_check_local(part->q_rows, row->i);
    const double *sinks = problem->score.sinks;
    attn_partial exact = *whole;
    double lse, worst = 0;

    lse = attn_reference_finish(&exact, sinks != NULL ? &sinks[row->h] : NULL, Dv);
    *nan = isnan(lse);
    for (int64_t d = 0; d < Dv; d++)
        *nan = *nan || isnan(exact.weighted[d]);
    if (r < 0)
        return 0;
    for (int64_t d = 0; d < Dv && h >= 0 && h < heads; d++) {
        const int64_t place = ((row->b * heads + h) * part->q_rows->rows + r) * Dv + d;

        worst = fmax(worst, attn_check_error(attn_load(problem->dtype, buffers->o, (size_t)place), exact.weighted[d]));
    }
    if (attn_check_holds(part, row->h)) {
        const int64_t place = (row->b * part->head_count + row->h - part->head_begin) * part->q_rows->rows + r;
        const attn_dtype dtype = attn_dtype_accumulator(problem->dtype);

        worst = fmax(worst, attn_check_error(attn_load(dtype, buffers->lse, (size_t)place), lse));
    }
    return worst;
}

/* Steps 1 to 4 for up to ROWS_AT_ONCE rows; updates *check, the same on every rank. */
static attn_status check_rows(const attn_dist *dist, const attn_dist_buffers *buffers, const attn_row *rows, int count,
                              check_work *work, attn_check *check, attn_error *error)
{
    attn_status status = attn_check_solve(dist, buffers->q, buffers->k, buffers->v, rows, count, work, error);

    if (status != ATTN_OK)
        return status;
    for (int n = 0; n < count; n++) {
        bool nan;

        check->max_score = fmax(check->max_score, work->max_abs[n]);
        work->max[n] = compare_row(dist, buffers, &rows[n], &work->partials[n], &nan);
        check->nan_rows += nan;
    }
    status = attn_comm_max(attn_dist_comm(dist), work->max, count, error);
    for (int n = 0; n < count && status == ATTN_OK; n++)
        if (work->max[n] > check->max_error || check->rows + n == 0) {
            check->max_error = work->max[n];
            check->worst = rows[n];
        }
    check->rows += count;
    return status;
}

attn_status attn_check_count_ranks(const attn_dist *dist, const attn_row *rows, int64_t count, attn_check *check,
                                   attn_error *error)
{
    const attn_part *part = attn_dist_part(dist);
    double ranks[2] = {part->head_count > 0 && part->q_rows->rows > 0, 0};
    attn_status status;

    for (int64_t n = 0; n < count && ranks[1] == 0; n++)
        ranks[1] = computes(part, &rows[n]);
    status = attn_comm_sum(attn_dist_comm(dist), ranks, 2, error);
    check->working_ranks = (int)ranks[0];
    check->ranks = (int)ranks[1];
    return status;
}

attn_status attn_dist_check(attn_dist *dist, const attn_dist_buffers *buffers, const attn_row *rows, int64_t count,
                            double eps, attn_check *out, attn_error *error)
{
    check_work work;
    attn_check check = {0};
    attn_status status = attn_comm_agree(
        attn_dist_comm(dist), attn_check_allocate(&attn_dist_plan(dist)->problem.shape, &work, error), error);

    if (status == ATTN_OK)
        status = attn_check_count_ranks(dist, rows, count, &check, error);
    for (int64_t begin = 0; begin < count && status == ATTN_OK; begin += ROWS_AT_ONCE) {
        const int64_t left = count - begin;

        status = check_rows(dist, buffers, rows + begin, (int)(left < ROWS_AT_ONCE ? left : ROWS_AT_ONCE), &work,
                            &check, error);
    }
    attn_check_release(&work);
    if (status != ATTN_OK)
        return status;
    check.tolerance = attn_tolerance_forward(eps, check.max_score);
    check.valid = check.max_error <= check.tolerance;
    *out = check;
    return ATTN_OK;
}

double attn_tolerance_forward(double eps, double max_score)
{
    return eps >= attn_dtype_epsilon(ATTN_FLOAT16) ? 2 * eps : 8 * eps * fmax(1, max_score);
}
