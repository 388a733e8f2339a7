/* A case: one point of a sweep made concrete, as a problem and a plan that all ranks agree on. */
#ifndef BENCH_CASE_H
#define BENCH_CASE_H

#include "groups.h"
#include "sweep.h"

#include <attn/attributes.h>

/* What a plan will cost, over its ranks. */
typedef struct case_prediction {
    double bytes;     /* sent, the most of any rank */
    double messages;  /* the most of any rank */
    double memory;    /* bytes of arrays and buffers, the most of any rank */
    double pairs;     /* visible pairs times heads, all ranks */
    double imbalance; /* most pairs of a rank over their mean */
} case_prediction;

typedef struct bench_case {
    sweep_point point;
    int64_t index; /* of the point in the sweep */
    const rank_group *group;
    attn_problem problem;
    double *slopes, *sinks; /* owned; NULL when off or when the problem is a file's */
    int64_t *cu_seqlens;    /* owned, likewise */
    int threads;
    attn_status runnable; /* ATTN_OK, or why not, with the reason in `reason` */
    attn_error reason;
    attn_plan plan;             /* valid when runnable, on the ranks of the group */
    case_prediction prediction; /* likewise */
} bench_case;

/* Collective over the launch. Makes the case of a point. A point that cannot run is not a failure: it says why.
 *   file  in, the problem of an input file, whose arrays must outlive the case, or NULL: the problem of the point
 *   out   released with bench_case_release, on failure too */
attn_status bench_case_create(const bench *launch, const sweep *lists, const sweep_point *point,
                              const rank_groups *groups, const attn_problem *file, bench_case *out, attn_error *error);
void bench_case_release(bench_case *one);

/* Makes the problem of a point for `ranks` ranks. Not collective. ATTN_ARGUMENT when it is not valid. */
attn_status bench_case_problem(const sweep *lists, const sweep_point *point, int ranks, bench_case *out,
                               attn_error *error);

/* Whether ranks times threads exceed the cores in use. */
bool bench_case_oversubscribed(const bench_case *one);

/* The factors of a case in their fixed order, planned or not: its identity.
 *   input  base name of the input file, "" for generated data */
attn_status bench_case_factors(const bench_case *one, const sweep *lists, const char *input, attn_attributes *factors);

#endif
