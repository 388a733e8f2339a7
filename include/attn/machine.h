/* The machine as the cost model of plans sees it (planner.h): a plain value of few numbers. Those that matter most are
 * measured (tuning.h); the rest stand at defaults, and each says where it came from. No MPI. */
#ifndef ATTN_MACHINE_H
#define ATTN_MACHINE_H

#include <attn/dtype.h>
#include <attn/pass.h>

#include <stddef.h>

#ifdef __cplusplus
extern "C" {
#endif

/* Where a number came from. X(NAME, text) */
#define ATTN_ORIGIN_LIST(X)                                                                                            \
    X(DEFAULT, "default")                                                                                              \
    X(GIVEN, "given")                                                                                                  \
    X(MEASURED, "measured")

typedef enum attn_origin {
#define ATTN_ORIGIN_ENUM(name, text) ATTN_ORIGIN_##name,
    ATTN_ORIGIN_LIST(ATTN_ORIGIN_ENUM)
#undef ATTN_ORIGIN_ENUM
        ATTN_ORIGIN_COUNT
} attn_origin;

/* Names an origin; "unknown" for any other number. */
ATTN_API const char *attn_origin_name(attn_origin origin);

/* What it takes to hand bytes to another rank while all ranks do the same: alpha + beta bytes for each message
 * (Hockney 1994). */
typedef struct attn_link {
    double alpha;  /* s, of a message */
    double beta;   /* s, of a byte */
    double hidden; /* share of the time that passes beside computing where an exchange lets it, 0 to 1: what moves
                      without the cores is hidden, what the cores copy is not */
    attn_origin origin;
} attn_link;

/* The rate of a kernel. */
typedef struct attn_rate {
    double flops; /* FLOP/s on one core, as FLOPs are counted from the mask; 0: not known, the default */
    attn_origin origin;
} attn_rate;

typedef struct attn_machine {
    attn_rate rate[ATTN_PASS_COUNT][ATTN_DTYPE_COUNT];
    int cores;             /* of a node; 0: one for each thread */
    attn_link node;        /* between ranks of a node */
    attn_link network;     /* between ranks of different nodes */
    double copy_bandwidth; /* B/s at which a rank copies memory; 0: not known, the default */
    attn_origin copy_origin;
    double memory; /* bytes that a rank may take; 0: no limit */
} attn_machine;

/* Makes the machine of which nothing is known: round numbers of a server of the years around 2020, documented in
 * docs/planner.md. */
ATTN_API attn_machine attn_machine_default(void);

/* Fits alpha and beta to times of messages of several sizes by least squares of the relative errors, so that short
 * messages count as much as long ones. Neither becomes negative.
 *   bytes    in, [count], rising, count >= 1
 *   seconds  in, [count], s, above 0
 *   link     in/out, alpha and beta are set */
ATTN_API void attn_link_fit(const double *bytes, const double *seconds, size_t count, attn_link *link);

#ifdef __cplusplus
}
#endif
#endif
