/* Layouts: how the rows of a sequence are dealt to the ranks of a sequence group.
 *
 * Under a causal mask row i costs i + 1 keys. Contiguous pieces then leave the last rank with (2p - 1) / p times the
 * mean; zigzag gives each rank one cheap and one dear piece, striped deals single rows. */
#include <attn/partition.h>

#include "plan/balance.h"
#include "plan/part.h"

#include <stdlib.h>
#include <string.h>

struct attn_layout {
    const char *name, *summary;
    /* Number of pieces of a part, and the i-th of them (which may be empty). */
    int64_t (*pieces)(int64_t seq, int parts, int part);
    attn_segment (*piece)(int64_t seq, int parts, int part, int64_t i);
    bool by_pairs; /* rows are dealt by what they see, where that is known (attn_balance_rows) */
};

int64_t attn_share_begin(int64_t count, int shares, int index)
{
    /* count * index / shares without the product, which could overflow. */
    return count / shares * index + count % shares * index / shares;
}

static attn_segment share(int64_t seq, int shares, int index)
{
    const int64_t begin = attn_share_begin(seq, shares, index);

    return (attn_segment){.begin = begin, .length = attn_share_begin(seq, shares, index + 1) - begin};
}

static int64_t contiguous_pieces(int64_t seq, int parts, int part)
{
    (void)seq, (void)parts, (void)part;
    return 1;
}

static attn_segment contiguous_piece(int64_t seq, int parts, int part, int64_t i)
{
    (void)i;
    return share(seq, parts, part);
}

static int64_t zigzag_pieces(int64_t seq, int parts, int part)
{
    (void)seq, (void)parts, (void)part;
    return 2;
}

/* 2 * parts pieces; part r gets piece r and its mirror image 2 * parts - 1 - r. */
static attn_segment zigzag_piece(int64_t seq, int parts, int part, int64_t i)
{
    return share(seq, 2 * parts, i == 0 ? part : 2 * parts - 1 - part);
}

static int64_t striped_pieces(int64_t seq, int parts, int part)
{
    return part < seq ? (seq - part - 1) / parts + 1 : 0;
}

static attn_segment striped_piece(int64_t seq, int parts, int part, int64_t i)
{
    (void)seq;
    return (attn_segment){.begin = part + i * parts, .length = 1};
}

static const attn_layout layouts[] = {
    {"contiguous", "one run of rows a rank", contiguous_pieces, contiguous_piece, false},
    {"zigzag", "two runs a rank, one early and one late: balanced for causal masks", zigzag_pieces, zigzag_piece,
     false},
    {"striped", "every Ps-th row: balanced for causal masks", striped_pieces, striped_piece, false},
    {"balanced", "16 blocks a rank, dealt by the pairs that they see: for packed documents and any other mask",
     contiguous_pieces, contiguous_piece, true},
};

size_t attn_layout_count(void)
{
    return sizeof layouts / sizeof layouts[0];
}

const attn_layout *attn_layout_at(size_t index)
{
    return &layouts[index];
}

const attn_layout *attn_layout_find(const char *name)
{
    for (size_t i = 0; i < attn_layout_count(); i++)
        if (strcmp(layouts[i].name, name) == 0)
            return &layouts[i];
    return NULL;
}

const char *attn_layout_name(const attn_layout *layout)
{
    return layout->name;
}

const char *attn_layout_summary(const attn_layout *layout)
{
    return layout->summary;
}

attn_status attn_layout_queries(const attn_layout *layout, const attn_problem *problem, int parts, int part,
                                attn_segments **out, attn_error *error)
{
    return layout->by_pairs ? attn_balance_rows(problem, parts, part, out, error)
                            : attn_layout_rows(layout, problem->shape.seq, parts, part, out, error);
}

attn_status attn_layout_keys(const attn_layout *layout, const attn_problem *problem, int parts, int part,
                             attn_segments **out, attn_error *error)
{
    return layout->by_pairs && problem->shape.seq == problem->shape.kv_seq
               ? attn_balance_rows(problem, parts, part, out, error)
               : attn_layout_rows(layout, problem->shape.kv_seq, parts, part, out, error);
}

attn_status attn_layout_rows(const attn_layout *layout, int64_t seq, int parts, int part, attn_segments **out,
                             attn_error *error)
{
    const int64_t count = layout->pieces(seq, parts, part);
    int64_t *begins = malloc((size_t)(count + 1) * sizeof *begins);
    int64_t *lengths = malloc((size_t)(count + 1) * sizeof *lengths);
    attn_status status;

    *out = NULL;
    if (begins == NULL || lengths == NULL) {
        status = attn_error_set(error, ATTN_MEMORY, "no memory for the %lld segments of a rank", (long long)count);
    } else {
        for (int64_t i = 0; i < count; i++) {
            const attn_segment piece = layout->piece(seq, parts, part, i);

            begins[i] = piece.begin;
            lengths[i] = piece.length;
        }
        status = attn_segments_create(count, begins, lengths, out, error);
    }
    free(begins);
    free(lengths);
    return status;
}
