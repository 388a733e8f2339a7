/* Layer files (HDF5, schema "attn-layer" version 1), read and written in parallel: each rank moves only its part. The
 * format, and the names that other frameworks give to weights, are described in docs/layers.md. */
#ifndef ATTN_LAYER_FILE_H
#define ATTN_LAYER_FILE_H

#include <attn/layer.h>

#ifdef __cplusplus
extern "C" {
#endif

/* ROW(NAME, path in the file): the arrays of a layer file that are split by rows. */
#define ATTN_LAYER_ARRAY_LIST(ROW)                                                                                     \
    ROW(X, "x")                                                                                                        \
    ROW(CONTEXT, "context")                                                                                            \
    ROW(DY, "dy")                                                                                                      \
    ROW(EXPECTED_Y, "expected/y")                                                                                      \
    ROW(EXPECTED_DX, "expected/dx")                                                                                    \
    ROW(EXPECTED_DCONTEXT, "expected/dcontext")

typedef enum attn_layer_array {
#define ATTN_LAYER_ARRAY_ENUM(name, path) ATTN_LAYER_##name,
    ATTN_LAYER_ARRAY_LIST(ATTN_LAYER_ARRAY_ENUM)
#undef ATTN_LAYER_ARRAY_ENUM
        ATTN_LAYER_ARRAY_COUNT
} attn_layer_array;

/* A weight or bias of a layer, or the gradient that the file expects for it. */
typedef struct attn_layer_weight {
    attn_projection projection;
    bool bias;
    bool expected;
} attn_layer_weight;

typedef struct attn_layer_file attn_layer_file;

/* What a layer file will hold. */
typedef struct attn_layer_contents {
    bool present[ATTN_LAYER_ARRAY_COUNT];      /* x must be, and the context where the layer has one */
    attn_dtype stored[ATTN_LAYER_ARRAY_COUNT]; /* the type in which each array is stored; used where present is true */
    const attn_layer_file *like;               /* weights with the names, types and division into datasets that they
                                                  have there; NULL: query.weight, key.weight, ... */
    attn_dtype weights;                        /* their type; not used with like */
    bool gradients;                            /* expected/weights/..., for all weights */
    attn_dtype gradient_type;
} attn_layer_contents;

/* Not collective. The path of an array in the file ("expected/y"). */
ATTN_API const char *attn_layer_array_path(attn_layer_array array);

/* Collective over comm, of which a duplicate is used until close. Opens a layer file and checks all of its settings,
 * names and extents.
 *   path  in, the same on all ranks
 *   out   out, closed by the caller; NULL on failure, on all ranks alike
 * ATTN_INPUT, naming the file, the object and the value, or a rank that does not see the file; ATTN_FILE, ATTN_MEMORY,
 * ATTN_MPI. */
ATTN_API attn_status attn_layer_file_open(MPI_Comm comm, const char *path, attn_layer_file **out, attn_error *error);

/* Collective over comm. Creates a layer file with all settings of the layer, to be filled with attn_layer_file_write
 * and attn_layer_file_write_weight. It appears under its name when attn_layer_file_close succeeds, whole, or not at
 * all; until then the name is locked, as with attn_input_create.
 *   replace   in, whether an existing file is replaced; otherwise it is refused
 *   problem   in, the same on all ranks; copied with its arrays
 *   contents  in, the same on all ranks; contents->like must have the weights of the problem
 *   out       out, closed or discarded by the caller; NULL on failure, on all ranks alike
 * ATTN_ARGUMENT for a layer that is not valid or a path at which no file can be made; ATTN_FILE, ATTN_MEMORY,
 * ATTN_MPI. */
ATTN_API attn_status attn_layer_file_create(MPI_Comm comm, const char *path, bool replace,
                                            const attn_layer_problem *problem, const attn_layer_contents *contents,
                                            attn_layer_file **out, attn_error *error);

/* Collective. Closes and frees, also on failure; takes NULL. A created file is made durable and then gets its name.
 * ATTN_FILE, ATTN_MPI. The status is the same on all ranks, but for ATTN_MPI. */
ATTN_API attn_status attn_layer_file_close(attn_layer_file *file, attn_error *error);

/* Collective. Closes and frees; a created file is removed, so that nothing is left behind. Takes NULL. */
ATTN_API void attn_layer_file_discard(attn_layer_file *file);

/* Not collective. The layer in the file, its dtype being the type of x; its arrays live until close. */
ATTN_API const attn_layer_problem *attn_layer_file_problem(const attn_layer_file *file);

/* Not collective. Whether an array is there, and the type in which it is stored (of one that is there). */
ATTN_API bool attn_layer_file_has(const attn_layer_file *file, attn_layer_array array);
ATTN_API attn_dtype attn_layer_file_stored_dtype(const attn_layer_file *file, attn_layer_array array);

/* Not collective. The same for a weight, and the path of the dataset that holds it, alone or fused with others
 * ("weights/in_proj_weight"); borrowed until close. */
ATTN_API bool attn_layer_file_has_weight(const attn_layer_file *file, attn_layer_weight weight);
ATTN_API attn_dtype attn_layer_file_weight_dtype(const attn_layer_file *file, attn_layer_weight weight);
ATTN_API const char *attn_layer_file_weight_path(const attn_layer_file *file, attn_layer_weight weight);

/* Collective. Reads this rank's rows into a dense array [B,rows,width], converted to dtype.
 *   rows    in, this rank's; may differ between ranks, overlap, and be NULL: none
 *   dtype   in, of buffer
 *   buffer  out; may be NULL when there are no rows
 * ATTN_ARGUMENT for an array that is not there or rows beyond it, ATTN_FILE, ATTN_MEMORY, ATTN_MPI. The status is the
 * same on all ranks, but for ATTN_MPI. */
ATTN_API attn_status attn_layer_file_read(attn_layer_file *file, attn_layer_array array, const attn_segments *rows,
                                          attn_dtype dtype, void *buffer, attn_error *error);

/* Collective. Writes this rank's rows of a created file from such an array, converted to the type that is stored. Rows
 * of different ranks must not overlap. Codes as those of attn_layer_file_read. */
ATTN_API attn_status attn_layer_file_write(attn_layer_file *file, attn_layer_array array, const attn_segments *rows,
                                           attn_dtype dtype, const void *buffer, attn_error *error);

/* Collective. The same for a block of a weight, dense; of a bias the block's rows.
 *   block  in, this rank's; may be empty */
ATTN_API attn_status attn_layer_file_read_weight(attn_layer_file *file, attn_layer_weight weight,
                                                 const attn_weight_block *block, attn_dtype dtype, void *buffer,
                                                 attn_error *error);
ATTN_API attn_status attn_layer_file_write_weight(attn_layer_file *file, attn_layer_weight weight,
                                                  const attn_weight_block *block, attn_dtype dtype, const void *buffer,
                                                  attn_error *error);

#ifdef __cplusplus
}
#endif
#endif
