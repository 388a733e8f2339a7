/* A distributed forward pass over this rank's cuts of a fixture, for tests that run on several ranks. */
#ifndef ATTN_TEST_PASS_H
#define ATTN_TEST_PASS_H

#include "fixture.h"

#include <attn/dist.h>

typedef struct pass {
    attn_dist *dist;
    attn_dist_buffers buffers;
    void *q, *k, *v;
} pass;

/* Cuts this rank's q, k and v, and makes room for o and lse, filled with NaN. Takes the dist, which pass_finish
 * destroys. */
pass pass_make(const fixture *f, attn_dist *dist);

/* Runs it; the times are looked at. */
void pass_forward(pass *run);

/* Compares o and lse with the exact result. */
void pass_compare(const fixture *f, const pass *run);

/* Frees all but what the fixture has. */
void pass_finish(pass *run);

#endif
