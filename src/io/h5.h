/* Small helpers over HDF5: its messages as ours, identifiers that close themselves, attributes, element types. */
#ifndef ATTN_IO_H5_H
#define ATTN_IO_H5_H

#include <attn/attributes.h>
#include <attn/dtype.h>

#include <hdf5.h>
#include <stdbool.h>

/* HDF5 prints its error stack by itself; between begin and end it does not. Every public function is framed so. */
typedef struct attn_h5_quiet {
    H5E_auto2_t print;
    void *data;
} attn_h5_quiet;

attn_h5_quiet attn_h5_quiet_begin(void);
void attn_h5_quiet_end(attn_h5_quiet saved);

/* Stores a message that ends in HDF5's innermost reason for the call that has just failed: "TEXT (HDF5: reason)".
 * Returns status, or ATTN_MPI when the call has failed because ranks could not communicate. */
attn_status attn_h5_error(attn_error *error, attn_status status, const char *format, ...) ATTN_PRINTF(3, 4);
#ifdef __clang_analyzer__ /* as for attn_error_set */
#define attn_h5_error(error, status, ...) ((void)attn_h5_error(error, status, __VA_ARGS__), (status))
#endif

/* Releases an identifier of any kind; does nothing for an invalid one. */
void attn_h5_close(hid_t id);

/* The access properties of every file here: closing a file closes all of its objects; no locks of HDF5's own, which
 * fail on many parallel file systems. Invalid on failure. */
hid_t attn_h5_file_access(void);

/* Opens a file to read, by one process. Not a file, not HDF5, damaged: ATTN_INPUT with one line that says which. */
attn_status attn_h5_open(const char *path, hid_t *out, attn_error *error);

/* Writes everything to the operating system and closes. ATTN_FILE. */
attn_status attn_h5_flush_close(hid_t file, const char *path, attn_error *error);

/* A new file in memory, and writing it out; by one process. HDF5 itself does not survive a disk that is full: it ends
 * the process, or never ends it, when it is closed. Saving closes the file in any case. ATTN_FILE with the reason. */
attn_status attn_h5_create(const char *path, hid_t *out, attn_error *error);
attn_status attn_h5_save(hid_t file, const char *path, attn_error *error);

/* Whether `path` (groups separated by '/') is there with all groups above it. */
bool attn_h5_has_object(hid_t file, const char *path);
bool attn_h5_has_attribute(hid_t object, const char *name);

/* Opens a dataset, to be closed, and reads its extents; rank 0: a single value or none. ATTN_INPUT. */
attn_status attn_h5_open_dataset(hid_t file, const char *path, const char *name, hid_t *out, int *rank,
                                 hsize_t extents[H5S_MAX_RANK], attn_error *error);

/* Whether `name`, where there is one, is a group: otherwise what is below it would be silently absent. ATTN_INPUT. */
attn_status attn_h5_check_group(hid_t file, const char *path, const char *name, const char *contents,
                                attn_error *error);

/* Read one value. `where` begins the message: "FILE" or "FILE: dataset q". ATTN_INPUT when the attribute is missing, is
 * not one value, or is of another kind. Integers may be stored in any numeric type as long as they are whole. */
attn_status attn_h5_read_text(hid_t object, const char *where, const char *name, char **out, attn_error *error);
attn_status attn_h5_read_integer(hid_t object, const char *where, const char *name, int64_t *out, attn_error *error);
attn_status attn_h5_read_real(hid_t object, const char *where, const char *name, double *out, attn_error *error);

/* Reads the index-th attribute (in the order of creation where the file keeps it) into the list; what is neither one
 * number nor one text is passed over. */
attn_status attn_h5_read_attribute(hid_t object, const char *where, hsize_t index, attn_attributes *out,
                                   attn_error *error);

/* Write one value; false on failure. Text is stored as UTF-8 of variable length, so that it may be long. */
bool attn_h5_write_text(hid_t object, const char *name, const char *value);
bool attn_h5_write_integer(hid_t object, const char *name, int64_t value);
bool attn_h5_write_real(hid_t object, const char *name, double value);
bool attn_h5_write_attribute(hid_t object, const attn_attribute *attribute);

/* The HDF5 type of an element in this machine's byte order, released with attn_h5_close. bfloat16 has none and is kept
 * as uint16. */
hid_t attn_h5_type(attn_dtype dtype);

/* The dtype that an array's elements are; bfloat16 is told by its attribute. When it is none of ours, false, with the
 * type's name in name[size]. */
bool attn_h5_dtype_of(hid_t dataset, attn_dtype *out, char *name, size_t size);

/* What to say where it is none of ours. ATTN_INPUT. */
attn_status attn_h5_dtype_refuse(const char *path, const char *dataset, const char *type, attn_error *error);

/* A name for messages: "int32", "float64", "text", "compound". */
void attn_h5_type_name(hid_t type, char *name, size_t size);

#endif
