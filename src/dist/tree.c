#include "dist/tree.h"

#include "dist/transfers.h"

#include <attn/comm.h>
#include <attn/memory.h>

#include <stdlib.h>

enum { TAG_IN = 1, TAG_ROUND, TAG_OUT };

struct attn_tree {
    int ranks, rank, doubling; /* ranks that take part in the rounds: the largest power of two */
    void *mine, *incoming;
    size_t bytes;
    attn_transfers transfers;
};

static int power_of_two(int ranks)
{
    int power = 1;

    while (power <= ranks / 2)
        power *= 2;
    return power;
}

int attn_tree_messages(int ranks, int rank)
{
    const int doubling = power_of_two(ranks);
    int messages = 0;

    if (rank >= doubling)
        return 1;
    for (int d = 1; d < doubling; d *= 2)
        messages++;
    return messages + (rank + doubling < ranks);
}

attn_status attn_tree_create(MPI_Comm comm, int64_t message_bytes, int64_t bytes, attn_tree **out, attn_error *error)
{
    attn_tree *tree = calloc(1, sizeof *tree);
    attn_status status;

    *out = NULL;
    if (tree == NULL)
        return attn_error_set(error, ATTN_MEMORY, "no memory for a reduction");
    tree->ranks = attn_comm_size(comm);
    tree->rank = attn_comm_rank(comm);
    tree->doubling = power_of_two(tree->ranks);
    tree->bytes = (size_t)bytes;
    tree->mine = attn_aligned_alloc(tree->bytes);
    tree->incoming = attn_aligned_alloc(tree->bytes);
    status = attn_transfers_create(comm, message_bytes, 2, 2 * bytes, &tree->transfers, error);
    if (status == ATTN_OK && (tree->mine == NULL || tree->incoming == NULL))
        status =
            attn_error_set(error, ATTN_MEMORY, "no memory for partial results, twice %lld bytes", (long long)bytes);
    if (status != ATTN_OK) {
        attn_tree_destroy(tree);
        return status;
    }
    *out = tree;
    return ATTN_OK;
}

void attn_tree_destroy(attn_tree *tree)
{
    if (tree == NULL)
        return;
    free(tree->mine);
    free(tree->incoming);
    attn_transfers_release(&tree->transfers);
    free(tree);
}

void *attn_tree_partial(const attn_tree *tree)
{
    return tree->mine;
}

size_t attn_tree_bytes(const attn_tree *tree)
{
    return tree == NULL ? 0 : 2 * tree->bytes;
}

static void swap(attn_tree *tree)
{
    void *const mine = tree->mine;

    tree->mine = tree->incoming;
    tree->incoming = mine;
}

/* Merges what has come with what is here, in the order of the ranks. */
static void merge(attn_tree *tree, const attn_partial_rows *of, int from, attn_laps *laps)
{
    attn_array o, lse, other_o, other_lse;

    if (from < tree->rank)
        swap(tree);
    attn_partial_packed(of, tree->mine, &o, &lse);
    attn_partial_packed(of, tree->incoming, &other_o, &other_lse);
    attn_partial_merge(of, &o, &lse, NULL, &other_o, &other_lse);
    attn_lap(laps, ATTN_PHASE_MERGE);
}

static attn_status wait(attn_tree *tree, attn_laps *laps, attn_error *error)
{
    attn_status status;

    attn_lap(laps, ATTN_PHASE_EXCHANGE);
    status = attn_transfers_wait(&tree->transfers, error);
    attn_lap(laps, ATTN_PHASE_EXCHANGE_WAIT);
    return status;
}

/* Gives the result of a rank without a place in the rounds to the one that takes it along, or (out) back. */
static attn_status hand(attn_tree *tree, int64_t bytes, bool out, attn_laps *laps, attn_error *error)
{
    const bool outside = tree->rank >= tree->doubling;
    const int other = outside ? tree->rank - tree->doubling : tree->rank + tree->doubling;
    attn_status status;

    if (other >= tree->ranks)
        return ATTN_OK;
    if (outside == out)
        attn_transfers_receive(&tree->transfers, tree->incoming, bytes, other, out ? TAG_OUT : TAG_IN);
    else
        attn_transfers_send(&tree->transfers, tree->mine, bytes, other, out ? TAG_OUT : TAG_IN);
    status = wait(tree, laps, error);
    if (outside && out)
        swap(tree);
    return status;
}

attn_status attn_tree_reduce(attn_tree *tree, const attn_partial_rows *of, attn_laps *laps, attn_error *error)
{
    const int64_t bytes = (int64_t)(attn_partial_o_bytes(of) + attn_partial_lse_bytes(of));
    attn_status status = hand(tree, bytes, false, laps, error);

    if (status == ATTN_OK && tree->rank + tree->doubling < tree->ranks)
        merge(tree, of, tree->rank + tree->doubling, laps);
    for (int d = 1; d < tree->doubling && tree->rank < tree->doubling && status == ATTN_OK; d *= 2) {
        const int other = tree->rank ^ d;

        attn_transfers_receive(&tree->transfers, tree->incoming, bytes, other, TAG_ROUND);
        attn_transfers_send(&tree->transfers, tree->mine, bytes, other, TAG_ROUND);
        status = wait(tree, laps, error);
        if (status == ATTN_OK)
            merge(tree, of, other, laps);
    }
    return status == ATTN_OK ? hand(tree, bytes, true, laps, error) : status;
}
