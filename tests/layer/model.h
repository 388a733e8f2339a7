/* A layer with random weights and inputs, its exact output, and its exact gradients from differences of that output. */
#ifndef ATTN_TEST_MODEL_H
#define ATTN_TEST_MODEL_H

#include <attn/layer.h>

/* Arrays of a whole layer: inputs, then what is computed from them. All float64; inputs are numbers of the problem's
 * dtype. */
typedef struct model {
    attn_layer_problem problem;
    double *x, *context, *dy;    /* context NULL in self-attention */
    attn_layer_arrays weights;   /* double */
    double *y, *dx, *d_context;  /* exact */
    attn_layer_arrays gradients; /* double, exact */
    double max_score;
} model;

/* Makes inputs, and computes y, and with gradients all of these: every element, by central differences of order four of
 * the sum of dy y. Collective, each rank computes some of the elements. */
model model_make(const attn_layer_problem *problem, bool gradients);
void model_drop(model *m);

/* Numbers that a layer has: of x, of the context, of y, of a weight and its bias. */
int64_t model_x_count(const attn_layer_problem *problem);
int64_t model_context_count(const attn_layer_problem *problem);
int64_t model_y_count(const attn_layer_problem *problem);

/* One rank's arrays of a pass of a layer, and the passes. */
typedef struct run {
    attn_layer *layer;
    const model *of;
    void *x, *context, *dy, *y, *dx, *d_context;
    attn_layer_arrays weights, gradients;
} run;

/* Cuts what this rank has. Takes the layer, which run_finish destroys. */
run run_make(const model *m, attn_layer *layer);
void run_finish(run *r);

/* Makes a pass of each kind; the times are looked at. */
void run_forward(run *r);
void run_backward(run *r);

/* Compares with the exact results, and returns the largest error over what is accepted. */
double run_error(const run *r, bool gradients);

/* Whether two runs have the same bits in all that they computed. */
bool run_same(const run *a, const run *b, bool gradients);

#endif
