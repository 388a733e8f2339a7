/* What a rank sends forward, where heads and rows divide evenly and no key is masked, is what is derived beside each
 * exchange. */
#include "harness.h"

#include <attn/plan.h>

/* 2-D, p = PU (all-to-all) x PR (ring), with h' = max(hkv, PU): [2 (hq + h') (1 - 1/PU) + 2 h' (PR - 1)] X bytes, and
 * lse, which goes home with o: hq (1 - 1/PU) rows of accumulators. PR = 1 is the row of all-to-all, PU = 1 of ring. */
static void check(const char *exchange, int64_t heads, int64_t kv_heads, int alltoall, int ring, attn_dtype dtype)
{
    const int p = alltoall * ring;
    const int64_t B = 3, rows = 6, D = 16; /* rows of a rank, even for zigzag */
    const attn_problem problem = {.shape = {B, heads, kv_heads, rows * p, rows * p, D, D},
                                  .dtype = dtype,
                                  .mask = ATTN_MASK_FULL,
                                  .score = {.scale = 1}};
    const double X = (double)(B * rows * D) * (double)attn_dtype_size(dtype);
    const double lse = (double)(B * rows) * (double)attn_dtype_size(attn_dtype_accumulator(dtype));
    const double hq = (double)heads, h = (double)(kv_heads > alltoall ? kv_heads : alltoall), pu = alltoall;
    const double want = (2 * (hq + h) * (1 - 1 / pu) + 2 * h * (ring - 1)) * X + hq * (1 - 1 / pu) * lse;

    for (int inside = 0; inside < 2; inside++) {
        const attn_plan_options options = {.grid = {p, 1},
                                           .exchange = attn_exchange_find(exchange),
                                           .hybrid = {alltoall, ring, inside},
                                           .layout = attn_layout_at((size_t)p % attn_layout_count())};
        attn_plan plan;

        TEST_OK(attn_plan_make(&problem, p, &options, &plan, &attn_test_error));
        for (int rank = 0; rank < p; rank++) {
            attn_prediction predicted;

            TEST_OK(attn_plan_predict(&plan, rank, &predicted, &attn_test_error));
            TEST_CLOSE(predicted.exchange_bytes, want, 1e-15);
        }
    }
}

static void test_two_dimensions(void)
{
    static const int64_t kv_heads[] = {1, 2, 3, 4, 6, 12, 24};

    for (size_t n = 0; n < sizeof kv_heads / sizeof kv_heads[0]; n++)
        for (int alltoall = 1; alltoall <= 12; alltoall++)
            for (int ring = 1; ring <= 5; ring++) {
                const int64_t hkv = kv_heads[n];

                if (24 % alltoall != 0 || (hkv % alltoall != 0 && alltoall % hkv != 0) || alltoall * ring == 1)
                    continue;
                check("hybrid", 24, hkv, alltoall, ring, ATTN_FLOAT32);
                check("hybrid", 24, hkv, alltoall, ring, ATTN_BFLOAT16);
                if (ring == 1)
                    check("alltoall", 24, hkv, alltoall, 1, ATTN_FLOAT16);
                if (alltoall == 1)
                    check("ring", 24, hkv, 1, ring, ATTN_FLOAT64);
            }
}

static const attn_test tests[] = {
    {"all-to-all, ring and both", test_two_dimensions},
};

int main(int argc, char **argv)
{
    return attn_test_main(argc, argv, "plan/volumes", tests, sizeof tests / sizeof tests[0]);
}
