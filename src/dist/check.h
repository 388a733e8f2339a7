/* What the checks of both passes share: exact rows of the forward pass, computed where the keys are. */
#ifndef DIST_CHECK_H
#define DIST_CHECK_H

#include <attn/dist.h>

#include "kernel/reference.h"

enum { ROWS_AT_ONCE = 256 };

/* Working memory for one batch of rows. */
typedef struct check_work {
    double *q;        /* [rows][D] */
    double *max;      /* [rows] */
    double *sums;     /* [rows][1 + Dv]: sum, weighted */
    double *max_abs;  /* [rows] */
    double *weighted; /* [rows][Dv] this rank's partial results */
    double *buffers;  /* [rows][max(D, Dv)] for the reference */
    attn_partial *partials;
} check_work;

/* Not collective. Release frees what allocate got, on failure too. ATTN_MEMORY. */
attn_status attn_check_allocate(const attn_shape *shape, check_work *work, attn_error *error);
void attn_check_release(check_work *work);

/* Whether a query head is the part's, and the local number of a global row or -1. */
bool attn_check_holds(const attn_part *part, int64_t h);
int64_t attn_check_local(const attn_segments *rows, int64_t i);

/* Collective. Solves up to ROWS_AT_ONCE rows exactly, up to the sink: work->q gets the query rows, work->partials the
 * whole rows, work->max_abs their largest scores, all the same on every rank. ATTN_MPI. */
attn_status attn_check_solve(const attn_dist *dist, const void *q, const void *k, const void *v, const attn_row *rows,
                             int count, check_work *work, attn_error *error);

/* Collective. Counts the ranks that compute rows, and of them those of the checked rows. ATTN_MPI. */
attn_status attn_check_count_ranks(const attn_dist *dist, const attn_row *rows, int64_t count, attn_check *check,
                                   attn_error *error);

#endif
