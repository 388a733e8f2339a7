/* Rows of the tables of exchanges and combines.
 *
 * The types and the tables stand here, below anything that communicates, so that a planner can ask each row what it
 * would cost; the rows themselves are defined beside their algorithms, in dist/exchange_NAME.c and dist/combine_NAME.c.
 */
#ifndef PLAN_EXCHANGE_H
#define PLAN_EXCHANGE_H

#include <attn/plan.h>

#include <stdbool.h>

typedef struct attn_exchange_ops attn_exchange_ops; /* dist/exchange.h */
typedef struct attn_combine_ops attn_combine_ops;

struct attn_exchange {
    const char *name, *summary;
    /* Whether it can run on the plan's grid; when not, reason[size] says why. */
    bool (*applicable)(const attn_plan *plan, char *reason, size_t size);
    /* Adds this exchange's bytes, messages and buffer memory on one rank to *out. The part is that rank's. */
    attn_status (*predict)(const attn_plan *plan, const attn_part *part, attn_prediction *out, attn_error *error);
    /* The same for the backward pass; NULL: it has none. */
    attn_status (*predict_backward)(const attn_plan *plan, const attn_part *part, attn_prediction *out,
                                    attn_error *error);
    const attn_exchange_ops *ops;
};

struct attn_combine {
    const char *name, *summary;
    /* Query heads in the output of a rank, and the first of them. */
    int64_t (*output_heads)(const attn_plan *plan, const attn_part *part);
    int64_t (*output_head_begin)(const attn_plan *plan, const attn_part *part);
    attn_status (*predict)(const attn_plan *plan, const attn_part *part, attn_prediction *out, attn_error *error);
    const attn_combine_ops *ops;
};

#endif
