/* Which ranks of a sequence group share a node, and how parts of the keys go from node to node: a ring of nodes around
 * a ring of each node's ranks.
 *
 * In outer step t the node g has the parts of the ranks of node g - t (mod the nodes). Part a of a node begins at rank
 * a mod m of another with m ranks, goes around there, and is handed on to the next node by the rank where it began. */
#ifndef DIST_NODES_H
#define DIST_NODES_H

#include "plan/needs.h"

/* The nodes of a sequence group: ranks ps of it that follow each other. */
typedef struct attn_nodes {
    int64_t node_ranks, head, head_index; /* rank = ps * head + head_index */
    int ranks, count;                     /* of the group; nodes that have any of them */
} attn_nodes;

/* The nodes of the sequence group of a part. */
attn_nodes attn_nodes_of(const attn_plan *plan, const attn_part *part);

/* The node of a rank of the group, the first rank of a node, and how many it has. */
int attn_nodes_find(const attn_nodes *nodes, int ps);
int attn_nodes_begin(const attn_nodes *nodes, int node);
int attn_nodes_size(const attn_nodes *nodes, int node);

/* The rank of a node where part j begins. */
int attn_nodes_holder(const attn_nodes *nodes, int j, int node);

/* The way of one part through a node. */
typedef struct attn_part_way {
    int outer_last;  /* the last outer step in which it is in a node that has rows which see it; 0: its own */
    int seat;        /* rank of the node where it begins */
    int first, last; /* inner steps in which it is at the first and at the last rank that sees it, without its owner;
                        last -1: none */
} attn_part_way;

/* The way of part j through a node. O(ranks). */
attn_part_way attn_nodes_way(const attn_nodes *nodes, const attn_needs *needs, int j, int node);

#endif
