#include "study/names.h"

#include <stdlib.h>
#include <string.h>

static const char shared[] = "ranks|threads|grid_seq|grid_head|exchange|transfer|hybrid|inner|layout|combine";
static const char sharing[] = "=exchange|transfer|hybrid|inner|layout|combine";

attn_status attn_series_describe(const attn_series *const *chosen, size_t count, attn_description **out,
                                 attn_error *error)
{
    const attn_result **cases;
    attn_status status;
    size_t points = 0;

    *out = NULL;
    for (size_t s = 0; s < count; s++)
        points += chosen[s]->count;
    cases = calloc(points, sizeof *cases);
    if (cases == NULL)
        return attn_error_set(error, ATTN_MEMORY, "no memory to describe %zu points", points);
    points = 0;
    for (size_t s = 0; s < count; s++)
        for (size_t p = 0; p < chosen[s]->count; p++)
            cases[points++] = chosen[s]->points[p].result;
    status = attn_description_create(cases, points, shared, out, error);
    free(cases);
    return status;
}

attn_status attn_series_describe_sharing(const attn_series *series, attn_description **out, attn_error *error)
{
    const attn_result **cases = calloc(series->count, sizeof *cases);
    size_t several = 0;
    attn_status status;

    *out = NULL;
    if (cases == NULL)
        return attn_error_set(error, ATTN_MEMORY, "no memory to describe %zu points", series->count);
    for (size_t p = 0; p < series->count; p++)
        if (series->points[p].ranks > 1)
            cases[several++] = series->points[p].result;
    if (several == 0)
        cases[several++] = series->points[0].result;
    status = attn_description_create(cases, several, sharing, out, error);
    free(cases);
    return status;
}

attn_status attn_series_write_name(const attn_description *problem, const attn_series *series, FILE *stream,
                                   attn_error *error)
{
    const attn_result *first = series->points[0].result;
    attn_description *ways;
    attn_status status = attn_series_describe_sharing(series, &ways, error);

    if (status != ATTN_OK)
        return status;
    if (attn_description_varies(ways))
        fputs("exchange and layout by rank count", stream);
    else
        attn_description_common(ways, stream);
    if (series->family[0] != '\0')
        fprintf(stream, ", %s", series->family);
    if (series->by_threads)
        fprintf(stream, ", threads %lld", (long long)series->points[0].threads);
    if (attn_description_varies(problem)) {
        fputs(", ", stream);
        attn_description_case(problem, first, stream);
        if (strncmp(attn_attributes_text(first->factors, "scaling", ""), "weak", 4) == 0)
            fprintf(stream, " at %lld rank%s", (long long)series->points[0].ranks,
                    series->points[0].ranks > 1 ? "s" : "");
    }
    attn_description_destroy(ways);
    return ATTN_OK;
}
