#include "io/result_file.h"

#include <stdlib.h>

const attn_timeline_column attn_timeline_columns[ATTN_TIMELINE_COLUMNS] = {
    {"rank", "1", "rank of the event", true},
    {"phase", "1", "phase of the event: its place among the names in ../phase", true},
    {"begin", "s", "begin of the event, since this rank's own start after a barrier of all ranks", false},
    {"end", "s", "end of the event, since this rank's own start after a barrier of all ranks", false},
};

const char *attn_case_status_name(attn_case_status status)
{
    static const char *const names[] = {
#define CASE_NAME(name, text) [ATTN_CASE_##name] = text,
        ATTN_CASE_STATUS_LIST(CASE_NAME)
#undef CASE_NAME
    };

    return (unsigned)status < ATTN_CASE_STATUS_COUNT ? names[status] : "unknown status";
}

attn_status attn_result_create(attn_result **out, attn_error *error)
{
    attn_result *const result = calloc(1, sizeof *result);

    *out = NULL;
    if (result == NULL)
        return attn_error_set(error, ATTN_MEMORY, "no memory for a result");
    if (attn_attributes_create(&result->factors, error) != ATTN_OK ||
        attn_attributes_create(&result->outcomes, error) != ATTN_OK) {
        attn_result_destroy(result);
        return ATTN_MEMORY;
    }
    *out = result;
    return ATTN_OK;
}

void attn_result_destroy(attn_result *result)
{
    if (result == NULL)
        return;
    attn_attributes_destroy(result->factors);
    attn_attributes_destroy(result->outcomes);
    free(result->samples);
    free(result->timeline);
    free(result);
}

void attn_result_slowest(const attn_result *result, double *out)
{
    for (int64_t rep = 0; rep < result->reps; rep++) {
        const double *const totals = result->samples + rep * result->ranks * result->phases;

        out[rep] = totals[0];
        for (int64_t rank = 1; rank < result->ranks; rank++)
            if (totals[rank * result->phases] > out[rep])
                out[rep] = totals[rank * result->phases];
    }
}
