/* Layouts, shares and parts: every row and head belongs to exactly one rank, and the work is what the mask says. */
#include "fixture.h"
#include "harness.h"
#include "plan/part.h"

#include <attn/partition.h>

#include <stdlib.h>
#include <string.h>

static void test_shares(void)
{
    for (int64_t count = 0; count < 40; count++)
        for (int shares = 1; shares < 12; shares++) {
            CU_ASSERT_EQUAL(attn_share_begin(count, shares, 0), 0);
            CU_ASSERT_EQUAL(attn_share_begin(count, shares, shares), count);
            for (int n = 0; n < shares; n++) {
                const int64_t size = attn_share_begin(count, shares, n + 1) - attn_share_begin(count, shares, n);

                CU_ASSERT(size == count / shares || size == count / shares + 1);
            }
        }
    CU_ASSERT_EQUAL(attn_share_begin(INT64_MAX, 7, 7), INT64_MAX); /* no overflow on the way */
}

static void test_layouts_cover_each_row_once(void)
{
    for (size_t l = 0; l < attn_layout_count(); l++)
        for (int64_t seq = 1; seq < 50; seq += 1 + seq / 9)
            for (int parts = 1; parts < 9; parts++) {
                int owners[64] = {0};

                for (int part = 0; part < parts; part++) {
                    attn_segments *rows;
                    int64_t last = -1;

                    TEST_OK(attn_layout_rows(attn_layout_at(l), seq, parts, part, &rows, &attn_test_error));
                    for (int64_t r = 0; r < rows->rows; r++) {
                        const int64_t i = attn_segments_global(rows, r);

                        CU_ASSERT(i > last && i < seq);
                        last = i;
                        owners[i]++;
                    }
                    attn_segments_destroy(rows);
                }
                for (int64_t i = 0; i < seq; i++)
                    CU_ASSERT_EQUAL(owners[i], 1);
            }
}

static void test_number_of_segments(void)
{
    static const struct {
        const char *layout;
        int64_t segments;
    } cases[] = {{"contiguous", 1}, {"zigzag", 2}, {"striped", 25}};

    for (size_t n = 0; n < sizeof cases / sizeof cases[0]; n++) {
        attn_segments *rows;

        TEST_OK(attn_layout_rows(attn_layout_find(cases[n].layout), 100, 4, 1, &rows, &attn_test_error));
        CU_ASSERT_EQUAL(rows->count, cases[n].segments);
        CU_ASSERT_EQUAL(rows->rows, 25);
        attn_segments_destroy(rows);
    }
}

static void test_table(void)
{
    CU_ASSERT(attn_layout_count() >= 3);
    CU_ASSERT_PTR_NULL(attn_layout_find("diagonal"));
    for (size_t n = 0; n < attn_layout_count(); n++) {
        const attn_layout *layout = attn_layout_at(n);

        CU_ASSERT_PTR_EQUAL(attn_layout_find(attn_layout_name(layout)), layout);
        CU_ASSERT(strlen(attn_layout_summary(layout)) > 0);
    }
}

static attn_problem problem_of(int64_t heads, int64_t kv_heads, int64_t seq)
{
    return (attn_problem)PROBLEM(2, heads, kv_heads, seq, seq, 8, 8, ATTN_FLOAT32);
}

static void test_parts(void)
{
    static const int64_t heads[][2] = {{8, 8}, {8, 2}, {6, 1}, {5, 5}, {12, 3}, {1, 1}};

    for (size_t n = 0; n < sizeof heads / sizeof heads[0]; n++)
        for (int head = 1; head <= 9; head++) {
            const attn_problem problem = problem_of(heads[n][0], heads[n][1], 11);
            const int64_t group = attn_shape_group(&problem.shape);
            const attn_grid grid = {.seq = 2, .head = head};
            int64_t next = 0;
            double pairs = 0;

            for (int rank = 0; rank < 2 * head; rank++) {
                attn_part *part;

                TEST_OK(attn_part_create(&problem, grid, attn_layout_at(0), rank, &part, &attn_test_error));
                CU_ASSERT_EQUAL(part->seq_index * head + part->head_index, rank);
                if (part->seq_index == 0) {
                    CU_ASSERT_EQUAL(part->head_begin, next);
                    next += part->head_count;
                }
                for (int64_t h = part->head_begin; h < part->head_begin + part->head_count; h++)
                    CU_ASSERT(h / group >= part->kv_head_begin &&
                              h / group < part->kv_head_begin + part->kv_head_count);
                if (part->head_count == 0)
                    CU_ASSERT_EQUAL(part->kv_head_count, 0);
                pairs += attn_part_head_pairs(&problem, part->q_rows) * (double)part->head_count;
                attn_part_destroy(part);
            }
            CU_ASSERT_EQUAL(next, heads[n][0]);
            CU_ASSERT_EQUAL(pairs, (double)(2 * 11 * 11 * heads[n][0]));
        }
}

static const attn_test tests[] = {
    {"the table of layouts", test_table},
    {"even shares", test_shares},
    {"each layout covers each row once", test_layouts_cover_each_row_once},
    {"segments of each layout", test_number_of_segments},
    {"parts have the heads that they need", test_parts},
};

int main(int argc, char **argv)
{
    return attn_test_main(argc, argv, "plan/partition", tests, sizeof tests / sizeof tests[0]);
}
