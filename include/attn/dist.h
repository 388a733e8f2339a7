/* Distributed attention: created once from a plan, executed many times. */
#ifndef ATTN_DIST_H
#define ATTN_DIST_H

#include <attn/phase.h>
#include <attn/plan.h>

#include <mpi.h>

#ifdef __cplusplus
extern "C" {
#endif

typedef struct attn_dist attn_dist;

/* Collective over comm. Splits comm into sequence and head groups, allocates what the exchange needs.
 *   comm  in, of plan->ranks ranks; a duplicate of it is used, so it may be freed before destroy
 *   plan  in, the same on every rank; copied, but the arrays of its problem are borrowed until destroy
 *   out   out, NULL on failure, on all ranks alike
 * ATTN_UNSUPPORTED for counts beyond those of MPI or threads that OpenMP does not grant, ATTN_MEMORY, ATTN_MPI. */
ATTN_API attn_status attn_dist_create(MPI_Comm comm, const attn_plan *plan, attn_dist **out, attn_error *error);

/* Collective. Destroys; takes NULL. Not to be called after ATTN_MPI, as freeing communicators waits for others. */
ATTN_API void attn_dist_destroy(attn_dist *dist);

/* Not collective. The plan, this rank's part of it, and the duplicate of comm; borrowed until destroy. */
ATTN_API const attn_plan *attn_dist_plan(const attn_dist *dist);
ATTN_API const attn_part *attn_dist_part(const attn_dist *dist);
ATTN_API MPI_Comm attn_dist_comm(const attn_dist *dist);

/* Not collective. Heads in this rank's o (all Hq after combine `allgather`, its own head_count after `none`), and the
 * global number of the first of them. */
ATTN_API int64_t attn_dist_output_heads(const attn_dist *dist);
ATTN_API int64_t attn_dist_output_head_begin(const attn_dist *dist);

/* Not collective. Tells where this rank's k and v are best kept: with an exchange through shared memory a forward pass
 * whose buffers name these arrays copies nothing. Any other place is right too.
 *   k, v  out, memory of the plan that lives until destroy, or NULL: anywhere */
ATTN_API void attn_dist_own_memory(attn_dist *dist, void **k, void **v);

/* This rank's arrays, dense, in the plan's dtype (lse: its accumulator type). Owned by the caller. */
typedef struct attn_dist_buffers {
    const void *q; /* [B,head_count,q_rows,D] */
    const void *k; /* [B,kv_head_count,kv_rows,D] */
    const void *v; /* [B,kv_head_count,kv_rows,Dv] */
    void *o;       /* out, [B,output_heads,q_rows,Dv] */
    void *lse;     /* out, [B,head_count,q_rows]: of this rank's own heads, whatever the combine */
} attn_dist_buffers;

/* Collective. Makes one forward pass: exchange, compute, combine. Does not allocate.
 *   buffers  in, where the arrays are; o and lse are written and overlap nothing; any of them may move between passes
 *   seconds  out, [ATTN_PHASE_COUNT], s, this rank's phases; input-read and imbalance-wait are 0
 * Returns ATTN_OK or ATTN_MPI. */
ATTN_API attn_status attn_dist_forward(attn_dist *dist, const attn_dist_buffers *buffers,
                                       double seconds[ATTN_PHASE_COUNT], attn_error *error);

/* This rank's arrays of a backward pass, dense, in the plan's dtype (lse: its accumulator type). Owned by the
 * caller. */
typedef struct attn_dist_backward_buffers {
    const void *q;   /* [B,head_count,q_rows,D] */
    const void *k;   /* [B,kv_head_count,kv_rows,D] */
    const void *v;   /* [B,kv_head_count,kv_rows,Dv] */
    const void *o;   /* [B,output_heads,q_rows,Dv], as attn_dist_forward left it */
    const void *lse; /* [B,head_count,q_rows], the same */
    const void *d_o; /* [B,head_count,q_rows,Dv], of this rank's own heads, whatever the combine */
    void *dq;        /* out, [B,head_count,q_rows,D] */
    void *dk;        /* out, [B,kv_head_count,kv_rows,D]; of a shared key-value head alike on all ranks that have it */
    void *dv;        /* out, [B,kv_head_count,kv_rows,Dv], the same */
} attn_dist_backward_buffers;

/* Collective. Makes one backward pass: exchange, compute, reduction of the gradients of shared keys and values. Does
 * not allocate. The plan must be one of the backward pass (plan->pass).
 *   buffers  in, where the arrays are; dq, dk and dv are written and overlap nothing; any may move between passes
 *   seconds  out, [ATTN_PHASE_COUNT], s, this rank's phases; input-read and imbalance-wait are 0
 * Returns ATTN_OK or ATTN_MPI. */
ATTN_API attn_status attn_dist_backward(attn_dist *dist, const attn_dist_backward_buffers *buffers,
                                        double seconds[ATTN_PHASE_COUNT], attn_error *error);

/* Where the time of one pass went on this rank: events in order, each from the end of the one before it, the first from
 * 0; together they are the pass's total. */
typedef struct attn_timeline {
    attn_event *events; /* out, [capacity], the caller's; neighbours of one phase are one event */
    int64_t capacity;   /* in */
    int64_t count;      /* out, events that were recorded */
    int64_t lost;       /* out, stretches of time at the end of the pass for which there was no room */
} attn_timeline;

/* Not collective. Has the next pass of this rank recorded, that one alone. Costs some ns for each event.
 *   timeline  in/out, must live until that pass has returned; NULL: nothing is recorded after all */
ATTN_API void attn_dist_record(attn_dist *dist, attn_timeline *timeline);

/* A query row of one head, global numbers. */
typedef struct attn_row {
    int64_t b, h, i;
} attn_row;

/* Outcome of a check against the float64 reference. */
typedef struct attn_check {
    int64_t rows;      /* rows compared, each [Dv] of o and one lse */
    int64_t nan_rows;  /* of these, rows whose exact result is NaN, as NaN or infinite inputs make them */
    int ranks;         /* ranks of which at least one computed row was among them */
    int working_ranks; /* ranks that compute rows at all */
    double max_error;  /* largest attn_check_error over o and lse */
    double max_score;  /* largest finite |s(i,j)| over the visible pairs of those rows */
    double tolerance;  /* attn_tolerance_forward(eps, max_score) */
    attn_row worst;    /* where max_error stands */
    bool valid;        /* max_error <= tolerance */
} attn_check;

/* Not collective. The error of a number, |got - want| / (1 + |want|); 0 for two NaN or equal infinities, +inf when only
 * one of the two is a number. */
ATTN_API double attn_check_error(double got, double want);

/* Collective. Compares rows of o and lse with a float64 computation from the same q, k and v. The reference is computed
 * where the keys are and reduced with plain MPI_Allreduce; of the code under test it shares that of the kernel
 * `reference` alone.
 *   buffers  in, q, k, v as they were for the pass, o and lse as it left them
 *   rows     in, [count], the same on every rank
 *   eps      in, spacing at 1 of the coarsest type in the comparison
 *   out      out, the same on every rank
 * ATTN_MEMORY, ATTN_MPI. A wrong result is no failure: it is told by out->valid. */
ATTN_API attn_status attn_dist_check(attn_dist *dist, const attn_dist_buffers *buffers, const attn_row *rows,
                                     int64_t count, double eps, attn_check *out, attn_error *error);

/* Collective. Compares gradients with a float64 computation: for each row (b,h,i) all of dq there, exact from q, k, v
 * and do alone, and all of dk and dv of the key i Skv / Sq of the row's key-value head, computed from o and lse as they
 * are stored, which attn_dist_check has compared. Computed where the data are, as there.
 *   buffers  in, as they were for the backward pass, dq, dk and dv as it left them
 *   rows     in, [count], the same on every rank
 *   eps      in, spacing at 1 of the coarsest type in the comparison
 *   out      out, the same on every rank; its tolerance is attn_tolerance_backward(eps, max_score)
 * ATTN_MEMORY, ATTN_MPI. A wrong result is no failure: it is told by out->valid. */
ATTN_API attn_status attn_dist_check_backward(attn_dist *dist, const attn_dist_backward_buffers *buffers,
                                              const attn_row *rows, int64_t count, double eps, attn_check *out,
                                              attn_error *error);

/* Not collective. Chooses rows for a check of a plan, the same on every rank: for every rank that computes rows one of
 * these (of one of its heads), and seeded ones up to count rows, the last row of all among them. All rows when there
 * are at most count.
 *   rows  out, [made], to be freed with free(); NULL on failure
 *   made  out, how many
 * ATTN_MEMORY. */
ATTN_API attn_status attn_sample_rows(const attn_plan *plan, int64_t count, uint64_t seed, attn_row **rows,
                                      int64_t *made, attn_error *error);

/* Not collective. The accepted error of o and lse: 2 eps where the coarsest type has 16 bits (eps >= 2^-10), otherwise
 * 8 eps max(1, max_score), as rounding the score itself costs eps |s|. */
ATTN_API double attn_tolerance_forward(double eps, double max_score);

/* Not collective. The accepted error of gradients: 8 eps where the coarsest type has 16 bits, otherwise
 * 32 eps max(1, max_score). */
ATTN_API double attn_tolerance_backward(double eps, double max_score);

#ifdef __cplusplus
}
#endif
#endif
