/* Shares of traffic that leave a node, by who sends to whom. */
#include "plan/exchange.h"
#include "plan/hybrid.h"
#include "plan/model.h"
#include "plan/needs.h"

#include <math.h>

static int node_of(const attn_plan *plan, int rank)
{
    return rank / plan->node_ranks;
}

/* The rank of a member of the sequence group of a head index. */
static int member(const attn_plan *plan, int ps, int ph)
{
    return ps * plan->grid.head + ph;
}

static bool apart(const attn_plan *plan, int a, int b)
{
    return node_of(plan, a) != node_of(plan, b);
}

/* Of members `to` of the sequence group to which one of them sends alike. */
typedef bool sends(const attn_plan *plan, const attn_needs *needs, int from, int to);

static double most_far(const attn_plan *plan, const attn_needs *needs, sends *goes)
{
    double most = 0;

    if (plan->node_ranks >= plan->ranks)
        return 0;
    for (int from = 0; from < plan->grid.seq; from++)
        for (int ph = 0; ph < plan->grid.head; ph++) {
            int all = 0, far = 0;

            for (int to = 0; to < plan->grid.seq; to++) {
                if (to == from || !goes(plan, needs, from, to))
                    continue;
                all++;
                far += apart(plan, member(plan, from, ph), member(plan, to, ph));
            }
            most = fmax(most, all > 0 ? (double)far / all : 0);
        }
    return most;
}

static bool to_all(const attn_plan *plan, const attn_needs *needs, int from, int to)
{
    (void)plan, (void)needs, (void)from, (void)to;
    return true;
}

static bool to_next(const attn_plan *plan, const attn_needs *needs, int from, int to)
{
    (void)needs;
    return to == (from + 1) % plan->grid.seq;
}

static bool to_seeing(const attn_plan *plan, const attn_needs *needs, int from, int to)
{
    (void)plan;
    return attn_needs_see(needs, to, from);
}

static bool in_alltoall(const attn_plan *plan, const attn_needs *needs, int from, int to)
{
    (void)needs;
    return attn_hybrid_place_of(&plan->hybrid, from).w == attn_hybrid_place_of(&plan->hybrid, to).w;
}

static bool next_in_ring(const attn_plan *plan, const attn_needs *needs, int from, int to)
{
    const attn_hybrid_place place = attn_hybrid_place_of(&plan->hybrid, from);

    (void)needs;
    return to == attn_hybrid_rank(&plan->hybrid, place.u, (place.w + 1) % plan->hybrid.ring);
}

double attn_far_spread(const attn_plan *plan, const attn_needs *needs)
{
    return most_far(plan, needs, to_all);
}

double attn_far_neighbour(const attn_plan *plan, const attn_needs *needs)
{
    return most_far(plan, needs, to_next);
}

double attn_far_seen(const attn_plan *plan, const attn_needs *needs)
{
    return most_far(plan, needs, to_seeing);
}

double attn_far_alltoall(const attn_plan *plan, const attn_needs *needs)
{
    return most_far(plan, needs, in_alltoall);
}

double attn_far_ring(const attn_plan *plan, const attn_needs *needs)
{
    return most_far(plan, needs, next_in_ring);
}

double attn_far_nodes(const attn_plan *plan, const attn_needs *needs)
{
    double most = 0;

    (void)needs;
    for (int ph = 0; ph < plan->grid.head && plan->grid.seq > 1; ph++) {
        int crossings = 0;

        for (int ps = 1; ps < plan->grid.seq; ps++)
            crossings += apart(plan, member(plan, ps - 1, ph), member(plan, ps, ph));
        most = fmax(most, (double)crossings / (plan->grid.seq - 1));
    }
    return most;
}

double attn_far_heads(const attn_plan *plan)
{
    double most = 0;

    if (plan->node_ranks >= plan->ranks || plan->grid.head == 1)
        return 0;
    for (int rank = 0; rank < plan->ranks; rank++) {
        const int first = rank / plan->grid.head * plan->grid.head;
        int far = 0;

        for (int other = first; other < first + plan->grid.head; other++)
            far += apart(plan, other, rank);
        most = fmax(most, (double)far / (plan->grid.head - 1));
    }
    return most;
}
