/* Which rows a check looks at: some of every rank that computes any. */
#include "harness.h"

#include <attn/dist.h>

#include <stdlib.h>
#include <string.h>

static attn_plan plan_of(int64_t heads, int64_t seq, attn_grid grid, const char *layout)
{
    const attn_shape shape = {
        .batch = 3, .heads = heads, .kv_heads = heads, .seq = seq, .kv_seq = 8, .head_dim = 4, .v_head_dim = 4};
    const attn_problem problem = attn_problem_init(shape, ATTN_FLOAT32);
    const attn_plan_options options = {.grid = grid, .layout = attn_layout_find(layout)};
    attn_plan plan = {.ranks = 0};

    TEST_OK(attn_plan_make(&problem, grid.seq * grid.head, &options, &plan, &attn_test_error));
    return plan;
}

static bool holds(const attn_part *part, const attn_row *row)
{
    const int64_t local = attn_segments_below(part->q_rows, row->i);

    return row->h >= part->head_begin && row->h < part->head_begin + part->head_count && local < part->q_rows->rows &&
           attn_segments_global(part->q_rows, local) == row->i;
}

/* Every rank with rows and heads is among the owners; returns how many such ranks there are. */
static int check_cover(const attn_plan *plan, int64_t count)
{
    attn_row *rows;
    int64_t made;
    int working = 0;

    TEST_OK(attn_sample_rows(plan, count, 42, &rows, &made, &attn_test_error));
    for (int rank = 0; rank < plan->ranks; rank++) {
        attn_part *part;
        int found = 0;

        TEST_OK(attn_part_create(&plan->problem, plan->grid, plan->layout, rank, &part, &attn_test_error));
        for (int64_t n = 0; n < made; n++)
            found += holds(part, &rows[n]);
        if (part->head_count > 0 && part->q_rows->rows > 0) {
            working++;
            CU_ASSERT(found > 0);
        }
        attn_part_destroy(part);
    }
    free(rows);
    return working;
}

static void test_every_rank_is_covered(void)
{
    for (size_t l = 0; l < attn_layout_count(); l++) {
        const char *layout = attn_layout_name(attn_layout_at(l));
        attn_plan plan = plan_of(5, 1000, (attn_grid){64, 2}, layout);

        CU_ASSERT_EQUAL(check_cover(&plan, 16), 128);
        plan = plan_of(2, 7, (attn_grid){9, 3}, layout); /* more ranks than rows, more than heads */
        CU_ASSERT(check_cover(&plan, 4) >= 8);
    }
}

static void test_all_rows(void)
{
    const attn_plan plan = plan_of(2, 5, (attn_grid){2, 1}, "zigzag");
    attn_row *rows;
    int64_t made;

    TEST_OK(attn_sample_rows(&plan, 30, 0, &rows, &made, &attn_test_error));
    CU_ASSERT_EQUAL(made, 3 * 2 * 5);
    for (int64_t n = 0; n < made; n++)
        CU_ASSERT_EQUAL((rows[n].b * 2 + rows[n].h) * 5 + rows[n].i, n);
    free(rows);
}

static void test_seed(void)
{
    const attn_plan plan = plan_of(4, 500, (attn_grid){3, 1}, "striped");
    attn_row *rows, *again, *other;
    int64_t made;

    TEST_OK(attn_sample_rows(&plan, 40, 1, &rows, &made, &attn_test_error));
    CU_ASSERT_EQUAL(made, 40);
    TEST_OK(attn_sample_rows(&plan, 40, 1, &again, &made, &attn_test_error));
    TEST_OK(attn_sample_rows(&plan, 40, 2, &other, &made, &attn_test_error));
    CU_ASSERT_EQUAL(memcmp(rows, again, 40 * sizeof *rows), 0);
    CU_ASSERT_NOT_EQUAL(memcmp(rows, other, 40 * sizeof *rows), 0);
    free(rows);
    free(again);
    free(other);
}

static const attn_test tests[] = {
    {"every rank is covered", test_every_rank_is_covered},
    {"all rows when they are few", test_all_rows},
    {"the seed decides", test_seed},
};

int main(int argc, char **argv)
{
    return attn_test_main(argc, argv, "plan/sample_rows", tests, sizeof tests / sizeof tests[0]);
}
