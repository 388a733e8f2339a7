#include "compare.h"
#include "verify.h"

#include <math.h>
#include <stdlib.h>

/* Rows from which the largest score is taken; more can only widen the tolerance. */
#define SAMPLED_ROWS 256

static const attn_input_array gradients[] = {ATTN_INPUT_EXPECTED_DQ, ATTN_INPUT_EXPECTED_DK, ATTN_INPUT_EXPECTED_DV};

enum { GRADIENTS = sizeof gradients / sizeof gradients[0] };

void verify_add_unchecked_gradients(verification *all, const attn_input *input, const char *path, const char *how,
                                    const char *reason)
{
    for (int i = 0; !all->forward_only && i < GRADIENTS; i++)
        if (attn_input_has(input, gradients[i]))
            verify_add_unchecked(all, path, attn_input_array_path(gradients[i]), how, reason);
}

/* The gradients of one file computed in one way. */
typedef struct gradient_check {
    verification *all;
    const char *path, *how;
    attn_input *input; /* opened by the group */
    attn_plan plan;    /* of the backward pass */
    attn_dist *dist;
    tensors arrays;
    double max_score;
} gradient_check;

/* Collective over the group. The same choices as of the forward pass; what cannot be is told. */
static attn_status prepare(gradient_check *of, const bench_case *one, attn_error *error)
{
    const attn_plan *forward = &one->plan;
    const attn_plan_options choices = {.grid = forward->grid,
                                       .exchange = forward->exchange,
                                       .layout = forward->layout,
                                       .combine = forward->combine,
                                       .kernel = forward->kernel,
                                       .pass = ATTN_PASS_BACKWARD,
                                       .threads = forward->threads};
    attn_status status = attn_plan_make(&forward->problem, forward->ranks, &choices, &of->plan, error);

    if (status == ATTN_OK && !attn_input_has(of->input, ATTN_INPUT_DO))
        status = attn_error_set(error, ATTN_UNSUPPORTED, "the file has no do");
    if (status == ATTN_OK)
        status = attn_dist_create(one->group->comm, &of->plan, &of->dist, error);
    return status != ATTN_OK ? status
                             : attn_comm_agree(one->group->comm, tensors_create(of->dist, &of->arrays, error), error);
}

/* Collective over the group. Both passes, and the largest score of some rows. */
static attn_status compute(gradient_check *of, attn_error *error)
{
    const attn_dist_buffers forward = tensors_buffers(&of->arrays);
    const attn_dist_backward_buffers backward = tensors_backward_buffers(&of->arrays);
    const double eps = tensors_epsilon(of->plan.problem.dtype, of->input);
    double seconds[ATTN_PHASE_COUNT];
    attn_row *rows = NULL;
    attn_check check;
    int64_t count = 0;
    attn_status status = tensors_read(of->dist, of->input, of->all->lists.seed, &of->arrays, error);

    if (status == ATTN_OK)
        status = attn_dist_forward(of->dist, &forward, seconds, error);
    if (status == ATTN_OK)
        status = attn_dist_backward(of->dist, &backward, seconds, error);
    if (status != ATTN_OK)
        return status;
    status = attn_sample_rows(&of->plan, SAMPLED_ROWS, of->all->lists.seed, &rows, &count, error);
    status = attn_comm_agree(attn_dist_comm(of->dist), status, error);
    if (status == ATTN_OK)
        status = attn_dist_check_backward(of->dist, &backward, rows, count, eps, &check, error);
    if (status == ATTN_OK)
        of->max_score = check.max_score;
    free(rows);
    return status;
}

/* Rank 0. */
static void add_verdict(gradient_check *of, attn_input_array array, const difference *worst)
{
    const double stored = fmax(attn_dtype_epsilon(attn_input_stored_dtype(of->input, array)),
                               attn_dtype_epsilon(attn_input_stored_dtype(of->input, ATTN_INPUT_DO)));
    const double eps = fmax(tensors_epsilon(of->plan.problem.dtype, of->input), stored);
    const double numbers[2] = {worst->error, attn_tolerance_backward(eps, of->max_score)};
    const char *name = attn_input_array_path(array);

    if (worst->error <= numbers[1]) {
        of->all->passed++;
        verify_add_row(of->all, of->path, name, of->how, numbers, "PASS");
        return;
    }
    of->all->failed++;
    verify_add_row(of->all, of->path, name, of->how, numbers,
                   "FAIL at b %lld, head %lld, row %lld, column %lld: got %.9g, want %.9g", (long long)worst->b,
                   (long long)worst->h, (long long)worst->i, (long long)worst->d, worst->got, worst->want);
}

/* Collective over the group. */
static attn_status check(gradient_check *of, const bench_case *one, attn_error *error)
{
    const bool root = of->all->launch->rank == 0;
    attn_error reason = ATTN_ERROR_INIT;
    attn_status status = prepare(of, one, &reason);

    if (status == ATTN_MEMORY || status == ATTN_UNSUPPORTED) {
        if (root)
            verify_add_unchecked_gradients(of->all, of->input, of->path, of->how, reason.message);
        return ATTN_OK;
    }
    if (status != ATTN_OK)
        return attn_error_set(error, status, "%s", reason.message);
    status = compute(of, error);
    for (int i = 0; status == ATTN_OK && i < GRADIENTS; i++) {
        difference worst = {0};

        if (!attn_input_has(of->input, gradients[i]))
            continue;
        status = compare_array(of->dist, &of->arrays, of->input, gradients[i], &worst, error);
        if (status == ATTN_OK && root)
            add_verdict(of, gradients[i], &worst);
    }
    return status;
}

attn_status verify_gradients_on_group(verification *all, const bench_case *one, const char *path, const char *how,
                                      attn_error *error)
{
    gradient_check of = {.all = all, .path = path, .how = how};
    bool expects = false;
    attn_status status = ATTN_OK;

    if (all->forward_only)
        return ATTN_OK;
    status = attn_input_open(one->group->comm, path, &of.input, error);
    for (int i = 0; status == ATTN_OK && i < GRADIENTS; i++)
        expects = expects || attn_input_has(of.input, gradients[i]);
    if (status == ATTN_OK && expects)
        status = attn_comm_agree(one->group->comm, check(&of, one, error), error);
    tensors_release(&of.arrays);
    if (status != ATTN_MPI) /* collective */
        attn_dist_destroy(of.dist);
    return tensors_close_input(of.input, status, error);
}
