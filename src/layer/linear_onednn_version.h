/* What differs between versions 2 and 3 of oneDNN's C interface: descriptors were values and are handles now, and an
 * operation is described in one call instead of two. */
#ifndef LAYER_LINEAR_ONEDNN_VERSION_H
#define LAYER_LINEAR_ONEDNN_VERSION_H

#include <oneapi/dnnl/dnnl.h>
#include <stdbool.h>

/* The arrays of a product. */
enum { SOURCE, WEIGHTS, BIAS, RESULT, ARRAYS };

#if DNNL_VERSION_MAJOR >= 3

typedef dnnl_memory_desc_t onednn_array;

static inline dnnl_status_t onednn_describe(onednn_array *array, int dimensions, const dnnl_dims_t extents,
                                            const dnnl_dims_t strides, dnnl_data_type_t type)
{
    return dnnl_memory_desc_create_with_strides(array, dimensions, extents, type, strides);
}

static inline void onednn_forget(onednn_array array)
{
    if (array != NULL)
        dnnl_memory_desc_destroy(array);
}

static inline dnnl_status_t onednn_memory(dnnl_memory_t *memory, const onednn_array *array, dnnl_engine_t engine)
{
    return dnnl_memory_create(memory, *array, engine, DNNL_MEMORY_NONE);
}

/* inner: an inner product, whose weights are [out,in]; otherwise a matmul, whose weights are [in,out]. */
static inline dnnl_status_t onednn_operation(bool inner, const onednn_array arrays[ARRAYS], bool bias,
                                             dnnl_primitive_attr_t settings, dnnl_engine_t engine,
                                             dnnl_primitive_desc_t *operation)
{
    onednn_array b = bias ? arrays[BIAS] : NULL;

    if (inner)
        return dnnl_inner_product_forward_primitive_desc_create(
            operation, engine, dnnl_forward_inference, arrays[SOURCE], arrays[WEIGHTS], b, arrays[RESULT], settings);
    return dnnl_matmul_primitive_desc_create(operation, engine, arrays[SOURCE], arrays[WEIGHTS], b, arrays[RESULT],
                                             settings);
}

static inline dnnl_status_t onednn_add_to_result(dnnl_post_ops_t after)
{
    return dnnl_post_ops_append_sum(after, 1, 0, dnnl_data_type_undef);
}

static inline dnnl_status_t onednn_scratchpad(dnnl_memory_t *memory, const_dnnl_primitive_desc_t operation,
                                              dnnl_engine_t engine)
{
    return dnnl_memory_create(memory, dnnl_primitive_desc_query_md(operation, dnnl_query_scratchpad_md, 0), engine,
                              DNNL_MEMORY_ALLOCATE);
}

#else

typedef dnnl_memory_desc_t onednn_array;

static inline dnnl_status_t onednn_describe(onednn_array *array, int dimensions, const dnnl_dims_t extents,
                                            const dnnl_dims_t strides, dnnl_data_type_t type)
{
    return dnnl_memory_desc_init_by_strides(array, dimensions, extents, type, strides);
}

static inline void onednn_forget(onednn_array array)
{
    (void)array;
}

static inline dnnl_status_t onednn_memory(dnnl_memory_t *memory, const onednn_array *array, dnnl_engine_t engine)
{
    return dnnl_memory_create(memory, array, engine, DNNL_MEMORY_NONE);
}

static inline dnnl_status_t onednn_operation(bool inner, const onednn_array arrays[ARRAYS], bool bias,
                                             dnnl_primitive_attr_t settings, dnnl_engine_t engine,
                                             dnnl_primitive_desc_t *operation)
{
    const onednn_array *const b = bias ? &arrays[BIAS] : NULL;
    dnnl_inner_product_desc_t product;
    dnnl_matmul_desc_t matmul;
    dnnl_status_t status;

    if (inner)
        status = dnnl_inner_product_forward_desc_init(&product, dnnl_forward_inference, &arrays[SOURCE],
                                                      &arrays[WEIGHTS], b, &arrays[RESULT]);
    else
        status = dnnl_matmul_desc_init(&matmul, &arrays[SOURCE], &arrays[WEIGHTS], b, &arrays[RESULT]);
    if (status != dnnl_success)
        return status;
    return dnnl_primitive_desc_create(operation, inner ? (const void *)&product : (const void *)&matmul, settings,
                                      engine, NULL);
}

static inline dnnl_status_t onednn_add_to_result(dnnl_post_ops_t after)
{
    return dnnl_post_ops_append_sum(after, 1);
}

static inline dnnl_status_t onednn_scratchpad(dnnl_memory_t *memory, const_dnnl_primitive_desc_t operation,
                                              dnnl_engine_t engine)
{
    return dnnl_memory_create(memory, dnnl_primitive_desc_query_md(operation, dnnl_query_scratchpad_md, 0), engine,
                              DNNL_MEMORY_ALLOCATE);
}

#endif
#endif
