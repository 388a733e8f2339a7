/* The random bits of dropout (attn_dropout_keeps) for many blocks of keys at a time: Philox4x32-10 (Salmon et al. 2011,
 * section 4.3) with a block in each lane of 64 bits, of which the lower 32 are a word. Included by portable_level.h,
 * which defines VECTOR_BYTES and, where the processor has it in one instruction,
 *   MULTIPLY_WORDS(x, y)  the products of the lower halves of the lanes, 64 bits */
#include <attn/problem.h>
#include <attn/random.h>

enum { DROPOUT_LANES = VECTOR_BYTES / 8, PHILOX_ROUNDS = 10, PHILOX_WORDS = 4 };

typedef uint64_t dropout_words __attribute__((vector_size(VECTOR_BYTES)));

/* What all weights of a problem have in common. */
typedef struct dropout_rule {
    bool on;
    int32_t threshold; /* of attn_dropout_threshold */
    double kept;       /* factor on the weights that stay: 1 / (1 - dropout) */
    uint64_t key[PHILOX_ROUNDS][2];
} dropout_rule;

static dropout_rule open_dropout(const attn_problem *problem)
{
    uint32_t key[2] = {(uint32_t)problem->dropout_seed, (uint32_t)(problem->dropout_seed >> 32)};
    dropout_rule rule = {.on = problem->dropout > 0,
                         .threshold = (int32_t)attn_dropout_threshold(problem->dropout),
                         .kept = 1 / (1 - problem->dropout)};

    for (int round = 0; round < PHILOX_ROUNDS; round++) {
        rule.key[round][0] = key[0];
        rule.key[round][1] = key[1];
        key[0] += UINT32_C(0x9E3779B9);
        key[1] += UINT32_C(0xBB67AE85);
    }
    return rule;
}

static inline dropout_words load_words(const uint64_t *from)
{
    dropout_words words;

    memcpy(&words, from, sizeof words);
    return words;
}

static inline dropout_words multiply_words(dropout_words x, uint64_t factor)
{
#ifdef MULTIPLY_WORDS
    return MULTIPLY_WORDS(x, factor - (dropout_words){0});
#else
    return (x & UINT64_C(0xffffffff)) * factor;
#endif
}

/* The four words of a block in each lane; their upper halves are undefined.
 *   block, row, head  of each lane: j / 8, i and b Hq + h */
static inline __attribute__((always_inline)) void draw_words(const dropout_rule *rule, dropout_words block,
                                                             dropout_words row, dropout_words head,
                                                             dropout_words out[PHILOX_WORDS])
{
    dropout_words c0 = block, c1 = row, c2 = head, c3 = (uint64_t)ATTN_DROPOUT_USE - (dropout_words){0};

    UNROLL
    for (int round = 0; round < PHILOX_ROUNDS; round++) {
        const dropout_words p0 = multiply_words(c0, UINT64_C(0xD2511F53));
        const dropout_words p1 = multiply_words(c2, UINT64_C(0xCD9E8D57));

        c0 = (p1 >> 32) ^ c1 ^ rule->key[round][0];
        c1 = p1;
        c2 = (p0 >> 32) ^ c3 ^ rule->key[round][1];
        c3 = p0;
    }
    out[0] = c0;
    out[1] = c1;
    out[2] = c2;
    out[3] = c3;
}

/* Two words as one number of 64 bits. */
static inline dropout_words join_words(dropout_words low, dropout_words high)
{
    return (low & UINT64_C(0xffffffff)) | high << 32;
}

/* The 16-bit numbers of consecutive keys of a query row.
 *   blocks  in, [count up to whole vectors] j / 8, any numbers
 *   bits    out, [count up to whole vectors][ATTN_DROPOUT_KEYS] */
static inline void draw_row(const dropout_rule *rule, const uint64_t *blocks, int64_t count, uint64_t row,
                            uint64_t head, uint16_t *bits)
{
    for (int64_t n = 0; n < count; n += DROPOUT_LANES) {
        dropout_words words[PHILOX_WORDS], low, high, zipped;

        draw_words(rule, load_words(blocks + n), row - (dropout_words){0}, head - (dropout_words){0}, words);
        low = join_words(words[0], words[1]);
        high = join_words(words[2], words[3]);
        zipped = __builtin_shufflevector(low, high, ZIP_DOUBLE(LOW));
        memcpy(bits + n * ATTN_DROPOUT_KEYS, &zipped, sizeof zipped);
        zipped = __builtin_shufflevector(low, high, ZIP_DOUBLE(HIGH));
        memcpy(bits + n * ATTN_DROPOUT_KEYS + sizeof zipped / sizeof *bits, &zipped, sizeof zipped);
    }
}
