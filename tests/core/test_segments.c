/* Segments: global and local rows against a plain list of rows. */
#include "harness.h"

#include <attn/random.h>
#include <attn/segments.h>

#include <stdbool.h>
#include <stddef.h>
#include <string.h>

enum { ROWS = 60, MAX_PIECES = 12 };

static int64_t draw(uint64_t *counter, int64_t bound)
{
    return attn_random_below(21, ATTN_STREAM_TEST, (*counter)++, bound);
}

static void check_against_rows(const attn_segments *s, const bool *owned)
{
    int64_t local = 0;
    unsigned wrong = 0;

    for (int64_t row = 0; row < ROWS; row++) {
        wrong += attn_segments_below(s, row) != local;
        if (owned[row]) {
            wrong += local >= s->rows || attn_segments_global(s, local) != row;
            local++;
        }
    }
    wrong += attn_segments_below(s, ROWS) != local || attn_segments_below(s, INT64_MAX) != local;
    wrong += attn_segments_below(s, -5) != 0 || s->rows != local;
    for (int64_t i = 0, offset = 0; i < s->count; i++) {
        wrong += s->list[i].length <= 0 || s->list[i].offset != offset;
        wrong += i > 0 && s->list[i].begin <= s->list[i - 1].begin + s->list[i - 1].length;
        offset += s->list[i].length;
    }
    CU_ASSERT_EQUAL(wrong, 0);
}

static void test_random_pieces(void)
{
    uint64_t counter = 0;

    for (int repeat = 0; repeat < 500; repeat++) {
        int64_t begins[MAX_PIECES], lengths[MAX_PIECES], end = 0;
        const int64_t count = draw(&counter, MAX_PIECES + 1);
        bool owned[ROWS] = {false};
        attn_segments *s;

        for (int64_t i = 0; i < count; i++) {
            begins[i] = end + (draw(&counter, 3) == 0 ? 0 : draw(&counter, 3));
            begins[i] = begins[i] < ROWS ? begins[i] : ROWS;
            lengths[i] = draw(&counter, 6);
            lengths[i] = lengths[i] < ROWS - begins[i] ? lengths[i] : ROWS - begins[i];
            end = begins[i] + lengths[i];
            for (int64_t row = begins[i]; row < end; row++)
                owned[row] = true;
        }
        TEST_OK(attn_segments_create(count, begins, lengths, &s, &attn_test_error));
        check_against_rows(s, owned);
        attn_segments_destroy(s);
    }
}

static void test_joined(void)
{
    const int64_t begins[] = {99, 3, 5, 1, 9}, lengths[] = {0, 2, 4, 0, 1};
    attn_segments *s;

    TEST_OK(attn_segments_create(5, begins, lengths, &s, &attn_test_error));
    CU_ASSERT_EQUAL(s->count, 1);
    CU_ASSERT_EQUAL(s->list[0].begin, 3);
    CU_ASSERT_EQUAL(s->list[0].length, 7);
    attn_segments_destroy(s);
}

static void expect(int64_t count, const int64_t *begins, const int64_t *lengths, const char *message)
{
    attn_error error = ATTN_ERROR_INIT;
    attn_segments *s = (attn_segments *)&error;

    CU_ASSERT_EQUAL(attn_segments_create(count, begins, lengths, &s, &error), ATTN_ARGUMENT);
    CU_ASSERT_PTR_NULL(s);
    CU_ASSERT_STRING_EQUAL(error.message, message);
}

static void test_bad_pieces(void)
{
    const int64_t overlapping[] = {0, 4}, lengths[] = {5, 1}, falling[] = {9, 2};
    const int64_t negative[] = {-1, 4}, below_zero[] = {5, -1}, huge[] = {INT64_MAX, 2};

    expect(2, overlapping, lengths, "segment 1 begins at row 4: must be 5 (the end of the one before) or more");
    expect(2, falling, lengths, "segment 1 begins at row 2: must be 14 (the end of the one before) or more");
    expect(2, negative, lengths, "segment 0 of 5 rows from row -1: must be rows of the sequence");
    expect(2, falling, below_zero, "segment 1 of -1 rows from row 2: must be rows of the sequence");
    expect(1, huge, lengths, "segment 0 of 5 rows from row 9223372036854775807: must be rows of the sequence");
    attn_segments_destroy(NULL);
}

static const attn_test tests[] = {
    {"random pieces against rows", test_random_pieces},
    {"empty pieces dropped, adjacent ones joined", test_joined},
    {"bad pieces are named", test_bad_pieces},
};

int main(int argc, char **argv)
{
    return attn_test_main(argc, argv, "core/segments", tests, sizeof tests / sizeof tests[0]);
}
