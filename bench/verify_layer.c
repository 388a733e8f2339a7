/* The check of one layer file computed in one way. */
#include "verify_layer.h"
#include "options.h"
#include "tensors.h"
#include "verify.h"

#include <attn/comm.h>

#include <math.h>
#include <stdlib.h>
#include <string.h>

/* ---- The results of a layer ---- */

/* A weight or bias, named as the file's dataset, with the projection where that holds several. */
static bool weight_result_at(const attn_layer_file *file, attn_projection projection, bool bias, layer_result *out)
{
    const attn_layer_weight given = {projection, bias, false}, expected = {projection, bias, true};
    const bool expects = attn_layer_file_has_weight(file, expected);
    bool fused = false;
    const char *path;

    if (!attn_layer_file_has_weight(file, given))
        return false;
    path = attn_layer_file_weight_path(file, expects ? expected : given);
    for (int p = 0; p < ATTN_PROJECTION_COUNT; p++) {
        const attn_layer_weight other = {(attn_projection)p, bias, given.expected};

        fused = fused || (p != (int)projection && attn_layer_file_has_weight(file, other) &&
                          attn_layer_file_weight_path(file, other) == attn_layer_file_weight_path(file, given));
    }
    *out = (layer_result){.weight = true, .which = expected, .gradient = true};
    snprintf(out->path, sizeof out->path, fused ? "%s (%s)" : "%s", path, attn_projection_name(projection));
    return true;
}

bool layer_result_at(const attn_layer_file *file, int n, layer_result *out)
{
    static const attn_layer_array arrays[] = {ATTN_LAYER_EXPECTED_Y, ATTN_LAYER_EXPECTED_DX,
                                              ATTN_LAYER_EXPECTED_DCONTEXT};
    const char *path;

    if (n >= 3)
        return weight_result_at(file, (attn_projection)((n - 3) / 2), (n - 3) % 2 == 1, out);
    path = attn_layer_array_path(arrays[n]);
    *out = (layer_result){.array = arrays[n], .gradient = n > 0};
    snprintf(out->path, sizeof out->path, "%s",
             attn_layer_file_has(file, arrays[n]) ? path : path + strlen("expected/"));
    return n < 2 || attn_layer_file_problem(file)->context_dim > 0;
}

bool layer_result_expected(const attn_layer_file *file, const layer_result *result)
{
    return result->weight ? attn_layer_file_has_weight(file, result->which) : attn_layer_file_has(file, result->array);
}

bool layer_results_expected(const attn_layer_file *file)
{
    layer_result result;

    for (int n = 0; n < LAYER_RESULTS; n++)
        if (layer_result_at(file, n, &result) && layer_result_expected(file, &result))
            return true;
    return false;
}

static computed_block weight_block(const attn_layer *layer, const layer_tensors *arrays, attn_layer_weight which,
                                   layer_row_list *row)
{
    const attn_layer_problem *const problem = attn_layer_problem_of(layer);
    const attn_weight_block whole = attn_layer_block(layer, which.projection);
    const attn_weight_block block = which.bias ? layer_bias_block(whole) : whole;

    *row = (layer_row_list){.one = {block.row_begin, block.row_count, 0}};
    row->rows = (attn_segments){&row->one, block.row_count > 0 ? 1 : 0, block.row_count};
    return (computed_block){.data = which.bias ? arrays->gradients.bias[which.projection]
                                               : arrays->gradients.weight[which.projection],
                            .dtype = attn_dtype_accumulator(problem->attention.dtype),
                            .batch = 1,
                            .head_count = 1,
                            .rows = &row->rows,
                            .column_begin = block.column_begin,
                            .width = block.column_count};
}

computed_block layer_result_block(const attn_layer *layer, const layer_tensors *arrays, const layer_result *result,
                                  layer_row_list *row)
{
    const attn_layer_problem *const problem = attn_layer_problem_of(layer);
    computed_block block = {.dtype = problem->attention.dtype,
                            .batch = problem->attention.shape.batch,
                            .head_count = 1,
                            .rows = attn_layer_rows(layer)};

    if (result->weight)
        return weight_block(layer, arrays, result->which, row);
    switch (result->array) {
    case ATTN_LAYER_EXPECTED_Y:
        block.data = arrays->y;
        block.width = attn_layer_out_dim(problem);
        break;
    case ATTN_LAYER_EXPECTED_DX:
        block.data = arrays->d_x;
        block.width = problem->embed_dim;
        break;
    default:
        block.data = arrays->d_context;
        block.width = problem->context_dim;
        block.rows = attn_layer_context_rows(layer);
        break;
    }
    return block;
}

int64_t computed_block_elements(const computed_block *block)
{
    return block->batch * block->head_count * block->rows->rows * block->width;
}

/* ---- What is to be checked ---- */

/* What the file expects; y, and with dy all gradients, where it expects nothing. */
static bool is_wanted(const verification *all, const attn_layer_file *file, const layer_result *result)
{
    if (result->gradient && all->forward_only)
        return false;
    if (layer_result_expected(file, result))
        return true;
    if (result->gradient)
        return !layer_results_expected(file) && attn_layer_file_has(file, ATTN_LAYER_DY);
    return all->forward_only || !layer_results_expected(file);
}

static bool wants(const verification *all, const attn_layer_file *file, bool gradients)
{
    layer_result result;

    for (int n = 0; n < LAYER_RESULTS; n++)
        if (layer_result_at(file, n, &result) && result.gradient == gradients && is_wanted(all, file, &result))
            return true;
    return false;
}

/* Rank 0. */
static void add_unchecked(verification *all, const attn_layer_file *file, bool gradients_only, const char *path,
                          const char *how, const char *reason)
{
    layer_result result;

    for (int n = 0; n < LAYER_RESULTS; n++)
        if (layer_result_at(file, n, &result) && is_wanted(all, file, &result) && (result.gradient || !gradients_only))
            verify_add_unchecked(all, path, result.path, how, reason);
}

void verify_add_unchecked_layer(verification *all, const attn_layer_file *file, const char *path, const char *how,
                                const char *reason)
{
    add_unchecked(all, file, false, path, how, reason);
}

/* ---- The check ---- */

typedef struct layer_check {
    verification *all;
    const bench_case *one;
    const char *path;
    char how[160];
    attn_layer_file *file; /* opened by the group */
    attn_layer_problem problem;
    attn_layer *layer;
    layer_tensors arrays;
    layer_reference reference;
} layer_check;

/* "avx2, allgather, 2x2, zigzag, reduce-scatter" */
static void describe(layer_check *of)
{
    static const char *const outputs[ATTN_LAYER_OUTPUT_COUNT] = {[ATTN_LAYER_OUTPUT_AUTO] = "auto",
#define OUTPUT_NAME(name, text, meaning) [ATTN_LAYER_OUTPUT_##name] = text,
                                                                 ATTN_LAYER_OUTPUT_LIST(OUTPUT_NAME)
#undef OUTPUT_NAME
    };
    const attn_plan *const plan = attn_layer_plan(of->layer);

    snprintf(of->how, sizeof of->how, "%s, %s, %dx%d, %s, %s", attn_kernel_name(plan->kernel),
             attn_exchange_name(plan->exchange), plan->grid.seq, plan->grid.head, attn_layout_name(plan->layout),
             outputs[attn_layer_output_of(of->layer)]);
}

/* --combine, where it is given, says how the heads' outputs become y: they are gathered, or each rank keeps its own and
 * projects them. */
static attn_layer_output chosen_output(const layer_check *of)
{
    if (!option_given(of->all->given, OPTION_COMBINE))
        return ATTN_LAYER_OUTPUT_AUTO;
    return of->one->plan.combine == attn_combine_find("none") ? ATTN_LAYER_OUTPUT_REDUCE_SCATTER
                                                              : ATTN_LAYER_OUTPUT_ALLGATHER;
}

/* Collective over the group. The choices of the case, with memory for the arrays. */
static attn_status prepare(layer_check *of, attn_pass pass, attn_error *error)
{
    const attn_plan *const plan = &of->one->plan;
    const attn_layer_options choices = {.attention = {.grid = plan->grid,
                                                      .exchange = plan->exchange,
                                                      .layout = plan->layout,
                                                      .kernel = plan->kernel,
                                                      .pass = pass,
                                                      .transfer = plan->transfer,
                                                      .hybrid = plan->hybrid,
                                                      .node_ranks = plan->node_ranks,
                                                      .threads = plan->threads},
                                        .output = chosen_output(of)};
    const MPI_Comm comm = of->one->group->comm;
    attn_status status = attn_layer_create(comm, &of->problem, &choices, &of->layer, error);

    if (status == ATTN_OK)
        status = attn_comm_agree(comm, layer_tensors_create(of->layer, &of->arrays, error), error);
    return status;
}

/* Collective over the group. With the backward pass where it is needed and can be had; otherwise tells why not. */
static attn_status prepare_either(layer_check *of, attn_error *reason)
{
    const bool needed = wants(of->all, of->file, true);
    attn_error lacking = ATTN_ERROR_INIT;
    attn_status status = ATTN_UNSUPPORTED;

    if (needed && attn_layer_file_has(of->file, ATTN_LAYER_DY))
        status = prepare(of, ATTN_PASS_BACKWARD, &lacking);
    else if (needed)
        attn_error_set(&lacking, ATTN_UNSUPPORTED, "the file has no dy");
    if (needed && status != ATTN_UNSUPPORTED && status != ATTN_MEMORY) {
        if (status != ATTN_OK)
            attn_error_set(reason, status, "%s", lacking.message);
        return status;
    }
    layer_tensors_release(&of->arrays);
    attn_layer_destroy(of->layer);
    of->layer = NULL;
    status = prepare(of, ATTN_PASS_FORWARD, reason);
    if (status == ATTN_OK && needed && of->all->launch->rank == 0) {
        describe(of);
        add_unchecked(of->all, of->file, true, of->path, of->how, lacking.message);
    }
    return status;
}

/* Rank 0. */
static void add_verdict(layer_check *of, const layer_result *result, const difference *worst)
{
    verification *const all = of->all;
    const bool expected = layer_result_expected(of->file, result);
    double eps = layer_tensors_epsilon(of->problem.attention.dtype, of->file, result->gradient), numbers[2];
    char batch[40] = "";

    if (expected)
        eps = fmax(eps, attn_dtype_epsilon(result->weight ? attn_layer_file_weight_dtype(of->file, result->which)
                                                          : attn_layer_file_stored_dtype(of->file, result->array)));
    numbers[0] = worst->error;
    numbers[1] = result->gradient ? attn_tolerance_backward(eps, of->reference.max_score)
                                  : attn_tolerance_forward(eps, of->reference.max_score);
    if (worst->error <= numbers[1]) {
        all->passed++;
        verify_add_row(all, of->path, result->path, of->how, numbers, expected ? "PASS" : "PASS (against float64)");
        return;
    }
    all->failed++;
    if (!result->weight)
        snprintf(batch, sizeof batch, "b %lld, ", (long long)worst->b);
    verify_add_row(all, of->path, result->path, of->how, numbers,
                   "FAIL%s at %srow %lld, column %lld: got %.9g, want %.9g", expected ? "" : " (against float64)",
                   batch, (long long)worst->i, (long long)worst->d, worst->got, worst->want);
}

/* Collective over the group. */
static attn_status judge(layer_check *of, const layer_result *result, attn_error *error)
{
    const MPI_Comm comm = of->one->group->comm;
    layer_row_list rows;
    const computed_block got = layer_result_block(of->layer, &of->arrays, result, &rows);
    const attn_weight_block block = {rows.one.begin, rows.one.length, got.column_begin, got.width};
    double *const want = tensor_allocate(computed_block_elements(&got), ATTN_FLOAT64);
    difference worst = {0};
    attn_status status =
        want != NULL ? ATTN_OK : attn_error_set(error, ATTN_MEMORY, "no memory for this rank's %s", result->path);

    status = attn_comm_agree(comm, status, error);
    if (status == ATTN_OK && !layer_result_expected(of->file, result))
        status = layer_reference_share(comm, &of->reference, &of->problem, result, &got, want, error);
    else if (status == ATTN_OK && result->weight)
        status = attn_layer_file_read_weight(of->file, result->which, &block, ATTN_FLOAT64, want, error);
    else if (status == ATTN_OK)
        status = attn_layer_file_read(of->file, result->array, got.rows, ATTN_FLOAT64, want, error);
    if (status == ATTN_OK)
        status = compare_block(comm, &got, want, &worst, error);
    if (status == ATTN_OK && of->all->launch->rank == 0)
        add_verdict(of, result, &worst);
    free(want);
    return status;
}

/* Collective over the group. */
static attn_status check(layer_check *of, const char *target, attn_error *error)
{
    const MPI_Comm comm = of->one->group->comm;
    attn_error reason = ATTN_ERROR_INIT;
    bool backward, referred = false;
    layer_result result;
    attn_status status = prepare_either(of, &reason);

    if (status == ATTN_MEMORY || status == ATTN_UNSUPPORTED) {
        if (of->all->launch->rank == 0)
            add_unchecked(of->all, of->file, false, of->path, "-", reason.message);
        return ATTN_OK;
    }
    if (status != ATTN_OK)
        return attn_error_set(error, status, "%s", reason.message);
    describe(of);
    backward = of->arrays.d_y != NULL;
    for (int n = 0; n < LAYER_RESULTS; n++)
        referred = referred || (layer_result_at(of->file, n, &result) && is_wanted(of->all, of->file, &result) &&
                                !layer_result_expected(of->file, &result));
    status = layer_tensors_read(of->layer, of->file, &of->arrays, error);
    if (status == ATTN_OK)
        status = layer_tensors_compute(of->layer, &of->arrays, error);
    if (status == ATTN_OK)
        status = layer_reference_make(comm, of->path, referred, backward, of->one->plan.threads, &of->reference, error);
    for (int n = 0; status == ATTN_OK && n < LAYER_RESULTS; n++)
        if (layer_result_at(of->file, n, &result) && is_wanted(of->all, of->file, &result) &&
            (backward || !result.gradient))
            status = judge(of, &result, error);
    return status == ATTN_OK && target != NULL
               ? layer_write_computed(comm, of->layer, &of->arrays, of->file, target, error)
               : status;
}

attn_status verify_layer_on_group(verification *all, const bench_case *one, const char *path, const char *target,
                                  attn_error *error)
{
    layer_check of = {.all = all, .one = one, .path = path};
    attn_status status = attn_layer_file_open(one->group->comm, path, &of.file, error);

    if (status == ATTN_OK) {
        of.problem = *attn_layer_file_problem(of.file);
        of.problem.attention.dtype = one->problem.dtype;
        status = attn_comm_agree(one->group->comm, check(&of, target, error), error);
    }
    layer_tensors_release(&of.arrays);
    if (status != ATTN_MPI) { /* these are collective, but for the reference, which is rank 0's */
        layer_reference_release(&of.reference);
        attn_layer_destroy(of.layer);
    }
    return layer_tensors_close_file(of.file, status, error);
}
