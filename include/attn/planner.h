/* The planner: what a plan will take on a machine, the plan that will take least, and plans kept in files. No MPI; what
 * runs on ranks to measure machines and plans is in tuning.h. The formulas: docs/planner.md.
 */
#ifndef ATTN_PLANNER_H
#define ATTN_PLANNER_H

#include <attn/machine.h>
#include <attn/plan.h>

#ifdef __cplusplus
extern "C" {
#endif

/* The time of one pass of a plan, in s: compute + copy + (exchange - hidden) + combine, each of the rank that has most
 * of it. */
typedef struct attn_estimate {
    double seconds;  /* of the pass */
    double compute;  /* kernel */
    double exchange; /* transfers of k and v, of their gradients, or of what travels instead */
    double hidden;   /* of these, what passes while the kernel computes */
    double copy;     /* packing before and after transfers, and merging partial results */
    double combine;  /* transfers of o */
    double memory;   /* bytes, as attn_plan_totals */
} attn_estimate;

/* Estimates a plan. As long as attn_plan_predict_all takes at most, as ranks that are alike are looked at once.
 * ATTN_ARGUMENT for a machine with a number that is negative, not finite, or a share beyond 1; ATTN_MEMORY. */
ATTN_API attn_status attn_plan_estimate(const attn_plan *plan, const attn_machine *machine, attn_estimate *out,
                                        attn_error *error);

/* A plan that can run, with its estimate. */
typedef struct attn_candidate {
    attn_plan plan;
    attn_estimate estimate;
} attn_candidate;

/* Lists what can run, best first: every grid, exchange, transfer, hybrid and layout that options leaves open and
 * attn_plan_make accepts. A grid that is left open with a named exchange is that of attn_plan_make's rule, and so are
 * kernel and combine. Where nothing is exchanged (1xP) there is one candidate. Plans beyond machine->memory stand
 * behind all others. The rule's own plan stands first when its estimate is within ATTN_PLAN_MARGIN of the best; equal
 * ones stand in the order of the tables. The same on all ranks that have the same machine.
 *   out    out, [count], to be freed with free(); NULL on failure
 *   count  out, >= 1
 * As attn_plan_make when nothing can run; ATTN_MEMORY. */
#define ATTN_PLAN_MARGIN 0.02
ATTN_API attn_status attn_plan_candidates(const attn_problem *problem, int ranks, const attn_plan_options *options,
                                          const attn_machine *machine, attn_candidate **out, size_t *count,
                                          attn_error *error);

/* Chooses the first of these.
 *   estimate  out, may be NULL */
ATTN_API attn_status attn_plan_choose(const attn_problem *problem, int ranks, const attn_plan_options *options,
                                      const attn_machine *machine, attn_plan *out, attn_estimate *estimate,
                                      attn_error *error);

/* Tells whether options leave anything to choose for more than one rank: the exchange, or the layout. */
ATTN_API bool attn_plan_open(int ranks, const attn_plan_options *options);

/* How choices that are left open are made. X(NAME, text, meaning) */
#define ATTN_PLAN_MODE_LIST(X)                                                                                         \
    X(RULE, "rule", "by the fixed rule of attn_plan_make")                                                             \
    X(ESTIMATE, "estimate", "by the cost model")                                                                       \
    X(MEASURE, "measure", "by running the candidates that the model finds best")

typedef enum attn_plan_mode {
#define ATTN_PLAN_MODE_ENUM(name, text, meaning) ATTN_PLAN_MODE_##name,
    ATTN_PLAN_MODE_LIST(ATTN_PLAN_MODE_ENUM)
#undef ATTN_PLAN_MODE_ENUM
        ATTN_PLAN_MODE_COUNT
} attn_plan_mode;

/* Names a mode as --plan does; "unknown" for any other number. */
ATTN_API const char *attn_plan_mode_name(attn_plan_mode mode);

/* Writes a plan to a file, as JSON: all choices, what they were made for, and the machine. Replaces an existing file.
 *   machine  in, may be NULL
 * ATTN_FILE, ATTN_MEMORY. */
ATTN_API attn_status attn_plan_save(const attn_plan *plan, const attn_machine *machine, const char *path,
                                    attn_error *error);

/* Reads a plan and checks it for a problem: shape, dtype, mask and ranks must be those for which it was saved, and what
 * it names must exist and run here. The arrays of the problem are borrowed by the plan.
 *   problem  in, copied
 *   out      out, unchanged on failure
 *   machine  out, may be NULL; the default one when the file has none
 * ATTN_FILE when it cannot be read; ATTN_INPUT when it is no plan, or damaged; ATTN_ARGUMENT, naming both values, when
 * it is a plan of another problem or number of ranks; ATTN_UNSUPPORTED when it cannot run here; ATTN_MEMORY. */
ATTN_API attn_status attn_plan_load(const attn_problem *problem, int ranks, const char *path, attn_plan *out,
                                    attn_machine *machine, attn_error *error);

#ifdef __cplusplus
}
#endif
#endif
