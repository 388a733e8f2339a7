/* The timelines of all cases in Chrome's Trace Event Format, which Perfetto opens: a case is a process, a rank a thread
 * of it, a stretch of time of a phase a complete event (ph X); times are in microseconds. */
#include "study/json.h"
#include "study/recorded.h"

#include <attn/study.h>
#include <attn/version.h>

#include <stdlib.h>

static const char origin[] = "0 is each rank's own start after a barrier; clocks of ranks are not compared";

/* A trace on its way out. */
typedef struct trace {
    FILE *stream;
    const char *separator; /* before the next event */
    size_t process;        /* of the events that follow */
} trace;

/* Begins an event that is printed with print_event. */
static cJSON *make_event(const trace *to, const char *name, const char *kind, int64_t rank)
{
    cJSON *const event = cJSON_CreateObject();

    cJSON_AddStringToObject(event, "name", name);
    cJSON_AddStringToObject(event, "ph", kind);
    cJSON_AddNumberToObject(event, "pid", (double)to->process);
    cJSON_AddNumberToObject(event, "tid", (double)rank);
    return event;
}

static attn_status print_event(trace *to, cJSON *event, attn_error *error)
{
    fputs(to->separator, to->stream);
    to->separator = ",\n";
    return attn_json_print(event, to->stream, error);
}

/* Metadata (ph M): the name of a process, or of a thread of it, and its place among the others. */
static attn_status print_metadata(trace *to, const char *kind, int64_t rank, const char *name, size_t place,
                                  attn_error *error)
{
    char what[32];
    cJSON *event;
    attn_status status;

    snprintf(what, sizeof what, "%s_name", kind);
    event = make_event(to, what, "M", rank);
    cJSON_AddStringToObject(cJSON_AddObjectToObject(event, "args"), "name", name);
    status = print_event(to, event, error);
    if (status != ATTN_OK)
        return status;
    snprintf(what, sizeof what, "%s_sort_index", kind);
    event = make_event(to, what, "M", rank);
    cJSON_AddNumberToObject(cJSON_AddObjectToObject(event, "args"), "sort_index", (double)place);
    return print_event(to, event, error);
}

static attn_status print_phase(trace *to, const attn_event *from, attn_error *error)
{
    cJSON *const event = make_event(to, attn_phase_name(from->phase), "X", from->rank);

    cJSON_AddStringToObject(event, "cat", "phase");
    cJSON_AddNumberToObject(event, "ts", 1e6 * from->begin);
    cJSON_AddNumberToObject(event, "dur", 1e6 * (from->end - from->begin));
    return print_event(to, event, error);
}

/* The name of a case is what tells it from the others, with a word on what is missing; of a case alone all there is. */
static attn_status print_case_name(trace *to, const attn_recorded *recorded, size_t index, attn_error *error)
{
    const attn_result *const result = recorded->cases[index];
    char *name = NULL;
    size_t size;
    FILE *text = open_memstream(&name, &size);
    attn_status status;

    if (text != NULL)
        fputs(recorded->names[index][0] == '\0' ? recorded->title : recorded->names[index], text);
    if (text != NULL && result->events_lost > 0)
        fprintf(text, "  (%lld events not recorded)", (long long)result->events_lost);
    if (text == NULL || fclose(text) != 0)
        status = attn_error_set(error, ATTN_MEMORY, "no memory for the name of a case");
    else
        status = print_metadata(to, "process", 0, name, index, error);
    free(name);
    return status;
}

static attn_status print_case(trace *to, const attn_recorded *recorded, size_t index, attn_error *error)
{
    const attn_result *const result = recorded->cases[index];
    attn_status status;
    char name[32];

    to->process = index + 1;
    status = print_case_name(to, recorded, index, error);
    for (int64_t rank = 0; rank < result->ranks && status == ATTN_OK; rank++) {
        snprintf(name, sizeof name, "rank %lld", (long long)rank);
        status = print_metadata(to, "thread", rank, name, (size_t)rank, error);
    }
    for (int64_t i = 0; i < result->events && status == ATTN_OK; i++)
        status = print_phase(to, &result->timeline[i], error);
    return status;
}

static attn_status print_all(const attn_recorded *recorded, FILE *stream, attn_error *error)
{
    trace to = {.stream = stream, .separator = ""};
    cJSON *const about = cJSON_CreateObject();
    attn_status status;

    cJSON_AddStringToObject(about, "software", "attnbench " ATTN_VERSION);
    cJSON_AddStringToObject(about, "cases", recorded->title);
    cJSON_AddStringToObject(about, "time", origin);
    fputs("{\n\"displayTimeUnit\": \"ms\",\n\"otherData\": ", stream);
    status = attn_json_print(about, stream, error);
    fputs(",\n\"traceEvents\": [\n", stream);
    for (size_t c = 0; c < recorded->count && status == ATTN_OK; c++)
        status = print_case(&to, recorded, c, error);
    fputs("\n]\n}\n", stream);
    if (status == ATTN_OK && ferror(stream))
        return attn_error_set(error, ATTN_FILE, "the trace cannot be written");
    return status;
}

attn_status attn_study_write_trace(const attn_results *results, FILE *stream, attn_error *error)
{
    attn_recorded recorded;
    attn_status status = attn_recorded_find(results, &recorded, error);

    if (status == ATTN_OK)
        status = print_all(&recorded, stream, error);
    attn_recorded_release(&recorded);
    return status;
}
