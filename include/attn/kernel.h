/* One rank's attention: the table of kernels, and a forward and a backward pass, set up once and executed many times.
 *
 * A call computes (query rows) x (key-value parts). Query rows and each part are lists of segments with global numbers,
 * so every exchange works with every layout and mask: a part is what one rank owns, or a cache page, or everything.
 * Rows with no visible key give o = 0 and lse = -inf (lse = sink where there is one). The softmax is computed online
 * with a running maximum (Milakov and Gimelshein 2018, algorithm 3; blocked as in FlashAttention, Dao et al. 2022,
 * algorithm 1) and is stable for any finite scores.
 */
#ifndef ATTN_KERNEL_H
#define ATTN_KERNEL_H

#include <attn/pass.h>
#include <attn/problem.h>
#include <attn/segments.h>

#include <stdbool.h>
#include <stddef.h>

#ifdef __cplusplus
extern "C" {
#endif

/* A row of the kernel table; constant, static storage. */
typedef struct attn_kernel attn_kernel;

/* Reads the table, slowest kernel first: its length, the row at 0 <= index < count, and the row of a name (NULL when
 * there is none). */
ATTN_API size_t attn_kernel_count(void);
ATTN_API const attn_kernel *attn_kernel_at(size_t index);
ATTN_API const attn_kernel *attn_kernel_find(const char *name);

/* Reads a row: its name as given to --kernel, and one line of what it is. */
ATTN_API const char *attn_kernel_name(const attn_kernel *kernel);
ATTN_API const char *attn_kernel_summary(const attn_kernel *kernel);

/* Tells whether the kernel has this pass for this type and this CPU can run it. Decode is available where forward is.
 *   reason  out, [size] bytes, why not; unchanged when it can; may be NULL */
ATTN_API bool attn_kernel_available(const attn_kernel *kernel, attn_pass pass, attn_dtype dtype, char *reason,
                                    size_t size);

/* Tells whether the kernel computes this pass of a problem: attn_kernel_available for its type, and its dropout.
 *   reason  out, [size] bytes, why not; unchanged when it does; may be NULL */
ATTN_API bool attn_kernel_computes(const attn_kernel *kernel, attn_pass pass, const attn_problem *problem, char *reason,
                                   size_t size);

/* Names the probe of the peak that bounds the kernel's arithmetic (attn_probe_find), or NULL: the multiply-add peak in
 * the type of its sums (attn_probe_peak). */
ATTN_API const char *attn_kernel_peak(const attn_kernel *kernel);

/* Tells the number of keys n so that the bits of a result are the same for all keys in one part and for parts that
 * follow each other, each but the last of a multiple of n keys, where every row sees keys from the first on and the
 * setup is deterministic; 0: there is none. */
ATTN_API int64_t attn_kernel_key_block(const attn_kernel *kernel);

/* Chooses the fastest available kernel for a pass and a type on this CPU, without dropout; never NULL. */
ATTN_API const attn_kernel *attn_kernel_best(attn_pass pass, attn_dtype dtype);

/* Chooses the kernel where the caller leaves it open: the one that the environment variable ATTN_KERNEL names or, where
 * it is not set, empty or "auto", the fastest available one, with dropout among those that compute it. It is read at
 * each call, and what it names need not be available: whatever is made with it then tells why not.
 *   dropout  whether the problem has dropout
 *   out      out, unchanged on failure
 * ATTN_ARGUMENT when ATTN_KERNEL names no kernel. */
ATTN_API attn_status attn_kernel_choose(attn_pass pass, attn_dtype dtype, bool dropout, const attn_kernel **out,
                                        attn_error *error);

/* A [B,H,S,D] array: strides in elements, the last dimension contiguous. data is borrowed. */
typedef struct attn_array {
    void *data;
    int64_t batch_stride, head_stride, row_stride;
} attn_array;

/* Describes a dense [B,heads,rows,width] array at data, which is borrowed. */
ATTN_API attn_array attn_array_dense(void *data, int64_t heads, int64_t rows, int64_t width);

/* Does the same for data that are only read: the one place where const is cast away. */
ATTN_API attn_array attn_array_of_const(const void *data, int64_t heads, int64_t rows, int64_t width);

/* Scratch memory of threads that several passes share: it grows to what the largest of them needs. Passes that share
 * one are executed one at a time, and it outlives them. */
typedef struct attn_scratch attn_scratch;

/* Makes an empty one. Destroy takes NULL.
 *   out  out, NULL on failure
 * ATTN_MEMORY. */
ATTN_API attn_status attn_scratch_create(attn_scratch **out, attn_error *error);
ATTN_API void attn_scratch_destroy(attn_scratch *scratch);

/* Tells the bytes of all threads; 0 for NULL. */
ATTN_API size_t attn_scratch_bytes(const attn_scratch *scratch);

/* What the calling thread does again and again while a pass runs, between tasks of some tens of microseconds to some
 * milliseconds: driving communication that makes no progress by itself. It must be short. */
typedef struct attn_progress {
    void (*make)(void *context); /* NULL: nothing */
    void *context;
} attn_progress;

/* What a forward pass computes. Everything pointed to must outlive the attn_forward. */
typedef struct attn_forward_setup {
    const attn_problem *problem;           /* the global problem */
    int64_t head_begin, head_count;        /* query heads of this call, global numbers */
    int64_t kv_head_begin;                 /* global number of the first key-value head in the k and v arrays */
    const attn_segments *q_rows;           /* query rows of this call */
    int64_t part_count;                    /* number of key-value parts, may be 0 */
    const attn_segments *const *part_rows; /* [part_count] rows of each part; the parts are disjoint */
    attn_dtype o_dtype;                    /* type of o: the problem's, or its accumulator for a partial result */
    bool add_sinks;                        /* add the sinks: true exactly once per row, after all keys were seen */
    int threads;                           /* OpenMP threads, >= 1 */
    int64_t page_rows;                     /* rows of a page when k and v are paged (attn_page_table), otherwise 0 */
    attn_scratch *scratch;                 /* NULL: memory of its own */
    bool moves;                            /* attn_forward_move will be called; q_rows is at most one segment, copied */
    bool deterministic; /* bits of a row do not depend on the other rows of the call: few rows are not cut by keys */
} attn_forward_setup;

/* Where the rows of a paged part stand (a block table, Kwon et al. 2023, section 4.2): local row r of batch b is row
 * r % page_rows of page number page[b * stride + r / page_rows]. The k and v arrays of the part are pools
 * [pages,kv heads,page_rows,D or Dv], and their batch_stride leads from page to page. A page may serve several batches.
 * Entries of pages of which no row is seen are not read. */
typedef struct attn_page_table {
    const int32_t *page; /* [B][stride], borrowed */
    int64_t stride;      /* entries from batch to batch, >= 0; 0: all batches have the same pages */
} attn_page_table;

/* Where the data are; local row and head numbers. o and lse must not overlap anything. */
typedef struct attn_forward_buffers {
    attn_array q;                 /* [B,head_count,q rows,D], problem's dtype */
    const attn_array *k;          /* [part_count] of [B,kv heads,part rows,D] */
    const attn_array *v;          /* [part_count] of [B,kv heads,part rows,Dv] */
    attn_array o;                 /* out, [B,head_count,q rows,Dv], o_dtype */
    attn_array lse;               /* out, [B,head_count,q rows], accumulator type; row_stride is 1 */
    const attn_page_table *pages; /* [part_count] with page_rows > 0, otherwise not read */
    attn_progress progress;       /* made by the calling thread */
} attn_forward_buffers;

typedef struct attn_forward attn_forward;

/* Plans the work: tasks (batch, head, query block) in decreasing work, and scratch memory per thread. A few query rows
 * (decoding) are cut by ranges of keys instead, whose number depends on the problem alone; their partial results, a few
 * numbers for each row and range, are memory of the plan.
 *   setup  in, copied; everything that it points to must outlive the attn_forward
 *   out    out, destroyed by the caller (destroy takes NULL); NULL on failure
 * ATTN_UNSUPPORTED when the kernel is not available here for the problem's dtype, or OpenMP does not grant the threads
 * (OMP_THREAD_LIMIT), or the kernel does not read pages; ATTN_ARGUMENT when page_rows < 0; ATTN_MEMORY. */
ATTN_API attn_status attn_forward_create(const attn_kernel *kernel, const attn_forward_setup *setup, attn_forward **out,
                                         attn_error *error);
ATTN_API void attn_forward_destroy(attn_forward *forward);

/* Computes o and lse with the threads of the setup. No allocation, no I/O, cannot fail. One execution at a time per
 * attn_forward, as they share its scratch memory.
 *   buffers  in; o and lse are written and overlap nothing */
ATTN_API void attn_forward_execute(attn_forward *forward, const attn_forward_buffers *buffers);

/* Moves the query rows of a pass that was created for it (setup->moves), so that one pass serves a sequence that grows:
 * they now are the rows from a global number on, as many as before. Cuts the tasks again, which takes a microsecond or
 * two where rows are few, and does not allocate. How many keys a range has follows from the most that the rows may see
 * anywhere, so that the result for given rows has the same bits wherever they moved from.
 *   begin  in, 0 <= begin <= Sq - rows */
ATTN_API void attn_forward_move(attn_forward *forward, int64_t begin);

/* Tells the bytes that create allocated (tasks, and scratch of all threads where it is not the setup's): what a caller
 * that plans its memory adds to the arrays'. */
ATTN_API size_t attn_forward_bytes(const attn_forward *forward);

/* Counts the visible (query, key) pairs of this call, summed over batches and heads: with 2 (D + Dv) operations each,
 * the work to which a caller relates the time of a call on parts. attn_mask_pairs has those of a head of the whole
 * problem. */
ATTN_API int64_t attn_forward_pairs(const attn_forward *forward);

/* Most elements of the weights of attn_weights: 128 MiB. */
#define ATTN_WEIGHTS_MAX (16 * 1024 * 1024)

/* Computes the attention weights p of problem.h, for teaching and plots of small problems: no pass needs them. They are
 * without dropout, and in float64 whatever the problem's dtype.
 *   problem  in, valid
 *   q, k     in, [B,Hq,Sq,D] and [B,Hkv,Skv,D], problem's dtype
 *   lse      in, [B,Hq,Sq], accumulator type, as a forward pass over all keys and sinks left it
 *   p        out, [B,Hq,Sq,Skv], dense; 0 where masked. Rows sum to 1 as exactly as lse was stored, to 1 less the
 *            weight of the sink where there is one, and to 0 where no key is visible
 * ATTN_ARGUMENT when p has more than ATTN_WEIGHTS_MAX elements, ATTN_MEMORY. */
ATTN_API attn_status attn_weights(const attn_problem *problem, const attn_array *q, const attn_array *k,
                                  const attn_array *lse, double *p, attn_error *error);

/* What a backward pass computes: dq, dk and dv of the call's query rows and parts. Gradients of key-value heads are
 * sums over the query heads and rows of this call. Everything pointed to must outlive the attn_backward. */
typedef struct attn_backward_setup {
    const attn_problem *problem;           /* the global problem */
    int64_t head_begin, head_count;        /* query heads of this call, global numbers */
    int64_t kv_head_begin, kv_head_count;  /* key-value heads in the arrays of the parts, global numbers */
    const attn_segments *q_rows;           /* query rows of this call */
    int64_t part_count;                    /* number of key-value parts, may be 0 */
    const attn_segments *const *part_rows; /* [part_count] rows of each part; the parts are disjoint */
    attn_dtype dq_dtype, dkv_dtype;        /* of dq, and of dk and dv: the problem's, or its accumulator */
    bool accumulate;                       /* add to dq, dk and dv, both of the accumulator type, instead of writing */
    int threads;                           /* OpenMP threads, >= 1 */
    attn_scratch *scratch;                 /* NULL: memory of its own */
} attn_backward_setup;

/* Where the data are; local row and head numbers. dq, dk and dv must not overlap anything. */
typedef struct attn_backward_buffers {
    attn_array q;           /* [B,head_count,q rows,D], problem's dtype */
    attn_array o;           /* [B,head_count,q rows,Dv], problem's dtype, as the forward pass over all keys left it */
    attn_array d_o;         /* [B,head_count,q rows,Dv], problem's dtype */
    attn_array lse;         /* [B,head_count,q rows], accumulator type, of all keys and sinks; row_stride is 1 */
    const attn_array *k;    /* [part_count] of [B,kv_head_count,part rows,D] */
    const attn_array *v;    /* [part_count] of [B,kv_head_count,part rows,Dv] */
    attn_array dq;          /* out, [B,head_count,q rows,D], dq_dtype */
    const attn_array *dk;   /* out, [part_count] of [B,kv_head_count,part rows,D], dkv_dtype */
    const attn_array *dv;   /* out, [part_count] of [B,kv_head_count,part rows,Dv], dkv_dtype */
    attn_progress progress; /* made by the calling thread */
} attn_backward_buffers;

typedef struct attn_backward attn_backward;

/* Plans the backward pass: tasks (batch, key-value head, key block) and scratch memory. Beyond the scratch of the
 * threads (under 2 MiB each up to D = 256) it holds a number for each query row, and where dq has 16 bits the sums of
 * dq in float32 for as many key-value heads as there are threads.
 *   setup  in, copied; everything that it points to must outlive the attn_backward
 *   out    out, destroyed by the caller (destroy takes NULL); NULL on failure
 * ATTN_UNSUPPORTED when the kernel has no backward pass here for the problem's dtype, or OpenMP does not grant the
 * threads (OMP_THREAD_LIMIT); ATTN_MEMORY. */
ATTN_API attn_status attn_backward_create(const attn_kernel *kernel, const attn_backward_setup *setup,
                                          attn_backward **out, attn_error *error);
ATTN_API void attn_backward_destroy(attn_backward *backward);

/* Computes dq, dk and dv with the threads of the setup; the result has the same bits whatever their number. Rows and
 * keys without a visible pair get gradients of 0. No allocation, no I/O, cannot fail. One execution at a time per
 * attn_backward.
 *   buffers  in; dq, dk and dv are written and overlap nothing
 * Source: Dao et al. 2022, algorithm 4; Dao 2023, algorithm 2. */
ATTN_API void attn_backward_execute(attn_backward *backward, const attn_backward_buffers *buffers);

/* Tells the bytes that create allocated. */
ATTN_API size_t attn_backward_bytes(const attn_backward *backward);

#ifdef __cplusplus
}
#endif
#endif
