/* What a layer's results are compared with where the file expects none: the layer on one rank in float64. The largest
 * score, which tolerances follow, is taken from attn_explanation, of the whole layer where it is small, otherwise of
 * the last rows of one head group: more could only widen the tolerance. */
#include "tensors.h"
#include "verify_layer.h"

#include <attn/comm.h>
#include <attn/explain.h>
#include <attn/kernel.h>

#include <math.h>
#include <stdlib.h>
#include <string.h>

#define WHOLE_COST 1e9   /* multiplications */
#define SAMPLED_ROWS 256 /* query rows */

static double smaller(double a, double b)
{
    return a < b ? a : b;
}

/* Whether all scores can be had. */
static bool is_small(const attn_layer_problem *problem)
{
    const attn_shape *const s = &problem->attention.shape;
    const double scores = (double)s->batch * (double)s->heads * (double)s->seq * (double)s->kv_seq;

    return scores <= ATTN_WEIGHTS_MAX && attn_layer_flops_forward(problem) / 2 <= WHOLE_COST &&
           scores * (double)(s->head_dim + s->v_head_dim) <= WHOLE_COST;
}

/* The last query rows of batch 0 and the query heads of key-value head 0, with the keys of the last document. The
 * diagonal is aligned at the bottom right, so that they see what they see in the whole. */
typedef struct sample {
    attn_layer_problem problem;
    attn_problem attention; /* of a layer without weights */
    int64_t kv_len;
    const double *x, *context;
} sample;

static void take_sample(const attn_layer_problem *whole, const layer_tensors *arrays, sample *out)
{
    const attn_shape *const s = &whole->attention.shape;
    const attn_mask *const mask = &whole->attention.mask;
    const int64_t begin = mask->documents > 0 ? mask->cu_seqlens[mask->documents - 1] : 0;
    const int64_t group = attn_shape_group(s), keys = s->kv_seq - begin;
    const int64_t fitting = (int64_t)smaller(SAMPLED_ROWS, (double)(ATTN_WEIGHTS_MAX / (group * keys)));
    const int64_t available = s->seq - begin < fitting ? s->seq - begin : fitting, rows = available > 0 ? available : 1;
    const int64_t width = whole->context_dim > 0 ? whole->context_dim : whole->embed_dim;

    out->problem = *whole;
    out->problem.context_dim = width;
    out->problem.out_dim = 0;
    out->problem.bias[ATTN_PROJECTION_OUT] = false;
    out->attention = whole->attention;
    out->attention.shape = (attn_shape){1, group, 1, rows, keys, s->head_dim, s->v_head_dim};
    out->attention.mask.cu_seqlens = NULL;
    out->attention.mask.documents = 0;
    out->attention.dropout = 0;
    if (mask->kv_len != NULL) {
        out->kv_len = mask->kv_len[0] > begin ? mask->kv_len[0] - begin : 0;
        out->attention.mask.kv_len = &out->kv_len;
    }
    out->problem.attention = out->attention;
    out->x = (const double *)arrays->x + (s->seq - rows) * whole->embed_dim;
    out->context = (const double *)(whole->context_dim > 0 ? arrays->context : arrays->x) + begin * width;
}

/* Rank 0. */
static attn_status find_max_score(const attn_layer_problem *problem, const layer_tensors *arrays, double *max,
                                  attn_error *error)
{
    attn_explanation *explained = NULL;
    const attn_shape *shape = &problem->attention.shape;
    attn_layer_arrays weights = arrays->weights;
    sample part;
    attn_status status;

    if (is_small(problem)) {
        status = attn_explanation_make(problem, &weights, arrays->x, arrays->context, &explained, error);
    } else {
        take_sample(problem, arrays, &part);
        shape = &part.attention.shape;
        weights.weight[ATTN_PROJECTION_OUT] = weights.bias[ATTN_PROJECTION_OUT] = NULL;
        status = problem->projected
                     ? attn_explanation_make(&part.problem, &weights, part.x, part.context, &explained, error)
                     : attn_explanation_make_attention(&part.attention, part.x, part.context, part.context, &explained,
                                                       error);
    }
    *max = 0;
    if (status == ATTN_OK)
        for (int64_t n = 0; n < shape->batch * shape->heads * shape->seq * shape->kv_seq; n++)
            if (isfinite(explained->scores[n]))
                *max = fmax(*max, fabs(explained->scores[n]));
    attn_explanation_destroy(explained);
    return status;
}

/* Rank 0, alone with its communicator. */
static attn_status make_alone(MPI_Comm alone, const char *path, bool compute, bool backward, int threads,
                              layer_reference *out, attn_error *error)
{
    const attn_layer_options options = {
        .attention = {.kernel = attn_kernel_find("portable"),
                      .pass = compute && backward ? ATTN_PASS_BACKWARD : ATTN_PASS_FORWARD,
                      .threads = threads}};
    attn_layer_file *file = NULL;
    attn_layer_problem problem;
    attn_status status = attn_layer_file_open(alone, path, &file, error);

    if (status == ATTN_OK) {
        problem = *attn_layer_file_problem(file);
        problem.attention.dtype = ATTN_FLOAT64;
        status = attn_layer_create(alone, &problem, &options, &out->layer, error);
    }
    if (status == ATTN_OK)
        status = layer_tensors_create(out->layer, &out->arrays, error);
    if (status == ATTN_OK)
        status = layer_tensors_read(out->layer, file, &out->arrays, error);
    if (status == ATTN_OK && compute)
        status = layer_tensors_compute(out->layer, &out->arrays, error);
    if (status == ATTN_OK)
        status = find_max_score(&problem, &out->arrays, &out->max_score, error);
    out->computed = status == ATTN_OK && compute;
    return layer_tensors_close_file(file, status, error);
}

attn_status layer_reference_make(MPI_Comm comm, const char *path, bool compute, bool backward, int threads,
                                 layer_reference *out, attn_error *error)
{
    MPI_Comm alone = MPI_COMM_NULL;
    attn_status status = attn_comm_first(comm, 1, &alone, error);

    *out = (layer_reference){.layer = NULL};
    if (status == ATTN_OK && attn_comm_rank(comm) == 0)
        status = make_alone(alone, path, compute, backward, threads, out, error);
    if (status != ATTN_MPI)
        attn_comm_free(&alone);
    return attn_comm_agree(comm, status, error);
}

void layer_reference_release(layer_reference *reference)
{
    layer_tensors_release(&reference->arrays);
    attn_layer_destroy(reference->layer);
    reference->layer = NULL;
}

/* Extents of the whole of a result, [batch,rows,width]. */
static void whole_extents(const attn_layer_problem *problem, const layer_result *result, int64_t extents[3])
{
    const attn_shape *const s = &problem->attention.shape;
    const bool context = result->array == ATTN_LAYER_EXPECTED_DCONTEXT;

    if (result->weight) {
        extents[0] = 1;
        extents[1] = attn_layer_weight_out(problem, result->which.projection);
        extents[2] = result->which.bias ? 1 : attn_layer_weight_in(problem, result->which.projection);
        return;
    }
    extents[0] = s->batch;
    extents[1] = context ? s->kv_seq : s->seq;
    extents[2] = context                                  ? problem->context_dim
                 : result->array == ATTN_LAYER_EXPECTED_Y ? attn_layer_out_dim(problem)
                                                          : problem->embed_dim;
}

attn_status layer_reference_share(MPI_Comm comm, const layer_reference *reference, const attn_layer_problem *problem,
                                  const layer_result *result, const computed_block *block, double *want,
                                  attn_error *error)
{
    int64_t extents[3], next = 0;
    double *all;
    attn_status status = ATTN_OK;

    whole_extents(problem, result, extents);
    all = tensor_allocate(extents[0] * extents[1] * extents[2], ATTN_FLOAT64);
    if (all == NULL)
        status = attn_error_set(error, ATTN_MEMORY, "no memory for the reference of %s", result->path);
    status = attn_comm_agree(comm, status, error);
    if (status == ATTN_OK && reference->layer != NULL) {
        layer_row_list rows;
        const computed_block whole = layer_result_block(reference->layer, &reference->arrays, result, &rows);

        memcpy(all, whole.data, (size_t)computed_block_elements(&whole) * sizeof *all);
    }
    if (status == ATTN_OK)
        status = attn_comm_broadcast(comm, 0, all, (size_t)(extents[0] * extents[1] * extents[2]) * sizeof *all, error);
    for (int64_t b = 0; status == ATTN_OK && b < block->batch; b++)
        for (int64_t r = 0; r < block->rows->rows; r++)
            for (int64_t c = 0; c < block->width; c++)
                want[next++] =
                    all[(b * extents[1] + attn_segments_global(block->rows, r)) * extents[2] + block->column_begin + c];
    free(all);
    return status;
}
