/* Training files (HDF5, schema "attn-training" version 1): the curve of a training, and all that it takes to continue
 * it. The format is described in docs/training.md. One process writes and reads; no function is collective. */
#ifndef ATTN_TRAINING_FILE_H
#define ATTN_TRAINING_FILE_H

#include <attn/attributes.h>
#include <attn/train.h>

#ifdef __cplusplus
extern "C" {
#endif

/* What a training file holds. */
typedef struct attn_training_record {
    attn_attributes *settings;    /* what must be the same where the training is continued */
    attn_attributes *environment; /* the provenance of the launch that wrote the file */
    int64_t steps, ranks, phases; /* extents of the curve; ranks: the most that a step had */
    double *loss, *accuracy;      /* [steps] */
    double *seconds;              /* [steps,ranks,phases], s; NaN for ranks that a step did not have */
    attn_train_state state;       /* after the last step */
} attn_training_record;

/* Makes an empty record, and releases one; release takes one of zeros.
 *   out  out, zeros on failure
 * ATTN_MEMORY. */
ATTN_API attn_status attn_training_record_create(attn_training_record *out, attn_error *error);
ATTN_API void attn_training_record_release(attn_training_record *record);

/* Appends a step to the curve.
 *   ranks    in, of this step; where it is more than record->ranks, the steps before get NaN for the new ones
 *   seconds  in, [ranks,ATTN_PHASE_COUNT]
 * ATTN_MEMORY, which leaves the record as it was. */
ATTN_API attn_status attn_training_record_append(attn_training_record *record, const attn_train_step *step,
                                                 int64_t ranks, const double *seconds, attn_error *error);

typedef struct attn_training_writer attn_training_writer;

/* Takes the name of a file, which no other process may then write.
 *   resume  in, whether the file may be there
 *   out     out, NULL on failure
 * ATTN_ARGUMENT when no file can be made there, it exists or is being written; ATTN_FILE, ATTN_MEMORY. */
ATTN_API attn_status attn_training_writer_open(const char *path, bool resume, attn_training_writer **out,
                                               attn_error *error);

/* Writes the file anew. Durably and whole: until it is, the one before stays.
 *   training  in, of the record
 * ATTN_FILE, ATTN_MEMORY. */
ATTN_API attn_status attn_training_writer_put(attn_training_writer *writer, const attn_training *training,
                                              const attn_training_record *record, attn_error *error);

/* Gives the name free. Takes NULL. */
ATTN_API void attn_training_writer_close(attn_training_writer *writer);

/* Reads a training file.
 *   training  in, whose state is read too: all arrays must be there with their extents; NULL: settings and curve only
 *   out       out, released by the caller; zeros on failure
 * ATTN_INPUT, naming the file, the object and the value; ATTN_MEMORY. */
ATTN_API attn_status attn_training_file_read(const char *path, const attn_training *training, attn_training_record *out,
                                             attn_error *error);

#ifdef __cplusplus
}
#endif
#endif
