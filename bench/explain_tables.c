#include "explain.h"

#include <math.h>
#include <stdarg.h>
#include <stdlib.h>
#include <string.h>

explain_text explain_number(const explain_view *view, double value)
{
    explain_text out;

    if (isfinite(value) && fabs(value) < 1e7) {
        snprintf(out.text, sizeof out.text, "%.*f", view->digits, value);
        if (out.text[0] == '-' && strspn(out.text + 1, "0.") == strlen(out.text + 1)) /* no -0.0000 */
            memmove(out.text, out.text + 1, strlen(out.text));
    } else {
        snprintf(out.text, sizeof out.text, "%.*g", view->digits, value);
    }
    return out;
}

static explain_text name_of(const explain_view *view, int64_t number, bool named)
{
    explain_text out;

    if (named && number < view->token_count)
        snprintf(out.text, sizeof out.text, "%s", view->tokens[number]);
    else
        snprintf(out.text, sizeof out.text, "%lld", (long long)number);
    return out;
}

explain_text explain_row_name(const explain_view *view, int64_t row)
{
    return name_of(view, row, true);
}

explain_text explain_key_name(const explain_view *view, int64_t key)
{
    const attn_shape *shape = &view->x->problem.attention.shape;

    return name_of(view, key, view->x->problem.context_dim == 0 && shape->seq == shape->kv_seq);
}

const double *explain_at(const explain_view *view, const double *array, int64_t heads, int64_t rows, int64_t width,
                         int64_t h, int64_t i)
{
    return &array[((view->batch * heads + h) * rows + i) * width];
}

void explain_score_words(const explain_view *view, int64_t h, FILE *stream)
{
    const attn_score *score = &view->x->problem.attention.score;

    if (score->softcap > 0)
        fprintf(stream, "%g tanh(%s q . k / %g)", score->softcap, explain_number(view, score->scale).text,
                score->softcap);
    else
        fprintf(stream, "%s q . k", explain_number(view, score->scale).text);
    if (score->alibi_slopes != NULL)
        fprintf(stream, " - %s |i' - j|", explain_number(view, score->alibi_slopes[h]).text);
}

/* Columns of a table of vectors: all elements, or the first and the last of a wide one. */
static bool left_out(int64_t column, int64_t width)
{
    return width > EXPLAIN_WIDTH && column >= EXPLAIN_FIRST && column < width - EXPLAIN_LAST;
}

/* The names of the columns in attn_table's form; to be freed. */
static char *column_names(const explain_view *view, bool keys, int64_t begin, int64_t end, const char *last)
{
    char *names = NULL;
    size_t size;
    FILE *stream = open_memstream(&names, &size);

    if (stream == NULL)
        return NULL;
    fputs("<", stream);
    for (int64_t c = begin; c < end; c++) {
        if (keys)
            fprintf(stream, "|%s", explain_key_name(view, c).text);
        else if (!left_out(c, end))
            fprintf(stream, "|%lld", (long long)c);
        else if (c == EXPLAIN_FIRST)
            fputs("|...", stream);
    }
    fprintf(stream, "%s", last);
    if (fclose(stream) != 0) {
        free(names);
        return NULL;
    }
    return names;
}

/* A title, and the shape and head that it is about. */
static void print_title(FILE *stream, const char *format, ...) ATTN_PRINTF(2, 3);

static void print_title(FILE *stream, const char *format, ...)
{
    va_list arguments;

    va_start(arguments, format);
    fputc('\n', stream);
    vfprintf(stream, format, arguments);
    fputc('\n', stream);
    va_end(arguments);
}

static attn_status end_table(attn_table *table, FILE *stream, attn_error *error)
{
    const attn_status status = attn_table_print(table, ATTN_TABLE_TEXT, stream);

    attn_table_destroy(table);
    return status == ATTN_OK ? status : attn_error_set(error, status, "a table cannot be printed");
}

static attn_status begin_table(const explain_view *view, bool keys, int64_t begin, int64_t end, const char *last,
                               attn_table **table, attn_error *error)
{
    char *names = column_names(view, keys, begin, end, last);
    const attn_status status = names != NULL ? attn_table_create(names, table, error)
                                             : attn_error_set(error, ATTN_MEMORY, "no memory for a table");

    free(names);
    return status;
}

/* Prints rows [begin, end) of vectors that begin at data. */
static attn_status print_vectors(const explain_view *view, const double *data, int64_t begin, int64_t end,
                                 int64_t width, bool keys, FILE *stream, attn_error *error)
{
    attn_table *table;
    attn_status status = begin_table(view, false, 0, width, "", &table, error);

    if (status != ATTN_OK)
        return status;
    for (int64_t r = begin; r < end; r++) {
        attn_table_cell(table, "%s", (keys ? explain_key_name(view, r) : explain_row_name(view, r)).text);
        for (int64_t c = 0; c < width; c++)
            if (!left_out(c, width))
                attn_table_cell(table, "%s", explain_number(view, data[r * width + c]).text);
            else if (c == EXPLAIN_FIRST)
                attn_table_cell(table, "...");
        attn_table_end_row(table);
    }
    return end_table(table, stream, error);
}

/* Prints a row a query and a column a key; a dot where the key is masked (masked, unless NULL: where it is -inf), and
 * with `sums` the sum over all keys. */
static attn_status print_pairs(const explain_view *view, const double *array, const double *masked, int64_t h,
                               bool sums, FILE *stream, attn_error *error)
{
    const attn_shape *shape = &view->x->problem.attention.shape;
    attn_table *table;
    attn_status status = begin_table(view, true, view->key_begin, view->key_end, sums ? "|sum" : "", &table, error);

    if (status != ATTN_OK)
        return status;
    for (int64_t i = view->row_begin; i < view->row_end; i++) {
        const int64_t row = ((view->batch * shape->heads + h) * shape->seq + i) * shape->kv_seq;
        double sum = 0;

        attn_table_cell(table, "%s", explain_row_name(view, i).text);
        for (int64_t j = 0; j < shape->kv_seq; j++)
            sum += array[row + j];
        for (int64_t j = view->key_begin; j < view->key_end; j++)
            attn_table_cell(table, "%s",
                            masked != NULL && masked[row + j] == -INFINITY ? "."
                                                                           : explain_number(view, array[row + j]).text);
        if (sums)
            attn_table_cell(table, "%s", explain_number(view, sum).text);
        attn_table_end_row(table);
    }
    return end_table(table, stream, error);
}

/* ", head 1" where there are several. */
static explain_text head_words(int64_t heads, const char *what, int64_t h)
{
    explain_text out = {""};

    if (heads > 1)
        snprintf(out.text, sizeof out.text, ", %s %lld", what, (long long)h);
    return out;
}

static const char *bias_words(const explain_view *view, attn_projection projection)
{
    static const char *const words[] = {" + bq", " + bk", " + bv", " + bo"};

    return view->x->bias[projection] != NULL ? words[projection] : "";
}

static attn_status print_queries(const explain_view *view, int64_t h, FILE *stream, attn_error *error)
{
    const attn_explanation *x = view->x;
    const attn_shape *s = &x->problem.attention.shape;
    const explain_text head = head_words(s->heads, "head", h);
    attn_status status = ATTN_OK;

    if (x->q_projected != NULL) {
        print_title(stream, "Queries x Wq^T%s, before they are turned by their positions%s",
                    bias_words(view, ATTN_PROJECTION_QUERY), head.text);
        status = print_vectors(view, explain_at(view, x->q_projected, s->heads, s->seq, s->head_dim, h, 0),
                               view->row_begin, view->row_end, s->head_dim, false, stream, error);
    }
    if (status != ATTN_OK)
        return status;
    if (x->q_projected != NULL)
        print_title(stream, "Queries q, turned%s", head.text);
    else if (x->projection[ATTN_PROJECTION_QUERY] != NULL)
        print_title(stream, "Queries q = x Wq^T%s%s", bias_words(view, ATTN_PROJECTION_QUERY), head.text);
    else
        print_title(stream, "Queries q%s%s", x->x != NULL ? " = x" : "", head.text);
    return print_vectors(view, explain_at(view, x->q, s->heads, s->seq, s->head_dim, h, 0), view->row_begin,
                         view->row_end, s->head_dim, false, stream, error);
}

/* Keys (or values) of a key-value head. */
static attn_status print_keys(const explain_view *view, int64_t kv_head, bool values, FILE *stream, attn_error *error)
{
    const attn_explanation *x = view->x;
    const attn_shape *s = &x->problem.attention.shape;
    const explain_text head = head_words(s->kv_heads, "key-value head", kv_head);
    const int64_t width = values ? s->v_head_dim : s->head_dim;
    const attn_projection projection = values ? ATTN_PROJECTION_VALUE : ATTN_PROJECTION_KEY;
    const char *const name = values ? "Values v" : "Keys k", *const from = x->context != NULL ? "context" : "x";
    attn_status status = ATTN_OK;

    if (!values && x->k_projected != NULL) {
        print_title(stream, "Keys %s Wk^T%s, before they are turned by their positions%s", from,
                    bias_words(view, projection), head.text);
        status = print_vectors(view, explain_at(view, x->k_projected, s->kv_heads, s->kv_seq, width, kv_head, 0),
                               view->key_begin, view->key_end, width, true, stream, error);
    }
    if (status != ATTN_OK)
        return status;
    if (!values && x->k_projected != NULL)
        print_title(stream, "Keys k, turned%s", head.text);
    else if (x->projection[projection] != NULL)
        print_title(stream, "%s = %s %s%s%s", name, from, values ? "Wv^T" : "Wk^T", bias_words(view, projection),
                    head.text);
    else
        print_title(stream, "%s%s%s", name, x->x != NULL ? " = x" : "", head.text);
    return print_vectors(view, explain_at(view, values ? x->v : x->k, s->kv_heads, s->kv_seq, width, kv_head, 0),
                         view->key_begin, view->key_end, width, true, stream, error);
}

static attn_status print_weights(const explain_view *view, int64_t h, FILE *stream, attn_error *error)
{
    const attn_explanation *x = view->x;
    const attn_problem *problem = &x->problem.attention;
    const explain_text head = head_words(problem->shape.heads, "head", h);
    const char *const keys = view->key_end - view->key_begin < problem->shape.kv_seq ? ", over all keys" : "";
    attn_status status;

    if (problem->score.sinks == NULL)
        print_title(stream, "Attention weights p, the softmax of each row; sum of a row%s%s", keys, head.text);
    else
        print_title(stream, "Attention weights p, the softmax of each row and a sink of %s; sum of a row%s%s",
                    explain_number(view, problem->score.sinks[h]).text, keys, head.text);
    status = print_pairs(view, x->weights, x->scores, h, true, stream, error);
    if (status == ATTN_OK && x->dropped != NULL) {
        print_title(stream, "Weights after dropout %g: dropped, or times %s%s", problem->dropout,
                    explain_number(view, 1 / (1 - problem->dropout)).text, head.text);
        status = print_pairs(view, x->dropped, x->scores, h, true, stream, error);
    }
    return status;
}

static attn_status print_head(const explain_view *view, int64_t h, FILE *stream, attn_error *error)
{
    const attn_explanation *x = view->x;
    const attn_shape *s = &x->problem.attention.shape;
    const int64_t kv_head = h / attn_shape_group(s);
    const explain_text head = head_words(s->heads, "head", h);
    attn_status status = print_queries(view, h, stream, error);

    if (status == ATTN_OK && (h == view->head_begin || h % attn_shape_group(s) == 0)) {
        status = print_keys(view, kv_head, false, stream, error);
        if (status == ATTN_OK)
            status = print_keys(view, kv_head, true, stream, error);
    } else {
        print_title(stream, "Keys and values%s: those of key-value head %lld, above", head.text, (long long)kv_head);
    }
    if (status != ATTN_OK)
        return status;
    print_title(stream, "Dot products q . k%s", head.text);
    status = print_pairs(view, x->products, NULL, h, false, stream, error);
    if (status != ATTN_OK)
        return status;
    fputs("\nScores s = ", stream);
    explain_score_words(view, h, stream);
    fprintf(stream, "%s (a dot: masked)\n", head.text);
    status = print_pairs(view, x->scores, x->scores, h, false, stream, error);
    if (status == ATTN_OK)
        status = print_weights(view, h, stream, error);
    if (status != ATTN_OK)
        return status;
    print_title(stream, "Context vectors o, the sum of the values by these weights%s", head.text);
    return print_vectors(view, explain_at(view, x->o, s->heads, s->seq, s->v_head_dim, h, 0), view->row_begin,
                         view->row_end, s->v_head_dim, false, stream, error);
}

/* The heads side by side, and the output projection. */
static attn_status print_output(const explain_view *view, FILE *stream, attn_error *error)
{
    const attn_explanation *x = view->x;
    const attn_shape *s = &x->problem.attention.shape;
    const int64_t heads = s->heads * s->v_head_dim, out = x->problem.out_dim;
    attn_status status = ATTN_OK;

    if (s->heads > 1) {
        print_title(stream, "Context vectors of the heads, side by side%s", out > 0 ? "" : ": the output y");
        status = print_vectors(view, &x->concat[view->batch * s->seq * heads], view->row_begin, view->row_end, heads,
                               false, stream, error);
    }
    if (status == ATTN_OK && out > 0) {
        print_title(stream, "Output y = %s Wo^T%s", s->heads > 1 ? "heads" : "o",
                    bias_words(view, ATTN_PROJECTION_OUT));
        status = print_vectors(view, &x->y[view->batch * s->seq * out], view->row_begin, view->row_end, out, false,
                               stream, error);
    }
    return status;
}

attn_status explain_print_tables(const explain_view *view, FILE *stream, attn_error *error)
{
    const attn_explanation *x = view->x;
    const attn_shape *s = &x->problem.attention.shape;
    const int64_t E = x->problem.embed_dim, Ec = x->problem.context_dim;
    attn_status status = ATTN_OK;

    if (x->x != NULL) {
        print_title(stream, "Input x");
        status = print_vectors(view, &x->x[view->batch * s->seq * E], view->row_begin, view->row_end, E, false, stream,
                               error);
    }
    if (status == ATTN_OK && x->context != NULL) {
        print_title(stream, "Context");
        status = print_vectors(view, &x->context[view->batch * s->kv_seq * Ec], view->key_begin, view->key_end, Ec,
                               true, stream, error);
    }
    for (int64_t h = view->head_begin; h < view->head_end && status == ATTN_OK; h++)
        status = print_head(view, h, stream, error);
    if (status == ATTN_OK && x->x != NULL)
        status = print_output(view, stream, error);
    return status;
}
