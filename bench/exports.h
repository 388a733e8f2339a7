/* --json, --csv, --extrap and --trace: checked before anything runs, written at the end. Used on rank 0 alone. */
#ifndef BENCH_EXPORTS_H
#define BENCH_EXPORTS_H

#include "options.h"

#include <attn/study.h>

#include <stdio.h>

enum { EXPORT_COUNT = 4 };

typedef struct exports {
    const char *paths[EXPORT_COUNT]; /* of --json, --csv, --extrap, --trace; NULL: not wanted; "-": stdout */
} exports;

/* Reads the options. ATTN_ARGUMENT when two of them want stdout or the same file. */
attn_status exports_read(const options *given, exports *out, attn_error *error);

/* Checks that the exports can be written and would not replace an HDF5 file or `output`, the file of the results (""
 * when there is none). On rank 0. */
attn_status exports_check(const exports *wanted, const char *output, attn_error *error);
attn_status exports_check_path(option_key key, const char *path, attn_error *error);

/* Checks that there is something to export, before files are opened. ATTN_UNSUPPORTED. On rank 0. */
attn_status exports_check_results(const exports *wanted, const attn_results *results, attn_error *error);

/* Puts the cases of each launch, which ran in random order, into the order of their sweep. */
void results_order(attn_results *results);

/* Warns of the files that were passed over. On rank 0. */
void exports_warn(const bench *launch, const attn_results *results);

/* Where tables go: stderr when an export has stdout for itself. */
FILE *exports_table_stream(const exports *wanted);

/* Writes what is wanted. ATTN_FILE. */
attn_status exports_write(const exports *wanted, const attn_results *results, attn_error *error);

#endif
