/* The named parts of a case's time, in the order in which they are stored. New ones come at the end: files keep phases
 * by their place, and those of earlier versions have fewer. */
#ifndef ATTN_PHASE_H
#define ATTN_PHASE_H

#include <attn/status.h>

#include <stdint.h>

#ifdef __cplusplus
extern "C" {
#endif

/* X(name, text, meaning) */
#define ATTN_PHASE_LIST(X)                                                                                             \
    X(TOTAL, "total", "one pass on this rank, from the common start to its own end")                                   \
    X(INPUT_READ, "input-read",                                                                                        \
      "reading or generating q, k and v, once, before the first repetition; of a training step, its sequences")        \
    X(PACK, "pack", "copies between the caller's arrays and message buffers")                                          \
    X(COMPUTE, "compute", "the attention kernel")                                                                      \
    X(EXCHANGE, "exchange", "starting and driving the exchange of the sequence group")                                 \
    X(EXCHANGE_WAIT, "exchange-wait", "waiting for the exchange with nothing to compute")                              \
    X(MERGE, "merge", "merging partial results")                                                                       \
    X(COMBINE, "combine", "bringing head outputs, or gradients of shared heads, together in the head group")           \
    X(IMBALANCE_WAIT, "imbalance-wait",                                                                                \
      "from this rank's end until all have ended, with the barrier that tells it; outside total")                      \
    X(PROJECTION, "projection",                                                                                        \
      "linear projections of a layer and their gradients, with the copies between heads and rows")                     \
    X(GATHER, "gather", "moving rows, head outputs and their gradients in the head group of a layer")                  \
    X(WEIGHT_REDUCE, "weight-reduce", "summing gradients of weights over ranks")                                       \
    X(LOSS, "loss", "the loss of a training step and its gradient, with its sum over ranks")                           \
    X(OPTIMISER, "optimiser", "updating the weights")

typedef enum attn_phase {
#define ATTN_PHASE_ENUM(name, text, meaning) ATTN_PHASE_##name,
    ATTN_PHASE_LIST(ATTN_PHASE_ENUM)
#undef ATTN_PHASE_ENUM
        ATTN_PHASE_COUNT
} attn_phase;

/* Names a phase as files do, and tells what it measures; both "unknown" for any other number. */
ATTN_API const char *attn_phase_name(attn_phase phase);
ATTN_API const char *attn_phase_meaning(attn_phase phase);

/* A stretch of time that a rank gave to one phase. */
typedef struct attn_event {
    int64_t rank;
    attn_phase phase;
    double begin, end; /* s since this rank began the pass: ranks may have clocks that do not compare */
} attn_event;

/* Reads the monotonic local clock (CLOCK_MONOTONIC), in s. Stamps of two processes do not compare. */
ATTN_API double attn_clock(void);

#ifdef __cplusplus
}
#endif
#endif
