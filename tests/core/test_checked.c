/* Checked sizes and memory. */
#include "harness.h"

#include "core/checked.h"

#include <attn/memory.h>

#include <stdlib.h>
#include <string.h>

static void test_int64(void)
{
    int64_t r = -7;

    CU_ASSERT_TRUE(attn_int64_add(INT64_MAX - 3, 3, &r));
    CU_ASSERT_EQUAL(r, INT64_MAX);
    CU_ASSERT_FALSE(attn_int64_add(INT64_MAX - 3, 4, &r));
    CU_ASSERT_FALSE(attn_int64_add(-1, 4, &r));
    CU_ASSERT_EQUAL(r, INT64_MAX);
    CU_ASSERT_TRUE(attn_int64_multiply(INT64_C(3037000499), INT64_C(3037000499), &r));
    CU_ASSERT_EQUAL(r, INT64_C(9223372030926249001));
    CU_ASSERT_FALSE(attn_int64_multiply(INT64_C(3037000500), INT64_C(3037000500), &r));
    CU_ASSERT_FALSE(attn_int64_multiply(-1, 1, &r));
    CU_ASSERT_FALSE(attn_int64_multiply(1, -1, &r));
    CU_ASSERT_TRUE(attn_int64_multiply(INT64_MAX, 0, &r));
    CU_ASSERT_EQUAL(r, 0);
    CU_ASSERT_TRUE(attn_int64_multiply(INT64_MAX, 1, &r));
    CU_ASSERT_EQUAL(r, INT64_MAX);
}

static void test_product(void)
{
    const int64_t fits[] = {INT64_C(1) << 20, INT64_C(1) << 20, INT64_C(1) << 20, 7};
    const int64_t overflows[] = {INT64_C(1) << 20, INT64_C(1) << 20, INT64_C(1) << 20, 8};
    int64_t r = -7;

    CU_ASSERT_TRUE(attn_int64_product(fits, 4, &r));
    CU_ASSERT_EQUAL(r, INT64_C(7) << 60);
    CU_ASSERT_FALSE(attn_int64_product(overflows, 4, &r));
    CU_ASSERT_EQUAL(r, INT64_C(7) << 60);
    CU_ASSERT_TRUE(attn_int64_product(NULL, 0, &r));
    CU_ASSERT_EQUAL(r, 1);
}

static void test_size(void)
{
    size_t r = 5;

    CU_ASSERT_FALSE(attn_size_multiply(SIZE_MAX / 2 + 1, 2, &r));
    CU_ASSERT_EQUAL(r, 5);
    CU_ASSERT_TRUE(attn_size_multiply(SIZE_MAX / 2, 2, &r));
    CU_ASSERT_EQUAL(r, SIZE_MAX - 1);
    CU_ASSERT_FALSE(attn_size_from_int64(-1, &r));
    CU_ASSERT_TRUE(attn_size_from_int64(9, &r));
    CU_ASSERT_EQUAL(r, 9);
}

static void test_int(void)
{
    int r = 5;

    CU_ASSERT_FALSE(attn_int_from_int64((int64_t)INT_MAX + 1, &r));
    CU_ASSERT_FALSE(attn_int_from_int64((int64_t)INT_MIN - 1, &r));
    CU_ASSERT_EQUAL(r, 5);
    CU_ASSERT_TRUE(attn_int_from_int64(INT_MAX, &r));
    CU_ASSERT_EQUAL(r, INT_MAX);
    CU_ASSERT_TRUE(attn_int_from_int64(INT_MIN, &r));
    CU_ASSERT_EQUAL(r, INT_MIN);
}

static void test_memory(void)
{
    int32_t *grown = attn_calloc_array(3, sizeof *grown);
    void *aligned = attn_aligned_alloc(1001);

    CU_ASSERT_PTR_NULL(attn_calloc_array(INT64_MAX, 16));
    CU_ASSERT_PTR_NULL(attn_calloc_array(-1, 1));
    CU_ASSERT_PTR_NULL(attn_realloc_array(NULL, INT64_MAX / 2, 8));
    CU_ASSERT_EQUAL_FATAL(grown[0] | grown[1] | grown[2], 0);
    grown[2] = 77;
    grown = attn_realloc_array(grown, 1000, sizeof *grown);
    CU_ASSERT_EQUAL(grown[2], 77);
    free(grown);

    CU_ASSERT_PTR_NOT_NULL_FATAL(aligned);
    CU_ASSERT_EQUAL((uintptr_t)aligned % ATTN_ALIGNMENT, 0);
    memset(aligned, 1, 1001);
    free(aligned);
    aligned = attn_aligned_alloc(ATTN_HUGE_PAGE + 5);
    CU_ASSERT_PTR_NOT_NULL_FATAL(aligned);
    CU_ASSERT_EQUAL((uintptr_t)aligned % ATTN_HUGE_PAGE, 0);
    memset(aligned, 1, ATTN_HUGE_PAGE + 5);
    free(aligned);
    aligned = attn_aligned_alloc(0);
    CU_ASSERT_PTR_NOT_NULL(aligned);
    free(aligned);
    aligned = attn_calloc_array(0, 8);
    CU_ASSERT_PTR_NOT_NULL(aligned);
    free(aligned);
}

static const attn_test tests[] = {
    {"sums and products of int64_t", test_int64}, {"a product of many factors", test_product},
    {"sums and products of size_t", test_size},   {"casts to int", test_int},
    {"memory by checked sizes", test_memory},
};

int main(int argc, char **argv)
{
    return attn_test_main(argc, argv, "core/checked", tests, sizeof tests / sizeof tests[0]);
}
