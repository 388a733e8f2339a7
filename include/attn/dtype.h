/* Element types of the arrays: float64, float32, float16 (IEEE binary16) and bfloat16. */
#ifndef ATTN_DTYPE_H
#define ATTN_DTYPE_H

#include <attn/status.h>

#include <stddef.h>
#include <stdint.h>

#ifdef __cplusplus
extern "C" {
#endif

typedef enum attn_dtype { ATTN_FLOAT64, ATTN_FLOAT32, ATTN_FLOAT16, ATTN_BFLOAT16, ATTN_DTYPE_COUNT } attn_dtype;

/* Names a type as the command line and files do: "float64", "float32", "float16", "bfloat16". */
ATTN_API const char *attn_dtype_name(attn_dtype dtype);

/* Finds a type by name.
 *   out  out, unchanged on failure
 * ATTN_ARGUMENT, with the accepted names. */
ATTN_API attn_status attn_dtype_parse(const char *name, attn_dtype *out, attn_error *error);

/* Tells the bytes of one element. */
ATTN_API size_t attn_dtype_size(attn_dtype dtype);

/* Tells the spacing of the type's numbers at 1: 2^-52, 2^-23, 2^-10, 2^-7. */
ATTN_API double attn_dtype_epsilon(attn_dtype dtype);

/* Tells the type in which sums over this type are kept: float64 for float64, float32 for all others. */
ATTN_API attn_dtype attn_dtype_accumulator(attn_dtype dtype);

/* Converts count elements, rounding to nearest even; NaN stays NaN, overflow becomes infinity.
 *   to    out, [count] elements of to_dtype, not overlapping from unless from == to and the types are equal
 *   from  in, [count] elements of from_dtype */
ATTN_API void attn_convert(attn_dtype to_dtype, void *to, attn_dtype from_dtype, const void *from, size_t count);

/* Reads the element at an index as a double, and stores one, rounded as attn_convert does.
 *   array  in (out for store), of more than index elements of dtype */
ATTN_API double attn_load(attn_dtype dtype, const void *array, size_t index);
ATTN_API void attn_store(attn_dtype dtype, void *array, size_t index, double value);

#ifdef __cplusplus
}
#endif
#endif
