/* Phase names and the clock. */
#include "harness.h"

#include <attn/phase.h>

#include <string.h>

static void test_names(void)
{
    CU_ASSERT_EQUAL(ATTN_PHASE_TOTAL, 0);
    CU_ASSERT_STRING_EQUAL(attn_phase_name(ATTN_PHASE_TOTAL), "total");
    CU_ASSERT_STRING_EQUAL(attn_phase_name(ATTN_PHASE_IMBALANCE_WAIT), "imbalance-wait");
    CU_ASSERT_STRING_EQUAL(attn_phase_name(ATTN_PHASE_COUNT), "unknown");
    CU_ASSERT_STRING_EQUAL(attn_phase_meaning(ATTN_PHASE_COUNT), "unknown");
    for (int a = 0; a < ATTN_PHASE_COUNT; a++) {
        CU_ASSERT(strlen(attn_phase_meaning((attn_phase)a)) > 0);
        for (int b = 0; b < a; b++)
            CU_ASSERT_STRING_NOT_EQUAL(attn_phase_name((attn_phase)a), attn_phase_name((attn_phase)b));
    }
}

static void test_clock(void)
{
    const double start = attn_clock();
    double now = start;

    for (int i = 0; i < 1000; i++) {
        const double next = attn_clock();

        CU_ASSERT_FATAL(next >= now);
        now = next;
    }
    while (attn_clock() == start)
        continue;
}

static const attn_test tests[] = {
    {"names and meanings", test_names},
    {"the clock never goes back", test_clock},
};

int main(int argc, char **argv)
{
    return attn_test_main(argc, argv, "core/phase", tests, sizeof tests / sizeof tests[0]);
}
