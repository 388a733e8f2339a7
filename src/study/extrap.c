/* Extra-P's JSON Lines (Calotoiu and others, SC13): one object a line with the parameters of a measurement, what was
 * measured, and the values of all repetitions. Its documentation: docs/file-formats.md of extra-p/extrap. */
#include "study/names.h"
#include "study/series.h"

#include <attn/study.h>

#include <cJSON.h>
#include <math.h>
#include <stdlib.h>
#include <string.h>

static int64_t length_of(const attn_point *point)
{
    const int64_t rows = attn_attributes_integer(point->result->factors, "seq", 1);
    const int64_t keys = attn_attributes_integer(point->result->factors, "kv_seq", rows);

    return keys > rows ? keys : rows;
}

static bool exported(const attn_point *point)
{
    return point->valid && !point->oversubscribed;
}

/* Whether some rank count was run with several lengths: only then can the length be a parameter beside it. */
static bool lengths_vary(const attn_scaling *scaling)
{
    const attn_point *first = NULL;

    for (size_t s = 0; s < scaling->count; s++)
        for (size_t p = 0; p < scaling->series[s].count; p++) {
            const attn_point *point = &scaling->series[s].points[p];

            if (!exported(point))
                continue;
            if (first == NULL)
                first = point;
            for (size_t t = 0; t < s; t++)
                for (size_t q = 0; q < scaling->series[t].count; q++)
                    if (exported(&scaling->series[t].points[q]) && scaling->series[t].points[q].ranks == point->ranks &&
                        length_of(&scaling->series[t].points[q]) != length_of(point))
                        return true;
        }
    return false;
}

/* The values of one phase: the slowest rank of each repetition.
 *   scale  to s */
static cJSON *phase_values(const attn_result *result, int64_t phase)
{
    cJSON *values = cJSON_CreateArray();
    bool some = false;

    for (int64_t rep = 0; rep < result->reps; rep++) {
        const double *first = result->samples + rep * result->ranks * result->phases + phase;
        double slowest = first[0];

        for (int64_t rank = 1; rank < result->ranks; rank++)
            slowest = fmax(slowest, first[rank * result->phases]);
        some = some || slowest > 0;
        cJSON_AddItemToArray(values, cJSON_CreateNumber(slowest));
    }
    if (some)
        return values;
    cJSON_Delete(values);
    return NULL;
}

/* One line; nothing for a phase that took no time. */
static attn_status write_line(const attn_point *point, int64_t phase, bool with_length, const char *name, FILE *stream,
                              attn_error *error)
{
    cJSON *values = phase_values(point->result, phase), *line = cJSON_CreateObject(), *parameters;
    char callpath[512];
    char *text;

    if (values == NULL) {
        cJSON_Delete(line);
        return ATTN_OK;
    }
    parameters = cJSON_AddObjectToObject(line, "params");
    cJSON_AddNumberToObject(parameters, "p", (double)point->ranks);
    if (with_length)
        cJSON_AddNumberToObject(parameters, "s", (double)length_of(point));
    snprintf(callpath, sizeof callpath, phase == ATTN_PHASE_TOTAL ? "%.400s" : "%.400s->%s", name,
             attn_phase_name((attn_phase)phase));
    cJSON_AddStringToObject(line, "callpath", callpath);
    cJSON_AddStringToObject(line, "metric", "time");
    cJSON_AddItemToObject(line, "value", values);
    text = cJSON_PrintUnformatted(line);
    cJSON_Delete(line);
    if (text == NULL)
        return attn_error_set(error, ATTN_MEMORY, "no memory for a line of JSON");
    fprintf(stream, "%s\n", text);
    free(text);
    return ATTN_OK;
}

static attn_status write_series(const attn_series *series, const char *name, bool with_length, FILE *stream,
                                attn_error *error)
{
    attn_status status = ATTN_OK;

    for (size_t p = 0; p < series->count && status == ATTN_OK; p++)
        for (int64_t phase = 0; phase < series->points[p].result->phases && status == ATTN_OK; phase++)
            if (exported(&series->points[p]) && phase != ATTN_PHASE_INPUT_READ && phase < ATTN_PHASE_COUNT)
                status = write_line(&series->points[p], phase, with_length, name, stream, error);
    return status;
}

/* Describes the problems of all points but for what are parameters. */
static attn_status describe(const attn_scaling *scaling, attn_description **out, attn_error *error)
{
    static const char parameters[] = "ranks|threads|grid_seq|grid_head|exchange|layout|combine|seq|kv_seq";
    const attn_result **cases;
    attn_status status;
    size_t count = 0;

    for (size_t s = 0; s < scaling->count; s++)
        count += scaling->series[s].count;
    cases = calloc(count, sizeof *cases);
    if (cases == NULL)
        return attn_error_set(error, ATTN_MEMORY, "no memory to describe %zu points", count);
    count = 0;
    for (size_t s = 0; s < scaling->count; s++)
        for (size_t p = 0; p < scaling->series[s].count; p++)
            cases[count++] = scaling->series[s].points[p].result;
    status = attn_description_create(cases, count, parameters, out, error);
    free(cases);
    return status;
}

/* "attention allgather, zigzag, kernel reference": what tells the series from others, but for its length. */
static attn_status name_series(const attn_description *problem, const attn_series *series, char **name,
                               attn_error *error)
{
    attn_description *ways;
    size_t size;
    FILE *stream;
    attn_status status = attn_series_describe_sharing(series, &ways, error);

    *name = NULL;
    if (status != ATTN_OK)
        return status;
    stream = open_memstream(name, &size);
    if (stream != NULL) {
        fputs("attention ", stream);
        if (!attn_description_varies(ways))
            attn_description_common(ways, stream);
        if (series->family[0] != '\0')
            fprintf(stream, " %s", series->family);
        if (series->by_threads)
            fprintf(stream, " threads %lld", (long long)series->points[0].threads);
        fputc(' ', stream);
        attn_description_case(problem, series->points[0].result, stream);
    }
    attn_description_destroy(ways);
    if (stream == NULL || fclose(stream) != 0)
        return attn_error_set(error, ATTN_MEMORY, "no memory for the name of a series");
    while (**name != '\0' && (*name)[strlen(*name) - 1] == ' ')
        (*name)[strlen(*name) - 1] = '\0';
    return ATTN_OK;
}

attn_status attn_study_write_extrap(const attn_results *results, FILE *stream, attn_error *error)
{
    attn_scaling *scaling;
    attn_description *problem = NULL;
    attn_status status = attn_scaling_find(results, &scaling, error);
    bool with_length;

    if (status != ATTN_OK)
        return status;
    with_length = lengths_vary(scaling);
    if (scaling->count > 0)
        status = describe(scaling, &problem, error);
    for (size_t s = 0; s < scaling->count && status == ATTN_OK; s++) {
        char *name;

        status = name_series(problem, &scaling->series[s], &name, error);
        if (status == ATTN_OK)
            status = write_series(&scaling->series[s], name, with_length, stream, error);
        free(name);
    }
    attn_description_destroy(problem);
    attn_scaling_destroy(scaling);
    return status;
}
