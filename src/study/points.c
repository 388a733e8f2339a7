#include "study/points.h"

#include "measure/median.h"
#include "study/summary.h"

#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

const char *attn_point_processor(const attn_results *results, const attn_result *result)
{
    for (size_t e = 0; e < results->environment_count; e++) {
        const attn_attributes *environment = results->environments[e];

        if (strcmp(attn_attributes_text(environment, "launch_id", ""), result->launch_id) == 0)
            return attn_attributes_text(environment, "cpu_model", "");
    }
    return "";
}

static bool listed(const char *name, const char *const *names, size_t count)
{
    for (size_t i = 0; i < count; i++)
        if (strcmp(name, names[i]) == 0)
            return true;
    return false;
}

static bool follows_from_ranks(const char *name, bool weak)
{
    static const char *const always[] = {"ranks",    "threads", "grid_seq", "grid_head", "exchange",
                                         "transfer", "hybrid",  "inner",    "layout",    "combine"};
    static const char *const grows[] = {"seq", "kv_seq", "batch"};

    return listed(name, always, sizeof always / sizeof always[0]) ||
           (weak && listed(name, grows, sizeof grows / sizeof grows[0]));
}

static char *make_key(const attn_results *results, const attn_result *result)
{
    const bool weak = strncmp(attn_attributes_text(result->factors, "scaling", ""), "weak", 4) == 0;
    char *text = NULL;
    size_t size;
    FILE *stream = open_memstream(&text, &size);

    if (stream == NULL)
        return NULL;
    for (size_t i = 0; i < attn_attributes_count(result->factors); i++) {
        const attn_attribute *factor = attn_attributes_at(result->factors, i);
        char value[ATTN_VERDICT_MAX];

        if (follows_from_ranks(factor->name, weak))
            continue;
        attn_attribute_format(factor, value, sizeof value);
        fprintf(stream, "%s=%s\n", factor->name, value);
    }
    fprintf(stream, "processor=%s\n", attn_point_processor(results, result));
    if (fclose(stream) != 0) {
        free(text);
        return NULL;
    }
    return text;
}

/* Adds one more launch to a point; medians[point->launches] is free. */
static attn_status add_launch(attn_point *point, const attn_result *result, double *medians, attn_error *error)
{
    attn_summary summary;
    const attn_status status = attn_summarise(result, &summary, error);

    if (status != ATTN_OK)
        return status;
    if (result->status == ATTN_CASE_VALID && point->launches == 0)
        point->result = result;
    point->oversubscribed = point->oversubscribed || summary.oversubscribed;
    if (result->status != ATTN_CASE_VALID || !summary.timed) {
        point->rejected++;
        return ATTN_OK;
    }
    medians[point->launches++] = summary.time.median;
    point->reps += result->reps;
    point->settled = point->settled && summary.settled;
    point->lo = fmin(point->lo, summary.time.lo);
    point->hi = fmax(point->hi, summary.time.hi);
    return ATTN_OK;
}

/* Takes all launches of the case at index first together, on the processor of that launch. */
static attn_status make_point(const attn_results *results, size_t first, bool *taken, double *medians,
                              attn_keyed_point *out, attn_error *error)
{
    const attn_result *reference = results->cases[first];
    attn_point *point = &out->point;
    attn_status status = ATTN_OK;

    *out = (attn_keyed_point){.point = {.result = reference, .settled = true, .lo = INFINITY, .hi = 0, .time = NAN}};
    for (size_t c = first; c < results->count && status == ATTN_OK; c++) {
        const attn_result *result = results->cases[c];

        if (taken[c] || strcmp(result->id, reference->id) != 0 ||
            strcmp(attn_point_processor(results, result), attn_point_processor(results, reference)) != 0)
            continue;
        taken[c] = true;
        status = add_launch(point, result, medians, error);
    }
    if (status != ATTN_OK)
        return status;
    point->ranks = attn_attributes_integer(reference->factors, "ranks", 1);
    point->threads = attn_attributes_integer(reference->factors, "threads", 1);
    point->flops = attn_attributes_real(point->result->outcomes, "flops", NAN);
    point->valid = point->launches > 0;
    if (point->valid) {
        attn_values_sort(medians, point->launches);
        point->time = attn_quantile(medians, point->launches, 0.5);
    }
    out->key = make_key(results, reference);
    return out->key != NULL ? ATTN_OK : attn_error_set(error, ATTN_MEMORY, "no memory for a scaling series");
}

attn_status attn_points_make(const attn_results *results, attn_keyed_point **points, size_t *count, attn_error *error)
{
    const size_t slots = results->count + 1;
    bool *taken = calloc(slots, sizeof *taken);
    double *medians = calloc(slots, sizeof *medians);
    attn_keyed_point *made = calloc(slots, sizeof *made);
    attn_status status = ATTN_OK;
    size_t used = 0;

    *points = NULL;
    *count = 0;
    if (taken == NULL || medians == NULL || made == NULL)
        status = attn_error_set(error, ATTN_MEMORY, "no memory for the points of %zu cases", results->count);
    for (size_t c = 0; c < results->count && status == ATTN_OK; c++) {
        if (taken[c])
            continue;
        status = make_point(results, c, taken, medians, &made[used], error);
        used++;
    }
    free(taken);
    free(medians);
    if (status != ATTN_OK) {
        attn_points_release(made, used);
        return status;
    }
    *points = made;
    *count = used;
    return ATTN_OK;
}

void attn_points_release(attn_keyed_point *points, size_t count)
{
    for (size_t p = 0; points != NULL && p < count; p++)
        free(points[p].key);
    free(points);
}
