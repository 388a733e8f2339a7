/* The check of one file computed in one way. */
#ifndef BENCH_VERIFY_H
#define BENCH_VERIFY_H

#include "case.h"

#include <attn/input.h>
#include <attn/layer_file.h>
#include <attn/study.h>

/* A verification from its options to its verdicts. */
typedef struct verification {
    const bench *launch;
    const options *given;
    const char *const *files; /* [count] */
    attn_input **inputs;      /* [count], opened by the launch; NULL for a layer file */
    attn_layer_file **layers; /* [count], likewise; NULL for an input file */
    size_t count;
    sweep lists;
    rank_groups groups;
    const char *write; /* folder, or NULL */
    bool forward_only; /* arrays of other passes are not even listed */
    attn_table *table; /* on rank 0, with the counts below */
    int64_t passed, failed, unchecked;
    char first_reason[ATTN_MESSAGE_MAX]; /* why something was not checked */
} verification;

/* Rank 0: adds a row to the table.
 *   numbers  in, {max error, tolerance}, or NULL: none
 *   format   printf format of the verdict */
void verify_add_row(verification *all, const char *path, const char *array, const char *how, const double numbers[2],
                    const char *format, ...) ATTN_PRINTF(6, 7);

/* Rank 0: adds a row for a file or an array that was not checked. */
void verify_add_unchecked(verification *all, const char *path, const char *array, const char *how, const char *reason);

/* Collective over the group of the case. Computes the file, compares, and adds the verdicts to the table; what finds no
 * memory or no threads is added as not checked.
 *   target  in, where to write what was computed, or NULL */
attn_status verify_on_group(verification *all, const bench_case *one, const char *path, const char *how,
                            const char *target, attn_error *error);

/* Collective over the group of the case. The same for the gradients that the file expects: what has no backward pass is
 * added as not checked. */
attn_status verify_gradients_on_group(verification *all, const bench_case *one, const char *path, const char *how,
                                      attn_error *error);

/* Rank 0: adds a row for each gradient that the file expects. */
void verify_add_unchecked_gradients(verification *all, const attn_input *input, const char *path, const char *how,
                                    const char *reason);

/* Collective over the group of the case, whose problem is the attention of a layer file. Computes the layer, compares,
 * and adds the verdicts; what cannot be computed is added as not checked. */
attn_status verify_layer_on_group(verification *all, const bench_case *one, const char *path, const char *target,
                                  attn_error *error);

/* Rank 0: adds a row for each array that would have been checked. */
void verify_add_unchecked_layer(verification *all, const attn_layer_file *file, const char *path, const char *how,
                                const char *reason);

#endif
