/* Exchange `hierarchical`: a ring of nodes around a ring of each node's ranks (the double ring of Gu et al. 2024,
 * "LoongTrain: Efficient Training of Long-Sequence LLMs with Head-Context Parallelism", section 4.2).
 *
 * With n nodes of m ranks, in outer step t the ranks of node g compute with the parts of node g - t (mod n). Those go
 * around in the node, m inner steps as in a ring, and meanwhile each rank hands the one that it had at first to the
 * node g + 1, so that what crosses the slow network has m steps of computing to hide behind and goes over all ranks'
 * links at once. Part a of a node begins at the rank a mod m of each node, so that nodes may have different numbers of
 * ranks: what belongs to one rank at a time is a block of parts. A part stops at the last node, and in each node at the
 * last rank, that has rows which see it. Where every rank is on one node this is the ring.
 *
 * Backward, in each node the sums of dk and dv travel one step behind the part that they belong to, from the first rank
 * that sees it to the last, which sends them home; there the sums of the nodes are added in the order of the outer ring
 * from the owner's node on, the owner's own first. So the order of a sum does not depend on what arrives when.
 *
 * Volume, even division and a full mask: of a part each node sends (m - 1) 2 hkv X, and every node but one another
 * 2 hkv X to the next, so a rank hands over n (m - 1) + n - 1 = p - 1 times 2 hkv X as in the ring, n - 1 of them to
 * other nodes. Backward, sums of 2 hkv a X / e, a bytes an accumulator of e: m - 1 times in the own node and m times in
 * each other, which is p - 1 in all. */
#include "core/checked.h"
#include "dist/exchange.h"
#include "dist/nodes.h"
#include "dist/partial.h"
#include "dist/pieces.h"
#include "dist/share_heads.h"
#include "dist/steps.h"
#include "dist/transfers.h"

#include <attn/memory.h>

#include <stdlib.h>

enum { TAG_OUTER = 1, TAG_INNER, TAG_SUMS, TAG_HOME };

/* ---- Blocks of parts ---- */

/* What this rank has before it in all steps, and how it is laid out; predictions make it as well. */
typedef struct ring_view {
    const attn_plan *plan;
    const attn_needs *needs;
    const attn_part *part;
    attn_nodes nodes;
    int mine, node, begin, size, seat; /* this rank, its node, and its place there */
} ring_view;

static ring_view view_of(const attn_plan *plan, const attn_needs *needs, const attn_part *part)
{
    ring_view view = {.plan = plan, .needs = needs, .part = part, .nodes = attn_nodes_of(plan, part)};

    view.mine = part->seq_index;
    view.node = attn_nodes_find(&view.nodes, view.mine);
    view.begin = attn_nodes_begin(&view.nodes, view.node);
    view.size = attn_nodes_size(&view.nodes, view.node);
    view.seat = view.mine - view.begin;
    return view;
}

/* The first part of the block that this rank has at inner step u of outer step t; the next is view->size on; *end is
 * behind the last part of its node. */
static int block_begin(const ring_view *view, int t, int u, int *end)
{
    const int from = (view->node - t + view->nodes.count) % view->nodes.count;
    const int begin = attn_nodes_begin(&view->nodes, from);

    *end = begin + attn_nodes_size(&view->nodes, from);
    return begin + (view->seat - u + view->size) % view->size;
}

static int64_t row_bytes(const ring_view *view, int64_t width, attn_dtype dtype)
{
    return view->plan->problem.shape.batch * view->part->kv_head_count * width * (int64_t)attn_dtype_size(dtype);
}

static int64_t key_bytes(const ring_view *view, int j)
{
    return view->needs->kv_rows[j]->rows *
           row_bytes(view, view->plan->problem.shape.head_dim, view->plan->problem.dtype);
}

static int64_t value_bytes(const ring_view *view, int j)
{
    return view->needs->kv_rows[j]->rows *
           row_bytes(view, view->plan->problem.shape.v_head_dim, view->plan->problem.dtype);
}

static int64_t sum_bytes(const ring_view *view, int j)
{
    const attn_shape *shape = &view->plan->problem.shape;

    return view->needs->kv_rows[j]->rows *
           row_bytes(view, shape->head_dim + shape->v_head_dim, attn_dtype_accumulator(view->plan->problem.dtype));
}

/* Bytes of buffers: of a block from another node, of one from another rank of this node, and of the sums of a block. */
typedef struct block_sizes {
    int64_t outer, inner, sums;
} block_sizes;

static int64_t larger(int64_t a, int64_t b)
{
    return a > b ? a : b;
}

static block_sizes sizes_of(const ring_view *view)
{
    block_sizes sizes = {0, 0, 0};

    for (int t = 0; t < view->nodes.count; t++)
        for (int u = 0; u < view->size; u++) {
            int end, j = block_begin(view, t, u, &end);
            block_sizes of = {0, 0, 0};

            for (; j < end; j += view->size) {
                const attn_part_way way = attn_nodes_way(&view->nodes, view->needs, j, view->node);

                of.outer += t > 0 && u == 0 && t <= way.outer_last ? key_bytes(view, j) + value_bytes(view, j) : 0;
                of.inner += u > 0 && u <= way.last ? key_bytes(view, j) + value_bytes(view, j) : 0;
                of.sums += sum_bytes(view, j);
            }
            sizes = (block_sizes){larger(sizes.outer, of.outer), larger(sizes.inner, of.inner),
                                  larger(sizes.sums, of.sums)};
        }
    return sizes;
}

/* ---- Predictions ---- */

static void count(attn_prediction *out, int64_t bytes)
{
    out->exchange_bytes += (double)bytes;
    out->messages += (double)attn_transfers_messages(bytes, ATTN_MESSAGE_BYTES);
}

static attn_status predict(const attn_plan *plan, const attn_needs *needs, const attn_part *part, attn_prediction *out,
                           attn_error *error)
{
    const ring_view view = view_of(plan, needs, part);
    const block_sizes sizes = sizes_of(&view);
    int64_t seen = 0;

    (void)error;
    for (int t = 0; t < view.nodes.count; t++)
        for (int u = 0; u < view.size; u++) {
            int end, j = block_begin(&view, t, u, &end);
            bool any = false;

            for (; j < end; j += view.size) {
                const attn_part_way way = attn_nodes_way(&view.nodes, needs, j, view.node);

                for (int to = (u == 0 && t < way.outer_last) + (u < way.last); to > 0; to--) {
                    count(out, key_bytes(&view, j));
                    count(out, value_bytes(&view, j));
                }
                any = any || attn_needs_see(needs, view.mine, j);
            }
            seen += any;
        }
    out->extra_bytes += 2 * (double)(sizes.outer + sizes.inner);
    if (part->head_count > 0)
        out->extra_bytes += attn_steps_extra_bytes(plan, part->head_count, part->q_rows->rows, seen);
    return ATTN_OK;
}

static attn_status predict_backward(const attn_plan *plan, const attn_needs *needs, const attn_part *part,
                                    attn_prediction *out, attn_error *error)
{
    const ring_view view = view_of(plan, needs, part);

    for (int t = 0; t < view.nodes.count; t++)
        for (int u = 0; u < view.size; u++) {
            int end, j = block_begin(&view, t, u, &end);

            for (; j < end; j += view.size) {
                const attn_part_way way = attn_nodes_way(&view.nodes, needs, j, view.node);

                if (way.last >= 0 && u >= way.first && u <= way.last)
                    count(out, sum_bytes(&view, j));
            }
        }
    out->extra_bytes += 3 * (double)sizes_of(&view).sums + 3 * (double)sum_bytes(&view, view.mine);
    attn_share_predict(plan, part, out);
    return predict(plan, needs, part, out, error);
}

/* ---- State ---- */

/* A part in a step, and where its keys, values, and the shares of their gradients are. */
typedef struct placed_part {
    int j;
    const void *k, *v;
    char *room;         /* k and then v in a buffer; NULL: it does not come, or is the caller's */
    char *sums, *share; /* what travels; what this rank adds to it, the same where it begins here */
} placed_part;

typedef struct hierarchical_state {
    attn_exchange_state base;
    ring_view view;
    attn_part_way *ways;       /* [ranks] of each part through this node */
    int *home_from;            /* [nodes] by outer step, the rank that sends sums of this rank's part home; -1: none */
    char *outer[2], *inner[2]; /* blocks on their way */
    char *sums[3], *home[2],
        *total;                  /* backward: sums of two blocks on their way and this rank's share of one; sums that
                                        come home, and all of them */
    placed_part *parts, *coming; /* those of the step, and of one to come */
    attn_array *k, *v, *dk, *dv; /* of the parts of the step that are seen */
    int part_count;              /* of the step */
    attn_steps *steps; /* step t * size + u: what is seen of the block; the own part, seen or not, in the first */
    attn_transfers between, within, dkv, homes[2];
} hierarchical_state;

static void destroy(attn_exchange_state *base)
{
    hierarchical_state *state = (hierarchical_state *)base;

    if (state == NULL)
        return;
    for (int n = 0; n < 2; n++) {
        free(state->outer[n]);
        free(state->inner[n]);
        free(state->home[n]);
        attn_transfers_release(&state->homes[n]);
    }
    for (int n = 0; n < 3; n++)
        free(state->sums[n]);
    free(state->total);
    free(state->ways);
    free(state->home_from);
    free(state->parts);
    free(state->coming);
    free(state->k);
    free(state->v);
    free(state->dk);
    free(state->dv);
    attn_steps_destroy(state->steps);
    attn_transfers_release(&state->between);
    attn_transfers_release(&state->within);
    attn_transfers_release(&state->dkv);
    free(state);
}

/* Whether part j is among those of a step's kernel pass. */
static bool takes(const ring_view *view, int j)
{
    return j == view->mine || attn_needs_see(view->needs, view->mine, j);
}

static attn_status make_lists(hierarchical_state *state, attn_error *error)
{
    const ring_view *view = &state->view;

    state->ways = attn_calloc_array(view->nodes.ranks, sizeof *state->ways);
    state->home_from = attn_calloc_array(view->nodes.count, sizeof *state->home_from);
    state->parts = attn_calloc_array(view->nodes.ranks, sizeof *state->parts);
    state->coming = attn_calloc_array(view->nodes.ranks, sizeof *state->coming);
    state->k = attn_calloc_array(view->nodes.ranks, sizeof *state->k);
    state->v = attn_calloc_array(view->nodes.ranks, sizeof *state->v);
    state->dk = attn_calloc_array(view->nodes.ranks, sizeof *state->dk);
    state->dv = attn_calloc_array(view->nodes.ranks, sizeof *state->dv);
    if (state->ways == NULL || state->home_from == NULL || state->parts == NULL || state->coming == NULL ||
        state->k == NULL || state->v == NULL || state->dk == NULL || state->dv == NULL)
        return attn_error_set(error, ATTN_MEMORY, "no memory for the parts of %d ranks", view->nodes.ranks);
    for (int j = 0; j < view->nodes.ranks; j++)
        state->ways[j] = attn_nodes_way(&view->nodes, view->needs, j, view->node);
    for (int t = 0; t < view->nodes.count; t++) {
        const int node = (view->node + t) % view->nodes.count;
        const attn_part_way way = attn_nodes_way(&view->nodes, view->needs, view->mine, node);

        state->home_from[t] = way.last < 0 ? -1
                                           : attn_nodes_begin(&view->nodes, node) +
                                                 (way.seat + way.last) % attn_nodes_size(&view->nodes, node);
    }
    return ATTN_OK;
}

static attn_status make_steps(hierarchical_state *state, attn_error *error)
{
    const ring_view *view = &state->view;
    const int count = view->nodes.count * view->size;
    attn_steps_setup setup = attn_steps_of_group(&state->base.group);
    attn_step_parts *steps = attn_calloc_array(count, sizeof *steps);
    const attn_segments **rows = attn_calloc_array(view->nodes.ranks, sizeof(attn_segments *));
    attn_status status = ATTN_OK;
    int listed = 0;

    if (steps == NULL || rows == NULL)
        status = attn_error_set(error, ATTN_MEMORY, "no memory for %d steps", count);
    for (int n = 0; n < count && status == ATTN_OK; n++) {
        int end, j = block_begin(view, n / view->size, n % view->size, &end);

        steps[n] = (attn_step_parts){0, &rows[listed]};
        for (; j < end; j += view->size)
            if (takes(view, j)) {
                rows[listed++] = view->needs->kv_rows[j];
                steps[n].part_count++;
            }
    }
    setup.step_count = count;
    setup.steps = steps;
    setup.dkv_dtype = attn_dtype_accumulator(view->plan->problem.dtype);
    if (status == ATTN_OK)
        status = attn_steps_create(&setup, &state->steps, error);
    free(steps);
    free(rows);
    return status;
}

static attn_status make_buffers(hierarchical_state *state, attn_error *error)
{
    const ring_view *view = &state->view;
    const attn_group *group = &state->base.group;
    const bool backward = group->plan->pass == ATTN_PASS_BACKWARD;
    const block_sizes sizes = sizes_of(view);
    const int64_t sums = backward ? sizes.sums : 0, home = backward ? sum_bytes(view, view->mine) : 0;
    const int64_t own = key_bytes(view, view->mine) + value_bytes(view, view->mine), parts = view->nodes.ranks;
    const struct {
        char **memory;
        int64_t bytes;
    } buffers[] = {{&state->outer[0], sizes.outer}, {&state->outer[1], sizes.outer},
                   {&state->inner[0], sizes.inner}, {&state->inner[1], sizes.inner},
                   {&state->sums[0], sums},         {&state->sums[1], sums},
                   {&state->sums[2], sums},         {&state->home[0], home},
                   {&state->home[1], home},         {&state->total, home}};
    attn_status status;

    for (size_t n = 0; n < sizeof buffers / sizeof buffers[0]; n++) {
        *buffers[n].memory = attn_aligned_alloc((size_t)buffers[n].bytes);
        if (*buffers[n].memory == NULL)
            return attn_error_set(error, ATTN_MEMORY, "no memory for keys, values and sums on their way, %lld bytes",
                                  (long long)buffers[n].bytes);
    }
    status = attn_transfers_create(group->comm, group->message_bytes, 4 * parts, 2 * sizes.outer + own, &state->between,
                                   error);
    if (status == ATTN_OK)
        status = attn_transfers_create(group->comm, group->message_bytes, 4 * parts,
                                       2 * sizes.inner + sizes.outer + own, &state->within, error);
    if (status == ATTN_OK)
        status = attn_transfers_create(group->comm, group->message_bytes, 2 * parts, 2 * sums, &state->dkv, error);
    for (int n = 0; n < 2 && status == ATTN_OK; n++)
        status = attn_transfers_create(group->comm, group->message_bytes, 1, home, &state->homes[n], error);
    if (status == ATTN_OK)
        status = attn_transfers_choose(&state->between, group->plan->transfer, view->nodes.count, error);
    if (status == ATTN_OK)
        status = attn_transfers_choose(&state->within, group->plan->transfer, view->nodes.count * view->size, error);
    if (status == ATTN_OK)
        status = attn_transfers_choose(&state->dkv, group->plan->transfer, view->nodes.count * view->size + 1, error);
    return status;
}

static attn_status create(const attn_group *group, attn_exchange_state **out, attn_error *error)
{
    hierarchical_state *state = calloc(1, sizeof *state);
    attn_status status;

    *out = NULL;
    if (state == NULL)
        return attn_error_set(error, ATTN_MEMORY, "no memory for the exchange");
    state->base.group = *group;
    state->view = view_of(group->plan, group->needs, group->part);
    status = make_lists(state, error);
    if (status == ATTN_OK)
        status = make_buffers(state, error);
    if (status == ATTN_OK)
        status = make_steps(state, error);
    if (status != ATTN_OK) {
        destroy(&state->base);
        return status;
    }
    *out = &state->base;
    return ATTN_OK;
}

/* ---- Keys and values ---- */

/* Lays out in a buffer the block of step u of outer step t, as far as its parts come here. Returns how many parts it
 * has; those that do not come have no place. */
static int lay_out(const hierarchical_state *state, int t, int u, char *buffer, placed_part *list)
{
    const ring_view *view = &state->view;
    int end, j = block_begin(view, t, u, &end), count = 0;

    for (; j < end; j += view->size) {
        const attn_part_way *const way = &state->ways[j];

        list[count] = (placed_part){.j = j};
        if (u == 0 ? t <= way->outer_last : u <= way->last) {
            list[count].k = list[count].room = buffer;
            list[count].v = buffer + key_bytes(view, j);
            buffer += key_bytes(view, j) + value_bytes(view, j);
        }
        count++;
    }
    return count;
}

/* Takes the parts of a step where they are. */
static void enter(hierarchical_state *state, const attn_exchange_call *call, int t, int u)
{
    if (t == 0 && u == 0) {
        state->parts[0] = (placed_part){.j = state->view.mine, .k = call->k, .v = call->v};
        state->part_count = 1;
    } else {
        state->part_count =
            lay_out(state, t, u, u == 0 ? state->outer[(t - 1) % 2] : state->inner[(u - 1) % 2], state->parts);
    }
}

static void send(attn_transfers *transfers, const ring_view *view, const placed_part *part, int to, int tag)
{
    attn_transfers_send(transfers, part->k, key_bytes(view, part->j), to, tag);
    attn_transfers_send(transfers, part->v, value_bytes(view, part->j), to, tag);
}

static void receive(attn_transfers *transfers, const ring_view *view, const placed_part *part, int from, int tag)
{
    attn_transfers_receive(transfers, part->room, key_bytes(view, part->j), from, tag);
    attn_transfers_receive(transfers, part->room + key_bytes(view, part->j), value_bytes(view, part->j), from, tag);
}

/* Hands this rank's block of outer step t to the next node, and receives that of the next outer step. */
static void start_outer(hierarchical_state *state, int t)
{
    const ring_view *view = &state->view;
    const attn_nodes *nodes = &view->nodes;
    const int next = (view->node + 1) % nodes->count, before = (view->node + nodes->count - 1) % nodes->count;
    const int coming = t + 1 < nodes->count ? lay_out(state, t + 1, 0, state->outer[t % 2], state->coming) : 0;

    for (int n = 0; n < coming; n++)
        if (state->coming[n].room != NULL)
            receive(&state->between, view, &state->coming[n], attn_nodes_holder(nodes, state->coming[n].j, before),
                    TAG_OUTER);
    for (int n = 0; n < state->part_count; n++)
        if (t < state->ways[state->parts[n].j].outer_last)
            send(&state->between, view, &state->parts[n], attn_nodes_holder(nodes, state->parts[n].j, next), TAG_OUTER);
}

/* Hands the block of a step to the next rank of the node, and receives that of the next step. */
static void start_inner(hierarchical_state *state, int t, int u)
{
    const ring_view *view = &state->view;
    const int next = view->begin + (view->seat + 1) % view->size;
    const int before = view->begin + (view->seat + view->size - 1) % view->size;
    const int coming = u + 1 < view->size ? lay_out(state, t, u + 1, state->inner[u % 2], state->coming) : 0;

    for (int n = 0; n < coming; n++)
        if (state->coming[n].room != NULL)
            receive(&state->within, view, &state->coming[n], before, TAG_INNER);
    for (int n = 0; n < state->part_count; n++)
        if (u < state->ways[state->parts[n].j].last)
            send(&state->within, view, &state->parts[n], next, TAG_INNER);
}

/* Starts what a step sends and receives, and lists the arrays that its kernel pass takes. */
static void start_step(hierarchical_state *state, const attn_exchange_call *call, int t, int u)
{
    const ring_view *view = &state->view;
    const attn_shape *shape = &view->plan->problem.shape;
    int taken = 0;

    enter(state, call, t, u);
    if (u == 0)
        start_outer(state, t);
    start_inner(state, t, u);
    for (int n = 0; n < state->part_count; n++) {
        const placed_part *const part = &state->parts[n];
        const int64_t heads = view->part->kv_head_count, rows = view->needs->kv_rows[part->j]->rows;

        if (!takes(view, part->j))
            continue;
        state->k[taken] = attn_array_of_const(part->k, heads, rows, shape->head_dim);
        state->v[taken++] = attn_array_of_const(part->v, heads, rows, shape->v_head_dim);
    }
}

static void make_progress(void *context)
{
    hierarchical_state *state = context;
    attn_transfers *const under_way[] = {&state->within, &state->between, &state->dkv};

    for (size_t n = 0; n < sizeof under_way / sizeof under_way[0]; n++) {
        const attn_progress one = attn_transfers_progress(under_way[n]);

        one.make(one.context);
    }
}

/* A step has started all that it sends and receives. */
static attn_status ready(hierarchical_state *state, attn_laps *laps, attn_error *error)
{
    attn_status status;

    attn_lap(laps, ATTN_PHASE_EXCHANGE);
    status = attn_transfers_ready(&state->within, error);
    if (status == ATTN_OK)
        status = attn_transfers_ready(&state->between, error);
    if (status == ATTN_OK)
        status = attn_transfers_ready(&state->dkv, error);
    attn_lap(laps, ATTN_PHASE_EXCHANGE_WAIT);
    return status;
}

static attn_status forward(attn_exchange_state *base, const attn_exchange_call *call, attn_laps *laps,
                           attn_error *error)
{
    hierarchical_state *state = (hierarchical_state *)base;
    const attn_progress progress = {.make = make_progress, .context = state};
    const int steps = state->view.nodes.count * state->view.size;
    attn_status status = ATTN_OK;

    attn_steps_forward(state->steps, &call->q, &call->o, &call->lse);
    for (int n = 0; n < steps && status == ATTN_OK; n++) {
        const int t = n / state->view.size, u = n % state->view.size;

        start_step(state, call, t, u);
        status = ready(state, laps, error);
        if (status != ATTN_OK)
            break;
        attn_steps_forward_step(state->steps, n, state->k, state->v, &progress, laps);
        status = attn_transfers_wait(&state->within, error);
        if (status == ATTN_OK && u == state->view.size - 1)
            status = attn_transfers_wait(&state->between, error);
        attn_lap(laps, ATTN_PHASE_EXCHANGE_WAIT);
    }
    if (status == ATTN_OK)
        attn_steps_forward_end(state->steps, laps);
    return status;
}

/* ---- Backward ---- */

static bool travels_at(const attn_part_way *way, int u)
{
    return way->last >= 0 && u >= way->first && u <= way->last;
}

/* Places the sums of a step's parts: this rank's share goes right where they travel if they begin here, and those of
 * its own part to the total. Receives what the ranks before made of them. */
static void start_sums(hierarchical_state *state, int t, int u)
{
    const ring_view *view = &state->view;
    const attn_shape *shape = &view->plan->problem.shape;
    const attn_dtype dtype = attn_dtype_accumulator(view->plan->problem.dtype);
    const int before = view->begin + (view->seat + view->size - 1) % view->size;
    char *sums = state->sums[(t * view->size + u) % 2], *share = state->sums[2];
    int taken = 0;

    for (int n = 0; n < state->part_count; n++) {
        placed_part *const part = &state->parts[n];
        const attn_part_way *const way = &state->ways[part->j];
        const int64_t heads = view->part->kv_head_count, rows = view->needs->kv_rows[part->j]->rows;

        part->sums = sums;
        part->share = part->j == view->mine ? state->total : u == way->first ? sums : share;
        sums += sum_bytes(view, part->j);
        share += sum_bytes(view, part->j);
        if (travels_at(way, u) && u > way->first)
            attn_transfers_receive(&state->dkv, part->sums, sum_bytes(view, part->j), before, TAG_SUMS);
        if (!takes(view, part->j))
            continue;
        state->dk[taken] = attn_array_dense(part->share, heads, rows, shape->head_dim);
        state->dv[taken++] = attn_array_dense(part->share + rows * row_bytes(view, shape->head_dim, dtype), heads, rows,
                                              shape->v_head_dim);
    }
}

/* Adds this rank's shares to what has come, and hands that on: to the next rank, or home. */
static void hand_on(hierarchical_state *state, int u, attn_laps *laps)
{
    const ring_view *view = &state->view;
    const int next = view->begin + (view->seat + 1) % view->size;

    for (int n = 0; n < state->part_count; n++) {
        const placed_part *const part = &state->parts[n];
        const attn_part_way *const way = &state->ways[part->j];

        if (!travels_at(way, u))
            continue;
        if (u > way->first && takes(view, part->j))
            attn_partial_add(view->plan, sum_bytes(view, part->j), part->sums, part->share);
        attn_lap(laps, ATTN_PHASE_MERGE);
        attn_transfers_send(&state->dkv, part->sums, sum_bytes(view, part->j), u < way->last ? next : part->j,
                            u < way->last ? TAG_SUMS : TAG_HOME);
        attn_lap(laps, ATTN_PHASE_EXCHANGE);
    }
}

/* Adds what the node of outer step t made of this rank's part. */
static attn_status gather_home(hierarchical_state *state, int t, attn_laps *laps, attn_error *error)
{
    const ring_view *view = &state->view;
    const attn_status status = attn_transfers_wait(&state->homes[t % 2], error);

    attn_lap(laps, ATTN_PHASE_EXCHANGE_WAIT);
    if (status != ATTN_OK || state->home_from[t] < 0)
        return status;
    attn_partial_add(view->plan, sum_bytes(view, view->mine), state->total, state->home[t % 2]);
    attn_lap(laps, ATTN_PHASE_MERGE);
    return ATTN_OK;
}

/* The sums of this rank's part become dk and dv. */
static void store(const hierarchical_state *state, const attn_exchange_call *call)
{
    const ring_view *view = &state->view;
    const attn_shape *shape = &view->plan->problem.shape;
    const attn_dtype dtype = attn_dtype_accumulator(view->plan->problem.dtype), to = state->base.group.dkv_dtype;
    const int64_t rows = view->part->kv_rows->rows, lines = shape->batch * view->part->kv_head_count * rows;

    attn_partial_convert(view->plan, lines * shape->head_dim, to, call->dk, state->total);
    attn_partial_convert(view->plan, lines * shape->v_head_dim, to, call->dv,
                         state->total + rows * row_bytes(view, shape->head_dim, dtype));
}

/* One step: this rank's shares of the sums are computed and handed on while keys and values travel. */
static attn_status backward_step(hierarchical_state *state, const attn_exchange_call *call, int t, int u,
                                 attn_laps *laps, attn_error *error)
{
    const ring_view *view = &state->view;
    const attn_progress progress = {.make = make_progress, .context = state};
    attn_status status;

    if (u == 0 && state->home_from[t] >= 0) /* before anybody may wait for having sent it */
        attn_transfers_receive(&state->homes[t % 2], state->home[t % 2], sum_bytes(view, view->mine),
                               state->home_from[t], TAG_HOME);
    start_step(state, call, t, u);
    start_sums(state, t, u);
    status = ready(state, laps, error);
    if (status != ATTN_OK)
        return status;
    attn_steps_backward_step(state->steps, t * view->size + u, state->k, state->v, state->dk, state->dv, &progress,
                             laps);
    status = attn_transfers_wait(&state->dkv, error);
    attn_lap(laps, ATTN_PHASE_EXCHANGE_WAIT);
    if (status != ATTN_OK)
        return status;
    hand_on(state, u, laps);
    status = attn_transfers_wait(&state->within, error);
    if (status == ATTN_OK && u == view->size - 1)
        status = attn_transfers_wait(&state->between, error);
    attn_lap(laps, ATTN_PHASE_EXCHANGE_WAIT);
    return status == ATTN_OK && u == view->size - 1 && t > 0 ? gather_home(state, t - 1, laps, error) : status;
}

static attn_status backward(attn_exchange_state *base, const attn_exchange_call *call, attn_laps *laps,
                            attn_error *error)
{
    hierarchical_state *state = (hierarchical_state *)base;
    const int steps = state->view.nodes.count * state->view.size;
    attn_status status = ATTN_OK;

    attn_steps_backward(state->steps, &(attn_steps_rows){call->q, call->o, call->lse, call->d_o, call->dq});
    for (int n = 0; n < steps && status == ATTN_OK; n++)
        status = backward_step(state, call, n / state->view.size, n % state->view.size, laps, error);
    if (status == ATTN_OK)
        status = attn_transfers_wait(&state->dkv, error);
    attn_lap(laps, ATTN_PHASE_EXCHANGE_WAIT);
    if (status == ATTN_OK)
        status = gather_home(state, state->view.nodes.count - 1, laps, error);
    if (status != ATTN_OK)
        return status;
    store(state, call);
    attn_steps_backward_end(state->steps, laps);
    return ATTN_OK;
}

static const attn_exchange_ops ops = {.create = create, .destroy = destroy, .forward = forward, .backward = backward};

const attn_exchange attn_exchange_hierarchical = {
    .name = "hierarchical",
    .summary = "a ring between nodes around a ring within each: fewer and larger messages on the slow network",
    .transfers = 1U << ATTN_TRANSFER_BLOCKING | 1U << ATTN_TRANSFER_NONBLOCKING,
    .transfer = ATTN_TRANSFER_NONBLOCKING,
    .predict = predict,
    .predict_backward = predict_backward,
    .cost = {.overlaps = ~(1U << ATTN_TRANSFER_BLOCKING), .merges = ~0U, .far_share = attn_far_nodes},
    .ops = &ops};
