#include "io/h5.h"
#include "io/result_file.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

struct attn_result_writer {
    char *path, *parts; /* FILE.h5, FILE.h5.parts */
    attn_lock *lock;
    char *launch_id;
    attn_attributes *environment;
    attn_names finished; /* identities of earlier launches' valid cases, which need not run again */
};

static void release(attn_result_writer *writer)
{
    if (writer == NULL)
        return;
    attn_lock_release(writer->lock);
    attn_names_release(&writer->finished);
    attn_attributes_destroy(writer->environment);
    free(writer->launch_id);
    free(writer->parts);
    free(writer->path);
    free(writer);
}

static attn_status prepare(const char *path, const char *launch_id, const attn_attributes *environment,
                           attn_result_writer **out, attn_error *error)
{
    attn_result_writer *const writer = calloc(1, sizeof *writer);
    attn_status status = ATTN_OK;

    if (writer != NULL) {
        status = attn_attributes_create(&writer->environment, error);
        writer->path = strdup(path);
        writer->parts = attn_text("%s.parts", path);
        writer->launch_id = strdup(launch_id);
        if (status == ATTN_OK)
            status = attn_attributes_set_text(writer->environment, "launch_id", launch_id);
        if (status == ATTN_OK)
            status = attn_attributes_copy(environment, writer->environment, error);
    }
    if (writer == NULL || status != ATTN_OK || writer->path == NULL || writer->parts == NULL ||
        writer->launch_id == NULL) {
        release(writer);
        return attn_error_set(error, ATTN_MEMORY, "%s: no memory to write results", path);
    }
    *out = writer;
    return ATTN_OK;
}

/* Appends the identities of a file's valid cases. */
static attn_status note_finished(attn_result_writer *writer, const char *path, attn_error *error)
{
    attn_names ids = ATTN_NAMES_EMPTY;
    attn_case_status state;
    hid_t file;
    attn_status status = attn_result_file_open(path, &file, error);

    if (status != ATTN_OK)
        return status;
    status = attn_result_file_cases(file, path, &ids, error);
    for (size_t i = 0; i < ids.count && status == ATTN_OK; i++) {
        status = attn_result_file_get_status(file, path, ids.list[i], &state, error);
        if (status == ATTN_OK && state == ATTN_CASE_VALID)
            status = attn_names_append(&writer->finished, ids.list[i], error);
    }
    attn_names_release(&ids);
    attn_h5_close(file);
    return status;
}

/* Removes what killed launches have left under temporary names. */
static void remove_leftovers(const attn_result_writer *writer)
{
    char *const joined = attn_text("%s.tmp", writer->path);
    attn_names names = ATTN_NAMES_EMPTY;

    if (joined != NULL)
        unlink(joined);
    free(joined);
    if (attn_path_is_folder(writer->parts) && attn_folder_list(writer->parts, ".tmp", &names, NULL) == ATTN_OK)
        for (size_t i = 0; i < names.count; i++) {
            char *const path = attn_text("%s/%s", writer->parts, names.list[i]);

            if (path != NULL)
                unlink(path);
            free(path);
        }
    attn_names_release(&names);
}

/* Under the lock: looks at what is there, and makes the folder of parts. */
static attn_status begin(attn_result_writer *writer, bool resume, attn_error *error)
{
    attn_names parts = ATTN_NAMES_EMPTY;
    attn_status status = attn_result_parts(writer->parts, &parts, error);
    const bool complete = attn_path_exists(writer->path);

    if (status == ATTN_OK && !resume && (complete || parts.count > 0))
        status =
            attn_error_set(error, ATTN_ARGUMENT, "%s exists; use --resume to continue it or choose another --output",
                           complete ? writer->path : writer->parts);
    if (status == ATTN_OK && complete)
        status = note_finished(writer, writer->path, error);
    for (size_t i = 0; i < parts.count && status == ATTN_OK; i++)
        status = note_finished(writer, parts.list[i], error);
    if (status == ATTN_OK)
        remove_leftovers(writer);
    if (status == ATTN_OK && mkdir(writer->parts, 0777) != 0 && errno != EEXIST)
        status = attn_error_set(error, ATTN_FILE, "%s: cannot be created: %s", writer->parts, strerror(errno));
    if (status == ATTN_OK && !attn_path_is_folder(writer->parts))
        status =
            attn_error_set(error, ATTN_FILE, "%s: not a folder; the parts of %s need one", writer->parts, writer->path);
    attn_names_release(&parts);
    return status;
}

attn_status attn_result_writer_open(const char *path, bool resume, const char *launch_id,
                                    const attn_attributes *environment, attn_result_writer **out, attn_error *error)
{
    const attn_h5_quiet saved = attn_h5_quiet_begin();
    const size_t longest = sizeof((attn_result *)0)->launch_id - 1;
    attn_result_writer *writer = NULL;
    attn_status status = ATTN_OK;

    *out = NULL;
    if (launch_id[0] == '\0' || launch_id[0] == '.' || strlen(launch_id) > longest || strchr(launch_id, '/') != NULL)
        status =
            attn_error_set(error, ATTN_ARGUMENT,
                           "launch \"%s\": a name of 1 to %zu bytes without '/' and not beginning with '.' is needed",
                           launch_id, longest);
    if (status == ATTN_OK)
        status = attn_file_check_target(path, error);
    if (status == ATTN_OK)
        status = prepare(path, launch_id, environment, &writer, error);
    if (status == ATTN_OK)
        status = attn_lock_take(path, &writer->lock, error);
    if (status == ATTN_OK)
        status = begin(writer, resume, error);
    if (status == ATTN_OK)
        *out = writer;
    else
        release(writer);
    attn_h5_quiet_end(saved);
    return status;
}

bool attn_result_writer_has(const attn_result_writer *writer, const char *id)
{
    return attn_names_contain(&writer->finished, id);
}

static attn_status write_part(const attn_result_writer *writer, const char *path, const attn_result *result,
                              attn_error *error)
{
    hid_t file;
    attn_status status = attn_result_file_create(path, &file, error);

    if (status != ATTN_OK)
        return status;
    status = attn_result_file_put_environment(file, path, writer->launch_id, writer->environment, error);
    if (status == ATTN_OK)
        status = attn_result_file_put_case(file, path, result, error);
    if (status == ATTN_OK)
        return attn_h5_save(file, path, error);
    attn_h5_close(file);
    return status;
}

static attn_status check_result(const attn_result *result, attn_error *error)
{
    static const char *const reserved[] = {"launch_id", "status", "factor_names"};

    if (result->id[0] == '\0' || strchr(result->id, '/') != NULL || result->launch_id[0] == '\0')
        return attn_error_set(error, ATTN_ARGUMENT, "case \"%s\" of launch \"%s\": both need a name without '/'",
                              result->id, result->launch_id);
    for (size_t i = 0; i < sizeof reserved / sizeof reserved[0]; i++)
        if (attn_attributes_find(result->factors, reserved[i]) != NULL ||
            attn_attributes_find(result->outcomes, reserved[i]) != NULL)
            return attn_error_set(error, ATTN_ARGUMENT, "case %s: %s cannot name a factor or an outcome", result->id,
                                  reserved[i]);
    for (size_t i = 0; i < attn_attributes_count(result->factors); i++) {
        const char *const name = attn_attributes_at(result->factors, i)->name;

        if (strchr(name, ',') != NULL || attn_attributes_find(result->outcomes, name) != NULL)
            return attn_error_set(error, ATTN_ARGUMENT,
                                  "case %s: factor %s: a name without ',' that no outcome has is needed", result->id,
                                  name);
    }
    return ATTN_OK;
}

attn_status attn_result_writer_put(attn_result_writer *writer, const attn_result *result, char *part_path, size_t size,
                                   attn_error *error)
{
    const attn_h5_quiet saved = attn_h5_quiet_begin();
    char *const path = attn_text("%s/%s.h5", writer->parts, result->id);
    char *const temporary = attn_text("%s/%s.h5.tmp", writer->parts, result->id);
    attn_status status = ATTN_OK;

    if (path == NULL || temporary == NULL)
        status = attn_error_set(error, ATTN_MEMORY, "%s: no memory to write case %s", writer->path, result->id);
    if (status == ATTN_OK)
        status = check_result(result, error);
    if (status == ATTN_OK) {
        status = write_part(writer, temporary, result, error);
        if (status == ATTN_OK)
            status = attn_file_publish(temporary, path, error);
        if (status != ATTN_OK)
            unlink(temporary);
    }
    if (status == ATTN_OK && part_path != NULL)
        snprintf(part_path, size, "%s", path);
    free(temporary);
    free(path);
    attn_h5_quiet_end(saved);
    return status;
}

attn_status attn_result_writer_close(attn_result_writer *writer, bool join, attn_error *error)
{
    attn_h5_quiet saved;
    attn_status status = ATTN_OK;

    if (writer == NULL)
        return ATTN_OK;
    saved = attn_h5_quiet_begin();
    if (join)
        status = attn_result_join(writer->path, writer->parts, writer->launch_id, writer->environment, error);
    /* Stays where parts are left in it. */
    rmdir(writer->parts);
    release(writer);
    attn_h5_quiet_end(saved);
    return status;
}
