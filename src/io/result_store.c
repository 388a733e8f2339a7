#include "io/h5.h"
#include "io/result_file.h"

#include <attn/version.h>

#include <hdf5_hl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/utsname.h>
#include <time.h>
#include <unistd.h>

#define PHASE_NAME_SIZE 32

/* A group whose members and attributes are kept in the order in which they are made. */
static hid_t make_group(hid_t place, const char *name)
{
    const unsigned order = H5P_CRT_ORDER_TRACKED | H5P_CRT_ORDER_INDEXED;
    const hid_t properties = H5Pcreate(H5P_GROUP_CREATE);
    hid_t group;

    H5Pset_link_creation_order(properties, order);
    H5Pset_attr_creation_order(properties, order);
    group = H5Gcreate2(place, name, H5P_DEFAULT, properties, H5P_DEFAULT);
    attn_h5_close(properties);
    return group;
}

static bool write_root(hid_t file)
{
    const time_t now = time(NULL);
    struct utsname system;
    struct tm utc;
    char date[32] = "unknown";
    hid_t cases, environment;
    bool made;

    if (gmtime_r(&now, &utc) != NULL)
        strftime(date, sizeof date, "%Y-%m-%dT%H:%M:%SZ", &utc);
    made = attn_h5_write_text(file, "schema", "attn-results") && attn_h5_write_integer(file, "schema_version", 1) &&
           attn_h5_write_text(file, "software", "attnbench") &&
           attn_h5_write_text(file, "softwareVersion", ATTN_VERSION) &&
           attn_h5_write_text(file, "machine", uname(&system) == 0 ? system.nodename : "unknown") &&
           attn_h5_write_text(file, "date", date);
    cases = make_group(file, "cases");
    environment = make_group(file, "environment");
    made = made && cases >= 0 && environment >= 0;
    attn_h5_close(environment);
    attn_h5_close(cases);
    return made;
}

attn_status attn_result_file_create(const char *path, hid_t *out, attn_error *error)
{
    attn_status status = attn_h5_create(path, out, error);

    if (status == ATTN_OK && !write_root(*out)) {
        status = attn_h5_error(error, ATTN_FILE, "%s: cannot be written", path);
        attn_h5_close(*out);
        *out = H5I_INVALID_HID;
    }
    return status;
}

attn_status attn_result_file_extend(const char *path, int64_t bytes, hid_t *out, attn_error *error)
{
    const attn_status status = attn_file_reserve(path, bytes, error);
    hid_t access;

    *out = H5I_INVALID_HID;
    if (status != ATTN_OK)
        return status;
    access = attn_h5_file_access();
    *out = H5Fopen(path, H5F_ACC_RDWR, access);
    attn_h5_close(access);
    return *out >= 0 ? ATTN_OK : attn_h5_error(error, ATTN_FILE, "%s: cannot be written", path);
}

static bool write_list(hid_t group, const attn_attributes *list)
{
    for (size_t i = 0; i < attn_attributes_count(list); i++)
        if (!attn_h5_write_attribute(group, attn_attributes_at(list, i)))
            return false;
    return true;
}

attn_status attn_result_file_put_environment(hid_t file, const char *path, const char *launch_id,
                                             const attn_attributes *environment, attn_error *error)
{
    const hid_t all = H5Gopen2(file, "environment", H5P_DEFAULT);
    attn_status status = ATTN_OK;
    hid_t group;

    if (H5Lexists(all, launch_id, H5P_DEFAULT) <= 0) {
        group = make_group(all, launch_id);
        if (group < 0 || !write_list(group, environment))
            status = attn_h5_error(error, ATTN_FILE, "%s: environment/%s cannot be written", path, launch_id);
        attn_h5_close(group);
    }
    attn_h5_close(all);
    return status;
}

/* The names of the factors, joined by ","; to be freed. */
static char *factor_names(const attn_attributes *factors)
{
    size_t size = 1;
    char *text;

    for (size_t i = 0; i < attn_attributes_count(factors); i++)
        size += strlen(attn_attributes_at(factors, i)->name) + 1;
    text = calloc(size, 1);
    for (size_t i = 0; text != NULL && i < attn_attributes_count(factors); i++) {
        if (i > 0)
            strcat(text, ",");
        strcat(text, attn_attributes_at(factors, i)->name);
    }
    return text;
}

/* Makes a dataset, writes all of it, and makes it the scale of a dimension of samples. */
static bool write_scale(hid_t group, hid_t samples, unsigned dimension, const char *name, hid_t type, hsize_t count,
                        const void *values)
{
    const hid_t space = H5Screate_simple(1, &count, NULL);
    const hid_t scale = H5Dcreate2(group, name, type, space, H5P_DEFAULT, H5P_DEFAULT, H5P_DEFAULT);
    const bool written = scale >= 0 && H5Dwrite(scale, type, H5S_ALL, H5S_ALL, H5P_DEFAULT, values) >= 0 &&
                         H5DSset_scale(scale, name) >= 0 && H5DSattach_scale(samples, scale, dimension) >= 0 &&
                         H5DSset_label(samples, dimension, name) >= 0;

    attn_h5_close(scale);
    attn_h5_close(space);
    return written;
}

/* A scale of the numbers 0 .. count - 1. */
static bool write_numbers(hid_t group, hid_t samples, unsigned dimension, const char *name, int64_t count)
{
    int64_t *const numbers = malloc((size_t)count * sizeof *numbers);
    bool written;

    if (numbers == NULL)
        return false;
    for (int64_t i = 0; i < count; i++)
        numbers[i] = i;
    written = write_scale(group, samples, dimension, name, H5T_NATIVE_INT64, (hsize_t)count, numbers);
    free(numbers);
    return written;
}

/* A scale of the names of the phases, as text of fixed length. */
static bool write_phases(hid_t group, hid_t samples, int64_t count)
{
    char *const names = calloc((size_t)count, PHASE_NAME_SIZE);
    hid_t type;
    bool written;

    if (names == NULL)
        return false;
    for (int64_t p = 0; p < count; p++)
        if (p < ATTN_PHASE_COUNT)
            snprintf(names + p * PHASE_NAME_SIZE, PHASE_NAME_SIZE, "%s", attn_phase_name((attn_phase)p));
        else
            snprintf(names + p * PHASE_NAME_SIZE, PHASE_NAME_SIZE, "phase %lld", (long long)p);
    type = H5Tcopy(H5T_C_S1);
    H5Tset_size(type, PHASE_NAME_SIZE);
    written = write_scale(group, samples, 2, "phase", type, (hsize_t)count, names);
    attn_h5_close(type);
    free(names);
    return written;
}

static bool write_samples(hid_t group, const attn_result *result)
{
    const hsize_t extents[3] = {(hsize_t)result->reps, (hsize_t)result->ranks, (hsize_t)result->phases};
    const hid_t space = H5Screate_simple(3, extents, NULL);
    const hid_t samples = H5Dcreate2(group, "samples", H5T_NATIVE_DOUBLE, space, H5P_DEFAULT, H5P_DEFAULT, H5P_DEFAULT);
    const bool written =
        samples >= 0 && H5Dwrite(samples, H5T_NATIVE_DOUBLE, H5S_ALL, H5S_ALL, H5P_DEFAULT, result->samples) >= 0 &&
        attn_h5_write_text(samples, "units", "s") &&
        attn_h5_write_text(samples, "long_name", "time of each repetition on each rank by phase") &&
        write_numbers(group, samples, 0, "rep", result->reps) &&
        write_numbers(group, samples, 1, "rank", result->ranks) && write_phases(group, samples, result->phases);

    attn_h5_close(samples);
    attn_h5_close(space);
    return written;
}

/* What a column of a timeline has of an event. */
static double event_value(const attn_event *event, int column)
{
    const double values[ATTN_TIMELINE_COLUMNS] = {(double)event->rank, (double)event->phase, event->begin, event->end};

    return values[column];
}

/* A column of a timeline; the first one brings the scale of them all. */
static bool write_column(hid_t group, hid_t space, const attn_result *result, int column, double *values)
{
    const attn_timeline_column *const as = &attn_timeline_columns[column];
    const hid_t data = H5Dcreate2(group, as->name, as->whole ? H5T_NATIVE_INT64 : H5T_NATIVE_DOUBLE, space, H5P_DEFAULT,
                                  H5P_DEFAULT, H5P_DEFAULT);
    bool written = data >= 0;

    for (int64_t i = 0; i < result->events; i++)
        values[i] = event_value(&result->timeline[i], column);
    written = written && H5Dwrite(data, H5T_NATIVE_DOUBLE, H5S_ALL, H5S_ALL, H5P_DEFAULT, values) >= 0 &&
              attn_h5_write_text(data, "units", as->units) && attn_h5_write_text(data, "long_name", as->long_name);
    if (written && column == 0) {
        written = write_numbers(group, data, 0, "event", result->events);
    } else if (written) {
        const hid_t scale = H5Dopen2(group, "event", H5P_DEFAULT);

        written = H5DSattach_scale(data, scale, 0) >= 0 && H5DSset_label(data, 0, "event") >= 0;
        attn_h5_close(scale);
    }
    attn_h5_close(data);
    return written;
}

static bool write_timeline(hid_t place, const attn_result *result)
{
    const hsize_t count = (hsize_t)result->events;
    const hid_t group = make_group(place, "timeline"), space = H5Screate_simple(1, &count, NULL);
    double *const values = malloc((size_t)result->events * sizeof *values);
    bool written = values != NULL && group >= 0 && attn_h5_write_integer(group, "lost", result->events_lost) &&
                   attn_h5_write_text(group, "long_name", "phases of one more repetition, rank by rank");

    for (int column = 0; written && column < ATTN_TIMELINE_COLUMNS; column++)
        written = write_column(group, space, result, column, values);
    free(values);
    attn_h5_close(space);
    attn_h5_close(group);
    return written;
}

attn_status attn_result_file_put_case(hid_t file, const char *path, const attn_result *result, attn_error *error)
{
    const hid_t cases = H5Gopen2(file, "cases", H5P_DEFAULT), group = make_group(cases, result->id);
    char *const names = factor_names(result->factors);
    attn_status status = ATTN_OK;

    if (names == NULL)
        status = attn_error_set(error, ATTN_MEMORY, "%s: no memory for the names of the factors", path);
    else if (group < 0 || !attn_h5_write_text(group, "launch_id", result->launch_id) ||
             !attn_h5_write_text(group, "status", attn_case_status_name(result->status)) ||
             !attn_h5_write_text(group, "factor_names", names) || !write_list(group, result->factors) ||
             !write_list(group, result->outcomes) || (result->reps > 0 && !write_samples(group, result)) ||
             (result->events > 0 && !write_timeline(group, result)))
        status = attn_h5_error(error, ATTN_FILE, "%s: case %s cannot be written", path, result->id);
    free(names);
    attn_h5_close(group);
    attn_h5_close(cases);
    return status;
}
