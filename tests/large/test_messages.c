/* More than 2^31 bytes, and at one rank more than 2^31 elements, through the real limits: sums, broadcasts, gathers and
 * the exchange of keys. Needs about 14 GiB over all ranks of one machine. */
#include "harness.h"

#include <attn/comm.h>
#include <attn/dist.h>

#include <stdlib.h>
#include <string.h>

#define BEYOND (((int64_t)1 << 31) + 4096) /* bytes */

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

/* Numbers that float16 has, small, and different from one place to the next. */
static uint16_t bits_at(int64_t i)
{
    return (uint16_t)(0x3000 + i % 4093);
}

/* Keys of few rows and very many heads: each rank has one or two rows, and two are more than 2^31 bytes. Each query is
 * 1 in a place and 0 elsewhere, and so picks one element of each key for its scores. */
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
    const attn_plan_options options = {.grid = {ranks, 1},
                                       .exchange = attn_exchange_find("allgather"),
                                       .layout = attn_layout_find("contiguous"),
                                       .kernel = attn_kernel_find("portable")};
    double seconds[ATTN_PHASE_COUNT];
    attn_plan plan;
    attn_dist *dist;
    const attn_part *part;
    attn_row *sample;
    attn_check check;
    uint16_t *q, *k, *v, *o;
    float *lse;
    int64_t count, lines, sampled;

    TEST_OK(attn_plan_make(&problem, ranks, &options, &plan, &attn_test_error));
    TEST_OK(attn_dist_create(MPI_COMM_WORLD, &plan, &dist, &attn_test_error));
    part = attn_dist_part(dist);
    lines = heads * part->kv_rows->rows;
    count = lines * D;
    CU_ASSERT(part->kv_rows->rows == 1 || count * 2 > INT32_MAX);
    CU_ASSERT(ranks > 1 || count > INT32_MAX);
    q = calloc((size_t)count, sizeof *q);
    k = malloc((size_t)count * sizeof *k);
    v = malloc((size_t)lines * sizeof *v);
    o = malloc((size_t)lines * sizeof *o);
    lse = malloc((size_t)lines * sizeof *lse);
    CU_ASSERT_FATAL(q != NULL && k != NULL && v != NULL && o != NULL && lse != NULL);
    for (int64_t i = 0; i < count; i++)
        k[i] = bits_at(i + rank);
    for (int64_t i = 0; i < lines; i++) {
        q[i * D + i % D] = 0x3c00; /* 1 */
        v[i] = bits_at(3 * i + rank);
    }
    TEST_OK(attn_dist_forward(dist, &(attn_dist_buffers){q, k, v, o, lse}, seconds, &attn_test_error));
    TEST_OK(attn_sample_rows(&plan, 20000, 1, &sample, &sampled, &attn_test_error));
    TEST_OK(attn_dist_check(dist, &(attn_dist_buffers){q, k, v, o, lse}, sample, sampled,
                            attn_dtype_epsilon(ATTN_FLOAT16), &check, &attn_test_error));
    CU_ASSERT(check.valid);
    attn_dist_destroy(dist);
    free(sample);
    free(q);
    free(k);
    free(v);
    free(o);
    free(lse);
}

static const attn_test tests[] = {
    {"sums, broadcasts and gathers beyond 2^31 bytes", test_collectives},
    {"keys beyond 2^31 bytes a rank", test_exchange},
};

int main(int argc, char **argv)
{
    return attn_test_main(argc, argv, "large/messages", tests, sizeof tests / sizeof tests[0]);
}
