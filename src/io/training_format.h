/* Names in a training file, and its arrays one by one. */
#ifndef IO_TRAINING_FORMAT_H
#define IO_TRAINING_FORMAT_H

#include <attn/training_file.h>

#include <stdio.h>

/* The arrays of a state by one number: kind, projection, weight or bias. */
enum { ATTN_STATE_ARRAYS = ATTN_TRAIN_ARRAY_COUNT * ATTN_PROJECTION_COUNT * 2 };

typedef struct attn_state_array {
    char path[64]; /* "weights/query.weight" */
    int rank;      /* 2 of a weight, 1 of a bias, 0 where the layer has none */
    int64_t extents[2];
    void *data;
} attn_state_array;

static inline attn_state_array attn_state_array_at(const attn_training *training, const attn_train_state *state, int n)
{
    const int kind = n / (2 * ATTN_PROJECTION_COUNT);
    const attn_projection projection = (attn_projection)(n / 2 % ATTN_PROJECTION_COUNT);
    const bool bias = n % 2 != 0;
    attn_state_array array = {.extents = {attn_layer_weight_out(&training->layer, projection),
                                          attn_layer_weight_in(&training->layer, projection)},
                              .data =
                                  bias ? state->arrays[kind].bias[projection] : state->arrays[kind].weight[projection]};

    snprintf(array.path, sizeof array.path, "%s/%s.%s", attn_train_array_name((attn_train_array)kind),
             attn_projection_name(projection), bias ? "bias" : "weight");
    if (array.extents[0] > 0)
        array.rank = !bias ? 2 : training->layer.bias[projection] ? 1 : 0;
    return array;
}

#endif
