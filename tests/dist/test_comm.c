/* Agreement, gathers, sub-communicators and cores. */
#include "harness.h"

#include <attn/comm.h>

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

static void test_agreement(void)
{
    const int rank = attn_comm_rank(MPI_COMM_WORLD), size = attn_comm_size(MPI_COMM_WORLD);
    attn_error error = ATTN_ERROR_INIT;

    CU_ASSERT_EQUAL(attn_comm_agree(MPI_COMM_WORLD, ATTN_OK, &error), ATTN_OK);
    /* All but rank 0 fail, each with its own words: everybody gets rank 1's. */
    if (rank > 0)
        attn_error_set(&error, rank == 1 ? ATTN_FILE : ATTN_MEMORY, "rank %d failed", rank);
    CU_ASSERT_EQUAL(attn_comm_agree(MPI_COMM_WORLD, rank > 0 ? error.status : ATTN_OK, &error),
                    size > 1 ? ATTN_FILE : ATTN_OK);
    if (size > 1)
        CU_ASSERT_STRING_EQUAL(error.message, "rank 1 failed");
    CU_ASSERT_EQUAL(attn_comm_agree(MPI_COMM_WORLD, rank == size - 1 ? ATTN_MEMORY : ATTN_OK, NULL), ATTN_MEMORY);
}

static void test_reductions(void)
{
    const int rank = attn_comm_rank(MPI_COMM_WORLD), size = attn_comm_size(MPI_COMM_WORLD);
    double most[2] = {rank, -rank}, least = rank, sum[3] = {1, rank, 2};
    char word[8] = "";

    TEST_OK(attn_comm_max(MPI_COMM_WORLD, most, 2, &attn_test_error));
    CU_ASSERT(most[0] == size - 1 && most[1] == 0);
    TEST_OK(attn_comm_min(MPI_COMM_WORLD, &least, 1, &attn_test_error));
    CU_ASSERT(least == 0);
    TEST_OK(attn_comm_sum(MPI_COMM_WORLD, sum, 3, &attn_test_error));
    CU_ASSERT(sum[0] == size && sum[1] == size * (size - 1) / 2 && sum[2] == 2 * size);
    if (rank == size - 1)
        strcpy(word, "hello");
    TEST_OK(attn_comm_broadcast(MPI_COMM_WORLD, size - 1, word, sizeof word, &attn_test_error));
    CU_ASSERT_STRING_EQUAL(word, "hello");
    TEST_OK(attn_comm_barrier(MPI_COMM_WORLD, &attn_test_error));
    TEST_OK(attn_comm_sleep_barrier(MPI_COMM_WORLD, &attn_test_error));
}

static void test_gathers(void)
{
    const int rank = attn_comm_rank(MPI_COMM_WORLD), size = attn_comm_size(MPI_COMM_WORLD);
    const double mine[3] = {rank, rank + 0.25, rank + 0.5};
    double *all = malloc((size_t)size * sizeof mine);
    char text[16], *joined;

    TEST_OK(attn_comm_gather(MPI_COMM_WORLD, mine, 3, all, &attn_test_error));
    for (int n = 0; rank == 0 && n < 3 * size; n++)
        CU_ASSERT_EQUAL(all[n], n / 3 + 0.25 * (n % 3));
    snprintf(text, sizeof text, "%.*s%d", rank, "xxxxxxxxxx", rank); /* lengths differ */
    TEST_OK(attn_comm_gather_text(MPI_COMM_WORLD, text, &joined, &attn_test_error));
    if (rank == 0) {
        char expected[256] = "0";

        for (int r = 1; r < size; r++)
            snprintf(expected + strlen(expected), sizeof expected - strlen(expected), "\n%.*s%d", r, "xxxxxxxxxx", r);
        CU_ASSERT_STRING_EQUAL(joined, expected);
    } else {
        CU_ASSERT_PTR_NULL(joined);
    }
    free(joined);
    free(all);
}

static void test_first_ranks(void)
{
    const int rank = attn_comm_rank(MPI_COMM_WORLD), size = attn_comm_size(MPI_COMM_WORLD);

    for (int ranks = 1; ranks <= size; ranks++) {
        MPI_Comm first;

        TEST_OK(attn_comm_first(MPI_COMM_WORLD, ranks, &first, &attn_test_error));
        CU_ASSERT_EQUAL(first != MPI_COMM_NULL, rank < ranks);
        if (first != MPI_COMM_NULL) {
            CU_ASSERT_EQUAL(attn_comm_size(first), ranks);
            CU_ASSERT_EQUAL(attn_comm_rank(first), rank);
        }
        attn_comm_free(&first);
        CU_ASSERT(first == MPI_COMM_NULL);
    }
}

/* On one machine without binding all ranks share all cores. */
static void test_cores(void)
{
    const int size = attn_comm_size(MPI_COMM_WORLD);
    attn_cores cores;

    TEST_OK(attn_comm_cores(MPI_COMM_WORLD, &cores, &attn_test_error));
    CU_ASSERT(cores.allowed >= 1 && cores.threads >= 1);
    CU_ASSERT_EQUAL(cores.node_ranks, size);
    CU_ASSERT_EQUAL(cores.nodes, 1);
    CU_ASSERT(cores.sharing >= 1 && cores.sharing <= size);
    CU_ASSERT(cores.available >= cores.allowed);
    CU_ASSERT_EQUAL(cores.threads, cores.allowed / cores.sharing > 1 ? cores.allowed / cores.sharing : 1);
    CU_ASSERT(strlen(cores.binding) > 0);
}

static const attn_test tests[] = {
    {"agreement on errors", test_agreement},
    {"reductions and broadcasts", test_reductions},
    {"gathers", test_gathers},
    {"the first ranks", test_first_ranks},
    {"cores of each rank", test_cores},
};

int main(int argc, char **argv)
{
    return attn_test_main(argc, argv, "dist/comm", tests, sizeof tests / sizeof tests[0]);
}
