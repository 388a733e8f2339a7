/* Which cores each rank may use. Ranks of one node whose bindings overlap share those cores. */
#include <attn/comm.h>

#include <hwloc.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

enum { BINDING_SIZE = 4096 }; /* a cpuset as text: hundreds of single CPUs, or any number in ranges */

/* Reads this process's binding: the allowed CPUs as a list, and how many physical cores they are. */
static attn_status read_binding(char list[BINDING_SIZE], int *cores, attn_error *error)
{
    attn_status status = ATTN_OK;
    hwloc_topology_t topology;
    hwloc_bitmap_t set = hwloc_bitmap_alloc();

    if (set == NULL)
        return attn_error_set(error, ATTN_MEMORY, "no memory for a CPU set");
    if (hwloc_topology_init(&topology) != 0) {
        hwloc_bitmap_free(set);
        return attn_error_set(error, ATTN_MEMORY, "hwloc cannot be initialised");
    }
    if (hwloc_topology_load(topology) != 0)
        status = attn_error_set(error, ATTN_UNSUPPORTED, "hwloc cannot read the topology of this machine");
    if (status == ATTN_OK) {
        if (hwloc_get_cpubind(topology, set, HWLOC_CPUBIND_PROCESS) != 0 || hwloc_bitmap_iszero(set))
            hwloc_bitmap_copy(set, hwloc_topology_get_allowed_cpuset(topology));
        hwloc_bitmap_and(set, set, hwloc_topology_get_allowed_cpuset(topology));
        *cores = 0;
        for (hwloc_obj_t core = NULL; (core = hwloc_get_next_obj_by_type(topology, HWLOC_OBJ_CORE, core)) != NULL;)
            if (hwloc_bitmap_intersects(core->cpuset, set))
                ++*cores;
        if (*cores == 0) /* no core objects: some virtual machines */
            *cores = hwloc_bitmap_weight(set);
        hwloc_bitmap_list_snprintf(list, BINDING_SIZE, set);
    }
    hwloc_topology_destroy(topology);
    hwloc_bitmap_free(set);
    return status;
}

static attn_status count_sharing(MPI_Comm node, const char *mine, int *sharing, attn_error *error)
{
    const int size = attn_comm_size(node);
    char *all = malloc((size_t)size * BINDING_SIZE);
    hwloc_bitmap_t own = hwloc_bitmap_alloc(), other = hwloc_bitmap_alloc();
    attn_status status = ATTN_OK;

    if (all == NULL || own == NULL || other == NULL)
        status = attn_error_set(error, ATTN_MEMORY, "no memory for the bindings of %d ranks", size);
    status = attn_comm_agree(node, status, error);
    if (status == ATTN_OK)
        status = attn_comm_check(MPI_Allgather(mine, BINDING_SIZE, MPI_CHAR, all, BINDING_SIZE, MPI_CHAR, node),
                                 "MPI_Allgather", error);
    if (status == ATTN_OK) {
        *sharing = 0;
        hwloc_bitmap_list_sscanf(own, mine);
        for (int r = 0; r < size; r++) {
            hwloc_bitmap_list_sscanf(other, all + (size_t)r * BINDING_SIZE);
            *sharing += hwloc_bitmap_intersects(own, other) ? 1 : 0;
        }
    }
    free(all);
    hwloc_bitmap_free(own);
    hwloc_bitmap_free(other);
    return status;
}

/* Collective over both. Whether ranks lie on nodes as attn_plan.node_ranks has it; how many of a node then, else 1. */
static attn_status find_consecutive(MPI_Comm comm, MPI_Comm node, int *out, attn_error *error)
{
    const int rank = attn_comm_rank(comm);
    int first = rank, most = attn_comm_size(node), fits;
    attn_status status =
        attn_comm_check(MPI_Allreduce(MPI_IN_PLACE, &first, 1, MPI_INT, MPI_MIN, node), "MPI_Allreduce", error);

    if (status == ATTN_OK)
        status = attn_comm_check(MPI_Allreduce(MPI_IN_PLACE, &most, 1, MPI_INT, MPI_MAX, comm), "MPI_Allreduce", error);
    if (status != ATTN_OK)
        return status;
    fits = rank / most * most == first;
    status = attn_comm_check(MPI_Allreduce(MPI_IN_PLACE, &fits, 1, MPI_INT, MPI_MIN, comm), "MPI_Allreduce", error);
    *out = fits ? most : 1;
    return status;
}

attn_status attn_comm_cores(MPI_Comm comm, attn_cores *out, attn_error *error)
{
    char list[BINDING_SIZE] = "";
    MPI_Comm node = MPI_COMM_NULL;
    double share = 0;
    int leader;
    attn_status status;

    memset(out, 0, sizeof *out);
    status = attn_comm_agree(comm, read_binding(list, &out->allowed, error), error);
    if (status != ATTN_OK)
        return status;
    status = attn_comm_check(MPI_Comm_split_type(comm, MPI_COMM_TYPE_SHARED, 0, MPI_INFO_NULL, &node),
                             "MPI_Comm_split_type", error);
    if (status != ATTN_OK)
        return status;
    out->node_ranks = attn_comm_size(node);
    leader = attn_comm_rank(node) == 0;
    status = attn_comm_agree(comm, count_sharing(node, list, &out->sharing, error), error);
    if (status == ATTN_OK)
        status = find_consecutive(comm, node, &out->consecutive, error);
    if (status == ATTN_OK)
        status =
            attn_comm_check(MPI_Allreduce(&leader, &out->nodes, 1, MPI_INT, MPI_SUM, comm), "MPI_Allreduce", error);
    if (status == ATTN_OK) {
        /* Bindings are equal or disjoint in practice, so the shares of the ranks add up to the cores. */
        share = (double)out->allowed / out->sharing;
        status =
            attn_comm_check(MPI_Allreduce(MPI_IN_PLACE, &share, 1, MPI_DOUBLE, MPI_SUM, comm), "MPI_Allreduce", error);
    }
    if (status != ATTN_MPI) /* freeing is collective, and after a failure nobody can be waited for */
        attn_comm_free(&node);
    if (status == ATTN_OK) {
        out->available = (int)(share + 0.5);
        out->threads = out->allowed / out->sharing > 1 ? out->allowed / out->sharing : 1;
        snprintf(out->binding, sizeof out->binding, "%.*s", (int)sizeof out->binding - 1, list);
    }
    return status;
}
