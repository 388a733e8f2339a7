#include "groups.h"
#include "memory.h"

#include <attn/kernel.h>

#include <stdlib.h>
#include <string.h>

/* ATTN_ARGUMENT when the environment names a kernel that is none. */
static attn_status choose_kernels(rank_group *group, attn_error *error)
{
    for (int pass = 0; pass < ATTN_PASS_COUNT; pass++)
        for (int dtype = 0; dtype < ATTN_DTYPE_COUNT; dtype++)
            for (int dropout = 0; dropout < 2; dropout++) {
                const attn_kernel *chosen;
                const attn_status status =
                    attn_kernel_choose((attn_pass)pass, (attn_dtype)dtype, dropout == 1, &chosen, error);

                if (status != ATTN_OK)
                    return status;
                for (size_t i = 0; i < attn_kernel_count(); i++)
                    if (attn_kernel_at(i) == chosen)
                        group->kernels[pass][dtype][dropout] = i;
            }
    return ATTN_OK;
}

/* Collective over the group: reads and reduces what its ranks have. */
static attn_status survey(rank_group *group, attn_error *error)
{
    attn_cores cores;
    double least[1], most[1];
    attn_status status = attn_comm_cores(group->comm, &cores, error);

    if (status != ATTN_OK)
        return status;
    least[0] = memory_available();
    most[0] = cores.node_ranks;
    status = attn_comm_min(group->comm, least, 1, error);
    if (status == ATTN_OK)
        status = attn_comm_max(group->comm, most, 1, error);
    if (status != ATTN_OK)
        return status;
    group->memory = least[0];
    group->node_ranks = (int)most[0];
    group->nodes = cores.nodes;
    group->consecutive = cores.consecutive;
    group->cores = cores.available;
    status = attn_comm_agree(group->comm, choose_kernels(group, error), error);
    if (status != ATTN_OK)
        return status;
    return attn_comm_gather_text(group->comm, cores.binding, &group->bindings, error);
}

static attn_status create_group(const bench *launch, int ranks, int threads, rank_group *group, attn_error *error)
{
    rank_group known;
    attn_status status;

    group->ranks = ranks;
    group->threads = threads;
    status = attn_comm_first(launch->comm, ranks, &group->comm, error);
    if (status != ATTN_OK)
        return status;
    if (rank_group_has(group, launch))
        status = survey(group, error);
    status = attn_comm_agree(launch->comm, status, error);
    if (status != ATTN_OK)
        return status;
    known = *group;
    status = attn_comm_broadcast(launch->comm, 0, &known, sizeof known, error);
    known.comm = group->comm; /* handles and pointers stay this rank's own */
    known.bindings = group->bindings;
    *group = known;
    return status;
}

/* Collective over the launch. A rank's share of its cores among all ranks of the launch, the least over the ranks: the
 * same for every group, so that a series over ranks keeps its threads. */
static attn_status default_threads(const bench *launch, int *out, attn_error *error)
{
    attn_cores cores;
    double least;
    attn_status status = attn_comm_cores(launch->comm, &cores, error);

    if (status != ATTN_OK)
        return status;
    least = cores.threads;
    status = attn_comm_min(launch->comm, &least, 1, error);
    *out = (int)least;
    return status;
}

attn_status rank_groups_create(const bench *launch, const int_list *ranks, rank_groups *out, attn_error *error)
{
    int threads = 1;
    attn_status status;

    out->count = 0;
    out->groups = calloc((size_t)ranks->count, sizeof *out->groups);
    status = out->groups != NULL ? ATTN_OK : attn_error_set(error, ATTN_MEMORY, "no memory for the groups of ranks");
    status = attn_comm_agree(launch->comm, status, error);
    if (status == ATTN_OK)
        status = default_threads(launch, &threads, error);
    for (int64_t i = 0; status == ATTN_OK && i < ranks->count; i++) {
        if (rank_groups_find(out, ranks->values[i]) != NULL)
            continue;
        out->count++;
        status = create_group(launch, (int)ranks->values[i], threads, &out->groups[out->count - 1], error);
    }
    return status;
}

void rank_groups_release(rank_groups *groups)
{
    for (int i = 0; i < groups->count; i++) {
        attn_comm_free(&groups->groups[i].comm);
        free(groups->groups[i].bindings);
    }
    free(groups->groups);
    memset(groups, 0, sizeof *groups);
}

const rank_group *rank_groups_find(const rank_groups *groups, int64_t ranks)
{
    for (int i = 0; i < groups->count; i++)
        if (groups->groups[i].ranks == ranks)
            return &groups->groups[i];
    return NULL;
}

bool rank_group_has(const rank_group *group, const bench *launch)
{
    return launch->rank < group->ranks;
}
