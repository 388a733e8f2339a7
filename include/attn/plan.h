/* A plan: everything that is chosen before anything runs, on which all ranks agree. No MPI.
 *
 * A choice left open (auto) is made by a fixed rule: Ph = gcd(P, Hkv) and Ps = P / Ph, except that the exchange `none`
 * means 1 x P and any other named exchange P x 1; the exchange is `none` when Ps is 1, otherwise `tree` for the pass
 * decode and `allgather` for others; the layout is zigzag when causal and contiguous otherwise; the kernel is that of
 * attn_kernel_choose.
 */
#ifndef ATTN_PLAN_H
#define ATTN_PLAN_H

#include <attn/kernel.h>
#include <attn/partition.h>

#ifdef __cplusplus
extern "C" {
#endif

/* Rows of the tables of exchanges (how a sequence group shares K and V) and of combines (how the head outputs come
 * together in the head group). Constant, static storage; find returns NULL when there is none of that name. */
typedef struct attn_exchange attn_exchange;
typedef struct attn_combine attn_combine;

/* Reads the table of exchanges: its length, the row at 0 <= index < count, the row of a name; of a row its name as
 * given to --exchange, and one line of what it is. */
ATTN_API size_t attn_exchange_count(void);
ATTN_API const attn_exchange *attn_exchange_at(size_t index);
ATTN_API const attn_exchange *attn_exchange_find(const char *name);
ATTN_API const char *attn_exchange_name(const attn_exchange *exchange);
ATTN_API const char *attn_exchange_summary(const attn_exchange *exchange);

/* Reads the table of combines in the same way (--combine). */
ATTN_API size_t attn_combine_count(void);
ATTN_API const attn_combine *attn_combine_at(size_t index);
ATTN_API const attn_combine *attn_combine_find(const char *name);
ATTN_API const char *attn_combine_name(const attn_combine *combine);
ATTN_API const char *attn_combine_summary(const attn_combine *combine);

/* How an exchange uses MPI, where it has a choice. X(NAME, text, meaning) */
#define ATTN_TRANSFER_LIST(X)                                                                                          \
    X(BLOCKING, "blocking", "send, receive, then compute")                                                             \
    X(NONBLOCKING, "nonblocking", "transfers in the background, driven between tasks of the kernel")                   \
    X(PERSISTENT, "persistent", "the same with requests that are set up once")                                         \
    X(ONESIDED, "onesided", "put into windows of memory")

typedef enum attn_transfer {
    ATTN_TRANSFER_AUTO, /* the exchange's own choice; in a plan: it has none */
#define ATTN_TRANSFER_ENUM(name, text, meaning) ATTN_TRANSFER_##name,
    ATTN_TRANSFER_LIST(ATTN_TRANSFER_ENUM)
#undef ATTN_TRANSFER_ENUM
        ATTN_TRANSFER_COUNT
} attn_transfer;

/* Names a way to transfer as --transfer does ("auto" for ATTN_TRANSFER_AUTO), and tells what it is; find returns
 * ATTN_TRANSFER_COUNT when there is none of that name. */
ATTN_API const char *attn_transfer_name(attn_transfer transfer);
ATTN_API const char *attn_transfer_meaning(attn_transfer transfer);
ATTN_API attn_transfer attn_transfer_find(const char *name);

/* Tells whether an exchange can transfer in this way. */
ATTN_API bool attn_exchange_transfers(const attn_exchange *exchange, attn_transfer transfer);

/* A sequence group as two dimensions, Ps = PU x PR: all-to-all in groups of PU ranks, a ring over the PR groups. */
typedef struct attn_hybrid {
    int alltoall;     /* PU */
    int ring;         /* PR */
    bool ring_inside; /* neighbours in rank are neighbours in the ring; otherwise they share an all-to-all */
} attn_hybrid;

/* What the caller fixes; zero and NULL mean auto (combine: allgather). */
typedef struct attn_plan_options {
    attn_grid grid;                /* {0, 0}: auto */
    const attn_exchange *exchange; /* NULL: auto */
    const attn_layout *layout;     /* NULL: auto */
    const attn_combine *combine;   /* NULL: allgather */
    const attn_kernel *kernel;     /* NULL: auto */
    attn_pass pass;                /* 0: forward */
    attn_transfer transfer;        /* 0: auto */
    attn_hybrid hybrid;            /* {0, 0}: auto; read by exchanges over two dimensions */
    int node_ranks;                /* ranks that follow each other on one node; 0: all are on one */
    int threads;                   /* OpenMP threads of each rank; 0: 1 */
    bool deterministic;            /* the same bits for every number of ranks; see attn_plan_make */
} attn_plan_options;

/* All choices made; a plain value. The problem's arrays (kv_len, slopes, ...) are borrowed from the caller. */
typedef struct attn_plan {
    attn_problem problem;
    int ranks;
    attn_grid grid;
    const attn_exchange *exchange;
    const attn_layout *layout;
    const attn_combine *combine;
    const attn_kernel *kernel;
    attn_pass pass; /* a plan of the backward pass can run the forward pass too */
    attn_transfer transfer;
    attn_hybrid hybrid; /* {0, 0} where the exchange has one dimension */
    int node_ranks;     /* ranks of a node, which follow each other; the last node may have fewer */
    int threads;
    bool deterministic; /* its results have the bits that they have on one rank */
} attn_plan;

/* Makes the choices and checks them; alike on every rank, without communication.
 *   problem  in, copied; its arrays are borrowed by the plan
 *   ranks    in, >= 1
 *   options  in
 *   out      out, unchanged on failure
 * ATTN_ARGUMENT for a problem that is not valid or an unknown name in ATTN_KERNEL; ATTN_UNSUPPORTED, with the reason,
 * for a combination that cannot run (grid that is not Ps * Ph = ranks, exchange that does not apply or has no such
 * pass, kernel that this CPU lacks or that has no such pass).
 *
 * From run to run the results of every plan have the same bits. Those of deterministic plans have the same bits for
 * every number of ranks and threads too, with the same kernel: no partial results are merged, the layout of a split
 * sequence is contiguous, its parts are whole blocks of keys of the kernel (attn_kernel_key_block), and rows see keys
 * from the first on (no left window, no packed documents); backward the sequence is not split and no key-value head is
 * shared by ranks. What cannot be so is refused with ATTN_UNSUPPORTED; what is left open is chosen so, with a grid
 * 1 x P where the keys do not divide. */
ATTN_API attn_status attn_plan_make(const attn_problem *problem, int ranks, const attn_plan_options *options,
                                    attn_plan *out, attn_error *error);

/* What a plan will cost one rank in one pass. Bytes are nominal: what the rank must hand to others, without
 * itself. */
typedef struct attn_prediction {
    double exchange_bytes; /* sent for K and V, or for dK and dV */
    double combine_bytes;  /* sent for o; 0 in the backward pass */
    double messages;       /* nominal messages: for each other rank that a part goes to, one for as many rows (of all
                              batches and heads) as a GiB holds, at least one */
    double input_bytes;    /* memory of q, k, v; o, lse and do in the backward pass */
    double output_bytes;   /* memory of o and lse, combined; or of dq, dk and dv */
    double extra_bytes;    /* memory of exchange and combine buffers, without the kernel's scratch */
    double pairs;          /* visible pairs times heads */
} attn_prediction;

/* Predicts for any rank of the plan, 0 <= rank < plan->ranks: what a program compares with the counters of its own
 * rank, or finds the most loaded rank by. The volumes of each exchange and combine are derived beside its algorithm.
 * ATTN_MEMORY. */
ATTN_API attn_status attn_plan_predict(const attn_plan *plan, int rank, attn_prediction *out, attn_error *error);

/* A plan as a whole: the rank that has most decides. */
typedef struct attn_plan_totals {
    double bytes;     /* largest exchange_bytes + combine_bytes of a rank */
    double messages;  /* largest of a rank */
    double memory;    /* largest input_bytes + output_bytes + extra_bytes of a rank */
    double pairs;     /* of all ranks together */
    double imbalance; /* largest pairs of a rank over their mean; 1 without any */
} attn_plan_totals;

/* Predicts for all ranks together. With p = grid.seq and R runs of rows in all parts, p to Sq by the layout: O(Sq +
 * p R log R) for each batch that differs from others by its kv_len, and for each rank O(p) with most exchanges, O(p^2)
 * with `hierarchical`, O(p^2 log p) with `tree`, O(p^2 + R log R) with `hybrid` and O(R log R) with `halo`.
 * ATTN_MEMORY. */
ATTN_API attn_status attn_plan_predict_all(const attn_plan *plan, attn_plan_totals *out, attn_error *error);

#ifdef __cplusplus
}
#endif
#endif
