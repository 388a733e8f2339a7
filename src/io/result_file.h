/* One result file: making it, and reading its cases and environments. */
#ifndef ATTN_IO_RESULT_FILE_H
#define ATTN_IO_RESULT_FILE_H

#include "io/files.h"

#include <attn/result.h>

#include <hdf5.h>
#include <stdbool.h>

/* result_store.c: writing. ATTN_FILE with the reason. */

/* Makes a file in memory with the root attributes and the groups cases and environment; written with attn_h5_save. */
attn_status attn_result_file_create(const char *path, hid_t *out, attn_error *error);
/* Continues a file that was made and saved, on disk, case by case: nothing of it stays in memory.
 *   bytes  in, more than it will have; its space is taken now, because HDF5 does not survive a disk that becomes
 *          full */
attn_status attn_result_file_extend(const char *path, int64_t bytes, hid_t *out, attn_error *error);
/* Stores the provenance of a launch unless it is there. */
attn_status attn_result_file_put_environment(hid_t file, const char *path, const char *launch_id,
                                             const attn_attributes *environment, attn_error *error);
attn_status attn_result_file_put_case(hid_t file, const char *path, const attn_result *result, attn_error *error);

/* The datasets of a timeline, in the order of the members of attn_event. */
enum { ATTN_TIMELINE_COLUMNS = 4 };
typedef struct attn_timeline_column {
    const char *name, *units, *long_name;
    bool whole; /* kept as int64; others as float64 */
} attn_timeline_column;
extern const attn_timeline_column attn_timeline_columns[ATTN_TIMELINE_COLUMNS];

/* result_load.c: reading. ATTN_INPUT with file, object and value. */

/* Opens a file and checks schema and version. */
attn_status attn_result_file_open(const char *path, hid_t *out, attn_error *error);
/* Appends the identities of the cases (or launches) in the order in which they were stored. */
attn_status attn_result_file_cases(hid_t file, const char *path, attn_names *out, attn_error *error);
attn_status attn_result_file_launches(hid_t file, const char *path, attn_names *out, attn_error *error);
attn_status attn_result_file_get_case(hid_t file, const char *path, const char *id, attn_result **out,
                                      attn_error *error);
attn_status attn_result_file_get_status(hid_t file, const char *path, const char *id, attn_case_status *out,
                                        attn_error *error);
/* The provenance of a launch; its attribute launch_id comes first. */
attn_status attn_result_file_get_environment(hid_t file, const char *path, const char *launch_id, attn_attributes **out,
                                             attn_error *error);

/* result_join.c: makes FILE.h5 durably from what it has and the parts; a part replaces a case of the same identity.
 *   path, parts  in, FILE.h5 and its folder of parts
 *   launch_id, environment  in, stored even where this launch has put no case */
attn_status attn_result_join(const char *path, const char *parts, const char *launch_id,
                             const attn_attributes *environment, attn_error *error);

/* The parts in a folder as paths, in the order in which they were published. */
attn_status attn_result_parts(const char *parts, attn_names *out, attn_error *error);

/* Copies a list with all of its values. */
attn_status attn_attributes_copy(const attn_attributes *from, attn_attributes *to, attn_error *error);

#endif
