#include "tensors.h"

#include <attn/memory.h>

#include <math.h>
#include <stdlib.h>
#include <string.h>

void *tensor_allocate(int64_t count, attn_dtype dtype)
{
    return attn_aligned_alloc((size_t)count * attn_dtype_size(dtype));
}

/* Fills with bytes 0xff, a NaN of every type; the threads that will use the pages touch them first. */
static void poison(void *array, int64_t count, attn_dtype dtype, int threads)
{
    const int64_t bytes = count * (int64_t)attn_dtype_size(dtype), page = 4096;

#pragma omp parallel for schedule(static) num_threads(threads)
    for (int64_t begin = 0; begin < bytes; begin += page)
        memset((char *)array + begin, 0xff, (size_t)(bytes - begin < page ? bytes - begin : page));
}

/* q, kv: query and key rows of all heads and batches. */
static attn_status create_gradients(const attn_dist *dist, int64_t q, int64_t kv, tensors *out, attn_error *error)
{
    const attn_plan *plan = attn_dist_plan(dist);
    const attn_shape *shape = &plan->problem.shape;
    const attn_dtype dtype = plan->problem.dtype;

    out->d_o = tensor_allocate(q * shape->v_head_dim, dtype);
    out->dq = tensor_allocate(q * shape->head_dim, dtype);
    out->dk = tensor_allocate(kv * shape->head_dim, dtype);
    out->dv = tensor_allocate(kv * shape->v_head_dim, dtype);
    if (out->d_o == NULL || out->dq == NULL || out->dk == NULL || out->dv == NULL)
        return attn_error_set(error, ATTN_MEMORY, "no memory for do, dq, dk and dv of rank %d",
                              attn_dist_part(dist)->rank);
    poison(out->dq, q * shape->head_dim, dtype, plan->threads);
    poison(out->dk, kv * shape->head_dim, dtype, plan->threads);
    poison(out->dv, kv * shape->v_head_dim, dtype, plan->threads);
    return ATTN_OK;
}

attn_status tensors_create(attn_dist *dist, tensors *out, attn_error *error)
{
    const attn_plan *plan = attn_dist_plan(dist);
    const attn_part *part = attn_dist_part(dist);
    const attn_shape *shape = &plan->problem.shape;
    const attn_dtype dtype = plan->problem.dtype;
    const int64_t q = shape->batch * part->head_count * part->q_rows->rows;
    const int64_t kv = shape->batch * part->kv_head_count * part->kv_rows->rows;
    const int64_t o = shape->batch * attn_dist_output_heads(dist) * part->q_rows->rows;

    out->q = tensor_allocate(q * shape->head_dim, dtype);
    attn_dist_own_memory(dist, &out->k, &out->v);
    out->borrowed_kv = out->k != NULL;
    if (!out->borrowed_kv) {
        out->k = tensor_allocate(kv * shape->head_dim, dtype);
        out->v = tensor_allocate(kv * shape->v_head_dim, dtype);
    }
    out->o = tensor_allocate(o * shape->v_head_dim, dtype);
    out->lse = tensor_allocate(q, attn_dtype_accumulator(dtype));
    if (out->q == NULL || out->k == NULL || out->v == NULL || out->o == NULL || out->lse == NULL)
        return attn_error_set(error, ATTN_MEMORY, "no memory for q, k, v, o and lse of rank %d", part->rank);
    poison(out->o, o * shape->v_head_dim, dtype, plan->threads);
    poison(out->lse, q, attn_dtype_accumulator(dtype), plan->threads);
    return plan->pass == ATTN_PASS_BACKWARD ? create_gradients(dist, q, kv, out, error) : ATTN_OK;
}

void tensors_release(tensors *arrays)
{
    free(arrays->q);
    if (!arrays->borrowed_kv) {
        free(arrays->k);
        free(arrays->v);
    }
    free(arrays->o);
    free(arrays->lse);
    free(arrays->d_o);
    free(arrays->dq);
    free(arrays->dk);
    free(arrays->dv);
    memset(arrays, 0, sizeof *arrays);
}

attn_dist_buffers tensors_buffers(const tensors *arrays)
{
    return (attn_dist_buffers){.q = arrays->q, .k = arrays->k, .v = arrays->v, .o = arrays->o, .lse = arrays->lse};
}

attn_dist_backward_buffers tensors_backward_buffers(const tensors *arrays)
{
    return (attn_dist_backward_buffers){.q = arrays->q,
                                        .k = arrays->k,
                                        .v = arrays->v,
                                        .o = arrays->o,
                                        .lse = arrays->lse,
                                        .d_o = arrays->d_o,
                                        .dq = arrays->dq,
                                        .dk = arrays->dk,
                                        .dv = arrays->dv};
}

void tensor_fill(uint64_t seed, attn_stream stream, int64_t batch, int64_t heads, int64_t seq, int64_t width,
                 const attn_block *block, attn_dtype dtype, void *array, int threads)
{
    const int64_t rows = block->rows->rows, lines = batch * block->head_count * rows;
    const size_t line_bytes = (size_t)width * attn_dtype_size(dtype);

#pragma omp parallel for schedule(static) num_threads(threads)
    for (int64_t line = 0; line < lines; line++) {
        const int64_t head = line / rows; /* of b head_count + h */
        const int64_t b = head / block->head_count, h = block->head_begin + head % block->head_count;
        const int64_t i = attn_segments_global(block->rows, line % rows);

        attn_random_fill(seed, stream, (uint64_t)(((b * heads + h) * seq + i) * width), (size_t)width, dtype,
                         (char *)array + (size_t)line * line_bytes);
    }
}

/* The part of a query array and of a key or value array that this rank has. */
static attn_block query_block(const attn_part *part)
{
    return (attn_block){part->head_begin, part->head_count, part->q_rows};
}

static attn_block key_block(const attn_part *part)
{
    return (attn_block){part->kv_head_begin, part->kv_head_count, part->kv_rows};
}

static void fill_gradient(const attn_dist *dist, uint64_t seed, tensors *arrays)
{
    const attn_plan *plan = attn_dist_plan(dist);
    const attn_shape *shape = &plan->problem.shape;
    const attn_block q = query_block(attn_dist_part(dist));

    tensor_fill(seed, ATTN_STREAM_DO, shape->batch, shape->heads, shape->seq, shape->v_head_dim, &q,
                plan->problem.dtype, arrays->d_o, plan->threads);
}

void tensors_generate(const attn_dist *dist, uint64_t seed, tensors *arrays)
{
    const attn_plan *plan = attn_dist_plan(dist);
    const attn_shape *shape = &plan->problem.shape;
    const attn_dtype dtype = plan->problem.dtype;
    const attn_block q = query_block(attn_dist_part(dist)), kv = key_block(attn_dist_part(dist));

    tensor_fill(seed, ATTN_STREAM_Q, shape->batch, shape->heads, shape->seq, shape->head_dim, &q, dtype, arrays->q,
                plan->threads);
    tensor_fill(seed, ATTN_STREAM_K, shape->batch, shape->kv_heads, shape->kv_seq, shape->head_dim, &kv, dtype,
                arrays->k, plan->threads);
    tensor_fill(seed, ATTN_STREAM_V, shape->batch, shape->kv_heads, shape->kv_seq, shape->v_head_dim, &kv, dtype,
                arrays->v, plan->threads);
    if (arrays->d_o != NULL)
        fill_gradient(dist, seed, arrays);
}

attn_status tensors_read(const attn_dist *dist, attn_input *input, uint64_t seed, tensors *arrays, attn_error *error)
{
    const attn_dtype dtype = attn_dist_plan(dist)->problem.dtype;
    const attn_block q = query_block(attn_dist_part(dist)), kv = key_block(attn_dist_part(dist));
    attn_status status = attn_input_read(input, ATTN_INPUT_Q, &q, dtype, arrays->q, error);

    if (status == ATTN_OK)
        status = attn_input_read(input, ATTN_INPUT_K, &kv, dtype, arrays->k, error);
    if (status == ATTN_OK)
        status = attn_input_read(input, ATTN_INPUT_V, &kv, dtype, arrays->v, error);
    if (status == ATTN_OK && arrays->d_o != NULL && attn_input_has(input, ATTN_INPUT_DO))
        return attn_input_read(input, ATTN_INPUT_DO, &q, dtype, arrays->d_o, error);
    if (arrays->d_o != NULL)
        fill_gradient(dist, seed, arrays);
    return status;
}

attn_status tensors_close_input(attn_input *input, attn_status status, attn_error *error)
{
    attn_error failure = ATTN_ERROR_INIT;
    attn_status closed;

    if (status == ATTN_MPI)
        return status;
    closed = attn_input_close(input, &failure);
    if (closed == ATTN_MPI || status == ATTN_OK)
        return closed == ATTN_OK ? status : attn_error_set(error, closed, "%s", failure.message);
    return status;
}

double tensors_input_bytes(const attn_dist *dist, const attn_input *input)
{
    const attn_plan *plan = attn_dist_plan(dist);
    const attn_part *part = attn_dist_part(dist);
    const attn_shape *shape = &plan->problem.shape;
    const double q = (double)shape->batch * (double)part->head_count * (double)part->q_rows->rows;
    const double kv = (double)shape->batch * (double)part->kv_head_count * (double)part->kv_rows->rows;
    const double elements[] = {q * (double)shape->head_dim, kv * (double)shape->head_dim,
                               kv * (double)shape->v_head_dim};
    double bytes = 0;

    for (int a = ATTN_INPUT_Q; a <= ATTN_INPUT_V; a++)
        bytes +=
            elements[a] * (double)attn_dtype_size(input != NULL ? attn_input_stored_dtype(input, (attn_input_array)a)
                                                                : plan->problem.dtype);
    return bytes;
}

double tensors_epsilon(attn_dtype computed, const attn_input *input)
{
    double eps = attn_dtype_epsilon(computed);

    if (input != NULL) {
        eps = fmax(eps, attn_dtype_epsilon(attn_input_stored_dtype(input, ATTN_INPUT_Q)));
        eps = fmax(eps, attn_dtype_epsilon(attn_input_stored_dtype(input, ATTN_INPUT_K)));
        eps = fmax(eps, attn_dtype_epsilon(attn_input_stored_dtype(input, ATTN_INPUT_V)));
    }
    return eps;
}
