/* The two attributes by which a file says what it is. */
#ifndef ATTN_IO_SCHEMA_H
#define ATTN_IO_SCHEMA_H

#include <attn/status.h>

#include <hdf5.h>

/* Checks the attributes schema and schema_version of an open file. ATTN_INPUT. */
attn_status attn_schema_check(hid_t file, const char *path, const char *schema, attn_error *error);

#endif
