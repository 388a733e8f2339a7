/* Linear projections by oneDNN, on x86-64: float32, and bfloat16 where the CPU multiplies it
 * (docs/adr/0022-onednn-for-projections.md).
 *
 * float32 products are dnnl_sgemm, the fastest call for each of the three; it takes its packing buffers from malloc. A
 * bias goes with its product where one call has both: an inner product of dense matrices, a matmul otherwise. bfloat16
 * products are matmuls. Their scratchpads are there from the beginning. */
#include "layer/linear_backend.h"

#include <attn/kernel.h>

#include "core/checked.h"
#include "core/cpu.h"
#include "layer/linear_onednn_version.h"
#include "layer/linear_sums.h"

#include <assert.h>
#include <math.h>
#include <omp.h>
#include <stdlib.h>
#include <string.h>

/* A product that oneDNN set up. primitive NULL: there is none. */
typedef struct product {
    dnnl_primitive_t primitive;
    dnnl_memory_t memory[ARRAYS], scratchpad; /* memory[BIAS] NULL: none */
} product;

enum { DATA_OWN, DATA_SUM, DATA_ADD, DATA_KINDS }; /* dx of the dtype, of the accumulator type, and added to that */

typedef struct onednn_state {
    dnnl_engine_t engine;
    dnnl_stream_t stream;
    product forward, data[DATA_KINDS], weights;
} onednn_state;

/* A matrix, row-major or turned. */
typedef struct layout {
    attn_dtype dtype;
    int64_t rows, columns, row_stride, column_stride;
} layout;

typedef struct product_setup {
    layout source, weights, result;
    bool inner; /* see onednn_operation */
    bool bias;  /* of the source's dtype */
    bool add;   /* to what stands in the result */
} product_setup;

/* oneDNN runs on as many threads as the OpenMP of its caller would. Returns how many those were. */
static int use_threads(int threads)
{
    const int before = omp_get_max_threads();

    omp_set_num_threads(threads);
    return before;
}

static bool computes(attn_dtype dtype)
{
    const unsigned isa = (unsigned)dnnl_get_effective_cpu_isa(), with_bf16 = (unsigned)dnnl_cpu_isa_avx512_core_bf16;

    if (dtype == ATTN_FLOAT32)
        return attn_cpu_avx2();
    return dtype == ATTN_BFLOAT16 && attn_cpu_avx512_bf16() && (isa & with_bf16) == with_bf16;
}

static dnnl_data_type_t type_of(attn_dtype dtype)
{
    return dtype == ATTN_BFLOAT16 ? dnnl_bf16 : dnnl_f32;
}

static dnnl_status_t describe(const layout *m, onednn_array *array)
{
    const dnnl_dims_t extents = {m->rows, m->columns}, strides = {m->row_stride, m->column_stride};

    return onednn_describe(array, 2, extents, strides, type_of(m->dtype));
}

/* A row for a matmul, a vector for an inner product. */
static dnnl_status_t describe_bias(const product_setup *setup, onednn_array *array)
{
    const int64_t columns = setup->result.columns;
    const dnnl_dims_t extents = {setup->inner ? columns : 1, columns}, strides = {setup->inner ? 1 : columns, 1};

    return onednn_describe(array, setup->inner ? 1 : 2, extents, strides, type_of(setup->source.dtype));
}

static dnnl_status_t settings_create(bool add, dnnl_primitive_attr_t *settings)
{
    dnnl_post_ops_t after = NULL;
    dnnl_status_t status = dnnl_primitive_attr_create(settings);

    if (status == dnnl_success)
        status = dnnl_primitive_attr_set_scratchpad_mode(*settings, dnnl_scratchpad_mode_user);
    if (status != dnnl_success || !add)
        return status;
    status = dnnl_post_ops_create(&after);
    if (status == dnnl_success)
        status = onednn_add_to_result(after);
    if (status == dnnl_success)
        status = dnnl_primitive_attr_set_post_ops(*settings, after);
    dnnl_post_ops_destroy(after);
    return status;
}

static dnnl_status_t product_memory(const product_setup *setup, const onednn_array arrays[ARRAYS],
                                    const_dnnl_primitive_desc_t operation, dnnl_engine_t engine, product *out)
{
    dnnl_status_t status = onednn_scratchpad(&out->scratchpad, operation, engine);

    for (int n = 0; n < ARRAYS && status == dnnl_success; n++)
        if (n != BIAS || setup->bias)
            status = onednn_memory(&out->memory[n], &arrays[n], engine);
    return status;
}

/* What was made before a failure stays in *out, for product_destroy. */
static dnnl_status_t product_create(const product_setup *setup, dnnl_engine_t engine, product *out)
{
    onednn_array arrays[ARRAYS];
    dnnl_primitive_attr_t settings = NULL;
    dnnl_primitive_desc_t operation = NULL;
    dnnl_status_t status;

    memset(arrays, 0, sizeof arrays);
    status = describe(&setup->source, &arrays[SOURCE]);
    if (status == dnnl_success)
        status = describe(&setup->weights, &arrays[WEIGHTS]);
    if (status == dnnl_success)
        status = describe(&setup->result, &arrays[RESULT]);
    if (status == dnnl_success && setup->bias)
        status = describe_bias(setup, &arrays[BIAS]);
    if (status == dnnl_success)
        status = settings_create(setup->add, &settings);
    if (status == dnnl_success)
        status = onednn_operation(setup->inner, arrays, setup->bias, settings, engine, &operation);
    if (status == dnnl_success)
        status = product_memory(setup, arrays, operation, engine, out);
    if (status == dnnl_success)
        status = dnnl_primitive_create(&out->primitive, operation);
    dnnl_primitive_desc_destroy(operation);
    dnnl_primitive_attr_destroy(settings);
    for (int n = 0; n < ARRAYS; n++)
        onednn_forget(arrays[n]);
    return status;
}

static void product_destroy(product *p)
{
    dnnl_primitive_destroy(p->primitive);
    dnnl_memory_destroy(p->scratchpad);
    for (int n = 0; n < ARRAYS; n++)
        dnnl_memory_destroy(p->memory[n]);
}

/* oneDNN takes what it only reads without const, too. */
static dnnl_status_t place(dnnl_memory_t memory, const void *data)
{
    return dnnl_memory_set_data_handle(memory, attn_array_of_const(data, 1, 1, 1).data);
}

static dnnl_status_t product_execute(const onednn_state *state, const product *p, const void *const data[ARRAYS],
                                     int threads)
{
    const dnnl_exec_arg_t arguments[] = {
        {DNNL_ARG_SRC, p->memory[SOURCE]},    {DNNL_ARG_WEIGHTS, p->memory[WEIGHTS]}, {DNNL_ARG_DST, p->memory[RESULT]},
        {DNNL_ARG_SCRATCHPAD, p->scratchpad}, {DNNL_ARG_BIAS, p->memory[BIAS]},
    };
    const int count = p->memory[BIAS] != NULL ? 5 : 4;
    const int before = use_threads(threads);
    dnnl_status_t status = dnnl_success;

    for (int n = 0; n < ARRAYS && status == dnnl_success; n++)
        if (p->memory[n] != NULL)
            status = place(p->memory[n], data[n]);
    if (status == dnnl_success)
        status = dnnl_primitive_execute(p->primitive, state->stream, count, arguments);
    if (status == dnnl_success)
        status = dnnl_stream_wait(state->stream);
    use_threads(before);
    return status;
}

/* c [m,n] = a b, or c += a b, row-major; 'T': the matrix stands turned. */
static dnnl_status_t gemm(int threads, const char turned[2], const int64_t extents[3], const float *a, int64_t a_stride,
                          const float *b, int64_t b_stride, bool add, float *c, int64_t c_stride)
{
    const int before = use_threads(threads);
    const dnnl_status_t status = dnnl_sgemm(turned[0], turned[1], extents[0], extents[1], extents[2], 1, a, a_stride, b,
                                            b_stride, add ? 1 : 0, c, c_stride);

    use_threads(before);
    return status;
}

/* A pass cannot fail: where oneDNN does, as memory ran out, the result is not a number. */
static void settle(dnnl_status_t status, attn_dtype dtype, void *result, int64_t rows, int64_t columns, int64_t stride)
{
    if (status == dnnl_success)
        return;
    for (int64_t i = 0; i < rows; i++)
        for (int64_t j = 0; j < columns; j++)
            attn_store(dtype, result, (size_t)(i * stride + j), NAN);
}

static product_setup forward_setup(const attn_linear_setup *s)
{
    const bool inner =
        s->dtype == ATTN_FLOAT32 && s->x_stride == s->in && s->y_stride == s->out && s->w_stride == s->in;
    const layout w = {s->dtype, s->out, s->in, s->w_stride, 1}, turned = {s->dtype, s->in, s->out, 1, s->w_stride};

    return (product_setup){.source = {s->dtype, s->rows, s->in, s->x_stride, 1},
                           .weights = inner ? w : turned,
                           .result = {s->y_dtype, s->rows, s->out, s->y_stride, 1},
                           .inner = inner,
                           .bias = s->bias};
}

static product_setup data_setup(const attn_linear_setup *s, int kind)
{
    const attn_dtype dtype = kind == DATA_OWN ? s->dtype : attn_dtype_accumulator(s->dtype);

    return (product_setup){.source = {s->dtype, s->rows, s->out, s->y_stride, 1},
                           .weights = {s->dtype, s->out, s->in, s->w_stride, 1},
                           .result = {dtype, s->rows, s->in, s->x_stride, 1},
                           .add = kind == DATA_ADD};
}

static product_setup weights_setup(const attn_linear_setup *s)
{
    return (product_setup){.source = {s->dtype, s->out, s->rows, 1, s->y_stride},
                           .weights = {s->dtype, s->rows, s->in, s->x_stride, 1},
                           .result = {attn_dtype_accumulator(s->dtype), s->out, s->in, s->in, 1}};
}

/* float32 without bias needs nothing set up. */
static dnnl_status_t set_up(const attn_linear_setup *s, onednn_state *state)
{
    const bool matmuls = s->dtype != ATTN_FLOAT32;
    dnnl_status_t status = dnnl_engine_create(&state->engine, dnnl_cpu, 0);
    product_setup setup = forward_setup(s);

    if (status == dnnl_success)
        status = dnnl_stream_create(&state->stream, state->engine, dnnl_stream_default_flags);
    if (status == dnnl_success && (matmuls || s->bias))
        status = product_create(&setup, state->engine, &state->forward);
    for (int kind = 0; kind < DATA_KINDS && matmuls && s->backward && status == dnnl_success; kind++) {
        setup = data_setup(s, kind);
        status = product_create(&setup, state->engine, &state->data[kind]);
    }
    if (status == dnnl_success && matmuls && s->backward) {
        setup = weights_setup(s);
        status = product_create(&setup, state->engine, &state->weights);
    }
    return status;
}

static void destroy(void *memory)
{
    onednn_state *const state = memory;

    if (state == NULL)
        return;
    product_destroy(&state->forward);
    for (int kind = 0; kind < DATA_KINDS; kind++)
        product_destroy(&state->data[kind]);
    product_destroy(&state->weights);
    dnnl_stream_destroy(state->stream);
    dnnl_engine_destroy(state->engine);
    free(state);
}

static attn_status create(attn_linear *linear, attn_error *error)
{
    const attn_linear_setup *const s = &linear->setup;
    onednn_state *const state = attn_calloc_array(1, sizeof *state);
    dnnl_status_t status = dnnl_success;
    int before;

    if (state == NULL)
        return attn_error_set(error, ATTN_MEMORY, "no memory for a linear projection");
    before = use_threads(s->threads);
    if (s->rows > 0)
        status = set_up(s, state);
    use_threads(before);
    if (status != dnnl_success) {
        destroy(state);
        return attn_error_set(error, status == dnnl_out_of_memory ? ATTN_MEMORY : ATTN_UNSUPPORTED,
                              "linear projection of %lld x %lld to %lld by onednn: it fails with status %d",
                              (long long)s->rows, (long long)s->in, (long long)s->out, (int)status);
    }
    linear->state = state;
    return ATTN_OK;
}

static void forward(attn_linear *linear, const void *x, const void *w, const void *b, void *y)
{
    const attn_linear_setup *const s = &linear->setup;
    const onednn_state *const state = linear->state;
    const void *const data[ARRAYS] = {x, w, b, y};
    dnnl_status_t status;

    if (state->forward.primitive != NULL)
        status = product_execute(state, &state->forward, data, s->threads);
    else
        status = gemm(s->threads, "NT", (const int64_t[]){s->rows, s->out, s->in}, x, s->x_stride, w, s->w_stride,
                      false, y, s->y_stride);
    settle(status, s->y_dtype, y, s->rows, s->out, s->y_stride);
}

static void backward_data(attn_linear *linear, const void *dy, const void *w, attn_dtype dx_dtype, bool add, void *dx)
{
    const attn_linear_setup *const s = &linear->setup;
    const onednn_state *const state = linear->state;
    const product *const p = &state->data[add ? DATA_ADD : dx_dtype == s->dtype ? DATA_OWN : DATA_SUM];
    const void *const data[ARRAYS] = {dy, w, NULL, dx};
    dnnl_status_t status;

    if (p->primitive != NULL)
        status = product_execute(state, p, data, s->threads);
    else
        status = gemm(s->threads, "NN", (const int64_t[]){s->rows, s->in, s->out}, dy, s->y_stride, w, s->w_stride, add,
                      dx, s->x_stride);
    settle(status, dx_dtype, dx, s->rows, s->in, s->x_stride);
}

static void backward_weights(attn_linear *linear, const void *dy, const void *x, void *dw, void *db)
{
    const attn_linear_setup *const s = &linear->setup;
    const onednn_state *const state = linear->state;
    const void *const data[ARRAYS] = {dy, x, NULL, dw};
    dnnl_status_t status = dnnl_success;

    if (s->rows == 0)
        memset(dw, 0, (size_t)(s->out * s->in) * attn_dtype_size(attn_dtype_accumulator(s->dtype)));
    else if (state->weights.primitive != NULL)
        status = product_execute(state, &state->weights, data, s->threads);
    else
        status = gemm(s->threads, "TN", (const int64_t[]){s->out, s->in, s->rows}, dy, s->y_stride, x, s->x_stride,
                      false, dw, s->in);
    settle(status, attn_dtype_accumulator(s->dtype), dw, s->out, s->in, s->in);
    if (db != NULL)
        attn_linear_sum_columns(s->dtype, dy, s->rows, s->out, s->y_stride, s->threads, db);
}

const attn_linear_backend attn_linear_onednn = {
    .name = "onednn",
    .computes = computes,
    .create = create,
    .destroy = destroy,
    .forward = forward,
    .backward_data = backward_data,
    .backward_weights = backward_weights,
};
