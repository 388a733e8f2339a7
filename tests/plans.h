/* Plans for tests that run on several ranks: so many that every two choices that go together are in one. */
#ifndef ATTN_TEST_PLANS_H
#define ATTN_TEST_PLANS_H

#include <attn/plan.h>

/* Calls visit for plans of a problem over all ranks, in which every pair of choices occurs that occurs in any plan that
 * can run (a covering array of strength 2, Cohen et al. 1997, "The AETG system"): exchange with its transfer or its two
 * dimensions, grid, layout, combine, kernel, ranks of a node. With ATTN_TEST_PLANS=all in the environment all plans
 * that can run are visited. A plan that cannot run must say why. Every exchange is in one plan at least, unless the
 * pass is the backward one and it has none. Returns how many there were. */
int test_plans(const attn_problem *problem, attn_pass pass, void (*visit)(const attn_plan *plan, void *context),
               void *context);

/* Draws a plan that can run, the same on every rank: each kind of choice is drawn with equal chances, again until they
 * go together. */
attn_plan test_plan_draw(const attn_problem *problem, attn_pass pass, uint64_t seed);

#endif
