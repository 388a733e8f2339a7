/* A trial: a problem, a plan for it and a pass, as numbers that can be drawn, printed, read and shrunk.
 *
 * What is drawn at random is found again from its line; what fails is shrunk by the same numbers: towards the simplest
 * value of each, as in QuickCheck (Claessen and Hughes 2000). */
#ifndef ATTN_TEST_TRIAL_H
#define ATTN_TEST_TRIAL_H

#include "fixture.h"

#include <attn/plan.h>

/* X(name, kind, simplest). Exchange, layout, combine and kernel are numbers of their tables. */
#define TRIAL_LIST(X)                                                                                                  \
    X(seed, NUMBER, 0) /* of the lengths below, of sinks and of dropout */                                             \
    X(batch, NUMBER, 1)                                                                                                \
    X(kv_heads, NUMBER, 1)                                                                                             \
    X(group, NUMBER, 1) /* query heads of a key-value head */                                                          \
    X(seq, NUMBER, 1)                                                                                                  \
    X(kv_seq, NUMBER, 1) /* as seq with documents */                                                                   \
    X(head_dim, NUMBER, 1)                                                                                             \
    X(v_head_dim, NUMBER, 1)                                                                                           \
    X(dtype, DTYPE, ATTN_FLOAT32)                                                                                      \
    X(causal, NUMBER, 0)                                                                                               \
    X(window_left, NUMBER, -1)                                                                                         \
    X(window_right, NUMBER, -1)                                                                                        \
    X(kv_len, NUMBER, 0)    /* 1: random lengths, of which some are 0 */                                               \
    X(documents, NUMBER, 0) /* of random lengths, of which some are 0 */                                               \
    X(softcap, NUMBER, 0)                                                                                              \
    X(alibi, NUMBER, 0)                                                                                                \
    X(sinks, NUMBER, 0)                                                                                                \
    X(dropout, NUMBER, 0) /* per cent */                                                                               \
    X(scale, NUMBER, 100) /* per cent of 1 / sqrt(D) */                                                                \
    X(pass, PASS, ATTN_PASS_FORWARD)                                                                                   \
    X(exchange, EXCHANGE, 0)                                                                                           \
    X(transfer, TRANSFER, ATTN_TRANSFER_AUTO)                                                                          \
    X(hybrid_alltoall, NUMBER, 0)                                                                                      \
    X(hybrid_ring, NUMBER, 0)                                                                                          \
    X(ring_inside, NUMBER, 0)                                                                                          \
    X(grid_seq, NUMBER, 1)                                                                                             \
    X(grid_head, NUMBER, 1)                                                                                            \
    X(layout, LAYOUT, 0)                                                                                               \
    X(combine, COMBINE, 0)                                                                                             \
    X(kernel, KERNEL, 0)                                                                                               \
    X(node_ranks, NUMBER, 0)                                                                                           \
    X(threads, NUMBER, 1)

typedef enum trial_field {
#define TRIAL_ENUM(name, kind, simplest) TRIAL_##name,
    TRIAL_LIST(TRIAL_ENUM)
#undef TRIAL_ENUM
        TRIAL_FIELDS
} trial_field;

typedef struct trial {
    int64_t at[TRIAL_FIELDS];
} trial;

enum { TRIAL_BATCH_MAX = 8, TRIAL_HEADS_MAX = 64, TRIAL_DOCUMENTS_MAX = 16, TRIAL_LINE_MAX = 1024 };

/* A trial's problem, with the arrays that it points into. */
typedef struct trial_problem {
    attn_problem problem;
    int64_t kv_len[TRIAL_BATCH_MAX], cu_seqlens[TRIAL_DOCUMENTS_MAX + 1];
    double slopes[TRIAL_HEADS_MAX], sinks[TRIAL_HEADS_MAX];
} trial_problem;

/* Draws the numbers of a problem; those of the plan are the simplest. */
trial trial_draw(uint64_t seed);

/* Makes the problem; out stays where it is while the problem is used. */
void trial_make_problem(const trial *t, trial_problem *out);

/* Takes the choices of a plan over; makes a plan of them for so many ranks, or tells that they do not go together. */
void trial_set_plan(trial *t, const attn_plan *plan);
bool trial_make_plan(const trial *t, const attn_problem *problem, int ranks, attn_plan *out);

/* Writes "name=value ..." of all that is not the simplest, and reads it. */
void trial_write(const trial *t, char line[TRIAL_LINE_MAX]);
bool trial_read(const char *line, trial *out);

/* Looks for a smaller trial that fails as well: each number in turn is replaced by its simplest value, by the middle,
 * by the next; what still fails is kept, until nothing smaller fails.
 *   fails  whether a trial fails; false where it cannot be planned */
trial trial_shrink(const trial *t, int ranks, bool (*fails)(const trial *t, void *context), void *context);

#endif
