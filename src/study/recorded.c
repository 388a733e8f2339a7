#include "study/recorded.h"
#include "study/describe.h"

#include <attn/study.h>

#include <stdlib.h>
#include <string.h>

static bool has_case(const attn_recorded *recorded, const attn_result *result)
{
    for (size_t i = 0; i < recorded->count; i++) {
        const char *const id = recorded->cases[i]->id;

        if (id != NULL && strcmp(id, result->id) == 0)
            return true;
    }
    return false;
}

static attn_status write_name(const attn_description *words, const attn_result *result, char **out, attn_error *error)
{
    size_t size;
    FILE *stream = open_memstream(out, &size);

    if (stream == NULL)
        return attn_error_set(error, ATTN_MEMORY, "no memory for the name of a case");
    if (attn_description_varies(words))
        attn_description_case(words, result, stream);
    if (result->status != ATTN_CASE_VALID)
        fprintf(stream, "  (%s)", attn_case_status_name(result->status));
    return fclose(stream) == 0 ? ATTN_OK : attn_error_set(error, ATTN_MEMORY, "no memory for the name of a case");
}

static attn_status describe(attn_recorded *recorded, attn_error *error)
{
    attn_description *words;
    size_t size;
    FILE *stream;
    attn_status status = attn_description_create(recorded->cases, recorded->count, "scaling|seed", &words, error);

    if (status != ATTN_OK)
        return status;
    stream = open_memstream(&recorded->title, &size);
    if (stream != NULL)
        attn_description_common(words, stream);
    if (stream == NULL || fclose(stream) != 0)
        status = attn_error_set(error, ATTN_MEMORY, "no memory to describe the cases");
    for (size_t i = 0; i < recorded->count && status == ATTN_OK; i++)
        status = write_name(words, recorded->cases[i], &recorded->names[i], error);
    attn_description_destroy(words);
    return status;
}

attn_status attn_study_check_timelines(const attn_results *results, attn_error *error)
{
    for (size_t c = 0; c < results->count; c++)
        if (results->cases[c]->events > 0)
            return ATTN_OK;
    return attn_error_set(error, ATTN_UNSUPPORTED,
                          "none of the cases has a timeline; run stores one with every case that it times, unless it "
                          "was interrupted or an earlier version made the file");
}

attn_status attn_recorded_find(const attn_results *results, attn_recorded *out, attn_error *error)
{
    const attn_status status = attn_study_check_timelines(results, error);

    *out = (attn_recorded){.cases = NULL};
    if (status != ATTN_OK)
        return status;
    out->cases = calloc(results->count, sizeof *out->cases);
    out->names = calloc(results->count, sizeof *out->names);
    if (out->cases == NULL || out->names == NULL)
        return attn_error_set(error, ATTN_MEMORY, "no memory for %zu cases", results->count);
    for (size_t c = 0; c < results->count; c++)
        if (results->cases[c]->events > 0 && !has_case(out, results->cases[c]))
            out->cases[out->count++] = results->cases[c];
    return describe(out, error);
}

void attn_recorded_release(attn_recorded *recorded)
{
    for (size_t i = 0; recorded->names != NULL && i < recorded->count; i++)
        free(recorded->names[i]);
    free(recorded->names);
    free(recorded->cases);
    free(recorded->title);
}
