/* google-benchmark's JSON, written entry by entry. A value that is not finite is left out: JSON has no word for it.
 *
 * CPU time is not measured; cpu_time repeats real_time, because readers of the format expect both. A case without a
 * valid result is one entry with skipped or error_occurred and the reason, and no times, as that library writes it. */
#include "study/json.h"
#include "study/describe.h"
#include "study/summary.h"

#include <attn/study.h>
#include <attn/version.h>

#include <math.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>

/* One case on its way out. */
typedef struct json_case {
    const attn_result *result;
    attn_summary summary;
    char *name;
    size_t family; /* cases of the same id have the same */
    double *times; /* [reps] in s */
} json_case;

static void add_number(cJSON *object, const char *name, double value)
{
    if (isfinite(value))
        cJSON_AddNumberToObject(object, name, value);
}

static void add_attribute(cJSON *object, const attn_attribute *attribute)
{
    if (cJSON_HasObjectItem(object, attribute->name))
        return;
    if (attribute->kind == ATTN_VALUE_TEXT)
        cJSON_AddStringToObject(object, attribute->name, attribute->text);
    else
        add_number(object, attribute->name,
                   attribute->kind == ATTN_VALUE_INTEGER ? (double)attribute->integer : attribute->real);
}

static void add_text_as(cJSON *object, const char *name, const attn_attributes *from, const char *attribute)
{
    const char *text = attn_attributes_text(from, attribute, "");

    if (*text != '\0')
        cJSON_AddStringToObject(object, name, text);
}

static void add_machine(cJSON *context, const attn_attributes *environment)
{
    static const char *const loads[] = {"load_1min", "load_5min", "load_15min"};
    const int64_t cpus = attn_attributes_integer(environment, "cpus", 0);
    const char *governor = attn_attributes_text(environment, "cpu_governor", "");
    const char *build = attn_attributes_text(environment, "build_type", "");
    cJSON *load;

    add_text_as(context, "date", environment, "date");
    add_text_as(context, "host_name", environment, "hostname");
    cJSON_AddStringToObject(context, "executable", "attnbench");
    if (cpus > 0)
        cJSON_AddNumberToObject(context, "num_cpus", (double)cpus);
    if (*governor != '\0')
        cJSON_AddBoolToObject(context, "cpu_scaling_enabled", strcmp(governor, "performance") != 0);
    load = cJSON_AddArrayToObject(context, "load_avg");
    for (size_t i = 0; i < sizeof loads / sizeof loads[0]; i++)
        if (attn_attributes_find(environment, loads[i]) != NULL)
            cJSON_AddItemToArray(load, cJSON_CreateNumber(attn_attributes_real(environment, loads[i], 0)));
    if (*build != '\0')
        cJSON_AddStringToObject(context, "library_build_type", strncasecmp(build, "rel", 3) == 0 ? "release" : "debug");
}

static cJSON *make_context(const attn_results *results)
{
    cJSON *context = cJSON_CreateObject();
    cJSON *launches;

    if (results->environment_count > 0)
        add_machine(context, results->environments[0]);
    else
        cJSON_AddStringToObject(context, "executable", "attnbench");
    cJSON_AddStringToObject(context, "library_version", ATTN_VERSION);
    cJSON_AddNumberToObject(context, "json_schema_version", 1);
    launches = cJSON_AddArrayToObject(context, "launches");
    for (size_t e = 0; e < results->environment_count; e++) {
        cJSON *launch = cJSON_CreateObject();

        for (size_t i = 0; i < attn_attributes_count(results->environments[e]); i++)
            add_attribute(launch, attn_attributes_at(results->environments[e], i));
        cJSON_AddItemToArray(launches, launch);
    }
    return context;
}

attn_status attn_json_print(cJSON *object, FILE *stream, attn_error *error)
{
    char *text = cJSON_PrintUnformatted(object);

    cJSON_Delete(object);
    if (text == NULL)
        return attn_error_set(error, ATTN_MEMORY, "no memory for JSON");
    fputs(text, stream);
    cJSON_free(text);
    return ATTN_OK;
}

/* What iterations and aggregates have in common. suffix: "" or "_median" and the like. */
static cJSON *make_entry(const json_case *c, const char *suffix, const char *run_type)
{
    cJSON *entry = cJSON_CreateObject();
    const size_t size = strlen(c->name) + strlen(suffix) + 1;
    char *name = malloc(size);

    if (name != NULL)
        snprintf(name, size, "%s%s", c->name, suffix);
    cJSON_AddStringToObject(entry, "name", name != NULL ? name : c->name);
    free(name);
    cJSON_AddNumberToObject(entry, "family_index", (double)c->family);
    cJSON_AddNumberToObject(entry, "per_family_instance_index", 0);
    cJSON_AddStringToObject(entry, "run_name", c->name);
    cJSON_AddStringToObject(entry, "run_type", run_type);
    cJSON_AddNumberToObject(entry, "repetitions", (double)c->result->reps);
    cJSON_AddNumberToObject(entry, "threads", (double)c->summary.threads);
    cJSON_AddStringToObject(entry, "label", c->result->launch_id);
    return entry;
}

static void add_times(cJSON *entry, const json_case *c, double iterations, double seconds)
{
    cJSON_AddNumberToObject(entry, "iterations", iterations);
    add_number(entry, "real_time", 1e3 * seconds);
    add_number(entry, "cpu_time", 1e3 * seconds);
    cJSON_AddStringToObject(entry, "time_unit", "ms");
    cJSON_AddNumberToObject(entry, "ranks", (double)c->summary.ranks);
}

static void add_metric(cJSON *entry, const json_case *c, const attn_metric *metric, double seconds)
{
    add_number(entry, attn_metric_heading(metric),
               attn_metric_value(metric, c->result->factors, c->result->outcomes, seconds));
}

static cJSON *make_iteration(const json_case *c, int64_t rep)
{
    cJSON *entry = make_entry(c, "", "iteration");

    cJSON_AddNumberToObject(entry, "repetition_index", (double)rep);
    add_times(entry, c, 1, c->times[rep]);
    for (size_t m = 0; m < attn_metric_count(); m++)
        if (attn_metric_phase(attn_metric_at(m)) == ATTN_PHASE_TOTAL)
            add_metric(entry, c, attn_metric_at(m), c->times[rep]);
    return entry;
}

static cJSON *make_aggregate(const json_case *c, const char *aggregate, double seconds)
{
    char suffix[32];
    cJSON *entry;

    snprintf(suffix, sizeof suffix, "_%s", aggregate);
    entry = make_entry(c, suffix, "aggregate");
    cJSON_AddStringToObject(entry, "aggregate_name", aggregate);
    cJSON_AddStringToObject(entry, "aggregate_unit", "time");
    add_times(entry, c, (double)c->result->reps, seconds);
    return entry;
}

/* The median carries its interval, all metrics and all numbers that came out of the case. */
static cJSON *make_median(const json_case *c)
{
    cJSON *entry = make_aggregate(c, "median", c->summary.time.median);

    for (size_t m = 0; m < attn_metric_count(); m++)
        add_metric(entry, c, attn_metric_at(m), c->summary.phases[attn_metric_phase(attn_metric_at(m))]);
    add_number(entry, "ci_lo", 1e3 * c->summary.time.lo);
    add_number(entry, "ci_hi", 1e3 * c->summary.time.hi);
    for (size_t i = 0; i < attn_attributes_count(c->result->outcomes); i++) {
        const attn_attribute *outcome = attn_attributes_at(c->result->outcomes, i);

        if (outcome->kind != ATTN_VALUE_TEXT)
            add_attribute(entry, outcome);
    }
    return entry;
}

static void mean_and_deviation(const double *values, int64_t count, double *mean, double *deviation)
{
    double sum = 0, squares = 0;

    for (int64_t i = 0; i < count; i++)
        sum += values[i];
    *mean = sum / (double)count;
    for (int64_t i = 0; i < count; i++)
        squares += (values[i] - *mean) * (values[i] - *mean);
    *deviation = count > 1 ? sqrt(squares / (double)(count - 1)) : NAN;
}

static attn_status write_timed(const json_case *c, FILE *stream, attn_error *error)
{
    double mean, deviation;
    attn_status status = ATTN_OK;

    for (int64_t rep = 0; rep < c->result->reps && status == ATTN_OK; rep++) {
        status = attn_json_print(make_iteration(c, rep), stream, error);
        fputs(",\n", stream);
    }
    mean_and_deviation(c->times, c->result->reps, &mean, &deviation);
    if (status == ATTN_OK)
        status = attn_json_print(make_aggregate(c, "mean", mean), stream, error);
    fputs(",\n", stream);
    if (status == ATTN_OK)
        status = attn_json_print(make_median(c), stream, error);
    if (status != ATTN_OK || !isfinite(deviation))
        return status;
    fputs(",\n", stream);
    return attn_json_print(make_aggregate(c, "stddev", deviation), stream, error);
}

static attn_status write_untimed(const json_case *c, FILE *stream, attn_error *error)
{
    cJSON *entry = make_entry(c, "", "iteration");
    const bool skipped = c->result->status == ATTN_CASE_SKIPPED;
    char verdict[ATTN_VERDICT_MAX];

    attn_format_verdict(c->result, verdict);
    cJSON_AddNumberToObject(entry, "repetition_index", 0);
    cJSON_AddBoolToObject(entry, skipped ? "skipped" : "error_occurred", true);
    cJSON_AddStringToObject(entry, skipped ? "skip_message" : "error_message", verdict);
    add_times(entry, c, 0, 0);
    return attn_json_print(entry, stream, error);
}

/* The first case of the same id numbers the family. */
static size_t family_of(const attn_results *results, size_t index)
{
    size_t first = 0;

    while (strcmp(results->cases[first]->id, results->cases[index]->id) != 0)
        first++;
    return first;
}

static attn_status write_case(const attn_results *results, size_t index, FILE *stream, attn_error *error)
{
    json_case c = {.result = results->cases[index], .family = family_of(results, index)};
    size_t size;
    attn_status status = attn_summarise(c.result, &c.summary, error);
    FILE *name = status == ATTN_OK ? open_memstream(&c.name, &size) : NULL;

    if (status != ATTN_OK)
        return status;
    if (name != NULL)
        attn_describe_path(c.result, name);
    c.times = calloc((size_t)c.result->reps + 1, sizeof *c.times);
    if (name == NULL || fclose(name) != 0 || c.times == NULL) {
        status = attn_error_set(error, ATTN_MEMORY, "no memory for the JSON of a case");
    } else if (c.result->status == ATTN_CASE_VALID && c.summary.timed) {
        attn_result_slowest(c.result, c.times);
        status = write_timed(&c, stream, error);
    } else {
        status = write_untimed(&c, stream, error);
    }
    free(c.times);
    free(c.name);
    return status;
}

attn_status attn_study_write_json(const attn_results *results, FILE *stream, attn_error *error)
{
    attn_status status;

    fputs("{\n\"context\": ", stream);
    status = attn_json_print(make_context(results), stream, error);
    fputs(",\n\"benchmarks\": [\n", stream);
    for (size_t c = 0; c < results->count && status == ATTN_OK; c++) {
        status = write_case(results, c, stream, error);
        fputs(c + 1 < results->count ? ",\n" : "\n", stream);
    }
    fputs("]\n}\n", stream);
    if (status == ATTN_OK && ferror(stream))
        return attn_error_set(error, ATTN_FILE, "the JSON cannot be written");
    return status;
}
