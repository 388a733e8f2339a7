/* Distributed passes over this rank's cuts of a fixture, for tests that run on several ranks. */
#ifndef ATTN_TEST_PASS_H
#define ATTN_TEST_PASS_H

#include "fixture.h"

#include <attn/dist.h>

typedef struct pass {
    attn_dist *dist;
    attn_dist_buffers buffers;
    void *q, *k, *v;
    attn_dist_backward_buffers backward; /* d_o NULL before pass_backward */
    void *d_o;
} pass;

/* Cuts this rank's q, k and v, and makes room for o and lse, filled with NaN. Takes the dist, which pass_finish
 * destroys. */
pass pass_make(const fixture *f, attn_dist *dist);

/* Runs it; the times are looked at. */
void pass_forward(pass *run);

/* Compares o and lse with the exact result. */
void pass_compare(const fixture *f, const pass *run);

/* The largest error of o and lse of this rank over what is accepted: above 1 is wrong. */
double pass_error(const fixture *f, const pass *run);

/* Runs the backward pass after a forward one, with the do of the fixture; the gradients are filled with NaN before. */
void pass_backward(const fixture *f, pass *run);

/* The largest error of its gradients over what is accepted. With 16 bits infinite or 0: there the accepted gradients
 * are those of the rounded o (attn_dist_check_backward), and only that all are numbers is told here. */
double pass_gradient_error(const fixture *f, const pass *run);

/* Whether o and lse, and after backward passes the gradients too, of two passes of one plan have the same bits. */
bool pass_same(const fixture *f, const pass *a, const pass *b);

/* Frees all but what the fixture has. */
void pass_finish(pass *run);

#endif
