#include "io/schema.h"

#include "io/h5.h"

#include <attn/comm.h>
#include <attn/input.h>

#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define SCHEMA_VERSION 1

attn_status attn_schema_check(hid_t file, const char *path, const char *schema, attn_error *error)
{
    char *found = NULL;
    int64_t version;
    attn_status status;

    if (!attn_h5_has_attribute(file, "schema"))
        return attn_error_set(error, ATTN_INPUT, "%s: attribute schema is missing; \"%s\" is needed", path, schema);
    status = attn_h5_read_text(file, path, "schema", &found, error);
    if (status == ATTN_OK && strcmp(found, schema) != 0)
        status =
            attn_error_set(error, ATTN_INPUT, "%s: attribute schema is \"%s\"; \"%s\" is needed", path, found, schema);
    if (status == ATTN_OK && !attn_h5_has_attribute(file, "schema_version"))
        status = attn_error_set(error, ATTN_INPUT, "%s: attribute schema_version is missing; %d is needed", path,
                                SCHEMA_VERSION);
    if (status == ATTN_OK)
        status = attn_h5_read_integer(file, path, "schema_version", &version, error);
    if (status == ATTN_OK && version != SCHEMA_VERSION)
        status = attn_error_set(error, ATTN_INPUT,
                                "%s: attribute schema_version is %" PRId64 "; this version of attnbench reads %d", path,
                                version, SCHEMA_VERSION);
    free(found);
    return status;
}

static attn_status read_schema(const char *path, char *schema, size_t size, attn_error *error)
{
    static const char *const known[] = {"attn-input", "attn-layer", "attn-results"};
    char *found = NULL;
    hid_t file;
    bool is_known = false;
    attn_status status = attn_h5_open(path, &file, error);

    if (status != ATTN_OK)
        return status;
    status = attn_h5_read_text(file, path, "schema", &found, error);
    for (size_t i = 0; status == ATTN_OK && i < sizeof known / sizeof known[0]; i++)
        is_known = is_known || strcmp(found, known[i]) == 0;
    if (status == ATTN_OK && !is_known)
        status = attn_error_set(error, ATTN_INPUT,
                                "%s: attribute schema is \"%s\"; \"attn-input\", \"attn-layer\" or \"attn-results\" is "
                                "needed",
                                path, found);
    if (status == ATTN_OK)
        snprintf(schema, size, "%s", found);
    free(found);
    attn_h5_close(file);
    return status;
}

attn_status attn_file_schema(MPI_Comm comm, const char *path, char *schema, size_t size, attn_error *error)
{
    const attn_h5_quiet saved = attn_h5_quiet_begin();
    attn_status status = ATTN_OK;

    memset(schema, 0, size);
    if (attn_comm_rank(comm) == 0)
        status = read_schema(path, schema, size, error);
    attn_h5_quiet_end(saved);
    status = attn_comm_agree(comm, status, error);
    return status == ATTN_OK ? attn_comm_broadcast(comm, 0, schema, size, error) : status;
}
