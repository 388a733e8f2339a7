/* Input and layer files with one defect each, and odd ones without: for the tests of the library and, as files, of the
 * driver. */
#ifndef ATTN_TEST_DEFECTS_H
#define ATTN_TEST_DEFECTS_H

#include <hdf5.h>
#include <stdint.h>

/* Extents of the good file: q, k and v are [B,H,S,D], float32. */
enum { B = 2, H = 2, S = 4, D = 3 };
extern const hsize_t good_extents[4];

typedef struct defect {
    const char *name;
    void (*spoil)(hid_t file); /* changes the good file */
    const char *words[3];      /* in the message that refuses it */
} defect;

extern const defect defects[]; /* [defect_count] files that cannot be opened */
extern const size_t defect_count;
extern const defect oddities[]; /* [oddity_count] files that can */
extern const size_t oddity_count;

/* The same of layer files: 2 query heads of 4 on one key-value head, x [B,S,D]. */
extern const defect layer_defects[]; /* [layer_defect_count] */
extern const size_t layer_defect_count;
extern const defect layer_oddities[]; /* [layer_oddity_count] */
extern const size_t layer_oddity_count;
void layer_file_make(const char *path, void (*spoil)(hid_t file));

/* Writes the good file and, unless it is NULL, spoils it. By one process. */
void file_make(const char *path, void (*spoil)(hid_t file));

/* Adds a dataset of a stored type, filled from int64 or double values where they are not NULL; to be closed. */
hid_t file_add_dataset(hid_t file, const char *name, hid_t stored, int rank, const hsize_t *extents, const void *ints,
                       const double *reals);

/* Replaces an attribute of the root. */
void file_set_integer(hid_t file, const char *name, int64_t value);

#endif
