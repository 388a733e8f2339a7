#include "dist/nodes.h"

#include <assert.h>

/* Where a node holds no rank of the group between two others, as with fewer ranks than the grid has heads, every rank
 * of the group is on a node of its own. */
int attn_nodes_find(const attn_nodes *nodes, int ps)
{
    return nodes->node_ranks <= nodes->head ? ps : (int)((ps * nodes->head + nodes->head_index) / nodes->node_ranks);
}

int attn_nodes_begin(const attn_nodes *nodes, int node)
{
    if (node == nodes->count)
        return nodes->ranks;
    if (nodes->node_ranks <= nodes->head || node == 0)
        return node;
    return (int)((node * nodes->node_ranks - nodes->head_index + nodes->head - 1) / nodes->head);
}

int attn_nodes_size(const attn_nodes *nodes, int node)
{
    return attn_nodes_begin(nodes, node + 1) - attn_nodes_begin(nodes, node);
}

attn_nodes attn_nodes_of(const attn_plan *plan, const attn_part *part)
{
    attn_nodes nodes = {.node_ranks = plan->node_ranks,
                        .head = plan->grid.head,
                        .head_index = part->head_index,
                        .ranks = plan->grid.seq};

    nodes.count = attn_nodes_find(&nodes, nodes.ranks - 1) + 1;
    return nodes;
}

attn_part_way attn_nodes_way(const attn_nodes *nodes, const attn_needs *needs, int j, int node)
{
    const int home = attn_nodes_find(nodes, j), begin = attn_nodes_begin(nodes, node),
              size = attn_nodes_size(nodes, node);
    attn_part_way way;

    assert(size > 0);
    way = (attn_part_way){.seat = (j - attn_nodes_begin(nodes, home)) % size, .first = -1, .last = -1};

    for (int i = 0; i < nodes->ranks; i++) {
        const int away = (attn_nodes_find(nodes, i) - home + nodes->count) % nodes->count;

        if (attn_needs_see(needs, i, j) && away > way.outer_last)
            way.outer_last = away;
    }
    for (int u = 0; u < size; u++) {
        const int i = begin + (way.seat + u) % size;

        if (i == j || !attn_needs_see(needs, i, j))
            continue;
        way.first = way.first < 0 ? u : way.first;
        way.last = u;
    }
    return way;
}

int attn_nodes_holder(const attn_nodes *nodes, int j, int node)
{
    const int size = attn_nodes_size(nodes, node);

    assert(size > 0);
    return attn_nodes_begin(nodes, node) + (j - attn_nodes_begin(nodes, attn_nodes_find(nodes, j))) % size;
}
