/* attnbench explain: attention number by number. All ranks read the file together, rank 0 alone computes and prints. */
#include "explain.h"
#include "explain_source.h"
#include "exports.h"
#include "shown.h"

#include <stdlib.h>
#include <string.h>

static const option_key keys[] = {
    OPTION_CAUSAL,      OPTION_SCALE,  OPTION_DROPOUT, OPTION_SEED,      OPTION_NO_WEIGHTS, OPTION_ROTARY,
    OPTION_BATCH_INDEX, OPTION_HEAD,   OPTION_ROW,     OPTION_ROW_RANGE, OPTION_KEY_RANGE,  OPTION_BLOCK,
    OPTION_PARTS,       OPTION_TOKENS, OPTION_DIGITS,  OPTION_HEAT_MAP,
};

static const option_set set = {
    .usage = "attnbench explain [OPTION...] FILE",
    .about =
        "Computes the attention of a small input file, or the layer of a layer file, in float64 and prints each step: "
        "queries, keys, values, scores, weights, context vectors, output. With --row one row is worked out, "
        "product by product. --causal, --scale, --dropout and --seed (one value each) replace the settings of the "
        "file. Needs no mpirun. docs/attention.md explains attention with it.\n",
    .examples = "  attnbench explain tests/data/golden/book_multihead.h5\n"
                "  attnbench explain --no-weights --row 1 tests/data/golden/book_self_attention_v1.h5\n"
                "  attnbench explain --causal --plot weights.svg tests/data/golden/book_self_attention_v2.h5\n"
                "  attnbench explain --row 5 --block 2 --parts 2 tests/data/golden/book_self_attention_v2.h5\n",
    .keys = keys,
    .count = sizeof keys / sizeof keys[0],
    .takes_files = true,
};

/* What the command line says. */
typedef struct request {
    const char *path, *picture; /* NULL: no picture */
    explain_settings settings;
    int64_t batch, head, row, digits, block, parts; /* head, row: -1 not given; block, parts: 0 */
    const char *rows, *keys;                        /* "A:B"; NULL: all */
    char *token_text;                               /* owned */
    const char **tokens;                            /* owned, [token_count], into token_text */
    int64_t token_count;
} request;

/* ---- Options ---- */

/* An integer that may be absent. */
static attn_status read_optional(const options *given, option_key key, number_kind kind, int64_t absent, int64_t *out,
                                 attn_error *error)
{
    *out = absent;
    return option_text(given, key) != NULL ? option_integer(given, key, kind, out, error) : ATTN_OK;
}

static attn_status read_tokens(const options *given, request *out, attn_error *error)
{
    const char *text = option_text(given, OPTION_TOKENS);
    size_t count = 1;

    if (text == NULL)
        return ATTN_OK;
    if (strchr(text, '|') != NULL)
        return attn_error_set(error, ATTN_ARGUMENT, "--tokens %s: names without | are accepted",
                              shown_value(text).text);
    for (const char *at = text; *at != '\0'; at++)
        count += *at == ',';
    out->token_text = strdup(text);
    out->tokens = calloc(count, sizeof *out->tokens);
    if (out->token_text == NULL || out->tokens == NULL)
        return attn_error_set(error, ATTN_MEMORY, "no memory for %zu names", count);
    for (char *at = out->token_text, *end; at != NULL; at = end) {
        end = strchr(at, ',');
        if (end != NULL)
            *end++ = '\0';
        if (*at == '\0' || strlen(at) >= sizeof(explain_text))
            return attn_error_set(error, ATTN_ARGUMENT, "--tokens: name %lld has %zu bytes; 1 to %zu are accepted",
                                  (long long)out->token_count, strlen(at), sizeof(explain_text) - 1);
        out->tokens[out->token_count++] = at;
    }
    return ATTN_OK;
}

static attn_status read_replaced(const options *given, explain_settings *out, attn_error *error)
{
    int64_t seed = 0;
    attn_status status = ATTN_OK;

    out->no_weights = option_given(given, OPTION_NO_WEIGHTS);
    out->causal = option_given(given, OPTION_CAUSAL);
    out->has_scale = option_given(given, OPTION_SCALE);
    out->has_dropout = option_given(given, OPTION_DROPOUT);
    out->has_seed = option_given(given, OPTION_SEED);
    if (out->has_scale)
        status = option_real(given, OPTION_SCALE, REAL_ANY, &out->scale, error);
    if (status == ATTN_OK && out->has_dropout)
        status = option_real(given, OPTION_DROPOUT, REAL_NOT_NEGATIVE, &out->dropout, error);
    if (status == ATTN_OK && out->has_seed)
        status = option_integer(given, OPTION_SEED, NUMBER_COUNT, &seed, error);
    out->seed = (uint64_t)seed;
    out->has_rotary = option_given(given, OPTION_ROTARY);
    if (status == ATTN_OK && out->has_rotary &&
        !attn_rotary_style_find(option_text(given, OPTION_ROTARY), &out->rotary))
        status = attn_error_set(error, ATTN_ARGUMENT, "--rotary %s: none, half and interleaved are accepted",
                                shown_value(option_text(given, OPTION_ROTARY)).text);
    return status;
}

static attn_status read_picture(const options *given, request *out, attn_error *error)
{
    const char *const path = option_text(given, OPTION_HEAT_MAP);
    const char *const dot = path != NULL ? strrchr(path, '.') : NULL;

    out->picture = path;
    if (path != NULL &&
        (dot == NULL || (strcmp(dot, ".png") != 0 && strcmp(dot, ".svg") != 0 && strcmp(dot, ".pdf") != 0)))
        return attn_error_set(error, ATTN_ARGUMENT, "%s %s: a name ending in .png, .svg or .pdf is accepted",
                              option_label(OPTION_HEAT_MAP), shown_path(path).text);
    return ATTN_OK;
}

static attn_status read_request(const options *given, request *out, attn_error *error)
{
    const char *const *files;
    const size_t count = options_files(given, &files);
    attn_status status = read_replaced(given, &out->settings, error);

    if (status == ATTN_OK)
        status = option_integer(given, OPTION_BATCH_INDEX, NUMBER_COUNT, &out->batch, error);
    if (status == ATTN_OK)
        status = read_optional(given, OPTION_HEAD, NUMBER_COUNT, -1, &out->head, error);
    if (status == ATTN_OK)
        status = read_optional(given, OPTION_ROW, NUMBER_COUNT, -1, &out->row, error);
    if (status == ATTN_OK)
        status = read_optional(given, OPTION_BLOCK, NUMBER_POSITIVE, 0, &out->block, error);
    if (status == ATTN_OK)
        status = read_optional(given, OPTION_PARTS, NUMBER_POSITIVE, 0, &out->parts, error);
    if (status == ATTN_OK)
        status = option_integer(given, OPTION_DIGITS, NUMBER_POSITIVE, &out->digits, error);
    if (status == ATTN_OK && out->digits > 15)
        status = attn_error_set(error, ATTN_ARGUMENT, "--digits %lld: 1 to 15 are accepted", (long long)out->digits);
    if (status == ATTN_OK && out->row < 0 && (out->block > 0 || out->parts > 0))
        status = attn_error_set(error, ATTN_ARGUMENT, "%s: accepted with --row, which says of which row",
                                out->block > 0 ? "--block" : "--parts");
    out->rows = option_text(given, OPTION_ROW_RANGE);
    out->keys = option_text(given, OPTION_KEY_RANGE);
    if (status == ATTN_OK && out->row >= 0 && out->rows != NULL)
        status = attn_error_set(error, ATTN_ARGUMENT, "--rows: not accepted with --row, which is one row");
    if (status == ATTN_OK)
        status = read_tokens(given, out, error);
    if (status == ATTN_OK)
        status = read_picture(given, out, error);
    if (status == ATTN_OK && count != 1)
        status = attn_error_set(error, ATTN_ARGUMENT, "explain: %zu files; one is needed; see attnbench explain --help",
                                count);
    out->path = count == 1 ? files[0] : NULL;
    return status;
}

/* ---- What is shown of the file ---- */

static attn_status check_index(option_key key, int64_t value, int64_t count, attn_error *error)
{
    if (value < count)
        return ATTN_OK;
    return attn_error_set(error, ATTN_ARGUMENT, "%s %lld: the file has %lld; 0 to %lld are accepted", option_label(key),
                          (long long)value, (long long)count, (long long)count - 1);
}

/* Reads "A:B", or takes all of count, of which at most `most` are shown. */
static attn_status read_range(option_key key, const char *text, int64_t count, int64_t most, int64_t *begin,
                              int64_t *end, attn_error *error)
{
    const char *const colon = text != NULL ? strchr(text, ':') : NULL;
    char first[32];
    attn_status status = ATTN_OK;

    *begin = 0;
    *end = count;
    if (text != NULL) {
        snprintf(first, sizeof first, "%.*s", colon != NULL ? (int)(colon - text) : 0, text);
        if (colon != NULL)
            status = parse_integer(option_label(key), first, NUMBER_COUNT, begin, error);
        if (colon != NULL && status == ATTN_OK)
            status = parse_integer(option_label(key), colon + 1, NUMBER_COUNT, end, error);
        if (status == ATTN_OK && (colon == NULL || *begin >= *end || *end > count))
            status = attn_error_set(error, ATTN_ARGUMENT, "%s %s: A:B with 0 <= A < B <= %lld is accepted",
                                    option_label(key), shown_value(text).text, (long long)count);
    }
    if (status == ATTN_OK && *end - *begin > most)
        status = attn_error_set(error, ATTN_ARGUMENT, "%lld %s: at most %lld are shown; %s A:B limits them",
                                (long long)(*end - *begin), option_label(key) + 2, (long long)most, option_label(key));
    return status;
}

static attn_status make_view(const request *wanted, const attn_shape *shape, explain_view *out, attn_error *error)
{
    attn_status status = check_index(OPTION_BATCH_INDEX, wanted->batch, shape->batch, error);

    *out = (explain_view){.batch = wanted->batch,
                          .head_end = shape->heads,
                          .digits = (int)wanted->digits,
                          .block = wanted->block,
                          .parts = wanted->parts,
                          .tokens = wanted->tokens,
                          .token_count = wanted->token_count};
    if (wanted->head >= 0 || wanted->row >= 0) {
        out->head_begin = wanted->head >= 0 ? wanted->head : 0;
        out->head_end = out->head_begin + 1;
    }
    if (status == ATTN_OK)
        status = check_index(OPTION_HEAD, out->head_begin, shape->heads, error);
    if (status == ATTN_OK && out->head_end - out->head_begin > EXPLAIN_HEADS)
        status = attn_error_set(error, ATTN_ARGUMENT, "%lld heads: at most %d are shown; --head N takes one",
                                (long long)shape->heads, EXPLAIN_HEADS);
    if (status == ATTN_OK && wanted->row >= 0) {
        status = check_index(OPTION_ROW, wanted->row, shape->seq, error);
        out->row_begin = wanted->row;
        out->row_end = wanted->row + 1;
    } else if (status == ATTN_OK) {
        status =
            read_range(OPTION_ROW_RANGE, wanted->rows, shape->seq, EXPLAIN_ROWS, &out->row_begin, &out->row_end, error);
    }
    if (status == ATTN_OK)
        status = read_range(OPTION_KEY_RANGE, wanted->keys, shape->kv_seq, EXPLAIN_KEYS, &out->key_begin, &out->key_end,
                            error);
    if (status == ATTN_OK && out->parts > EXPLAIN_KEYS)
        status = attn_error_set(error, ATTN_ARGUMENT, "--parts %lld: 1 to %d are accepted", (long long)out->parts,
                                EXPLAIN_KEYS);
    if (status == ATTN_OK && out->block > 0 && (shape->kv_seq - 1) / out->block >= EXPLAIN_KEYS)
        status = attn_error_set(error, ATTN_ARGUMENT, "--block %lld: blocks of %lld or more are accepted for %lld keys",
                                (long long)out->block, (long long)((shape->kv_seq - 1) / EXPLAIN_KEYS + 1),
                                (long long)shape->kv_seq);
    if (status == ATTN_OK && out->token_count > 0 && out->token_count != shape->seq)
        status = attn_error_set(error, ATTN_ARGUMENT, "--tokens: %lld names; %lld are needed, one a row",
                                (long long)out->token_count, (long long)shape->seq);
    return status;
}

/* ---- Printing, on rank 0 ---- */

static void print_mask(const attn_mask *mask, FILE *stream)
{
    if (mask->causal)
        fputs("; causal", stream);
    if (mask->window_left >= 0)
        fprintf(stream, "; window-left %lld", (long long)mask->window_left);
    if (mask->window_right >= 0)
        fprintf(stream, "; window-right %lld", (long long)mask->window_right);
    if (mask->kv_len != NULL)
        fputs("; padded keys", stream);
    if (mask->documents > 0)
        fprintf(stream, "; %lld documents", (long long)mask->documents);
}

/* "FILE: a layer, x [1,6,3] ..." */
static void print_head_lines(const request *wanted, const explain_view *view, FILE *stream)
{
    const attn_layer_problem *const layer = &view->x->problem;
    const attn_problem *const problem = &layer->attention;
    const attn_shape *const s = &problem->shape;

    fprintf(stream, "%s: ", shown_base(wanted->path));
    if (layer->embed_dim > 0)
        fprintf(stream, "x [%lld,%lld,%lld], ", (long long)s->batch, (long long)s->seq, (long long)layer->embed_dim);
    fprintf(stream, "q [%lld,%lld,%lld,%lld], k [%lld,%lld,%lld,%lld], v [%lld,%lld,%lld,%lld]\n", (long long)s->batch,
            (long long)s->heads, (long long)s->seq, (long long)s->head_dim, (long long)s->batch, (long long)s->kv_heads,
            (long long)s->kv_seq, (long long)s->head_dim, (long long)s->batch, (long long)s->kv_heads,
            (long long)s->kv_seq, (long long)s->v_head_dim);
    fprintf(stream, "scale %s", explain_number(view, problem->score.scale).text);
    if (problem->score.scale == attn_scale_default(s->head_dim))
        fprintf(stream, " = 1 / sqrt(%lld)", (long long)s->head_dim);
    print_mask(&problem->mask, stream);
    if (problem->score.softcap > 0)
        fprintf(stream, "; softcap %g", problem->score.softcap);
    if (problem->score.alibi_slopes != NULL)
        fputs("; ALiBi", stream);
    if (problem->score.sinks != NULL)
        fputs("; sinks", stream);
    if (problem->dropout > 0)
        fprintf(stream, "; dropout %g, seed %llu", problem->dropout, (unsigned long long)problem->dropout_seed);
    if (layer->rotary.style != ATTN_ROTARY_NONE)
        fprintf(stream, "; rotary %s, theta %g, %lld of %lld elements", attn_rotary_style_name(layer->rotary.style),
                layer->rotary.theta, (long long)layer->rotary.dim, (long long)s->head_dim);
    if (s->batch > 1)
        fprintf(stream, "; sequence %lld of the batch", (long long)view->batch);
    fputc('\n', stream);
}

static attn_status draw(const request *wanted, const explain_view *view, attn_error *error)
{
    const attn_shape *const s = &view->x->problem.attention.shape;
    const bool whole = wanted->row < 0;
    attn_weight_map map = {.weights = &view->x->weights[view->batch * s->heads * s->seq * s->kv_seq],
                           .scores = &view->x->scores[view->batch * s->heads * s->seq * s->kv_seq],
                           .seq = s->seq,
                           .kv_seq = s->kv_seq,
                           .head_begin = view->head_begin,
                           .head_end = view->head_end,
                           .row_begin = whole ? view->row_begin : 0,
                           .row_end = whole                   ? view->row_end
                                      : s->seq < EXPLAIN_ROWS ? s->seq
                                                              : EXPLAIN_ROWS,
                           .key_begin = view->key_begin,
                           .key_end = view->key_end,
                           .row_names = view->tokens,
                           .key_names = s->seq == s->kv_seq && view->x->problem.context_dim == 0 ? view->tokens : NULL};

    return attn_study_plot_weights(&map, wanted->picture, error);
}

static attn_status show(const request *wanted, const explain_view *view, attn_error *error)
{
    attn_status status;

    if (wanted->picture != NULL) {
        status = draw(wanted, view, error);
        if (status != ATTN_OK)
            return status;
    }
    print_head_lines(wanted, view, stdout);
    return wanted->row >= 0 ? explain_print_row(view, stdout, error) : explain_print_tables(view, stdout, error);
}

/* Collective. */
static attn_status perform(const bench *launch, const request *wanted, attn_error *error)
{
    explain_source source;
    explain_view view;
    attn_explanation *x = NULL, *unmasked = NULL;
    attn_status status = ATTN_OK;

    if (launch->rank == 0 && wanted->picture != NULL)
        status = exports_check_path(OPTION_HEAT_MAP, wanted->picture, error);
    status = attn_comm_agree(launch->comm, status, error);
    if (status != ATTN_OK)
        return status;
    status = explain_source_open(launch, wanted->path, &wanted->settings, &source, error);
    if (status == ATTN_OK)
        status = make_view(wanted, &source.problem.attention.shape, &view, error);
    if (status == ATTN_OK)
        status = explain_source_compute(launch, &source, &x, wanted->row >= 0 ? &unmasked : NULL, error);
    if (status == ATTN_OK && launch->rank == 0) {
        view.x = x;
        view.unmasked = source.problem.attention.score.sinks == NULL ? unmasked : NULL;
        status = show(wanted, &view, error);
    }
    attn_explanation_destroy(unmasked);
    attn_explanation_destroy(x);
    return explain_source_close(&source, attn_comm_agree(launch->comm, status, error), error);
}

attn_status cmd_explain(const bench *launch, int argc, char **argv, bool *wrong, attn_error *error)
{
    request wanted = {.path = NULL};
    options *given;
    attn_status status = options_parse(&set, argc, argv, &given, error);

    (void)wrong;
    if (status != ATTN_OK)
        return status;
    if (option_given(given, OPTION_HELP)) {
        if (launch->rank == 0)
            options_help(&set);
    } else {
        status = read_request(given, &wanted, error);
        if (status == ATTN_OK)
            status = perform(launch, &wanted, error);
    }
    free(wanted.token_text);
    free(wanted.tokens);
    options_destroy(given);
    return status;
}
