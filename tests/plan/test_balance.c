/* The layout balanced: every row once, as many blocks for each part, and no worse than the layouts that know no mask.
 */
#include "fixture.h"
#include "harness.h"

#include "plan/part.h"

#include <stdlib.h>
#include <string.h>

/* Largest visible pairs of a part over their mean; checks that rows and keys are covered once. */
static double imbalance(const attn_problem *problem, const char *layout, int parts)
{
    const attn_shape *shape = &problem->shape;
    int *seen = calloc((size_t)(shape->seq + shape->kv_seq), sizeof *seen);
    double most = 0, sum = 0;
    int64_t fewest = INT64_MAX, largest = 0;

    for (int part = 0; part < parts; part++) {
        attn_part *of;
        double pairs;

        TEST_OK(
            attn_part_create(problem, (attn_grid){parts, 1}, attn_layout_find(layout), part, &of, &attn_test_error));
        for (int64_t r = 0; r < of->q_rows->rows; r++)
            seen[attn_segments_global(of->q_rows, r)]++;
        for (int64_t r = 0; r < of->kv_rows->rows; r++)
            seen[shape->seq + attn_segments_global(of->kv_rows, r)]++;
        pairs = attn_part_head_pairs(problem, of->q_rows);
        most = pairs > most ? pairs : most;
        sum += pairs;
        fewest = of->q_rows->rows < fewest ? of->q_rows->rows : fewest;
        largest = of->q_rows->rows > largest ? of->q_rows->rows : largest;
        attn_part_destroy(of);
    }
    for (int64_t n = 0; n < shape->seq + shape->kv_seq; n++)
        CU_ASSERT_EQUAL(seen[n], 1);
    if (strcmp(layout, "balanced") == 0) /* all parts have their share of blocks, of which the last may be short */
        CU_ASSERT(largest - fewest <= 2 * (shape->seq / (16 * parts) + 1));
    free(seen);
    return sum > 0 ? most * parts / sum : 1;
}

static void test_every_row_once(void)
{
    static const int64_t lengths[][2] = {{1, 1}, {2, 2}, {5, 5}, {37, 37}, {37, 90}, {90, 37}, {1000, 1000}};

    for (size_t n = 0; n < sizeof lengths / sizeof lengths[0]; n++)
        for (int parts = 1; parts <= 9; parts++)
            for (int causal = 0; causal < 2; causal++) {
                attn_problem problem = PROBLEM(1, 1, 1, lengths[n][0], lengths[n][1], 1, 1, ATTN_FLOAT32);

                problem.mask.causal = causal;
                CU_ASSERT(imbalance(&problem, "balanced", parts) >= 1);
            }
}

/* Documents of very different lengths, of which zigzag and striped know nothing: one of 3000 rows and short ones. */
static void test_documents(void)
{
    enum { S = 4096, DOCUMENTS = 18 };
    int64_t starts[DOCUMENTS + 1] = {0, 3000};
    attn_problem problem = PROBLEM(1, 1, 1, S, S, 1, 1, ATTN_FLOAT32);

    for (int d = 2; d < DOCUMENTS; d++)
        starts[d] = 3000 + 60 * (d - 1);
    starts[DOCUMENTS] = S;
    problem.mask.cu_seqlens = starts;
    problem.mask.documents = DOCUMENTS;
    for (int causal = 0; causal < 2; causal++)
        for (int parts = 2; parts <= 8; parts *= 2) {
            double balanced;

            problem.mask.causal = causal;
            balanced = imbalance(&problem, "balanced", parts);
            CU_ASSERT(balanced <= 1.03);
            CU_ASSERT(balanced < imbalance(&problem, "zigzag", parts));
            CU_ASSERT(balanced < imbalance(&problem, "contiguous", parts));
        }
}

/* Blocks of a causal mask cost the more the later they stand. */
static void test_causal(void)
{
    attn_problem problem = PROBLEM(1, 1, 1, 4096, 4096, 1, 1, ATTN_FLOAT32);

    problem.mask.causal = true;
    for (int parts = 2; parts <= 8; parts++)
        CU_ASSERT(imbalance(&problem, "balanced", parts) <= 1.01);
}

static const attn_test tests[] = {
    {"every row once", test_every_row_once},
    {"packed documents of different lengths", test_documents},
    {"a causal mask", test_causal},
};

int main(int argc, char **argv)
{
    return attn_test_main(argc, argv, "plan/balance", tests, sizeof tests / sizeof tests[0]);
}
