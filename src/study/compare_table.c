/* The table of `compare`. */
#include "study/comparison.h"
#include "study/describe.h"
#include "study/summary.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>

static const char *const verdict_words[ATTN_VERDICT_COUNT] = {
    [ATTN_VERDICT_NOT_COMPARED] = "not compared",
    [ATTN_VERDICT_SAME] = "no difference shown",
    [ATTN_VERDICT_UNDECIDED] = "undecided",
    [ATTN_VERDICT_WITHIN] = "within the threshold",
    [ATTN_VERDICT_FASTER] = "FASTER",
    [ATTN_VERDICT_SLOWER] = "SLOWER",
};

/* What one printed table needs. */
typedef struct compare_sheet {
    const attn_comparison *comparison;
    attn_table *table;
    const attn_description *description;
    bool words; /* what the cases differ in has a column */
} compare_sheet;

static const attn_result *result_of(const attn_pair *pair)
{
    return pair->base.result != NULL ? pair->base.result : pair->changed.result;
}

/* Why a case has no times: the first reason of the side that has no valid launch. */
static void write_reason(const attn_pair *pair, FILE *stream)
{
    const bool in_base = pair->base.launches == 0;
    const attn_side *side = in_base ? &pair->base : &pair->changed;
    const char *name = in_base ? "base" : "new";
    char verdict[ATTN_VERDICT_MAX];

    if (side->result == NULL) {
        fprintf(stream, "only in %s", in_base ? "new" : "base");
        return;
    }
    attn_format_verdict(side->result, verdict);
    fprintf(stream, "in %s %s", name, verdict);
}

static void write_rejected(const char *name, const attn_side *side, FILE *stream)
{
    if (side->rejected > 0)
        fprintf(stream, "; %zu launch%s of %s left out, not valid", side->rejected, side->rejected > 1 ? "es" : "",
                name);
}

static void write_verdict(const attn_pair *pair, FILE *stream)
{
    fputs(verdict_words[pair->verdict], stream);
    if (pair->verdict == ATTN_VERDICT_NOT_COMPARED) {
        fputs(": ", stream);
        write_reason(pair, stream);
        return;
    }
    if (pair->verdict == ATTN_VERDICT_UNDECIDED)
        fprintf(stream, ": too few %s", pair->by_launch ? "launches" : "repetitions");
    if (pair->base.oversubscribed || pair->changed.oversubscribed)
        fputs("; oversubscribed", stream);
    write_rejected("base", &pair->base, stream);
    write_rejected("new", &pair->changed, stream);
}

/* "30 (21) + 28 reps", "3 + 4 launches". */
static void write_values(const attn_pair *pair, FILE *stream)
{
    const attn_side *const sides[] = {&pair->base, &pair->changed};

    for (size_t s = 0; s < 2; s++) {
        const double count = pair->by_launch ? (double)sides[s]->launches : (double)sides[s]->reps;

        fprintf(stream, "%s%.0f", s > 0 ? " + " : "", count);
        if (sides[s]->effective < count)
            fprintf(stream, " (%.*f)", sides[s]->effective < 10, sides[s]->effective);
    }
    fputs(pair->by_launch ? " launches" : " reps", stream);
}

/* Puts into the next cell what a writer writes. */
typedef void pair_writer(const attn_pair *pair, FILE *stream);

static attn_status put_text(attn_table *table, pair_writer *writer, const attn_pair *pair, attn_error *error)
{
    char *text = NULL;
    size_t size;
    FILE *stream = open_memstream(&text, &size);
    attn_status status = ATTN_OK;

    if (stream != NULL)
        writer(pair, stream);
    if (stream == NULL || fclose(stream) != 0)
        status = attn_error_set(error, ATTN_MEMORY, "no memory for a row of the comparison");
    else
        attn_table_cell(table, "%s", text);
    free(text);
    return status;
}

static void put_time(attn_table *table, double seconds)
{
    char text[ATTN_NUMBER_MAX];

    attn_format_significant(1e3 * seconds, 4, text);
    attn_table_cell(table, "%s", text);
}

static void put_interval(attn_table *table, double lo, double hi, bool reached)
{
    char text[2 * ATTN_NUMBER_MAX];

    attn_format_interval(1e3 * lo, 1e3 * hi, 4, text);
    attn_table_cell(table, "%s%s", text, reached || !isfinite(lo) ? "" : "~");
}

static void put_probability(attn_table *table, double p)
{
    if (p < 0.0001)
        attn_table_cell(table, "%.0e", p);
    else
        attn_table_cell(table, "%.4f", p);
}

static void put_case(const compare_sheet *sheet, const attn_result *result, FILE *stream)
{
    if (sheet->description != NULL)
        attn_description_case(sheet->description, result, stream);
    else
        attn_describe_case(result, stream);
}

static attn_status put_words(const compare_sheet *sheet, const attn_pair *pair, attn_error *error)
{
    char *text = NULL;
    size_t size;
    FILE *stream = open_memstream(&text, &size);
    attn_status status = ATTN_OK;

    if (stream != NULL)
        put_case(sheet, result_of(pair), stream);
    if (stream == NULL || fclose(stream) != 0)
        status = attn_error_set(error, ATTN_MEMORY, "no memory for a row of the comparison");
    else
        attn_table_cell(sheet->table, "%s", text);
    free(text);
    return status;
}

static attn_status put_pair(const compare_sheet *sheet, const attn_pair *pair, attn_error *error)
{
    const attn_difference *time = &pair->time;
    attn_table *table = sheet->table;
    attn_status status = sheet->words ? put_words(sheet, pair, error) : ATTN_OK;

    if (pair->verdict == ATTN_VERDICT_NOT_COMPARED) {
        for (int column = 0; column < 10; column++)
            attn_table_cell(table, "-");
    } else {
        put_time(table, time->a.median);
        put_interval(table, time->a.lo, time->a.hi, time->a.reached);
        put_time(table, time->b.median);
        put_interval(table, time->b.lo, time->b.hi, time->b.reached);
        put_time(table, time->difference);
        put_interval(table, time->lo, time->hi, time->reached);
        attn_table_cell(table, "%+.2f", 100 * pair->change);
        if (status == ATTN_OK)
            status = put_text(table, write_values, pair, error);
        put_probability(table, pair->test.p);
        put_probability(table, pair->p);
    }
    if (status == ATTN_OK)
        status = put_text(table, write_verdict, pair, error);
    attn_table_end_row(table);
    return status;
}

static void put_number(attn_table *table, double value)
{
    if (isfinite(value))
        attn_table_cell(table, "%.9g", value);
    else
        attn_table_cell(table, "%s", "");
}

static void put_side(attn_table *table, const attn_side *side, const attn_median *time, bool compared)
{
    attn_table_cell(table, "%zu", side->launches);
    attn_table_cell(table, "%lld", (long long)side->reps);
    put_number(table, compared ? side->effective : NAN);
    put_number(table, compared ? side->lag1 : NAN);
    put_number(table, compared ? time->median : NAN);
    put_number(table, compared ? time->lo : NAN);
    put_number(table, compared ? time->hi : NAN);
}

static const char csv_columns[] =
    "id|base_launches|base_reps|base_effective|base_lag1|base_median_s|base_lo_s|base_hi_s|new_launches|new_reps|"
    "new_effective|new_lag1|new_median_s|new_lo_s|new_hi_s|difference_s|difference_lo_s|difference_hi_s|change_percent|"
    "u|p|p_holm|verdict|remark|case";

static attn_status put_csv_pair(const compare_sheet *sheet, const attn_pair *pair, attn_error *error)
{
    const bool compared = pair->verdict != ATTN_VERDICT_NOT_COMPARED;
    attn_table *table = sheet->table;
    attn_status status;

    attn_table_cell(table, "%s", result_of(pair)->id);
    put_side(table, &pair->base, &pair->time.a, compared);
    put_side(table, &pair->changed, &pair->time.b, compared);
    put_number(table, compared ? pair->time.difference : NAN);
    put_number(table, compared ? pair->time.lo : NAN);
    put_number(table, compared ? pair->time.hi : NAN);
    put_number(table, compared ? 100 * pair->change : NAN);
    put_number(table, compared ? pair->test.u : NAN);
    put_number(table, compared ? pair->test.p : NAN);
    put_number(table, pair->p);
    attn_table_cell(table, "%s", verdict_words[pair->verdict]);
    status = put_text(table, write_verdict, pair, error);
    if (status == ATTN_OK)
        status = put_words(sheet, pair, error);
    attn_table_end_row(table);
    return status;
}

static attn_status describe(const attn_comparison *c, attn_description **out, attn_error *error)
{
    const attn_result **cases = calloc(c->count, sizeof *cases);
    attn_status status;

    if (cases == NULL)
        return attn_error_set(error, ATTN_MEMORY, "no memory to describe %zu cases", c->count);
    for (size_t i = 0; i < c->count; i++)
        cases[i] = result_of(&c->pairs[i]);
    status = attn_description_create(cases, c->count, "", out, error);
    free(cases);
    return status;
}

static void print_side(const char *name, const attn_results *results, FILE *stream)
{
    fprintf(stream, "%s: %zu launch%s, commit ", name, results->environment_count,
            results->environment_count == 1 ? "" : "es");
    attn_provenance_write(results, "commit", stream);
    fputs(", ", stream);
    attn_provenance_write(results, "date", stream);
    fputc('\n', stream);
}

static void print_heading(const compare_sheet *sheet, FILE *stream)
{
    attn_description_common(sheet->description, stream);
    fputc('\n', stream);
    print_side("base", sheet->comparison->base, stream);
    print_side("new", sheet->comparison->changed, stream);
    fputc('\n', stream);
}

static void print_last_line(const attn_comparison *c, FILE *stream)
{
    const size_t compared = c->count - c->of_verdict[ATTN_VERDICT_NOT_COMPARED];

    if (c->of_verdict[ATTN_VERDICT_SLOWER] > 0)
        fprintf(stream, "SLOWER: %zu of %zu cases by more than %g %%", c->of_verdict[ATTN_VERDICT_SLOWER], compared,
                100 * c->threshold);
    else
        fprintf(stream, "NOT SLOWER: none of %zu cases by more than %g %%", compared, 100 * c->threshold);
    if (c->of_verdict[ATTN_VERDICT_FASTER] > 0)
        fprintf(stream, "; %zu faster", c->of_verdict[ATTN_VERDICT_FASTER]);
    if (c->of_verdict[ATTN_VERDICT_UNDECIDED] > 0)
        fprintf(stream, "; %zu undecided", c->of_verdict[ATTN_VERDICT_UNDECIDED]);
    if (compared < c->count)
        fprintf(stream, "; %zu not compared", c->count - compared);
    fputc('\n', stream);
}

static void print_notes(const attn_comparison *c, FILE *stream)
{
    bool reached = true, weighed = false, single = false;

    for (size_t i = 0; i < c->count; i++) {
        const attn_pair *pair = &c->pairs[i];

        if (pair->verdict == ATTN_VERDICT_NOT_COMPARED)
            continue;
        reached = reached && pair->time.reached;
        single = single || !pair->by_launch;
        weighed = weighed || (!pair->by_launch && pair->base.effective + pair->changed.effective <
                                                      (double)(pair->base.reps + pair->changed.reps));
    }
    fprintf(
        stream,
        "\ntime: median of the slowest rank, over launches the median of their medians; [lo, hi] cover with %g %%.\n"
        "p: Mann-Whitney U, two-sided; p Holm: corrected for all cases; a difference is significant below %g.\n",
        100 * c->level, 1 - c->level);
    if (weighed)
        fputs("(n): repetitions that depend on those before them count for as many as n independent ones\n", stream);
    if (single)
        fputs("one launch a side: launches differ by themselves, which this cannot see; compare four or more of each\n",
              stream);
    if (!reached)
        fputs("~ too few values for the coverage that was asked for\n", stream);
    if (c->of_verdict[ATTN_VERDICT_UNDECIDED] > 0)
        fputs("undecided: with so few values, and so many cases, no difference would be significant\n", stream);
    print_last_line(c, stream);
}

static attn_status print_sheet(compare_sheet *sheet, bool csv, attn_table_format format, FILE *stream,
                               attn_error *error)
{
    static const char columns[] =
        "base ms|<[lo, hi]|new ms|<[lo, hi]|difference ms|<[lo, hi]|change %|<values|p|p Holm|<verdict";
    const attn_comparison *c = sheet->comparison;
    char names[sizeof columns + 8];
    attn_status status;

    snprintf(names, sizeof names, "%s%s", sheet->words ? "<case|" : "", columns);
    status = attn_table_create(csv ? csv_columns : names, &sheet->table, error);
    for (size_t i = 0; i < c->count && status == ATTN_OK; i++)
        status = csv ? put_csv_pair(sheet, &c->pairs[i], error) : put_pair(sheet, &c->pairs[i], error);
    if (status == ATTN_OK && !csv)
        print_heading(sheet, stream);
    if (status == ATTN_OK)
        status = attn_table_put(sheet->table, format, stream, error);
    if (status == ATTN_OK && !csv)
        print_notes(c, stream);
    attn_table_destroy(sheet->table);
    return status;
}

attn_status attn_comparison_print(const attn_comparison *comparison, attn_table_format format, FILE *stream,
                                  attn_error *error)
{
    const bool csv = format == ATTN_TABLE_CSV;
    compare_sheet sheet = {.comparison = comparison};
    attn_description *description = NULL;
    attn_status status = ATTN_OK;

    if (!csv && comparison->count == 0) {
        fputs("no cases\n", stream);
        return ATTN_OK;
    }
    if (!csv)
        status = describe(comparison, &description, error);
    sheet.description = description;
    sheet.words = description != NULL && attn_description_varies(description);
    if (status == ATTN_OK)
        status = print_sheet(&sheet, csv, format, stream, error);
    attn_description_destroy(description);
    return status;
}
