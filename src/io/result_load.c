#include "io/h5.h"
#include "io/result_file.h"
#include "io/schema.h"

#include "core/checked.h"

#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

attn_status attn_result_file_open(const char *path, hid_t *out, attn_error *error)
{
    attn_status status = attn_h5_open(path, out, error);

    if (status != ATTN_OK)
        return status;
    status = attn_schema_check(*out, path, "attn-results", error);
    if (status != ATTN_OK) {
        attn_h5_close(*out);
        *out = H5I_INVALID_HID;
    }
    return status;
}

/* Name of the index-th member of a group, in the order of creation where the file keeps it; to be freed. */
static char *member_name(hid_t group, hsize_t index)
{
    H5_index_t by = H5_INDEX_CRT_ORDER;
    ssize_t length = H5Lget_name_by_idx(group, ".", by, H5_ITER_INC, index, NULL, 0, H5P_DEFAULT);
    char *name;

    if (length < 0) {
        by = H5_INDEX_NAME;
        length = H5Lget_name_by_idx(group, ".", by, H5_ITER_INC, index, NULL, 0, H5P_DEFAULT);
    }
    if (length < 0 || (name = calloc((size_t)length + 1, 1)) == NULL)
        return NULL;
    H5Lget_name_by_idx(group, ".", by, H5_ITER_INC, index, name, (size_t)length + 1, H5P_DEFAULT);
    return name;
}

static attn_status members(hid_t file, const char *path, const char *group_name, attn_names *out, attn_error *error)
{
    H5G_info_t info = {.nlinks = 0};
    attn_status status = ATTN_OK;
    hid_t group;

    if (!attn_h5_has_object(file, group_name))
        return ATTN_OK;
    group = H5Gopen2(file, group_name, H5P_DEFAULT);
    if (group < 0 || H5Gget_info(group, &info) < 0)
        status = attn_h5_error(error, ATTN_INPUT, "%s: group %s cannot be read", path, group_name);
    for (hsize_t i = 0; i < info.nlinks && status == ATTN_OK; i++) {
        char *const name = member_name(group, i);

        if (name == NULL)
            status = attn_h5_error(error, ATTN_INPUT, "%s: group %s: name %llu cannot be read", path, group_name,
                                   (unsigned long long)i);
        else
            status = attn_names_append(out, name, error);
        free(name);
    }
    attn_h5_close(group);
    return status;
}

attn_status attn_result_file_cases(hid_t file, const char *path, attn_names *out, attn_error *error)
{
    return members(file, path, "cases", out, error);
}

attn_status attn_result_file_launches(hid_t file, const char *path, attn_names *out, attn_error *error)
{
    return members(file, path, "environment", out, error);
}

/* Reads all attributes of an object into a list. */
static attn_status read_list(hid_t object, const char *where, attn_attributes *out, attn_error *error)
{
    const int count = H5Aget_num_attrs(object);
    attn_status status = ATTN_OK;

    if (count < 0)
        return attn_h5_error(error, ATTN_INPUT, "%s: attributes cannot be read", where);
    for (int i = 0; i < count && status == ATTN_OK; i++)
        status = attn_h5_read_attribute(object, where, (hsize_t)i, out, error);
    return status;
}

/* Opens a member of a group and names it for messages: "FILE: cases/ID", to be freed. */
static attn_status open_member(hid_t file, const char *path, const char *group, const char *name, hid_t *out,
                               char **where, attn_error *error)
{
    *out = H5I_INVALID_HID;
    *where = attn_text("%s: %s/%s", path, group, name);
    if (*where == NULL)
        return attn_error_set(error, ATTN_MEMORY, "%s: no memory to read it", path);
    *out = H5Gopen2(file, *where + strlen(path) + 2, H5P_DEFAULT);
    if (*out >= 0)
        return ATTN_OK;
    attn_h5_error(error, ATTN_INPUT, "%s cannot be read; a group is needed", *where);
    free(*where);
    *where = NULL;
    return ATTN_INPUT;
}

attn_status attn_result_file_get_environment(hid_t file, const char *path, const char *launch_id, attn_attributes **out,
                                             attn_error *error)
{
    hid_t group;
    char *where;
    attn_status status = open_member(file, path, "environment", launch_id, &group, &where, error);

    *out = NULL;
    if (status != ATTN_OK)
        return status;
    status = attn_attributes_create(out, error);
    if (status == ATTN_OK && attn_attributes_set_text(*out, "launch_id", launch_id) != ATTN_OK)
        status = attn_error_set(error, ATTN_MEMORY, "%s: no memory to read it", where);
    if (status == ATTN_OK)
        status = read_list(group, where, *out, error);
    if (status != ATTN_OK) {
        attn_attributes_destroy(*out);
        *out = NULL;
    }
    attn_h5_close(group);
    free(where);
    return status;
}

static attn_status find_status(const char *where, const attn_attributes *all, attn_case_status *out, attn_error *error)
{
    const char *const text = attn_attributes_text(all, "status", "");

    for (int s = 0; s < ATTN_CASE_STATUS_COUNT; s++)
        if (strcmp(text, attn_case_status_name((attn_case_status)s)) == 0) {
            *out = (attn_case_status)s;
            return ATTN_OK;
        }
    return attn_error_set(error, ATTN_INPUT,
                          "%s: attribute status is \"%s\"; valid, invalid, skipped or interrupted is needed", where,
                          text);
}

/* Whether a name stands in a list joined by ",". */
static bool listed(const char *names, const char *name)
{
    const size_t length = strlen(name);

    for (const char *at = names; at != NULL; at = strchr(at, ',')) {
        at += *at == ',';
        if (strncmp(at, name, length) == 0 && (at[length] == ',' || at[length] == '\0'))
            return true;
    }
    return false;
}

static attn_status set_value(attn_attributes *list, const attn_attribute *a)
{
    switch (a->kind) {
    case ATTN_VALUE_INTEGER:
        return attn_attributes_set_integer(list, a->name, a->integer);
    case ATTN_VALUE_REAL:
        return attn_attributes_set_real(list, a->name, a->real);
    case ATTN_VALUE_TEXT:
        return attn_attributes_set_text(list, a->name, a->text);
    }
    return ATTN_ARGUMENT;
}

attn_status attn_attributes_copy(const attn_attributes *from, attn_attributes *to, attn_error *error)
{
    for (size_t i = 0; i < attn_attributes_count(from); i++)
        if (set_value(to, attn_attributes_at(from, i)) != ATTN_OK)
            return attn_error_set(error, ATTN_MEMORY, "no memory for a list of attributes");
    return ATTN_OK;
}

/* Sorts the attributes of a case into its fields, its factors and its outcomes. */
static attn_status take_attributes(const char *where, const attn_attributes *all, attn_result *result,
                                   attn_error *error)
{
    const char *const launch_id = attn_attributes_text(all, "launch_id", "");
    const char *const names = attn_attributes_text(all, "factor_names", "");
    attn_status status = find_status(where, all, &result->status, error);

    if (status != ATTN_OK)
        return status;
    if (launch_id[0] == '\0' || strlen(launch_id) >= sizeof result->launch_id)
        return attn_error_set(error, ATTN_INPUT,
                              "%s: attribute launch_id is \"%.100s\"; a text of 1 to %zu bytes is "
                              "needed",
                              where, launch_id, sizeof result->launch_id - 1);
    strcpy(result->launch_id, launch_id);
    for (size_t i = 0; i < attn_attributes_count(all); i++) {
        const attn_attribute *const a = attn_attributes_at(all, i);

        if (strcmp(a->name, "launch_id") == 0 || strcmp(a->name, "status") == 0 || strcmp(a->name, "factor_names") == 0)
            continue;
        if (set_value(listed(names, a->name) ? result->factors : result->outcomes, a) != ATTN_OK)
            return attn_error_set(error, ATTN_MEMORY, "%s: no memory to read it", where);
    }
    return ATTN_OK;
}

static attn_status read_samples(hid_t group, const char *where, attn_result *result, attn_error *error)
{
    const hid_t samples = H5Dopen2(group, "samples", H5P_DEFAULT), space = H5Dget_space(samples);
    hsize_t extents[H5S_MAX_RANK] = {0};
    int64_t count = 0;
    attn_status status = ATTN_OK;

    if (H5Sget_simple_extent_dims(space, extents, NULL) != 3)
        status =
            attn_h5_error(error, ATTN_INPUT, "%s: dataset samples cannot be used; [rep, rank, phase] is needed", where);
    result->reps = (int64_t)extents[0];
    result->ranks = (int64_t)extents[1];
    result->phases = (int64_t)extents[2];
    if (status == ATTN_OK && (result->reps < 1 || result->ranks < 1 || result->phases < 1))
        status =
            attn_error_set(error, ATTN_INPUT, "%s: dataset samples has extents [%lld,%lld,%lld]; 1 or more is needed",
                           where, (long long)result->reps, (long long)result->ranks, (long long)result->phases);
    if (status == ATTN_OK &&
        attn_int64_product((const int64_t[]){result->reps, result->ranks, result->phases}, 3, &count))
        result->samples = attn_calloc_array(count, sizeof *result->samples);
    if (status == ATTN_OK && result->samples == NULL)
        status = attn_error_set(error, ATTN_MEMORY, "%s: no memory for %lld samples", where, (long long)count);
    if (status == ATTN_OK && H5Dread(samples, H5T_NATIVE_DOUBLE, H5S_ALL, H5S_ALL, H5P_DEFAULT, result->samples) < 0)
        status = attn_h5_error(error, ATTN_INPUT, "%s: dataset samples cannot be read", where);
    attn_h5_close(space);
    attn_h5_close(samples);
    return status;
}

/* Reads a column of a timeline, [events]; the first one tells how many events there are. */
static attn_status read_column(hid_t group, const char *where, int column, attn_result *result, double **out,
                               attn_error *error)
{
    const char *const name = attn_timeline_columns[column].name;
    const hid_t data = attn_h5_has_object(group, name) ? H5Dopen2(group, name, H5P_DEFAULT) : H5I_INVALID_HID;
    const hid_t space = data >= 0 ? H5Dget_space(data) : H5I_INVALID_HID;
    hsize_t extents[H5S_MAX_RANK] = {0};
    attn_status status = ATTN_OK;

    if (space < 0 || H5Sget_simple_extent_dims(space, extents, NULL) != 1 || extents[0] < 1 ||
        (column > 0 && (int64_t)extents[0] != result->events))
        status = attn_error_set(error, ATTN_INPUT,
                                "%s/timeline: dataset %s cannot be used; [event], the same for all of them, is needed",
                                where, name);
    else
        result->events = (int64_t)extents[0];
    if (status == ATTN_OK && (*out = attn_calloc_array(result->events, sizeof **out)) == NULL)
        status = attn_error_set(error, ATTN_MEMORY, "%s/timeline: no memory for %lld events", where,
                                (long long)result->events);
    if (status == ATTN_OK && H5Dread(data, H5T_NATIVE_DOUBLE, H5S_ALL, H5S_ALL, H5P_DEFAULT, *out) < 0)
        status = attn_h5_error(error, ATTN_INPUT, "%s/timeline: dataset %s cannot be read", where, name);
    attn_h5_close(space);
    attn_h5_close(data);
    return status;
}

/* Makes the events of their columns, looking at each number: whoever draws them relies on it. */
static attn_status take_events(const char *where, double *const *columns, attn_result *result, attn_error *error)
{
    for (int64_t i = 0; i < result->events; i++) {
        const double rank = columns[0][i], phase = columns[1][i], begin = columns[2][i], end = columns[3][i];

        if (!(rank >= 0 && rank < (double)result->ranks && phase >= 0 && phase < (double)result->phases &&
              phase < ATTN_PHASE_COUNT && begin >= 0 && end >= begin && isfinite(end)))
            return attn_error_set(error, ATTN_INPUT,
                                  "%s/timeline: event %lld has rank %g, phase %g, begin %g, end %g; a rank and a phase "
                                  "of the samples and 0 <= begin <= end are needed",
                                  where, (long long)i, rank, phase, begin, end);
        result->timeline[i] =
            (attn_event){.rank = (int64_t)rank, .phase = (attn_phase)phase, .begin = begin, .end = end};
    }
    return ATTN_OK;
}

static attn_status read_timeline(hid_t place, const char *where, attn_result *result, attn_error *error)
{
    const hid_t group = H5Gopen2(place, "timeline", H5P_DEFAULT);
    double *columns[ATTN_TIMELINE_COLUMNS] = {NULL};
    attn_status status = ATTN_OK;

    if (group < 0)
        return attn_h5_error(error, ATTN_INPUT, "%s/timeline cannot be read; a group is needed", where);
    for (int column = 0; status == ATTN_OK && column < ATTN_TIMELINE_COLUMNS; column++)
        status = read_column(group, where, column, result, &columns[column], error);
    if (status == ATTN_OK && attn_h5_has_attribute(group, "lost"))
        status = attn_h5_read_integer(group, where, "lost", &result->events_lost, error);
    if (status == ATTN_OK) {
        result->timeline = attn_calloc_array(result->events, sizeof *result->timeline);
        status = result->timeline != NULL ? take_events(where, columns, result, error)
                                          : attn_error_set(error, ATTN_MEMORY, "%s/timeline: no memory for it", where);
    }
    for (int column = 0; column < ATTN_TIMELINE_COLUMNS; column++)
        free(columns[column]);
    attn_h5_close(group);
    return status;
}

attn_status attn_result_file_get_case(hid_t file, const char *path, const char *id, attn_result **out,
                                      attn_error *error)
{
    attn_attributes *all = NULL;
    attn_result *result = NULL;
    hid_t group;
    char *where;
    attn_status status = open_member(file, path, "cases", id, &group, &where, error);

    *out = NULL;
    if (status != ATTN_OK)
        return status;
    if (strlen(id) >= sizeof result->id)
        status = attn_error_set(error, ATTN_INPUT, "%s: a name of at most %zu bytes is needed", where,
                                sizeof result->id - 1);
    if (status == ATTN_OK)
        status = attn_result_create(&result, error);
    if (status == ATTN_OK)
        status = attn_attributes_create(&all, error);
    if (status == ATTN_OK)
        status = read_list(group, where, all, error);
    if (status == ATTN_OK)
        status = take_attributes(where, all, result, error);
    if (status == ATTN_OK && attn_h5_has_object(group, "samples"))
        status = read_samples(group, where, result, error);
    if (status == ATTN_OK && attn_h5_has_object(group, "timeline"))
        status = read_timeline(group, where, result, error);
    if (status == ATTN_OK) {
        strcpy(result->id, id);
        *out = result;
    } else {
        attn_result_destroy(result);
    }
    attn_attributes_destroy(all);
    attn_h5_close(group);
    free(where);
    return status;
}

attn_status attn_result_file_get_status(hid_t file, const char *path, const char *id, attn_case_status *out,
                                        attn_error *error)
{
    attn_attributes *all = NULL;
    hid_t group;
    char *where;
    attn_status status = open_member(file, path, "cases", id, &group, &where, error);

    if (status != ATTN_OK)
        return status;
    status = attn_attributes_create(&all, error);
    if (status == ATTN_OK)
        status = read_list(group, where, all, error);
    if (status == ATTN_OK)
        status = find_status(where, all, out, error);
    attn_attributes_destroy(all);
    attn_h5_close(group);
    free(where);
    return status;
}
