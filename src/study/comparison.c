/* Pairs cases and decides about each. The unit is what can be taken for independent: where a side has several launches
 * these, by their medians, otherwise the repetitions of the one launch, which count for as many as their
 * autocorrelation leaves. */
#include "study/comparison.h"
#include "study/summary.h"

#include <assert.h>
#include <math.h>
#include <stdlib.h>
#include <string.h>

/* A case of either side on its way to its pair. */
typedef struct entry {
    const attn_result *result;
    size_t place; /* in base, and behind those of base in the other */
    bool changed;
} entry;

static int compare_entries(const void *a, const void *b)
{
    const entry *x = a, *y = b;
    const int order = strcmp(x->result->id, y->result->id);

    return order != 0 ? order : (x->place > y->place) - (x->place < y->place);
}

static int compare_entry_places(const void *a, const void *b)
{
    const entry *const *x = a, *const *y = b;

    return ((*x)->place > (*y)->place) - ((*x)->place < (*y)->place);
}

/* The samples of a side: medians of launches, or the slowest ranks of the repetitions of one launch.
 *   values  out, room for all of them */
static attn_status take_values(const entry *entries, size_t count, bool changed, bool by_launch, attn_side *side,
                               double *values, size_t *used, attn_error *error)
{
    *used = 0;
    for (size_t e = 0; e < count; e++) {
        const attn_result *result = entries[e].result;
        attn_summary summary;
        attn_status status;

        if (entries[e].changed != changed || result->status != ATTN_CASE_VALID || result->reps < 1)
            continue;
        if (!by_launch) {
            attn_result_slowest(result, values);
            *used = (size_t)result->reps;
            return attn_effective_count(values, *used, &side->lag1, &side->effective, error);
        }
        status = attn_summarise(result, &summary, error);
        if (status != ATTN_OK)
            return status;
        values[(*used)++] = summary.time.median;
    }
    side->lag1 = NAN;
    side->effective = (double)*used;
    return ATTN_OK;
}

static void count_launch(attn_side *side, const attn_result *result)
{
    const bool valid = result->status == ATTN_CASE_VALID && result->reps > 0;

    if (side->result == NULL || (valid && side->launches == 0))
        side->result = result;
    side->launches += valid;
    side->rejected += !valid;
    if (!valid)
        return;
    side->reps += result->reps;
    side->oversubscribed = side->oversubscribed || attn_attributes_integer(result->outcomes, "oversubscribed", 0) != 0;
}

static attn_status compare_times(const entry *entries, size_t count, double level, attn_pair *pair, attn_error *error)
{
    const size_t room = (size_t)(pair->base.reps + pair->changed.reps);
    double *values = calloc(2 * room, sizeof *values);
    attn_values base = {.values = values}, changed = {.values = values != NULL ? values + room : NULL};
    attn_status status;

    if (values == NULL)
        return attn_error_set(error, ATTN_MEMORY, "no memory for %zu times", room);
    status = take_values(entries, count, false, pair->by_launch, &pair->base, values, &base.count, error);
    if (status == ATTN_OK)
        status =
            take_values(entries, count, true, pair->by_launch, &pair->changed, values + room, &changed.count, error);
    base.effective = pair->base.effective;
    changed.effective = pair->changed.effective;
    if (status == ATTN_OK)
        status = attn_median_difference(&base, &changed, level, &pair->time, error);
    if (status == ATTN_OK)
        status = attn_mann_whitney(&base, &changed, &pair->test, error);
    pair->change = pair->time.difference / pair->time.a.median;
    free(values);
    return status;
}

/* Makes the pair of all launches of one case.
 *   entries  in, [count] of one id */
static attn_status make_pair(const entry *entries, size_t count, double level, attn_pair *pair, attn_error *error)
{
    *pair = (attn_pair){.p = NAN};
    for (size_t e = 0; e < count; e++)
        count_launch(entries[e].changed ? &pair->changed : &pair->base, entries[e].result);
    if (pair->base.launches == 0 || pair->changed.launches == 0)
        return ATTN_OK;
    pair->verdict = ATTN_VERDICT_SAME;
    pair->by_launch = pair->base.launches > 1 || pair->changed.launches > 1;
    return compare_times(entries, count, level, pair, error);
}

static attn_verdict decide(const attn_pair *pair, double best, double level, double threshold)
{
    if (!(pair->p < 1 - level))
        return best < 1 - level ? ATTN_VERDICT_SAME : ATTN_VERDICT_UNDECIDED;
    if (fabs(pair->change) <= threshold)
        return ATTN_VERDICT_WITHIN;
    return pair->change > 0 ? ATTN_VERDICT_SLOWER : ATTN_VERDICT_FASTER;
}

/* Corrects all p together and decides. Undecided is what would not be significant either if every case differed as
 * clearly as its number of values can show. */
static attn_status decide_all(attn_comparison *c, attn_error *error)
{
    double *p = calloc(4 * c->count + 1, sizeof *p);
    double *least, *corrected, *best;
    attn_status status;

    if (p == NULL)
        return attn_error_set(error, ATTN_MEMORY, "no memory for %zu cases", c->count);
    least = p + c->count;
    corrected = least + c->count;
    best = corrected + c->count;
    for (size_t i = 0; i < c->count; i++) {
        const bool compared = c->pairs[i].verdict != ATTN_VERDICT_NOT_COMPARED;

        p[i] = compared ? c->pairs[i].test.p : NAN;
        least[i] = compared ? c->pairs[i].test.least : NAN;
    }
    status = attn_holm(p, c->count, corrected, error);
    if (status == ATTN_OK)
        status = attn_holm(least, c->count, best, error);
    for (size_t i = 0; status == ATTN_OK && i < c->count; i++) {
        attn_pair *pair = &c->pairs[i];

        pair->p = corrected[i];
        if (pair->verdict != ATTN_VERDICT_NOT_COMPARED)
            pair->verdict = decide(pair, best[i], c->level, c->threshold);
        c->of_verdict[pair->verdict]++;
    }
    free(p);
    return status;
}

/* Makes all pairs, in the order in which cases first appear.
 *   entries  in/out, [count] of both sides */
static attn_status make_pairs(attn_comparison *c, entry *entries, size_t count, attn_error *error)
{
    const entry **firsts = calloc(count + 1, sizeof *firsts);
    attn_status status = ATTN_OK;

    c->pairs = calloc(count + 1, sizeof *c->pairs);
    if (firsts == NULL || c->pairs == NULL) {
        free(firsts);
        return attn_error_set(error, ATTN_MEMORY, "no memory to compare %zu cases", count);
    }
    qsort(entries, count, sizeof *entries, compare_entries);
    for (size_t e = 0; e < count; e++)
        if (e == 0 || strcmp(entries[e].result->id, entries[e - 1].result->id) != 0)
            firsts[c->count++] = &entries[e];
    qsort(firsts, c->count, sizeof(firsts[0]), compare_entry_places);
    for (size_t i = 0; i < c->count && status == ATTN_OK; i++) {
        size_t launches = 1;

        while (firsts[i] + launches < entries + count &&
               strcmp(firsts[i][launches].result->id, firsts[i]->result->id) == 0)
            launches++;
        status = make_pair(firsts[i], launches, c->level, &c->pairs[i], error);
    }
    free(firsts);
    return status;
}

attn_status attn_study_compare(const attn_results *base, const attn_results *changed, double level, double threshold,
                               attn_comparison **out, attn_error *error)
{
    const size_t count = base->count + changed->count;
    entry *entries = calloc(count + 1, sizeof *entries);
    attn_comparison *c = calloc(1, sizeof *c);
    attn_status status = ATTN_OK;

    assert(level > 0 && level < 1 && threshold >= 0);
    *out = NULL;
    if (entries == NULL || c == NULL) {
        status = attn_error_set(error, ATTN_MEMORY, "no memory to compare %zu cases", count);
        goto cleanup;
    }
    *c = (attn_comparison){.level = level, .threshold = threshold, .base = base, .changed = changed};
    for (size_t i = 0; i < count; i++)
        entries[i] =
            i < base->count ? (entry){base->cases[i], i, false} : (entry){changed->cases[i - base->count], i, true};
    status = make_pairs(c, entries, count, error);
    if (status == ATTN_OK)
        status = decide_all(c, error);
    if (status == ATTN_OK)
        status = attn_provenance_compare(base, changed, &c->warnings, &c->warning_count, error);
    if (status == ATTN_OK) {
        *out = c;
        c = NULL;
    }

cleanup:
    attn_comparison_destroy(c);
    free(entries);
    return status;
}

void attn_comparison_destroy(attn_comparison *comparison)
{
    if (comparison == NULL)
        return;
    for (size_t w = 0; w < comparison->warning_count; w++)
        free(comparison->warnings[w]);
    free(comparison->warnings);
    free(comparison->pairs);
    free(comparison);
}

size_t attn_comparison_slower(const attn_comparison *comparison)
{
    return comparison->of_verdict[ATTN_VERDICT_SLOWER];
}

size_t attn_comparison_warnings(const attn_comparison *comparison)
{
    return comparison->warning_count;
}

const char *attn_comparison_warning(const attn_comparison *comparison, size_t index)
{
    assert(index < comparison->warning_count);
    return comparison->warnings[index];
}
