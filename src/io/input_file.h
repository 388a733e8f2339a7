/* What an input file holds, and the parts of the code that reads and writes it (input_*.c). */
#ifndef ATTN_IO_INPUT_FILE_H
#define ATTN_IO_INPUT_FILE_H

#include "io/files.h"

#include <attn/input.h>

#include <hdf5.h>

/* The four optional lists of settings; each value has 8 bytes. X(NAME, dataset, real, extents) */
#define ATTN_SETTING_LIST(X)                                                                                           \
    X(ALIBI_SLOPES, "alibi_slopes", true, "[Hq]")                                                                      \
    X(SINKS, "sinks", true, "[Hq]")                                                                                    \
    X(KV_LEN, "kv_len", false, "[B]")                                                                                  \
    X(CU_SEQLENS, "cu_seqlens", false, "[documents + 1]")

typedef enum attn_setting {
#define ATTN_SETTING_ENUM(name, dataset, real, extents) ATTN_SETTING_##name,
    ATTN_SETTING_LIST(ATTN_SETTING_ENUM)
#undef ATTN_SETTING_ENUM
        ATTN_SETTING_COUNT
} attn_setting;

typedef struct attn_setting_values {
    int64_t count; /* 0: absent */
    void *values;  /* [count] of double or int64_t; owned */
} attn_setting_values;

/* Everything of an input file but its large arrays. */
typedef struct attn_input_header {
    attn_problem problem; /* its lists point into settings */
    bool present[ATTN_INPUT_ARRAY_COUNT];
    attn_dtype stored[ATTN_INPUT_ARRAY_COUNT];
    attn_setting_values settings[ATTN_SETTING_COUNT];
} attn_input_header;

struct attn_input {
    MPI_Comm comm; /* a duplicate; MPI_COMM_NULL before there is one */
    char *path;
    char *temporary; /* name under which a created file is filled; NULL for an opened one */
    attn_lock *lock; /* of a created file, on rank 0 */
    attn_input_header header;
    hid_t file;
    hid_t datasets[ATTN_INPUT_ARRAY_COUNT]; /* invalid where absent */
    bool incomplete;                        /* something could not be written */
    /* Most bytes that one rank moves in one transfer: straight from or to the caller, and through a converting copy. */
    size_t direct_bytes, bounce_bytes;
};

/* input_header.c */

const char *attn_setting_name(attn_setting setting);
bool attn_setting_is_real(attn_setting setting);
const char *attn_setting_extents(attn_setting setting);

/* Extents of an array (its rank is returned), and the symbols "Hq" and words "query head" of its dimensions. A symbol
 * that stands in several arrays is the same extent. */
int attn_input_extents(const attn_shape *shape, attn_input_array array, int64_t extents[4]);
int attn_input_rank(attn_input_array array);
const char *attn_input_symbol(attn_input_array array, int dimension);
const char *attn_input_dimension(attn_input_array array, int dimension);
/* Where that extent stands in a shape, and the number of that place. */
int64_t *attn_input_extent(attn_shape *shape, attn_input_array array, int dimension);
size_t attn_input_extent_place(attn_input_array array, int dimension);

/* What the array is, for people ("queries"). */
const char *attn_input_meaning(attn_input_array array);

/* Lets the problem's lists point to the settings. */
void attn_input_header_link(attn_input_header *header);
/* Copies a problem with its lists. ATTN_MEMORY. */
attn_status attn_input_header_set(attn_input_header *header, const attn_problem *problem, attn_error *error);
/* Collective. Gives every rank what rank 0 has. */
attn_status attn_input_header_share(MPI_Comm comm, attn_input_header *header, attn_error *error);
void attn_input_header_release(attn_input_header *header);

/* input_scan.c: reads and checks everything of a file but its large arrays. By one process.
 *   header  out, released by the caller in any case */
attn_status attn_input_scan(const char *path, attn_input_header *header, attn_error *error);

/* input_create.c: makes the file with its settings and arrays without content. By one process. ATTN_FILE. */
attn_status attn_input_lay_out(const char *path, const attn_input_header *header, attn_error *error);

#endif
