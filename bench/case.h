/* A case: one point of a sweep made concrete, as a problem and a plan that all ranks agree on. */
#ifndef BENCH_CASE_H
#define BENCH_CASE_H

#include "groups.h"
#include "machines.h"
#include "sweep.h"

#include <attn/attributes.h>

typedef struct bench_case {
    sweep_point point;
    int64_t index; /* of the point in the sweep */
    const rank_group *group;
    attn_problem problem;
    bool generated;         /* the problem is the point's, not a file's */
    double *slopes, *sinks; /* owned; NULL when off, when the problem is a file's, and while the case is not loaded */
    int64_t *cu_seqlens;    /* owned, likewise */
    int64_t documents;      /* how many, made or not */
    int threads;
    attn_status runnable; /* ATTN_OK, or why not, with the reason in `reason` */
    attn_error reason;
    attn_plan plan;              /* on the ranks of the group; ranks is 0 where the choices do not go together */
    attn_plan_totals prediction; /* valid when runnable, on the ranks of the group, as are these */
    double flops, bytes;         /* of the whole problem, see roofs_bytes */
} bench_case;

/* Collective over the launch. Makes the case of a point. A point that cannot run is not a failure: it says why, and
 * what cannot fit in memory is found from the extents alone, before anything is made whose cost grows with them.
 *   known  in/out, the machines of this launch, for choices by the cost model; NULL: choices by rule
 *   file  in, the problem of an input file, whose arrays must outlive the case, or NULL: the problem of the point
 *   out   released with bench_case_release, on failure too */
attn_status bench_case_create(const bench *launch, const sweep *lists, const sweep_point *point,
                              const rank_groups *groups, machines *known, const attn_problem *file, bench_case *out,
                              attn_error *error);
void bench_case_release(bench_case *one);

/* Makes the arrays of a case's problem and plan, which a case has only while it runs, so that those of a long sweep do
 * not add up; nothing to do when the problem is a file's. Not collective. ATTN_MEMORY. */
attn_status bench_case_load(const sweep *lists, bench_case *one, attn_error *error);
void bench_case_unload(bench_case *one);

/* Compares what the prediction of a case takes with what is free on a node. The same on all ranks. ATTN_UNSUPPORTED. */
attn_status bench_case_check_memory(const bench_case *one, attn_error *error);

/* Makes the problem of a point for `ranks` ranks. Not collective. ATTN_ARGUMENT when it is not valid. */
attn_status bench_case_problem(const sweep *lists, const sweep_point *point, int ranks, bench_case *out,
                               attn_error *error);

/* What a case asks of its plan, and whether somebody else than the rule chooses it. */
attn_plan_options bench_case_choices(const sweep *lists, const bench_case *one);
bool bench_case_planned(const sweep *lists, const bench_case *one);

/* Whether ranks times threads exceed the cores in use. */
bool bench_case_oversubscribed(const bench_case *one);

/* Whether a peak can be measured beside the case: not where its threads take turns on the cores, since rounds of
 * different ranks then add up to more than the machine has. */
bool bench_case_has_bound(const bench_case *one);

/* Where q, k and v of a run come from. */
typedef struct case_input {
    const char *path;          /* of the input file; NULL: they are generated */
    const char *name;          /* its base name, or "" */
    char digest[ATTN_ID_SIZE]; /* of its contents, or "" */
} case_input;

/* The factors of a case in their fixed order, planned or not: its identity. */
attn_status bench_case_factors(const bench_case *one, const sweep *lists, const case_input *input,
                               attn_attributes *factors);

/* The identity of what was asked for, whatever was chosen: with auto where a choice was left open. ATTN_MEMORY. */
attn_status bench_case_asked(const bench_case *one, const sweep *lists, const case_input *input, char id[ATTN_ID_SIZE],
                             attn_error *error);

#endif
