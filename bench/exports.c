#include "exports.h"
#include "interrupt.h"
#include "message.h"
#include "shown.h"

#include <errno.h>
#include <libgen.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

static bool is_stdout(const char *path)
{
    return path != NULL && (strcmp(path, "-") == 0 || strcmp(path, "/dev/stdout") == 0);
}

/* What is there: 0 for nothing. */
static mode_t mode_of(const char *path)
{
    struct stat found;

    return stat(path, &found) == 0 ? found.st_mode : 0;
}

typedef attn_status export_writer(const attn_results *results, FILE *stream, attn_error *error);

typedef attn_status export_check(const attn_results *results, attn_error *error);

static const struct {
    option_key key;
    export_writer *write;
    export_check *check; /* NULL: any results will do */
} kinds[EXPORT_COUNT] = {
    {OPTION_JSON, attn_study_write_json, NULL},
    {OPTION_CSV, attn_study_write_csv, NULL},
    {OPTION_EXTRAP, attn_study_write_extrap, NULL},
    {OPTION_TRACE, attn_study_write_trace, attn_study_check_timelines},
};

attn_status exports_read(const options *given, exports *out, attn_error *error)
{
    for (size_t i = 0; i < EXPORT_COUNT; i++) {
        const char *path = option_text(given, kinds[i].key);

        out->paths[i] = path;
        if (path != NULL && *path == '\0')
            return attn_error_set(error, ATTN_ARGUMENT, "%s \"\": the name of a file, or - for stdout, is accepted",
                                  option_label(kinds[i].key));
        for (size_t j = 0; j < i && path != NULL; j++)
            if (out->paths[j] != NULL &&
                (strcmp(out->paths[j], path) == 0 || (is_stdout(out->paths[j]) && is_stdout(path))))
                return attn_error_set(error, ATTN_ARGUMENT, "%s and %s both write %s; two names are accepted",
                                      option_label(kinds[j].key), option_label(kinds[i].key),
                                      is_stdout(path) ? "stdout" : shown_path(path).text);
    }
    return ATTN_OK;
}

/* Whether there is an HDF5 file of that name, by the signature with which they begin. Looked at first: opening a pipe
 * would wait for somebody who writes to it. */
static bool is_hdf5(const char *path)
{
    static const char signature[8] = {'\211', 'H', 'D', 'F', '\r', '\n', '\032', '\n'};
    char begin[sizeof signature];
    FILE *file = S_ISREG(mode_of(path)) ? fopen(path, "rb") : NULL;
    bool same = false;

    if (file != NULL) {
        same = fread(begin, sizeof begin, 1, file) == 1 && memcmp(begin, signature, sizeof begin) == 0;
        fclose(file);
    }
    return same;
}

attn_status exports_check_path(option_key key, const char *path, attn_error *error)
{
    const mode_t mode = path != NULL ? mode_of(path) : 0;
    bool good;

    if (path == NULL || is_stdout(path))
        return ATTN_OK;
    if (is_hdf5(path))
        return attn_error_set(error, ATTN_ARGUMENT,
                              "%s %s: is an HDF5 file and would be lost; another name is accepted", option_label(key),
                              shown_path(path).text);
    if (mode != 0) {
        errno = S_ISDIR(mode) ? EISDIR : 0;
        good = errno == 0 && access(path, W_OK) == 0;
    } else {
        char *copy = strdup(path);

        if (copy == NULL)
            return attn_error_set(error, ATTN_MEMORY, "no memory for a path");
        good = access(dirname(copy), W_OK | X_OK) == 0;
        free(copy);
    }
    if (good)
        return ATTN_OK;
    return attn_error_set(error, ATTN_ARGUMENT, "%s %s: cannot be written: %s", option_label(key),
                          shown_path(path).text, strerror(errno));
}

attn_status exports_check(const exports *wanted, const char *output, attn_error *error)
{
    attn_status status = ATTN_OK;

    for (size_t i = 0; i < EXPORT_COUNT; i++)
        if (wanted->paths[i] != NULL && strcmp(wanted->paths[i], output) == 0)
            return attn_error_set(error, ATTN_ARGUMENT, "%s %s: is the --output; another name is accepted",
                                  option_label(kinds[i].key), shown_path(output).text);
    for (size_t i = 0; i < EXPORT_COUNT && status == ATTN_OK; i++)
        status = exports_check_path(kinds[i].key, wanted->paths[i], error);
    return status;
}

attn_status exports_check_results(const exports *wanted, const attn_results *results, attn_error *error)
{
    attn_status status = ATTN_OK;

    for (size_t i = 0; i < EXPORT_COUNT && status == ATTN_OK; i++)
        if (wanted->paths[i] != NULL && kinds[i].check != NULL)
            status = kinds[i].check(results, error);
    return status;
}

static int by_sweep_index(const void *a, const void *b)
{
    const attn_result *const *first = a, *const *second = b;
    const int64_t i = attn_attributes_integer((*first)->outcomes, "sweep_index", -1);
    const int64_t j = attn_attributes_integer((*second)->outcomes, "sweep_index", -1);

    return (i > j) - (i < j);
}

/* Launches keep their order of appearance; a case without a place in a sweep comes first in its launch. */
void results_order(attn_results *results)
{
    size_t begin = 0;

    for (size_t n = 1; n <= results->count; n++) {
        if (n < results->count && strcmp(results->cases[n]->launch_id, results->cases[begin]->launch_id) == 0)
            continue;
        qsort(results->cases + begin, n - begin, sizeof(results->cases[0]), by_sweep_index);
        begin = n;
    }
}

void exports_warn(const bench *launch, const attn_results *results)
{
    for (size_t i = 0; i < results->passed_over_count; i++)
        message_warning(launch, "%s; passed over", results->passed_over[i]);
}

FILE *exports_table_stream(const exports *wanted)
{
    for (size_t i = 0; i < EXPORT_COUNT; i++)
        if (is_stdout(wanted->paths[i]))
            return stderr;
    return stdout;
}

static attn_status write_one(export_writer *writer, const char *path, const attn_results *results, attn_error *error)
{
    const bool standard = is_stdout(path);
    attn_status status;
    mode_t mode;
    FILE *file;
    bool bad;

    if (path == NULL)
        return ATTN_OK;
    mode = mode_of(path);
    if (!standard && is_hdf5(path)) /* another name of the output, which was not there when names were checked */
        return attn_error_set(error, ATTN_ARGUMENT, "%s: is an HDF5 file and would be lost; nothing was exported",
                              shown_path(path).text);
    if (mode != 0 && !S_ISREG(mode)) /* a pipe may have nobody who reads it */
        interrupt_forget();
    file = standard ? stdout : fopen(path, "w");
    if (file == NULL)
        return attn_error_set(error, ATTN_FILE, "%s: %s", shown_path(path).text, strerror(errno));
    status = writer(results, file, error);
    bad = ferror(file) != 0;
    bad = (standard ? fflush(file) : fclose(file)) != 0 || bad;
    if (status == ATTN_OK && bad)
        status = attn_error_set(error, ATTN_FILE, "%s: cannot be written",
                                standard ? "standard output" : shown_path(path).text);
    return status;
}

attn_status exports_write(const exports *wanted, const attn_results *results, attn_error *error)
{
    attn_status status = ATTN_OK;

    for (size_t i = 0; i < EXPORT_COUNT && status == ATTN_OK; i++)
        status = write_one(kinds[i].write, wanted->paths[i], results, error);
    return status;
}
