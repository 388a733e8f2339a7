/* What a layer file holds, and the parts of the code that reads and writes it (layer_*.c). */
#ifndef ATTN_IO_LAYER_FORMAT_H
#define ATTN_IO_LAYER_FORMAT_H

#include "io/settings.h"
#include "io/together.h"

#include <attn/layer_file.h>

#define ATTN_LAYER_PATH_MAX 256
#define ATTN_LAYER_DATASETS_MAX 8 /* a weight and a bias for each projection */

/* What a dataset of weights holds: one projection, or several whose rows follow each other. X(NAME, first projection,
 * how many, words) */
#define ATTN_LAYER_ROLE_LIST(X)                                                                                        \
    X(QUERY, QUERY, 1, "query")                                                                                        \
    X(KEY, KEY, 1, "key")                                                                                              \
    X(VALUE, VALUE, 1, "value")                                                                                        \
    X(OUT, OUT, 1, "output")                                                                                           \
    X(QKV, QUERY, 3, "fused query, key and value")                                                                     \
    X(KV, KEY, 2, "fused key and value")

typedef enum attn_layer_role {
#define ATTN_LAYER_ROLE_ENUM(name, first, count, words) ATTN_LAYER_ROLE_##name,
    ATTN_LAYER_ROLE_LIST(ATTN_LAYER_ROLE_ENUM)
#undef ATTN_LAYER_ROLE_ENUM
        ATTN_LAYER_ROLE_COUNT
} attn_layer_role;

/* A dataset below weights/, and that of the same name below expected/weights/. */
typedef struct attn_layer_dataset {
    char path[ATTN_LAYER_PATH_MAX];     /* "weights/query.weight" */
    char expected[ATTN_LAYER_PATH_MAX]; /* "expected/weights/query.weight" */
    attn_layer_role role;
    bool bias;
    int64_t rows, columns; /* columns of a bias: 1 */
    attn_dtype stored, expected_type;
    bool has_expected;
} attn_layer_dataset;

/* Everything of a layer file but its large arrays; no pointers but those of the settings. */
typedef struct attn_layer_header {
    attn_layer_problem problem; /* its lists point into settings */
    bool present[ATTN_LAYER_ARRAY_COUNT];
    attn_dtype stored[ATTN_LAYER_ARRAY_COUNT];
    attn_settings settings;
    attn_layer_dataset datasets[ATTN_LAYER_DATASETS_MAX];
    int dataset_count;
} attn_layer_header;

struct attn_layer_file {
    attn_together file; /* datasets: the arrays, those of weights, and as many of expected weights */
    attn_layer_header header;
};

/* layer_names.c: the one table of names. Finds what a dataset below weights/ holds ("self/query/weight",
 * "h.0.attn.c_attn.bias"); false when the name is not known. */
bool attn_layer_name_find(const char *name, attn_layer_role *role, bool *bias);

/* layer_header.c */

attn_projection attn_layer_role_first(attn_layer_role role);
int attn_layer_role_count(attn_layer_role role);
const char *attn_layer_role_words(attn_layer_role role);

/* The dataset that holds a weight or bias, and its first row there; NULL when there is none. */
const attn_layer_dataset *attn_layer_header_find(const attn_layer_header *header, attn_projection projection, bool bias,
                                                 int64_t *row);

/* Extents [B,rows,width] of an array, the symbols and names of its dimensions, and its meaning for people. */
void attn_layer_array_extents(const attn_layer_problem *problem, attn_layer_array array, int64_t extents[3]);
const char *attn_layer_array_symbols(attn_layer_array array);
const char *attn_layer_array_meaning(attn_layer_array array);

/* Fills the datasets of a file to be created. ATTN_ARGUMENT. */
attn_status attn_layer_header_set(attn_layer_header *header, const attn_layer_problem *problem,
                                  const attn_layer_contents *contents, attn_error *error);

/* layer_scan.c: reads and checks everything of a file but its large arrays. By one process.
 *   header  out, its settings released by the caller in any case */
attn_status attn_layer_scan(const char *path, attn_layer_header *header, attn_error *error);

/* layer_weights.c: finds the datasets of weights, and the heads' widths from their extents. The shape has B, the
 * lengths and the heads already; head_dim, v_head_dim and the layer's widths are set. ATTN_INPUT, ATTN_MEMORY. */
attn_status attn_layer_scan_weights(hid_t file, const char *path, attn_layer_header *header, attn_error *error);

/* layer_create.c: makes the file with its settings and arrays without content. By one process. ATTN_FILE. */
attn_status attn_layer_lay_out(const attn_together *to, const attn_layer_header *header, attn_error *error);

#endif
