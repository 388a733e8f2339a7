#include "machines.h"

#include <stdlib.h>
#include <string.h>

struct machine_links {
    int ranks, node_ranks;
    attn_machine machine; /* with default rates */
};

/* What a rate depends on. Lengths beyond those of a probe's piece are alike. */
typedef struct rate_key {
    int ranks, threads;
    attn_pass pass;
    attn_dtype dtype;
    const attn_kernel *kernel;
    int64_t head_dim, v_head_dim, group, heads, seq, kv_seq;
    bool softcap, dropout, alibi;
} rate_key;

struct machine_rate {
    rate_key key;
    attn_rate rate;
};

void machines_release(machines *known)
{
    free(known->links);
    free(known->rates);
    memset(known, 0, sizeof *known);
}

static rate_key key_of(const rank_group *group, const attn_problem *problem, const attn_plan_options *choices)
{
    const attn_shape *shape = &problem->shape;
    const int64_t rows = shape->seq < 1024 ? shape->seq : 1024;
    const bool decode = choices->pass == ATTN_PASS_DECODE;
    rate_key key;

    memset(&key, 0, sizeof key); /* keys are compared as bytes */
    key.ranks = group->ranks;
    key.threads = choices->threads;
    key.pass = choices->pass;
    key.dtype = problem->dtype;
    key.kernel = choices->kernel;
    key.head_dim = shape->head_dim;
    key.v_head_dim = shape->v_head_dim;
    key.group = shape->heads / shape->kv_heads;
    key.heads = decode || shape->heads < choices->threads ? shape->heads : choices->threads;
    key.seq = rows;
    key.kv_seq = decode || shape->kv_seq < 2048 ? shape->kv_seq : 2048;
    key.softcap = problem->score.softcap > 0;
    key.dropout = problem->dropout > 0;
    key.alibi = problem->score.alibi_slopes != NULL;
    return key;
}

/* Grows a list by one; ATTN_MEMORY on all ranks alike. */
static attn_status grow(MPI_Comm comm, void **list, int64_t count, size_t item, attn_error *error)
{
    void *grown = realloc(*list, (size_t)(count + 1) * item);

    if (grown != NULL)
        *list = grown;
    return attn_comm_agree(
        comm, grown != NULL ? ATTN_OK : attn_error_set(error, ATTN_MEMORY, "no memory for the machine"), error);
}

static attn_status find_links(machines *known, const rank_group *group, int node_ranks, attn_machine *out,
                              attn_error *error)
{
    void *list = known->links;
    attn_machine made = attn_machine_default();
    attn_status status;

    for (int64_t i = 0; i < known->link_count; i++)
        if (known->links[i].ranks == group->ranks && known->links[i].node_ranks == node_ranks) {
            *out = known->links[i].machine;
            return ATTN_OK;
        }
    status = grow(group->comm, &list, known->link_count, sizeof *known->links, error);
    known->links = list;
    made.cores = group->cores / group->nodes > 0 ? group->cores / group->nodes : 1;
    made.memory = group->memory / group->node_ranks;
    if (status == ATTN_OK && group->ranks > 1)
        status = attn_network_measure(group->comm, node_ranks, &made.node, &made.network, error);
    if (status == ATTN_OK)
        status = attn_copy_measure(group->comm, &made.copy_bandwidth, error);
    made.copy_origin = ATTN_ORIGIN_MEASURED;
    if (status != ATTN_OK)
        return status;
    known->links[known->link_count++] = (struct machine_links){group->ranks, node_ranks, made};
    *out = made;
    return ATTN_OK;
}

static attn_status find_rate(machines *known, const rank_group *group, const attn_problem *problem,
                             const attn_plan_options *choices, int cores, attn_rate *out, attn_error *error)
{
    const rate_key key = key_of(group, problem, choices);
    void *list = known->rates;
    attn_status status;

    for (int64_t i = 0; i < known->rate_count; i++)
        if (memcmp(&known->rates[i].key, &key, sizeof key) == 0) {
            *out = known->rates[i].rate;
            return ATTN_OK;
        }
    status = grow(group->comm, &list, known->rate_count, sizeof *known->rates, error);
    known->rates = list;
    if (status == ATTN_OK)
        status = attn_rate_measure(group->comm, problem, choices->pass, choices->kernel, choices->threads,
                                   choices->node_ranks, cores, out, error);
    if (status == ATTN_OK)
        known->rates[known->rate_count++] = (struct machine_rate){key, *out};
    return status;
}

attn_status machines_find(machines *known, const rank_group *group, const attn_problem *problem,
                          const attn_plan_options *choices, attn_machine *out, attn_error *error)
{
    attn_status status = attn_comm_agree(group->comm, attn_problem_check(problem, error), error);

    if (status == ATTN_OK)
        status = find_links(known, group, choices->node_ranks, out, error);
    return status == ATTN_OK
               ? find_rate(known, group, problem, choices, out->cores, &out->rate[choices->pass][problem->dtype], error)
               : status;
}
