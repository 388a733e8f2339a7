/* What an input file holds, and the parts of the code that reads and writes it (input_*.c). */
#ifndef ATTN_IO_INPUT_FILE_H
#define ATTN_IO_INPUT_FILE_H

#include "io/settings.h"
#include "io/together.h"

#include <attn/input.h>

#include <hdf5.h>

/* Everything of an input file but its large arrays. */
typedef struct attn_input_header {
    attn_problem problem; /* its lists point into settings */
    bool present[ATTN_INPUT_ARRAY_COUNT];
    attn_dtype stored[ATTN_INPUT_ARRAY_COUNT];
    attn_settings settings;
} attn_input_header;

struct attn_input {
    attn_together file; /* its datasets are numbered as the arrays */
    attn_input_header header;
};

/* input_header.c */

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

/* Collective. Gives every rank what rank 0 has. */
attn_status attn_input_header_share(MPI_Comm comm, attn_input_header *header, attn_error *error);

/* input_scan.c: reads and checks everything of a file but its large arrays. By one process.
 *   header  out, released by the caller in any case */
attn_status attn_input_scan(const char *path, attn_input_header *header, attn_error *error);

/* input_create.c: makes the file with its settings and arrays without content. By one process. ATTN_FILE. */
attn_status attn_input_lay_out(const attn_together *to, const attn_input_header *header, attn_error *error);

#endif
