/* The table of linear projections, slowest first: a new one is one line here and one file. */
#include "layer/linear_backend.h"

#include "core/checked.h"

#include <assert.h>
#include <stdlib.h>

#if defined(ATTN_HAVE_ONEDNN)
#define LINEAR_ONEDNN(X) X(onednn)
#else
#define LINEAR_ONEDNN(X)
#endif

#define LINEAR_LIST(X)                                                                                                 \
    X(plain)                                                                                                           \
    X(plain_avx2)                                                                                                      \
    X(plain_avx512)                                                                                                    \
    LINEAR_ONEDNN(X)

#define DECLARE_LINEAR(name) extern const attn_linear_backend attn_linear_##name;
LINEAR_LIST(DECLARE_LINEAR)

static const attn_linear_backend *const backends[] = {
#define LINEAR_ROW(name) &attn_linear_##name,
    LINEAR_LIST(LINEAR_ROW)};

size_t attn_linear_backend_count(void)
{
    return sizeof backends / sizeof backends[0];
}

const attn_linear_backend *attn_linear_backend_at(size_t index)
{
    return backends[index];
}

const char *attn_linear_backend_name(const attn_linear_backend *backend)
{
    return backend->name;
}

bool attn_linear_backend_computes(const attn_linear_backend *backend, attn_dtype dtype)
{
    return backend->computes(dtype);
}

static const attn_linear_backend *fastest(attn_dtype dtype)
{
    size_t i = attn_linear_backend_count() - 1;

    while (i > 0 && !backends[i]->computes(dtype))
        i--;
    return backends[i];
}

attn_status attn_linear_create(const attn_linear_backend *backend, const attn_linear_setup *setup, attn_linear **out,
                               attn_error *error)
{
    attn_linear *linear;
    attn_status status;

    assert(setup->rows >= 0 && setup->in >= 1 && setup->out >= 1 && setup->threads >= 1);
    assert(setup->x_stride >= setup->in && setup->y_stride >= setup->out && setup->w_stride >= setup->in);
    assert(setup->y_dtype == setup->dtype || setup->y_dtype == attn_dtype_accumulator(setup->dtype));
    *out = NULL;
    if (backend == NULL)
        backend = fastest(setup->dtype);
    if (!backend->computes(setup->dtype))
        return attn_error_set(error, ATTN_UNSUPPORTED, "linear projection by %s: it has no %s on this CPU",
                              backend->name, attn_dtype_name(setup->dtype));
    linear = attn_calloc_array(1, sizeof *linear);
    if (linear == NULL)
        return attn_error_set(error, ATTN_MEMORY, "no memory for a linear projection");
    *linear = (attn_linear){backend, *setup, NULL};
    status = backend->create(linear, error);
    if (status != ATTN_OK) {
        free(linear);
        return status;
    }
    *out = linear;
    return ATTN_OK;
}

void attn_linear_destroy(attn_linear *linear)
{
    if (linear == NULL)
        return;
    linear->backend->destroy(linear->state);
    free(linear);
}

void attn_linear_forward(attn_linear *linear, const void *x, const void *w, const void *b, void *y)
{
    if (linear->setup.rows > 0)
        linear->backend->forward(linear, x, w, b, y);
}

void attn_linear_backward_data(attn_linear *linear, const void *dy, const void *w, attn_dtype dx_dtype, bool add,
                               void *dx)
{
    assert(linear->setup.backward);
    assert(dx_dtype == attn_dtype_accumulator(linear->setup.dtype) || (dx_dtype == linear->setup.dtype && !add));
    if (linear->setup.rows > 0)
        linear->backend->backward_data(linear, dy, w, dx_dtype, add, dx);
}

void attn_linear_backward_weights(attn_linear *linear, const void *dy, const void *x, void *dw, void *db)
{
    assert(linear->setup.backward);
    linear->backend->backward_weights(linear, dy, x, dw, db);
}
