/* What attnbench train reads from its options, and what it prints and draws of a training. */
#ifndef BENCH_TRAINING_H
#define BENCH_TRAINING_H

#include "case.h"

#include <attn/training_file.h>

#include <stdio.h>

/* A training from its options. */
typedef struct training_options {
    sweep lists;   /* of one point */
    int64_t steps; /* in all */
    int64_t every; /* 0: written at the end only */
    int64_t embed_dim, values;
    attn_adamw optimiser;
    const char *output, *plot; /* NULL: not wanted */
    bool resume, quiet;
} training_options;

/* Reads and checks the options. Released with training_options_release, on failure too. ATTN_ARGUMENT. */
attn_status training_options_read(const options *given, int ranks, training_options *out, attn_error *error);
void training_options_release(training_options *wanted);

/* What is trained. */
attn_training training_of(const training_options *wanted, const attn_problem *problem);

/* What must be the same where a training is continued. ATTN_MEMORY. */
attn_status training_settings(const attn_training *training, attn_attributes *settings, attn_error *error);

/* Refuses a file with other settings. ATTN_ARGUMENT. */
attn_status training_compare(const char *path, const attn_attributes *wanted, const attn_attributes *found,
                             attn_error *error);

/* Prints the line of the last step, and what stands above the first one; the time is the median over steps from
 * `first` on of the slowest rank. ATTN_MEMORY. */
void training_print_head(FILE *stream);
attn_status training_print_step(const attn_training_record *record, int64_t first, FILE *stream, attn_error *error);

/* Prints the time by phase: of each the median over steps from `first` on of the rank that spent most in it.
 * ATTN_MEMORY. */
attn_status training_print_phases(const attn_training_record *record, int64_t first, FILE *stream, attn_error *error);

/* Draws the loss of a record and of training files in one picture.
 *   name   in, of the record in the picture
 *   files  in, [count] */
attn_status training_draw(const attn_training_record *record, const char *name, const char *const *files, size_t count,
                          const char *path, attn_error *error);

#endif
