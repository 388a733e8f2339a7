/* A sweep: the cross product of the lists that the options give. */
#ifndef BENCH_SWEEP_H
#define BENCH_SWEEP_H

#include "documents.h"
#include "options.h"

#include <attn/planner.h>

/* The axes, the last one varying fastest. Each value is an integer: the number itself, an index into a table of the
 * library (NAME_AUTO for auto), or an index into a list of the sweep. */
typedef enum sweep_axis {
    AXIS_BATCH,
    AXIS_HEADS,
    AXIS_KV_HEADS, /* 0: as heads */
    AXIS_SEQ,      /* 0: as the pass has it */
    AXIS_KV_SEQ,   /* 0: as seq, or as the pass has it */
    AXIS_HEAD_DIM,
    AXIS_V_HEAD_DIM,   /* 0: as head_dim */
    AXIS_DTYPE,        /* NAME_AUTO: the file's, or float32 */
    AXIS_WINDOW_LEFT,  /* -1: no limit */
    AXIS_WINDOW_RIGHT, /* -1: no limit */
    AXIS_SOFTCAP,      /* index into softcaps */
    AXIS_DOCUMENTS,    /* index into documents */
    AXIS_DROPOUT,      /* index into dropouts */
    AXIS_KERNEL,
    AXIS_EXCHANGE,
    AXIS_TRANSFER, /* NAME_AUTO, or an attn_transfer less 1 */
    AXIS_HYBRID,   /* index into hybrids */
    AXIS_INNER,    /* 1: neighbouring ranks are neighbours in the ring */
    AXIS_LAYOUT,
    AXIS_COMBINE,
    AXIS_GRID,    /* index into grids */
    AXIS_THREADS, /* 0: by the cores */
    AXIS_RANKS,
    AXIS_COUNT
} sweep_axis;

/* What grows with the ranks. */
typedef enum sweep_scaling { SCALING_STRONG, SCALING_WEAK_SEQ, SCALING_WEAK_BATCH, SCALING_WEAK_WORK } sweep_scaling;

const char *sweep_scaling_name(sweep_scaling scaling);

typedef struct sweep {
    int_list axes[AXIS_COUNT];
    real_list softcaps, dropouts;
    document_laws documents;
    attn_grid *grids, *hybrids; /* {0, 0}: auto; of hybrids seq is PU, head is PR */
    int64_t count;              /* points */
    sweep_scaling scaling;
    attn_pass pass;
    attn_plan_mode plan; /* how choices that are left open are made */
    bool causal, alibi, sinks;
    bool scale_given; /* otherwise the default of the head dimension */
    double scale;
    uint64_t seed;
    int node_ranks; /* 0: as they lie */
    bool deterministic;
} sweep;

typedef struct sweep_point {
    int64_t at[AXIS_COUNT];
} sweep_point;

#define SWEEP_MAX 10000

/* Reads all problem and distribution options; those that the subcommand does not take stand at their defaults.
 *   ranks  of this launch
 *   out    released with sweep_release, on failure too
 * ATTN_ARGUMENT. */
attn_status sweep_read(const options *given, int ranks, sweep *out, attn_error *error);
void sweep_release(sweep *lists);

/* Point `index` of the cross product, 0 <= index < count. */
sweep_point sweep_at(const sweep *lists, int64_t index);

#endif
