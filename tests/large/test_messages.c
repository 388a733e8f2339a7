/* More than 2^31 bytes, and at one rank more than 2^31 elements, through the real limits: sums, broadcasts, gathers and
 * the exchange of keys. Needs about 9 GiB over all ranks of one machine. */
#include "harness.h"

#include "dist/exchange.h"
#include "dist/pieces.h"

#include <attn/comm.h>
#include <attn/partition.h>

#include <stdlib.h>
#include <string.h>

#define BEYOND (((int64_t)1 << 31) + 4096) /* bytes */
#define STEP 4099                          /* elements that are looked at lie so far apart */

static double value_at(int64_t i)
{
    return (double)(i % 1000003);
}

static void test_collectives(void)
{
    const int rank = attn_comm_rank(MPI_COMM_WORLD), size = attn_comm_size(MPI_COMM_WORLD);
    const int64_t count = BEYOND / (int64_t)sizeof(double) / size, all_count = count * size;
    double *values = malloc((size_t)all_count * sizeof *values), *own;
    int64_t wrong = 0;

    CU_ASSERT_PTR_NOT_NULL_FATAL(values);
    for (int64_t i = 0; i < all_count; i++)
        values[i] = rank == size - 1 ? value_at(i) : 0;
    TEST_OK(
        attn_comm_broadcast(MPI_COMM_WORLD, size - 1, values, (size_t)all_count * sizeof *values, &attn_test_error));
    for (int64_t i = 0; i < all_count; i++)
        wrong += values[i] != value_at(i);
    TEST_OK(attn_comm_sum(MPI_COMM_WORLD, values, all_count, &attn_test_error));
    for (int64_t i = 0; i < all_count; i++)
        wrong += values[i] != size * value_at(i);
    CU_ASSERT_EQUAL(wrong, 0);
    own = malloc((size_t)count * sizeof *own);
    CU_ASSERT_PTR_NOT_NULL_FATAL(own);
    for (int64_t i = 0; i < count; i++)
        own[i] = value_at(rank * count + i);
    TEST_OK(attn_comm_gather(MPI_COMM_WORLD, own, count, values, &attn_test_error));
    for (int64_t i = 0; rank == 0 && i < all_count; i++)
        wrong += values[i] != value_at(i);
    CU_ASSERT_EQUAL(wrong, 0);
    free(own);
    free(values);
}

static uint16_t bits_at(int64_t i)
{
    return (uint16_t)(i % 65521);
}

/* Keys of few rows and very many heads: each rank has one or two rows, and two are more than 2^31 bytes. */
static void test_exchange(void)
{
    enum { D = 128 };
    const int rank = attn_comm_rank(MPI_COMM_WORLD), ranks = attn_comm_size(MPI_COMM_WORLD);
    const int64_t rows = ranks == 1 ? 5 : 2 * ranks - 1;
    const int64_t heads = (ranks == 1 ? 2 * BEYOND / 5 : BEYOND / 2) / 2 / D + 1;
    const attn_problem problem = {.shape = {1, heads, heads, rows, rows, D, 1},
                                  .dtype = ATTN_FLOAT16,
                                  .mask = ATTN_MASK_FULL,
                                  .score = {.scale = 1}};
    const attn_plan_options options = {
        .grid = {ranks, 1}, .exchange = attn_exchange_find("allgather"), .layout = attn_layout_find("contiguous")};
    attn_plan plan;
    attn_part *part = NULL;
    attn_exchange_state *state = NULL;
    attn_group group = {MPI_COMM_WORLD, &plan, NULL, ATTN_MESSAGE_BYTES};
    uint16_t *k, *v;
    int64_t count, wrong = 0;

    TEST_OK(attn_plan_make(&problem, ranks, &options, &plan, &attn_test_error));
    TEST_OK(attn_part_create(&problem, plan.grid, plan.layout, rank, &part, &attn_test_error));
    group.part = part;
    count = heads * part->kv_rows->rows * D;
    CU_ASSERT(part->kv_rows->rows == 1 || count * 2 > INT32_MAX);
    CU_ASSERT(ranks > 1 || count > INT32_MAX);
    k = malloc((size_t)count * sizeof *k);
    v = calloc((size_t)(count / D), sizeof *v);
    CU_ASSERT_FATAL(k != NULL && v != NULL);
    for (int64_t i = 0; i < count; i++)
        k[i] = bits_at(i + rank);
    TEST_OK(plan.exchange->ops->create(&group, &state, &attn_test_error));
    TEST_OK(plan.exchange->ops->start(state, k, v, &attn_test_error));
    TEST_OK(plan.exchange->ops->finish(state, &attn_test_error));
    for (int r = 0; r < ranks; r++) {
        const uint16_t *const got = state->k[r].data;
        const int64_t theirs = heads * state->part_rows[r]->rows * D;

        for (int64_t i = 0; i < theirs; i += STEP)
            wrong += got[i] != bits_at(i + r);
        wrong += got[theirs - 1] != bits_at(theirs - 1 + r);
    }
    CU_ASSERT_EQUAL(wrong, 0);
    plan.exchange->ops->destroy(state);
    free(k);
    free(v);
    attn_part_destroy(part);
}

static const attn_test tests[] = {
    {"sums, broadcasts and gathers beyond 2^31 bytes", test_collectives},
    {"keys beyond 2^31 bytes a rank", test_exchange},
};

int main(int argc, char **argv)
{
    return attn_test_main(argc, argv, "large/messages", tests, sizeof tests / sizeof tests[0]);
}
