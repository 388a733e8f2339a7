/* A layer, between its creation and its passes. */
#ifndef LAYER_LAYER_H
#define LAYER_LAYER_H

#include "layer/heads.h"
#include "layer/output.h"
#include "layer/shares.h"
#include "layer/sums.h"

#include <attn/layer.h>

struct attn_layer {
    attn_layer_problem problem;
    attn_plan plan;
    attn_layer_form form;
    attn_layer_output way;
    MPI_Comm comm, seq_comm, head_comm; /* all ranks; the sequence group; the head group */
    attn_part *part;
    attn_kv_holders holders;
    attn_shares *queries; /* lines of x and y */
    attn_shares *context; /* lines of the context; NULL in self-attention */
    attn_heads **heads;   /* [head_objects] fused: one, of all heads of this rank; stacked: one each */
    int64_t head_objects;
    attn_output *output;
    attn_sums sums;

    /* [lines,E or Ec]; NULL where the caller's arrays are used. */
    void *x_all, *context_all;    /* of the part: gathered */
    void *dx_all, *d_context_all; /* of the part, accumulator type */
    void *room;                   /* what others have of dx or d_context of this rank's lines */
    void *own_sum;                /* sum of dx or d_context for this rank's lines, accumulator type */
    void *piece; /* stacked: gradients of one head's key and value weights and biases, accumulator type */
};

/* As attn_layer_create, with at most message_bytes handed over in one call (dist/pieces.h). */
attn_status attn_layer_create_limited(MPI_Comm comm, const attn_layer_problem *problem,
                                      const attn_layer_options *options, int64_t message_bytes, attn_layer **out,
                                      attn_error *error);

/* Lines of keys. */
static inline attn_shares *attn_layer_keys(const attn_layer *layer)
{
    return layer->context != NULL ? layer->context : layer->queries;
}

#endif
