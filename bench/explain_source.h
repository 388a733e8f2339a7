/* The file that is explained: read whole by rank 0, in float64. */
#ifndef BENCH_EXPLAIN_SOURCE_H
#define BENCH_EXPLAIN_SOURCE_H

#include "bench.h"

#include <attn/explain.h>
#include <attn/input.h>
#include <attn/layer_file.h>

/* What replaces settings of the file. */
typedef struct explain_settings {
    bool no_weights; /* of a layer file: attention of x itself */
    bool causal;
    bool has_scale, has_dropout, has_seed, has_rotary;
    double scale, dropout;
    uint64_t seed;
    attn_rotary_style rotary; /* over whole heads, theta 10000 */
} explain_settings;

typedef struct explain_source {
    attn_input *input;          /* one of these two */
    attn_layer_file *layer;     /* of which the other is NULL */
    attn_layer_problem problem; /* with the settings replaced, in float64; of an input file its attention alone */
} explain_source;

/* Collective. Opens an input or layer file and checks that it can be explained. out is closed on failure too. */
attn_status explain_source_open(const bench *launch, const char *path, const explain_settings *settings,
                                explain_source *out, attn_error *error);

/* Collective. Takes one that was zeroed. */
attn_status explain_source_close(explain_source *source, attn_status status, attn_error *error);

/* Collective. Reads the arrays and computes on rank 0.
 *   x         out, to be destroyed before the source is closed; NULL on other ranks
 *   unmasked  out, the same without mask; NULL: not wanted */
attn_status explain_source_compute(const bench *launch, const explain_source *source, attn_explanation **x,
                                   attn_explanation **unmasked, attn_error *error);

#endif
