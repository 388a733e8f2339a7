/* One row worked out: every product and every sum from x to y. */
#include "explain.h"

#include <attn/partition.h>

#include <math.h>
#include <stdlib.h>

/* The row that is worked out. */
typedef struct worked {
    const explain_view *view;
    const attn_explanation *x;
    const attn_shape *shape;
    int64_t b, h, i;
    attn_interval seen;                            /* keys */
    const double *q, *products, *scores, *weights; /* of this row */
    const double *k, *v;                           /* of its key-value head */
    FILE *out;
} worked;

static const char *show(const worked *w, double value, explain_text *room)
{
    *room = explain_number(w->view, value);
    return room->text;
}

/* Whether term n of count is not written, as a sum has many. */
static bool left_out(int64_t n, int64_t count)
{
    return count > EXPLAIN_WIDTH && n >= EXPLAIN_FIRST && n < count - EXPLAIN_LAST;
}

/* A line in the place of those that are left out. */
static void write_gap(const worked *w, int64_t n)
{
    if (n == EXPLAIN_FIRST)
        fputs("  ...\n", w->out);
}

/* "(0.5500, 0.8700)" */
static void write_vector(const worked *w, const double *vector, int64_t width)
{
    explain_text room;

    fputc('(', w->out);
    for (int64_t d = 0; d < width; d++)
        if (!left_out(d, width))
            fprintf(w->out, "%s%s", d > 0 ? ", " : "", show(w, vector[d], &room));
        else if (d == EXPLAIN_FIRST)
            fputs(", ...", w->out);
    fputc(')', w->out);
}

/* "0.5500 * 0.4300 + 0.8700 * 0.1500", with b's elements b_stride apart. */
static void write_products(const worked *w, const double *a, const double *b, int64_t b_stride, int64_t count)
{
    explain_text first, second;

    for (int64_t n = 0; n < count; n++)
        if (!left_out(n, count))
            fprintf(w->out, "%s%s * %s", n > 0 ? " + " : "", show(w, a[n], &first), show(w, b[n * b_stride], &second));
        else if (n == EXPLAIN_FIRST)
            fputs(" + ...", w->out);
}

/* y = x W^T + b, element by element; elements [begin, begin + count) of W's rows. */
static void write_projection(const worked *w, const char *name, const double *x, int64_t in, attn_projection projection,
                             int64_t begin, int64_t count, const double *y)
{
    const double *const weight = w->x->projection[projection], *const bias = w->x->bias[projection];
    explain_text room;

    for (int64_t d = 0; d < count; d++) {
        if (left_out(d, count)) {
            write_gap(w, d);
            continue;
        }
        fprintf(w->out, "  %s[%lld] = ", name, (long long)d);
        write_products(w, x, &weight[(begin + d) * in], 1, in);
        if (bias != NULL)
            fprintf(w->out, " + %s", show(w, bias[begin + d], &room));
        fprintf(w->out, " = %s\n", show(w, y[d], &room));
    }
}

static void write_query(const worked *w)
{
    const attn_explanation *x = w->x;
    const int64_t D = w->shape->head_dim, E = x->problem.embed_dim;
    const double *const before =
        x->q_projected != NULL ? explain_at(w->view, x->q_projected, w->shape->heads, w->shape->seq, D, w->h, w->i)
                               : w->q;

    fputs("\nQuery\n", w->out);
    if (x->projection[ATTN_PROJECTION_QUERY] != NULL) {
        const double *const row = &x->x[(w->b * w->shape->seq + w->i) * E];

        fputs("  x = ", w->out);
        write_vector(w, row, E);
        fputc('\n', w->out);
        write_projection(w, "q", row, E, ATTN_PROJECTION_QUERY, w->h * D, D, before);
    }
    if (x->q_projected != NULL)
        fprintf(w->out, "  turned by position %lld:\n", (long long)(w->i + w->shape->kv_seq - w->shape->seq));
    fprintf(w->out, "  q = %s", x->x != NULL && !x->problem.projected && x->q_projected == NULL ? "x = " : "");
    write_vector(w, w->q, D);
    fputc('\n', w->out);
}

static void write_score(const worked *w, int64_t j)
{
    const attn_score *const score = &w->x->problem.attention.score;
    const int64_t diagonal = w->i + w->shape->kv_seq - w->shape->seq;
    explain_text a, b, c;

    fprintf(w->out, "; s = ");
    if (score->softcap > 0)
        fprintf(w->out, "%g tanh(%s * %s / %g)", score->softcap, show(w, score->scale, &a), show(w, w->products[j], &b),
                score->softcap);
    else
        fprintf(w->out, "%s * %s", show(w, score->scale, &a), show(w, w->products[j], &b));
    if (score->alibi_slopes != NULL)
        fprintf(w->out, " - %s * %lld", show(w, score->alibi_slopes[w->h], &a),
                (long long)(diagonal > j ? diagonal - j : j - diagonal));
    fprintf(w->out, " = %s\n", show(w, w->scores[j], &c));
}

static void write_scores(const worked *w)
{
    const int64_t D = w->shape->head_dim;
    explain_text room;

    fprintf(w->out, "\nScores s = ");
    explain_score_words(w->view, w->h, w->out);
    fputc('\n', w->out);
    for (int64_t j = w->view->key_begin; j < w->view->key_end; j++) {
        fprintf(w->out, "  key %s: ", explain_key_name(w->view, j).text);
        if (j < w->seen.lo || j >= w->seen.hi) {
            fputs("masked\n", w->out);
            continue;
        }
        fputs("q . k = ", w->out);
        write_products(w, w->q, &w->k[j * D], 1, D);
        fprintf(w->out, " = %s", show(w, w->products[j], &room));
        write_score(w, j);
    }
}

/* The terms of the denominator, relative to the largest score m; returns their sum. */
static double write_terms(const worked *w, double m, const double *sink)
{
    explain_text a, b, c;
    double sum = 0;

    for (int64_t j = w->seen.lo; j < w->seen.hi; j++) {
        const double term = exp(w->scores[j] - m);

        sum += term;
        if (j >= w->view->key_begin && j < w->view->key_end)
            fprintf(w->out, "  key %s: exp(%s - %s) = %s\n", explain_key_name(w->view, j).text,
                    show(w, w->scores[j], &a), show(w, m, &b), show(w, term, &c));
    }
    if (sink != NULL) {
        fprintf(w->out, "  sink: exp(%s - %s) = %s\n", show(w, *sink, &a), show(w, m, &b), show(w, exp(*sink - m), &c));
        sum += exp(*sink - m);
    }
    return sum;
}

static void write_softmax(const worked *w, const double *sink)
{
    double m = sink != NULL ? *sink : -INFINITY, sum, total = 0;
    explain_text a, b, c;

    for (int64_t j = w->seen.lo; j < w->seen.hi; j++)
        m = fmax(m, w->scores[j]);
    fprintf(w->out, "\nSoftmax: the largest score is m = %s\n", show(w, m, &a));
    if (m == -INFINITY) {
        fputs("  no key is visible: all weights are 0\n", w->out);
        return;
    }
    sum = write_terms(w, m, sink);
    fprintf(w->out, "  sum = %s; lse = m + log(sum) = %s\n", show(w, sum, &a),
            show(w, w->x->lse[(w->b * w->shape->heads + w->h) * w->shape->seq + w->i], &b));
    for (int64_t j = w->seen.lo; j < w->seen.hi; j++) {
        total += w->weights[j];
        if (j >= w->view->key_begin && j < w->view->key_end)
            fprintf(w->out, "  p[%s] = %s / %s = %s\n", explain_key_name(w->view, j).text,
                    show(w, exp(w->scores[j] - m), &a), show(w, sum, &b), show(w, w->weights[j], &c));
    }
    fprintf(w->out, "  sum of the weights = %s\n", show(w, total, &a));
}

/* Hiding before the softmax and dropping after it are the same when what is left is divided by its sum. */
static void write_renormalised(const worked *w)
{
    const attn_explanation *all = w->view->unmasked;
    const double *p;
    double sum = 0;
    explain_text a, b, c;

    if (all == NULL || w->seen.lo == w->seen.hi || w->seen.hi - w->seen.lo == w->shape->kv_seq)
        return;
    p = explain_at(w->view, all->weights, w->shape->heads, w->shape->seq, w->shape->kv_seq, w->h, w->i);
    for (int64_t j = w->seen.lo; j < w->seen.hi; j++)
        sum += p[j];
    fputs("\nThe other way: softmax over all keys, masked weights to 0, the others divided by their sum\n  ", w->out);
    write_vector(w, p, w->shape->kv_seq);
    fprintf(w->out, "; the visible ones sum to %s\n", show(w, sum, &a));
    for (int64_t j = w->seen.lo; j < w->seen.hi; j++)
        if (j >= w->view->key_begin && j < w->view->key_end)
            fprintf(w->out, "  p[%s] = %s / %s = %s\n", explain_key_name(w->view, j).text, show(w, p[j], &a),
                    show(w, sum, &b), show(w, p[j] / sum, &c));
}

static void write_context(const worked *w)
{
    const attn_explanation *x = w->x;
    const int64_t Dv = w->shape->v_head_dim, Skv = w->shape->kv_seq;
    const double *weights = w->weights;
    const double *const o = explain_at(w->view, x->o, w->shape->heads, w->shape->seq, Dv, w->h, w->i);
    explain_text room;

    if (x->dropped != NULL) {
        weights = explain_at(w->view, x->dropped, w->shape->heads, w->shape->seq, Skv, w->h, w->i);
        fprintf(w->out, "\nAfter dropout %g: dropped, or times %s\n  ", x->problem.attention.dropout,
                show(w, 1 / (1 - x->problem.attention.dropout), &room));
        write_vector(w, weights, Skv);
        fputc('\n', w->out);
    }
    fputs("\nContext vector: the values, each times its weight\n", w->out);
    for (int64_t d = 0; d < Dv; d++) {
        if (left_out(d, Dv)) {
            write_gap(w, d);
            continue;
        }
        fprintf(w->out, "  o[%lld] = ", (long long)d);
        write_products(w, &weights[w->seen.lo], &w->v[w->seen.lo * Dv + d], Dv, w->seen.hi - w->seen.lo);
        fprintf(w->out, "%s%s\n", w->seen.lo < w->seen.hi ? " = " : "", show(w, o[d], &room));
    }
}

static void write_output(const worked *w)
{
    const attn_explanation *x = w->x;
    const int64_t width = w->shape->heads * w->shape->v_head_dim, row = w->b * w->shape->seq + w->i;

    if (w->shape->heads > 1) {
        fputs("\nThe heads side by side\n  ", w->out);
        write_vector(w, &x->concat[row * width], width);
        fputc('\n', w->out);
    }
    if (x->problem.out_dim == 0)
        return;
    fputs("\nOutput\n", w->out);
    write_projection(w, "y", &x->concat[row * width], width, ATTN_PROJECTION_OUT, 0, x->problem.out_dim,
                     &x->y[row * x->problem.out_dim]);
}

/* ---- Online softmax and merging ---- */

/* The columns "name[0]", "name[1]", ... of a vector. */
static attn_status begin_table(const worked *w, const char *first, const char *name, const char *last,
                               attn_table **table, attn_error *error)
{
    char *names = NULL;
    size_t size;
    FILE *stream = open_memstream(&names, &size);
    attn_status status;

    if (stream == NULL)
        return attn_error_set(error, ATTN_MEMORY, "no memory for a table");
    fputs(first, stream);
    for (int64_t d = 0; d < w->shape->v_head_dim; d++)
        if (!left_out(d, w->shape->v_head_dim))
            fprintf(stream, "|%s[%lld]", name, (long long)d);
        else if (d == EXPLAIN_FIRST)
            fputs("|...", stream);
    fputs(last, stream);
    status = fclose(stream) == 0 ? attn_table_create(names, table, error)
                                 : attn_error_set(error, ATTN_MEMORY, "no memory for a table");
    free(names);
    return status;
}

static void add_vector(const worked *w, attn_table *table, const double *vector, double divisor)
{
    for (int64_t d = 0; d < w->shape->v_head_dim; d++)
        if (!left_out(d, w->shape->v_head_dim))
            attn_table_cell(table, "%s", explain_number(w->view, vector[d] / divisor).text);
        else if (d == EXPLAIN_FIRST)
            attn_table_cell(table, "...");
}

static attn_status end_table(const worked *w, attn_table *table, attn_error *error)
{
    const attn_status status = attn_table_print(table, ATTN_TABLE_TEXT, w->out);

    attn_table_destroy(table);
    return status == ATTN_OK ? status : attn_error_set(error, status, "a table cannot be printed");
}

/* "0 to 2", "3", or "none". */
static explain_text keys_words(const worked *w, int64_t begin, int64_t end)
{
    explain_text out = {"none"};

    if (begin < end)
        snprintf(out.text, sizeof out.text, "%.28s%s%.28s", explain_key_name(w->view, begin).text,
                 end - begin > 1 ? " to " : "", end - begin > 1 ? explain_key_name(w->view, end - 1).text : "");
    return out;
}

static attn_status write_online(const worked *w, const double *sink, attn_running_row *row, attn_error *error)
{
    const int64_t block = w->view->block, Skv = w->shape->kv_seq;
    attn_table *table;
    attn_status status = begin_table(w, "<keys|m|exp(old m - m)|sum", "w", "", &table, error);
    explain_text room;
    double sum;

    if (status != ATTN_OK)
        return status;
    fprintf(w->out, "\nOnline softmax by blocks of %lld: sum of exp(s - m), and w, the same sum times the values\n",
            (long long)block);
    attn_running_row_begin(w->x, row);
    for (int64_t j = 0; j < Skv; j += block) {
        const int64_t end = j + block < Skv ? j + block : Skv;
        const double old = row->max;

        attn_running_row_take(w->x, w->b, w->h, w->i, j, end, row);
        attn_table_cell(table, "%s", keys_words(w, j, end).text);
        attn_table_cell(table, "%s", explain_number(w->view, row->max).text);
        attn_table_cell(table, "%s", explain_number(w->view, old == -INFINITY ? 0 : exp(old - row->max)).text);
        attn_table_cell(table, "%s", explain_number(w->view, row->sum).text);
        add_vector(w, table, row->weighted, 1);
        attn_table_end_row(table);
    }
    status = end_table(w, table, error);
    sum = row->sum + (sink != NULL ? exp(*sink - row->max) : 0);
    if (status != ATTN_OK || row->sum == 0)
        return status;
    if (sink != NULL)
        fprintf(w->out, "  the sink adds %s to the sum\n", show(w, exp(*sink - row->max), &room));
    for (int64_t d = 0; d < w->shape->v_head_dim; d++)
        row->weighted[d] /= sum;
    fputs("  o = w / sum = ", w->out);
    write_vector(w, row->weighted, w->shape->v_head_dim);
    fprintf(w->out, "; lse = m + log(sum) = %s\n", show(w, row->max + log(sum), &room));
    return ATTN_OK;
}

/* Adds what part `part` of the ranks would hand over: its o and lse, and their share exp(lse_part - lse) in all. */
static void add_part(const worked *w, attn_table *table, int part, double lse, attn_running_row *row, double *merged)
{
    const int64_t begin = attn_share_begin(w->shape->kv_seq, (int)w->view->parts, part);
    const int64_t end = attn_share_begin(w->shape->kv_seq, (int)w->view->parts, part + 1);
    double own;

    attn_running_row_begin(w->x, row);
    attn_running_row_take(w->x, w->b, w->h, w->i, begin, end, row);
    own = row->sum > 0 ? row->max + log(row->sum) : -INFINITY;
    attn_table_cell(table, "%d", part);
    attn_table_cell(table, "%s", keys_words(w, begin, end).text);
    add_vector(w, table, row->weighted, row->sum > 0 ? row->sum : 1);
    attn_table_cell(table, "%s", explain_number(w->view, own).text);
    attn_table_cell(table, "%s", explain_number(w->view, own == -INFINITY ? 0 : exp(own - lse)).text);
    attn_table_end_row(table);
    for (int64_t d = 0; d < w->shape->v_head_dim && row->sum > 0; d++)
        merged[d] += exp(own - lse) * row->weighted[d] / row->sum;
}

static attn_status write_parts(const worked *w, const double *sink, attn_running_row *row, double *merged,
                               attn_error *error)
{
    const double lse = w->x->lse[(w->b * w->shape->heads + w->h) * w->shape->seq + w->i];
    attn_table *table;
    attn_status status = begin_table(w, "rank|<keys", "o", "|lse|exp(lse - all)", &table, error);
    explain_text room;

    if (status != ATTN_OK)
        return status;
    fprintf(w->out, "\nThe keys on %lld ranks: each has o and lse of its keys\n", (long long)w->view->parts);
    for (int part = 0; part < (int)w->view->parts; part++)
        add_part(w, table, part, lse, row, merged);
    status = end_table(w, table, error);
    if (status != ATTN_OK)
        return status;
    fprintf(w->out, "  lse of all = log(sum of exp(lse)%s) = %s\n", sink != NULL ? " + exp(sink)" : "",
            show(w, lse, &room));
    fputs("  o = the sum of exp(lse - all) times o = ", w->out);
    write_vector(w, merged, w->shape->v_head_dim);
    fputc('\n', w->out);
    return ATTN_OK;
}

static void write_heading(const worked *w, int64_t kv_head)
{
    fprintf(w->out, "\nRow %lld", (long long)w->i);
    if (w->view->token_count > 0)
        fprintf(w->out, " (%s)", explain_row_name(w->view, w->i).text);
    if (w->shape->heads > 1)
        fprintf(w->out, ", head %lld, which has key-value head %lld", (long long)w->h, (long long)kv_head);
    fputc('\n', w->out);
}

attn_status explain_print_row(const explain_view *view, FILE *stream, attn_error *error)
{
    const attn_explanation *x = view->x;
    const attn_problem *problem = &x->problem.attention;
    const attn_shape *s = &problem->shape;
    const int64_t h = view->head_begin, i = view->row_begin, kv_head = h / attn_shape_group(s);
    const double *const sink = problem->score.sinks != NULL ? &problem->score.sinks[h] : NULL;
    worked w = {.view = view, .x = x, .shape = s, .b = view->batch, .h = h, .i = i, .out = stream};
    attn_running_row row = {.weighted = calloc((size_t)s->v_head_dim, 2 * sizeof *row.weighted)};
    attn_status status = ATTN_OK;

    if (row.weighted == NULL)
        return attn_error_set(error, ATTN_MEMORY, "no memory for two rows of %lld numbers", (long long)s->v_head_dim);
    w.seen = attn_mask_row(&problem->mask, s, view->batch, i);
    w.q = explain_at(view, x->q, s->heads, s->seq, s->head_dim, h, i);
    w.products = explain_at(view, x->products, s->heads, s->seq, s->kv_seq, h, i);
    w.scores = explain_at(view, x->scores, s->heads, s->seq, s->kv_seq, h, i);
    w.weights = explain_at(view, x->weights, s->heads, s->seq, s->kv_seq, h, i);
    w.k = explain_at(view, x->k, s->kv_heads, s->kv_seq, s->head_dim, kv_head, 0);
    w.v = explain_at(view, x->v, s->kv_heads, s->kv_seq, s->v_head_dim, kv_head, 0);
    write_heading(&w, kv_head);
    write_query(&w);
    write_scores(&w);
    write_softmax(&w, sink);
    write_renormalised(&w);
    write_context(&w);
    if (x->x != NULL)
        write_output(&w);
    if (view->block > 0)
        status = write_online(&w, sink, &row, error);
    if (status == ATTN_OK && view->parts > 0)
        status = write_parts(&w, sink, &row, row.weighted + s->v_head_dim, error);
    free(row.weighted);
    return status;
}
