/* The first N ranks of the launch for each N that a sweep asks for, with what they have to work with. */
#ifndef BENCH_GROUPS_H
#define BENCH_GROUPS_H

#include "bench.h"
#include "parse.h"

#include <attn/dtype.h>
#include <attn/pass.h>

/* Known to all ranks of the launch alike, also to those outside the group. */
typedef struct rank_group {
    MPI_Comm comm; /* of the group; not for use on ranks outside */
    int ranks;
    int threads;     /* default number of threads, the same for all groups of a launch */
    int nodes;       /* of the group */
    int node_ranks;  /* ranks of the fullest node */
    int consecutive; /* ranks of a node that follow each other (attn_cores) */
    int cores;       /* over all nodes in use */
    double memory;   /* bytes that the node with the least can still give */
    char *bindings;  /* on rank 0: one line a rank; NULL elsewhere */
    /* Table index of the kernel that rank 0 chooses for each pass and type. */
    size_t kernels[ATTN_PASS_COUNT][ATTN_DTYPE_COUNT][2];
} rank_group;

typedef struct rank_groups {
    rank_group *groups; /* [count], one for each number of ranks */
    int count;
} rank_groups;

/* Collective over the launch.
 *   ranks  in, numbers of ranks, each 1..launch->ranks; may repeat
 *   out    released with rank_groups_release, on failure too */
attn_status rank_groups_create(const bench *launch, const int_list *ranks, rank_groups *out, attn_error *error);
void rank_groups_release(rank_groups *groups);

const rank_group *rank_groups_find(const rank_groups *groups, int64_t ranks);

/* Whether this rank is in the group. */
bool rank_group_has(const rank_group *group, const bench *launch);

#endif
