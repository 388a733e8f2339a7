/* Reading many result files as one. */
#include "io/h5.h"
#include "io/result_file.h"

#include "core/checked.h"

#include <attn/result.h>

#include <stddef.h>
#include <stdlib.h>
#include <string.h>

/* The files to read. One that was found in a folder may be something else and is passed over then. */
typedef struct sources {
    attn_names named, found;
} sources;

/* Appends the *.h5 of a folder, sorted; a folder of parts is read in the order of their publication. */
static attn_status add_folder(sources *s, const char *folder, attn_error *error)
{
    attn_names names = ATTN_NAMES_EMPTY;
    attn_status status;

    if (attn_text_ends(folder, ".parts") || attn_text_ends(folder, ".parts/"))
        return attn_result_parts(folder, &s->found, error);
    status = attn_folder_list(folder, ".h5", &names, error);
    if (status == ATTN_OK)
        status = attn_folder_list(folder, ".h5.parts", &names, error);
    attn_names_sort(&names);
    for (size_t i = 0; i < names.count && status == ATTN_OK; i++) {
        char *const path = attn_text("%s/%s", folder, names.list[i]);

        if (path == NULL)
            status = attn_error_set(error, ATTN_MEMORY, "%s: no memory to list it", folder);
        else if (attn_path_is_folder(path))
            status = attn_text_ends(path, ".parts") ? attn_result_parts(path, &s->found, error) : ATTN_OK;
        else
            status = attn_names_append(&s->found, path, error);
        free(path);
    }
    attn_names_release(&names);
    return status;
}

/* A sweep that has not ended has its parts only; they are read under the name of the file too. */
static attn_status add_path(sources *s, const char *path, attn_error *error)
{
    char *const parts = attn_text("%s.parts", path);
    attn_status status;

    if (parts == NULL)
        return attn_error_set(error, ATTN_MEMORY, "%s: no memory to read it", path);
    if (attn_path_is_folder(path))
        status = add_folder(s, path, error);
    else if (!attn_path_exists(path) && attn_path_is_folder(parts))
        status = add_folder(s, parts, error);
    else
        status = attn_names_append(&s->named, path, error);
    free(parts);
    return status;
}

/* Results under construction. */
typedef struct gathered {
    attn_results *results;
    attn_names passed_over;
    size_t case_room, environment_room;
} gathered;

/* A list of pointers with room for one more; NULL, and the list as it was, when there is no memory. */
static void *grown(void *list, size_t count, size_t *room)
{
    const size_t wanted = *room > 0 ? 2 * *room : 16;
    void *larger;

    if (count < *room)
        return list;
    larger = attn_realloc_array(list, (int64_t)wanted, sizeof(void *));
    if (larger != NULL)
        *room = wanted;
    return larger;
}

static bool has_case(const attn_results *r, const attn_result *wanted)
{
    for (size_t i = 0; i < r->count; i++)
        if (strcmp(r->cases[i]->id, wanted->id) == 0 && strcmp(r->cases[i]->launch_id, wanted->launch_id) == 0)
            return true;
    return false;
}

static bool has_environment(const attn_results *r, const char *launch_id)
{
    for (size_t i = 0; i < r->environment_count; i++)
        if (strcmp(attn_attributes_text(r->environments[i], "launch_id", ""), launch_id) == 0)
            return true;
    return false;
}

/* Takes a case over; one that is there already is dropped. */
static attn_status add_case(gathered *g, attn_result *result, attn_error *error)
{
    attn_results *const r = g->results;
    attn_result **cases;

    if (has_case(r, result)) {
        attn_result_destroy(result);
        return ATTN_OK;
    }
    cases = grown(r->cases, r->count, &g->case_room);
    if (cases == NULL) {
        attn_result_destroy(result);
        return attn_error_set(error, ATTN_MEMORY, "no memory for %zu cases", r->count + 1);
    }
    r->cases = cases;
    r->cases[r->count++] = result;
    return ATTN_OK;
}

static attn_status read_cases(gathered *g, hid_t file, const char *path, attn_error *error)
{
    attn_names ids = ATTN_NAMES_EMPTY;
    attn_status status = attn_result_file_cases(file, path, &ids, error);

    for (size_t i = 0; i < ids.count && status == ATTN_OK; i++) {
        attn_result *result;

        status = attn_result_file_get_case(file, path, ids.list[i], &result, error);
        if (status == ATTN_OK)
            status = add_case(g, result, error);
    }
    attn_names_release(&ids);
    return status;
}

static attn_status read_environment(gathered *g, hid_t file, const char *path, const char *launch_id, attn_error *error)
{
    attn_results *const r = g->results;
    attn_attributes **const list = grown(r->environments, r->environment_count, &g->environment_room);
    attn_status status;

    if (list == NULL)
        return attn_error_set(error, ATTN_MEMORY, "no memory for %zu environments", r->environment_count + 1);
    r->environments = list;
    status = attn_result_file_get_environment(file, path, launch_id, &list[r->environment_count], error);
    if (status == ATTN_OK)
        r->environment_count++;
    return status;
}

static attn_status read_environments(gathered *g, hid_t file, const char *path, attn_error *error)
{
    attn_names launches = ATTN_NAMES_EMPTY;
    attn_status status = attn_result_file_launches(file, path, &launches, error);

    for (size_t i = 0; i < launches.count && status == ATTN_OK; i++)
        if (!has_environment(g->results, launches.list[i]))
            status = read_environment(g, file, path, launches.list[i], error);
    attn_names_release(&launches);
    return status;
}

/* Whether a file lies in a folder of parts, where all are ours. */
static bool is_part(const char *path)
{
    static const char ending[] = {'.', 'p', 'a', 'r', 't', 's'};
    const char *end = attn_path_base(path);

    while (end > path && end[-1] == '/')
        end--;
    return end - path >= (ptrdiff_t)sizeof ending && memcmp(end - sizeof ending, ending, sizeof ending) == 0;
}

/* Reads a file. One that was found in a folder is passed over when it is something else. */
static attn_status read_file(gathered *g, const char *path, bool named, size_t *read, attn_error *error)
{
    attn_error why = ATTN_ERROR_INIT;
    hid_t file;
    attn_status status = attn_result_file_open(path, &file, &why);

    if (status == ATTN_INPUT && !named && !is_part(path))
        return attn_names_append(&g->passed_over, why.message, error);
    if (status != ATTN_OK)
        return attn_error_set(error, status, "%s", why.message);
    ++*read;
    status = read_cases(g, file, path, error);
    if (status == ATTN_OK)
        status = read_environments(g, file, path, error);
    attn_h5_close(file);
    return status;
}

/* Reads one path: a file, a folder, a folder of parts. */
static attn_status read_path(gathered *g, const char *path, attn_error *error)
{
    sources s = {ATTN_NAMES_EMPTY, ATTN_NAMES_EMPTY};
    const size_t others = g->passed_over.count;
    size_t read = 0;
    attn_status status = add_path(&s, path, error);

    for (size_t i = 0; i < s.named.count && status == ATTN_OK; i++)
        status = read_file(g, s.named.list[i], true, &read, error);
    for (size_t i = 0; i < s.found.count && status == ATTN_OK; i++)
        status = read_file(g, s.found.list[i], false, &read, error);
    if (status == ATTN_OK && read == 0 && g->passed_over.count > others)
        status = attn_error_set(error, ATTN_INPUT, "%s: no result file in it; %s", path, g->passed_over.list[others]);
    else if (status == ATTN_OK && read == 0)
        status = attn_error_set(error, ATTN_INPUT,
                                "%s: no result file in it; files *.h5 of schema \"attn-results\" are needed", path);
    attn_names_release(&s.named);
    attn_names_release(&s.found);
    return status;
}

attn_status attn_results_read(const char *const *paths, size_t count, attn_results **out, attn_error *error)
{
    const attn_h5_quiet saved = attn_h5_quiet_begin();
    gathered g = {.results = calloc(1, sizeof *g.results), .passed_over = ATTN_NAMES_EMPTY};
    attn_status status = ATTN_OK;

    *out = NULL;
    if (g.results == NULL)
        status = attn_error_set(error, ATTN_MEMORY, "no memory for results");
    for (size_t i = 0; i < count && status == ATTN_OK; i++)
        status = read_path(&g, paths[i], error);
    if (g.results != NULL) {
        g.results->passed_over = g.passed_over.list;
        g.results->passed_over_count = g.passed_over.count;
    }
    if (status == ATTN_OK)
        *out = g.results;
    else
        attn_results_destroy(g.results);
    attn_h5_quiet_end(saved);
    return status;
}

void attn_results_destroy(attn_results *results)
{
    if (results == NULL)
        return;
    for (size_t i = 0; i < results->count; i++)
        attn_result_destroy(results->cases[i]);
    for (size_t i = 0; i < results->environment_count; i++)
        attn_attributes_destroy(results->environments[i]);
    for (size_t i = 0; i < results->passed_over_count; i++)
        free(results->passed_over[i]);
    free(results->passed_over);
    free(results->environments);
    free(results->cases);
    free(results);
}
