/* The arrays of one rank: made from (seed, global index) or read from a file, each rank its part alone. */
#ifndef BENCH_TENSORS_H
#define BENCH_TENSORS_H

#include <attn/dist.h>
#include <attn/input.h>
#include <attn/random.h>

typedef struct tensors {
    void *q, *k, *v, *o, *lse; /* owned; see attn_dist_buffers for their extents */
    bool borrowed_kv;          /* k and v are memory of the exchange */
    void *d_o, *dq, *dk, *dv;  /* owned, of plans of the backward pass; see attn_dist_backward_buffers */
} tensors;

/* Memory for a rank's arrays; not collective. o, lse and gradients are NaN, so that a row which is never written is
 * found. k and v are where the exchange has them best. out is released with tensors_release, on failure too, and
 * used as long as the dist. ATTN_MEMORY. */
attn_status tensors_create(attn_dist *dist, tensors *out, attn_error *error);
void tensors_release(tensors *arrays);

attn_dist_buffers tensors_buffers(const tensors *arrays);
attn_dist_backward_buffers tensors_backward_buffers(const tensors *arrays);

/* Fills rows of an array [B,head_count,rows,width] whose global extents are [B,heads,seq,width] with random numbers,
 * element [b,h,i,d] from index ((b heads + h) seq + i) width + d. OpenMP over the rows.
 *   array  out, dense, of dtype */
void tensor_fill(uint64_t seed, attn_stream stream, int64_t batch, int64_t heads, int64_t seq, int64_t width,
                 const attn_block *block, attn_dtype dtype, void *array, int threads);

/* Makes this rank's q, k and v, and do for a backward pass. Not collective. */
void tensors_generate(const attn_dist *dist, uint64_t seed, tensors *arrays);

/* Collective over the input's ranks. Reads this rank's q, k and v, and for a backward pass do, which is made where the
 * file has none. */
attn_status tensors_read(const attn_dist *dist, attn_input *input, uint64_t seed, tensors *arrays, attn_error *error);

/* Collective. Closes a file that was read, after what was done with it ended with a status; not after ATTN_MPI, as
 * closing waits for others, nor for NULL.
 * Returns that status, or how closing failed: ATTN_MPI hides any other. */
attn_status tensors_close_input(attn_input *input, attn_status status, attn_error *error);

/* Bytes of q, k and v that this rank reads, in the types of the file, or makes when input is NULL. */
double tensors_input_bytes(const attn_dist *dist, const attn_input *input);

/* Spacing at 1 of the coarsest type of the computation and, unless input is NULL, of the stored q, k and v. */
double tensors_epsilon(attn_dtype computed, const attn_input *input);

/* Dense memory for count elements, aligned to a cache line; NULL without memory, never NULL for count 0. */
void *tensor_allocate(int64_t count, attn_dtype dtype);

#endif
