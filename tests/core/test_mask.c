/* Masks: the interval of a row against the definition pair by pair, over many settings. */
#include "harness.h"

#include <attn/mask.h>
#include <attn/random.h>

#include <string.h>

enum { MAX_BATCH = 3, MAX_SEQ = 24, MAX_DOCUMENTS = 6 };

typedef struct setting {
    attn_shape shape;
    attn_mask mask;
    int64_t kv_len[MAX_BATCH], cu_seqlens[MAX_DOCUMENTS + 1];
} setting;

static int64_t draw(uint64_t *counter, int64_t bound)
{
    return attn_random_below(11, ATTN_STREAM_TEST, (*counter)++, bound);
}

static int64_t draw_window(uint64_t *counter)
{
    switch (draw(counter, 4)) {
    case 0:
        return INT64_MAX - draw(counter, 2);
    case 1:
        return draw(counter, 3 * MAX_SEQ);
    case 2:
        return 0;
    default:
        return draw(counter, 5);
    }
}

/* `which` is a set of bits: causal, left window, right window, key lengths, documents. */
static void make_setting(unsigned which, uint64_t *counter, setting *s)
{
    const int64_t seq = 1 + draw(counter, MAX_SEQ);

    *s = (setting){.mask = ATTN_MASK_FULL};
    s->shape = (attn_shape){1 + draw(counter, MAX_BATCH), 2, 1, seq, 1 + draw(counter, MAX_SEQ), 4, 3};
    s->mask.causal = which & 1u;
    if (which & 2u)
        s->mask.window_left = draw_window(counter);
    if (which & 4u)
        s->mask.window_right = draw_window(counter);
    if (which & 8u) {
        for (int64_t b = 0; b < s->shape.batch; b++)
            s->kv_len[b] = draw(counter, s->shape.kv_seq + 1);
        s->mask.kv_len = s->kv_len;
    }
    if (which & 16u) {
        s->shape.kv_seq = seq;
        for (int64_t b = 0; b < s->shape.batch; b++)
            s->kv_len[b] = s->kv_len[b] < seq ? s->kv_len[b] : seq;
        s->mask.documents = 1 + draw(counter, MAX_DOCUMENTS);
        for (int64_t d = 1; d < s->mask.documents; d++) {
            const int64_t last = s->cu_seqlens[d - 1];

            s->cu_seqlens[d] = draw(counter, 3) == 0 ? last : last + draw(counter, seq - last + 1);
        }
        s->cu_seqlens[s->mask.documents] = seq;
        s->mask.cu_seqlens = s->cu_seqlens;
    }
}

static int64_t document_of(const attn_mask *mask, int64_t i)
{
    for (int64_t d = 0; d < mask->documents; d++)
        if (mask->cu_seqlens[d] <= i && i < mask->cu_seqlens[d + 1])
            return d;
    return -1;
}

static bool visible(const setting *s, int64_t b, int64_t i, int64_t j)
{
    const attn_mask *const mask = &s->mask;
    const int64_t diagonal = i + s->shape.kv_seq - s->shape.seq;

    return (!mask->causal || j <= diagonal) && (mask->window_left < 0 || diagonal - j <= mask->window_left) &&
           (mask->window_right < 0 || j - diagonal <= mask->window_right) &&
           (mask->kv_len == NULL || j < mask->kv_len[b]) &&
           (mask->cu_seqlens == NULL || document_of(mask, i) == document_of(mask, j));
}

static unsigned count_wrong(const setting *s)
{
    unsigned wrong = 0;
    int64_t pairs = 0;

    for (int64_t b = 0; b < s->shape.batch; b++) {
        attn_interval before = {0, 0};

        for (int64_t i = 0; i < s->shape.seq; i++) {
            const attn_interval row = attn_mask_row(&s->mask, &s->shape, b, i);

            wrong += row.lo < 0 || row.lo > row.hi || row.hi > s->shape.kv_seq;
            wrong += row.lo < before.lo || row.hi < before.hi;
            for (int64_t j = 0; j < s->shape.kv_seq; j++) {
                wrong += visible(s, b, i, j) != (row.lo <= j && j < row.hi);
                pairs += visible(s, b, i, j);
            }
            before = row;
        }
    }
    return wrong + (pairs != attn_mask_pairs(&s->mask, &s->shape));
}

static void test_against_definition(void)
{
    uint64_t counter = 0;

    for (unsigned which = 0; which < 32; which++) {
        unsigned wrong = 0;

        for (int repeat = 0; repeat < 400; repeat++) {
            setting s;

            make_setting(which, &counter, &s);
            TEST_OK(attn_mask_check(&s.mask, &s.shape, &attn_test_error));
            wrong += count_wrong(&s);
        }
        CU_ASSERT_EQUAL(wrong, 0);
    }
}

static void test_small_cases(void)
{
    const attn_shape shape = {1, 1, 1, 5, 3, 1, 1};
    const attn_mask causal = {.causal = true, .window_left = -1, .window_right = -1};
    const int64_t want[] = {0, 0, 1, 2, 3};

    /* Two more queries than keys: the first two rows see nothing. */
    for (int64_t i = 0; i < 5; i++) {
        const attn_interval row = attn_mask_row(&causal, &shape, 0, i);

        CU_ASSERT_EQUAL(row.lo, 0);
        CU_ASSERT_EQUAL(row.hi, want[i]);
    }
    CU_ASSERT_EQUAL(attn_mask_pairs(&causal, &shape), 6);
}

static void test_pairs_saturate(void)
{
    const attn_shape shape = {INT64_C(1) << 40, 1, 1, 3, INT64_C(1) << 40, 1, 1};
    const attn_mask full = ATTN_MASK_FULL;

    CU_ASSERT_EQUAL(attn_mask_pairs(&full, &shape), INT64_MAX);
}

static void expect(const attn_mask *mask, const attn_shape *shape, const char *message)
{
    attn_error error = ATTN_ERROR_INIT;

    CU_ASSERT_EQUAL(attn_mask_check(mask, shape, &error), ATTN_ARGUMENT);
    CU_ASSERT_STRING_EQUAL(error.message, message);
}

static void test_check(void)
{
    const attn_shape shape = {3, 1, 1, 8, 8, 1, 1}, longer = {3, 1, 1, 8, 64, 1, 1};
    const int64_t lengths[] = {0, 64, 99}, negative[] = {0, -1, 3};
    const int64_t late[] = {1, 8}, falling[] = {0, 5, 4, 8}, short_of[] = {0, 5, 7}, good[] = {0, 0, 5, 8, 8};
    attn_mask mask = ATTN_MASK_FULL;

    mask.window_left = -2;
    expect(&mask, &shape, "window-left -2: must be -1 (no limit) or more");
    mask.window_left = -1;
    mask.window_right = -3;
    expect(&mask, &shape, "window-right -3: must be -1 (no limit) or more");
    mask.window_right = -1;
    mask.kv_len = lengths;
    expect(&mask, &longer, "kv_len[2] = 99: must be 0 to 64 (kv-seq)");
    mask.kv_len = negative;
    expect(&mask, &longer, "kv_len[1] = -1: must be 0 to 64 (kv-seq)");
    mask.kv_len = NULL;
    mask.documents = 1;
    expect(&mask, &shape, "documents 1: must be 0 without cu_seqlens");
    mask.cu_seqlens = late;
    expect(&mask, &longer, "documents need seq = kv-seq, but seq is 8 and kv-seq is 64");
    expect(&mask, &shape, "cu_seqlens[0] = 1: must be 0");
    mask.cu_seqlens = falling;
    mask.documents = 3;
    expect(&mask, &shape, "cu_seqlens[2] = 4: must not be below the 5 before it");
    mask.cu_seqlens = short_of;
    mask.documents = 2;
    expect(&mask, &shape, "cu_seqlens[2] = 7: must be 8 (seq)");
    mask.documents = 0;
    expect(&mask, &shape, "documents 0: must be 1 to 4194304");
    mask.cu_seqlens = good;
    mask.documents = 4;
    TEST_OK(attn_mask_check(&mask, &shape, &attn_test_error));
}

static const attn_test tests[] = {
    {"rows and pairs against the definition", test_against_definition},
    {"causal with fewer keys than queries", test_small_cases},
    {"pairs beyond 63 bits", test_pairs_saturate},
    {"bad settings are named", test_check},
};

int main(int argc, char **argv)
{
    return attn_test_main(argc, argv, "core/mask", tests, sizeof tests / sizeof tests[0]);
}
