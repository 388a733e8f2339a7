/* Input files (HDF5, schema "attn-input" version 1), read and written in parallel: each rank moves only its part.
 * The format is described in docs/formats.md. */
#ifndef ATTN_INPUT_H
#define ATTN_INPUT_H

#include <attn/problem.h>
#include <attn/segments.h>

#include <mpi.h>
#include <stdbool.h>

#ifdef __cplusplus
extern "C" {
#endif

/* X(NAME, path in the file): the arrays of an input file. */
#define ATTN_INPUT_ARRAY_LIST(X)                                                                                       \
    X(Q, "q")                                                                                                          \
    X(K, "k")                                                                                                          \
    X(V, "v")                                                                                                          \
    X(DO, "do")                                                                                                        \
    X(EXPECTED_O, "expected/o")                                                                                        \
    X(EXPECTED_LSE, "expected/lse")                                                                                    \
    X(EXPECTED_DQ, "expected/dq")                                                                                      \
    X(EXPECTED_DK, "expected/dk")                                                                                      \
    X(EXPECTED_DV, "expected/dv")

typedef enum attn_input_array {
#define ATTN_INPUT_ENUM(name, path) ATTN_INPUT_##name,
    ATTN_INPUT_ARRAY_LIST(ATTN_INPUT_ENUM)
#undef ATTN_INPUT_ENUM
        ATTN_INPUT_ARRAY_COUNT
} attn_input_array;

/* Not collective. The path of an array in the file ("expected/o"). */
ATTN_API const char *attn_input_array_path(attn_input_array array);

typedef struct attn_input attn_input;

/* The part of an array that a rank moves: some heads, some rows, all batches, the whole last dimension.
 * head_count == 0 or rows == NULL or rows->rows == 0: nothing (the call is still made, it is collective). */
typedef struct attn_block {
    int64_t head_begin, head_count;
    const attn_segments *rows;
} attn_block;

/* Collective. Reads the schema of a file: "attn-input", "attn-layer" or "attn-results".
 *   path    in, the same on all ranks; rank 0 reads
 *   schema  out, [size] bytes, on all ranks
 * ATTN_MPI; ATTN_INPUT with a message that names the file when it cannot be opened, is not HDF5, or has no known
 * schema. */
ATTN_API attn_status attn_file_schema(MPI_Comm comm, const char *path, char *schema, size_t size, attn_error *error);

/* Collective over comm, of which a duplicate is used until close. Opens an input file and checks all of its settings
 * and extents.
 *   path  in, the same on all ranks
 *   out   out, closed by the caller; NULL on failure, on all ranks alike
 * ATTN_INPUT, naming the file, the object and the value, or a rank that does not see the file; ATTN_FILE, ATTN_MEMORY,
 * ATTN_MPI. */
ATTN_API attn_status attn_input_open(MPI_Comm comm, const char *path, attn_input **out, attn_error *error);

/* Collective over comm. Creates an input file with all settings of the problem, to be filled with attn_input_write. The
 * file appears under its name when attn_input_close succeeds, whole, or not at all. Until then the name is locked: of
 * two writers the second is refused.
 *   replace  in, whether an existing file is replaced; otherwise it is refused
 *   problem  in, the same on all ranks; copied with its arrays
 *   stored   in, [ATTN_INPUT_ARRAY_COUNT], the type in which each array is stored; used where present is true
 *   present  in, [ATTN_INPUT_ARRAY_COUNT]; q, k and v must be
 *   out      out, closed or discarded by the caller; NULL on failure, on all ranks alike
 * ATTN_ARGUMENT for a problem that is not valid or a path at which no file can be made, be it that it exists or is
 * being written; ATTN_FILE when making it fails, ATTN_MEMORY, ATTN_MPI. */
ATTN_API attn_status attn_input_create(MPI_Comm comm, const char *path, bool replace, const attn_problem *problem,
                                       const attn_dtype stored[ATTN_INPUT_ARRAY_COUNT],
                                       const bool present[ATTN_INPUT_ARRAY_COUNT], attn_input **out, attn_error *error);

/* Collective. Closes and frees, also on failure; takes NULL. A created file is made durable and then gets its name.
 * ATTN_FILE, ATTN_MPI. The status is the same on all ranks, but for ATTN_MPI. */
ATTN_API attn_status attn_input_close(attn_input *input, attn_error *error);

/* Collective. Closes and frees; a created file is removed, so that nothing is left behind. Takes NULL. */
ATTN_API void attn_input_discard(attn_input *input);

/* Not collective. The problem in the file, dtype being the type of q; its arrays are owned by the input and live until
 * close. */
ATTN_API const attn_problem *attn_input_problem(const attn_input *input);

/* Not collective. Whether an array is there, and the type in which it is stored (of one that is there). */
ATTN_API bool attn_input_has(const attn_input *input, attn_input_array array);
ATTN_API attn_dtype attn_input_stored_dtype(const attn_input *input, attn_input_array array);

/* Collective. Reads this rank's block into a dense array [B,head_count,rows,width] (lse: [B,head_count,rows]),
 * converted to dtype.
 *   block   in, this rank's; may differ between ranks, overlap and be empty
 *   dtype   in, of buffer
 *   buffer  out; may be NULL when the block is empty
 * ATTN_ARGUMENT for an array that is not there or a block beyond it, ATTN_FILE, ATTN_MEMORY, ATTN_MPI. The status is
 * the same on all ranks, but for ATTN_MPI. */
ATTN_API attn_status attn_input_read(attn_input *input, attn_input_array array, const attn_block *block,
                                     attn_dtype dtype, void *buffer, attn_error *error);

/* Collective. Writes this rank's block of a created file from such an array, converted to the type that is stored.
 * Blocks of different ranks must not overlap. Codes as those of attn_input_read. */
ATTN_API attn_status attn_input_write(attn_input *input, attn_input_array array, const attn_block *block,
                                      attn_dtype dtype, const void *buffer, attn_error *error);

#ifdef __cplusplus
}
#endif
#endif
