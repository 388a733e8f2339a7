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

/* One point of one series. */
typedef struct entry {
    const attn_point *point;
    const char *name; /* of the series: series that differ in length alone have the same */
} entry;

/* What the lines are made of. */
typedef struct export_list {
    entry *entries; /* [count] */
    size_t count;
    char **names; /* [name_count] of all series */
    size_t name_count;
    bool with_length;             /* a rank count was run with several lengths: they are a parameter */
    bool timed[ATTN_PHASE_COUNT]; /* the phase takes time somewhere */
} export_list;

/* The slowest rank of a repetition. */
static double slowest_of(const attn_result *result, int64_t rep, int64_t phase)
{
    const double *first = result->samples + rep * result->ranks * result->phases + phase;
    double slowest = first[0];

    for (int64_t rank = 1; rank < result->ranks; rank++)
        slowest = fmax(slowest, first[rank * result->phases]);
    return slowest;
}

static bool same_place(const export_list *list, const attn_point *a, const attn_point *b)
{
    return a->ranks == b->ranks && (!list->with_length || length_of(a) == length_of(b));
}

static void look_at_entries(export_list *list)
{
    for (size_t i = 0; i < list->count; i++) {
        const attn_result *result = list->entries[i].point->result;

        for (size_t j = 0; j < i; j++)
            list->with_length =
                list->with_length || (list->entries[i].point->ranks == list->entries[j].point->ranks &&
                                      length_of(list->entries[i].point) != length_of(list->entries[j].point));
        for (int64_t phase = 0; phase < ATTN_PHASE_COUNT && phase < result->phases; phase++)
            for (int64_t rep = 0; rep < result->reps && !list->timed[phase]; rep++)
                list->timed[phase] = slowest_of(result, rep, phase) > 0;
    }
    list->timed[ATTN_PHASE_INPUT_READ] = false; /* it happens once */
}

/* Whether all series have a point: Extra-P refuses a file in which one lacks it. */
static bool in_all_series(const export_list *list, const attn_point *point)
{
    for (size_t n = 0; n < list->name_count; n++) {
        bool found = false;

        for (size_t i = 0; i < list->count && !found; i++)
            found =
                same_place(list, list->entries[i].point, point) && strcmp(list->entries[i].name, list->names[n]) == 0;
        if (!found)
            return false;
    }
    return true;
}

static attn_status write_line(const export_list *list, const entry *of, int64_t phase, FILE *stream, attn_error *error)
{
    const attn_result *result = of->point->result;
    cJSON *line = cJSON_CreateObject(), *parameters = cJSON_AddObjectToObject(line, "params"), *values;
    char callpath[512];
    char *text;

    cJSON_AddNumberToObject(parameters, "p", (double)of->point->ranks);
    if (list->with_length)
        cJSON_AddNumberToObject(parameters, "s", (double)length_of(of->point));
    snprintf(callpath, sizeof callpath, "%.400s%s%s", of->name, phase == ATTN_PHASE_TOTAL ? "" : "->",
             phase == ATTN_PHASE_TOTAL ? "" : attn_phase_name((attn_phase)phase));
    cJSON_AddStringToObject(line, "callpath", callpath);
    cJSON_AddStringToObject(line, "metric", "time");
    values = cJSON_AddArrayToObject(line, "value");
    for (int64_t rep = 0; rep < result->reps; rep++)
        cJSON_AddItemToArray(values, cJSON_CreateNumber(phase < result->phases ? slowest_of(result, rep, phase) : 0));
    text = cJSON_PrintUnformatted(line);
    cJSON_Delete(line);
    if (text == NULL)
        return attn_error_set(error, ATTN_MEMORY, "no memory for a line of JSON");
    fprintf(stream, "%s\n", text);
    free(text);
    return ATTN_OK;
}

static attn_status write_entries(const export_list *list, FILE *stream, attn_error *error)
{
    attn_status status = ATTN_OK;

    for (size_t i = 0; i < list->count && status == ATTN_OK; i++) {
        if (!in_all_series(list, list->entries[i].point))
            continue;
        for (int64_t phase = 0; phase < ATTN_PHASE_COUNT && status == ATTN_OK; phase++)
            if (list->timed[phase])
                status = write_line(list, &list->entries[i], phase, stream, error);
    }
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

/* Lists the points of all series under their names. */
static attn_status make_entries(const attn_scaling *scaling, const attn_description *problem, export_list *list,
                                attn_error *error)
{
    size_t count = 0;

    for (size_t s = 0; s < scaling->count; s++)
        count += scaling->series[s].count;
    list->entries = calloc(count + 1, sizeof *list->entries);
    list->names = calloc(scaling->count + 1, sizeof *list->names);
    if (list->entries == NULL || list->names == NULL)
        return attn_error_set(error, ATTN_MEMORY, "no memory for %zu points", count);
    for (size_t s = 0; s < scaling->count; s++) {
        const attn_series *series = &scaling->series[s];
        const attn_status status = name_series(problem, series, &list->names[s], error);

        if (status != ATTN_OK)
            return status;
        for (size_t p = 0; p < series->count; p++)
            if (exported(&series->points[p]))
                list->entries[list->count++] = (entry){&series->points[p], list->names[s]};
        list->name_count++;
    }
    return ATTN_OK;
}

attn_status attn_study_write_extrap(const attn_results *results, FILE *stream, attn_error *error)
{
    export_list list = {.entries = NULL};
    attn_scaling *scaling;
    attn_description *problem = NULL;
    attn_status status = attn_scaling_find(results, &scaling, error);

    if (status != ATTN_OK)
        return status;
    if (scaling->count > 0)
        status = describe(scaling, &problem, error);
    if (status == ATTN_OK && scaling->count > 0)
        status = make_entries(scaling, problem, &list, error);
    if (status == ATTN_OK) {
        look_at_entries(&list);
        status = write_entries(&list, stream, error);
    }
    for (size_t n = 0; list.names != NULL && n < scaling->count; n++)
        free(list.names[n]);
    free(list.names);
    free(list.entries);
    attn_description_destroy(problem);
    attn_scaling_destroy(scaling);
    return status;
}
