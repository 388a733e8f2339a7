/* What parts of a sequence need of each other, against the definition of the mask, pair by pair. */
#include "fixture.h"
#include "harness.h"

#include "plan/needs.h"

#include <attn/partition.h>

static bool sees(const attn_problem *problem, const attn_segments *rows, const attn_segments *keys)
{
    for (int64_t b = 0; b < problem->shape.batch; b++)
        for (int64_t r = 0; r < rows->rows; r++) {
            const attn_interval seen = attn_mask_row(&problem->mask, &problem->shape, b, attn_segments_global(rows, r));

            for (int64_t k = 0; k < keys->rows; k++) {
                const int64_t j = attn_segments_global(keys, k);

                if (j >= seen.lo && j < seen.hi)
                    return true;
            }
        }
    return false;
}

/* The rows of part j that part i sees, each tried alone, and their numbers in the sequence. */
static void check_places(const attn_problem *problem, const attn_needs *needs, int i, int j)
{
    const attn_segments *keys = needs->kv_rows[j];
    attn_segments *places, *rows;

    TEST_OK(attn_needs_places(problem, needs, i, j, &places, &attn_test_error));
    TEST_OK(attn_needs_rows(keys, places, &rows, &attn_test_error));
    CU_ASSERT_EQUAL(places->rows, rows->rows);
    for (int64_t k = 0; k < keys->rows; k++) {
        attn_segment one = {attn_segments_global(keys, k), 1, 0};
        const attn_segments alone = {&one, 1, 1};
        const int64_t before = attn_segments_below(places, k);
        const bool listed = attn_segments_below(places, k + 1) > before;

        CU_ASSERT_EQUAL(listed, sees(problem, needs->q_rows[i], &alone));
        if (listed)
            CU_ASSERT_EQUAL(attn_segments_global(rows, before), one.begin);
    }
    attn_segments_destroy(places);
    attn_segments_destroy(rows);
}

/* Members that have several parts each, next to each other or in turns. */
static void check_merged(const attn_problem *problem, const attn_needs *needs, int members, bool turns)
{
    int member_of[16];
    int64_t q_rows = 0, kv_rows = 0;
    attn_needs *merged;

    for (int i = 0; i < needs->parts; i++)
        member_of[i] = turns ? i % members : i * members / needs->parts;
    TEST_OK(attn_needs_merge(needs, members, member_of, &merged, &attn_test_error));
    for (int j = 0; j < members; j++) {
        int reach = -1;

        q_rows += merged->q_rows[j]->rows;
        kv_rows += merged->kv_rows[j]->rows;
        for (int i = 0; i < members; i++) {
            const int away = (i - j + members) % members;

            CU_ASSERT_EQUAL(attn_needs_see(merged, i, j), sees(problem, merged->q_rows[i], merged->kv_rows[j]));
            if (attn_needs_see(merged, i, j) && away > reach)
                reach = away;
        }
        CU_ASSERT_EQUAL(merged->reach[j], reach);
    }
    CU_ASSERT_EQUAL(q_rows, problem->shape.seq);
    CU_ASSERT_EQUAL(kv_rows, problem->shape.kv_seq);
    for (int i = 0; i < needs->parts; i++)
        for (int64_t r = 0; r < needs->kv_rows[i]->rows; r++) {
            const attn_segments *rows = merged->kv_rows[member_of[i]];
            const int64_t global = attn_segments_global(needs->kv_rows[i], r);

            CU_ASSERT_EQUAL(attn_segments_below(rows, global + 1) - attn_segments_below(rows, global), 1);
        }
    attn_needs_destroy(merged);
}

static void check(const attn_problem *problem, int parts, const attn_layout *layout)
{
    const attn_plan_options options = {
        .grid = {parts, 1}, .exchange = attn_exchange_find("allgather"), .layout = layout};
    attn_plan plan;
    attn_needs *needs;

    TEST_OK(attn_plan_make(problem, parts, &options, &plan, &attn_test_error));
    TEST_OK(attn_needs_create(&plan, &needs, &attn_test_error));
    for (int j = 0; j < parts; j++) {
        int reach = -1, q_first = 0, q_reach = 0;

        for (int i = 0; i < parts; i++) {
            const int away = (i - j + parts) % parts;

            CU_ASSERT_EQUAL(attn_needs_see(needs, i, j), sees(problem, needs->q_rows[i], needs->kv_rows[j]));
            if (parts % 3 == 0) /* some are enough */
                check_places(problem, needs, i, j);
            if (attn_needs_see(needs, i, j) && away > reach)
                reach = away;
        }
        for (int away = 1; away < parts; away++)
            if (attn_needs_see(needs, j, (j + away) % parts)) {
                q_first = q_first == 0 ? away : q_first;
                q_reach = away;
            }
        CU_ASSERT_EQUAL(needs->reach[j], reach);
        CU_ASSERT_EQUAL(needs->q_first[j], q_first);
        CU_ASSERT_EQUAL(needs->q_reach[j], q_reach);
    }
    for (int members = 1; members <= parts; members++)
        for (int turns = 0; parts % members == 0 && turns < 2; turns++)
            check_merged(problem, needs, members, turns);
    attn_needs_destroy(needs);
}

static void check_all(const attn_problem *problem)
{
    for (int parts = 1; parts <= 7; parts++)
        for (size_t l = 0; l < attn_layout_count(); l++)
            check(problem, parts, attn_layout_at(l));
}

static void test_masks(void)
{
    static const int64_t shapes[][2] = {{23, 23}, {5, 31}, {31, 5}, {1, 9}, {2, 2}, {40, 12}};
    static const int64_t kv_len[] = {4, 0, 2}, windows[] = {-1, 0, 2, 9, INT64_MAX};

    for (size_t n = 0; n < sizeof shapes / sizeof shapes[0]; n++)
        for (size_t left = 0; left < sizeof windows / sizeof windows[0]; left++)
            for (size_t right = 0; right < sizeof windows / sizeof windows[0]; right++)
                for (int causal = 0; causal < 2; causal++)
                    for (int padded = 0; padded < 2; padded++) {
                        attn_problem problem = PROBLEM(3, 1, 1, shapes[n][0], shapes[n][1], 1, 1, ATTN_FLOAT32);

                        problem.mask.causal = causal;
                        problem.mask.window_left = windows[left];
                        problem.mask.window_right = windows[right];
                        problem.mask.kv_len = padded && shapes[n][1] >= 4 ? kv_len : NULL;
                        check_all(&problem);
                    }
}

static void test_documents(void)
{
    static const int64_t starts[] = {0, 5, 5, 6, 20, 31}, kv_len[] = {30, 0, 6};

    for (int causal = 0; causal < 2; causal++)
        for (int padded = 0; padded < 2; padded++)
            for (int64_t window = -1; window < 8; window += 3) {
                attn_problem problem = PROBLEM(3, 1, 1, 31, 31, 1, 1, ATTN_FLOAT32);

                problem.mask.causal = causal;
                problem.mask.cu_seqlens = starts;
                problem.mask.documents = 5;
                problem.mask.window_left = window;
                problem.mask.kv_len = padded ? kv_len : NULL;
                check_all(&problem);
            }
}

static const attn_test tests[] = {
    {"causal, windows, padding, Sq and Skv apart", test_masks},
    {"documents", test_documents},
};

int main(int argc, char **argv)
{
    return attn_test_main(argc, argv, "plan/needs", tests, sizeof tests / sizeof tests[0]);
}
