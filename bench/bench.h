/* What every subcommand gets and gives back. */
#ifndef BENCH_BENCH_H
#define BENCH_BENCH_H

#include <attn/comm.h>

#include <stdbool.h>

/* The launch: one process of it, and how the driver was called. Everything is borrowed. */
typedef struct bench {
    MPI_Comm comm; /* all ranks */
    int rank, ranks;
    const char *command_line; /* arguments joined by blanks, for the provenance */
} bench;

/* A subcommand. Called by all ranks with the same arguments, argv[0] being its own name; returns the same status on all
 * of them. ATTN_ARGUMENT, ATTN_INPUT and ATTN_UNSUPPORTED are the user's to mend, ATTN_INTERRUPTED keeps what was
 * finished, everything else is a failure of the system.
 *   wrong  out, set to true when a result is wrong; unchanged otherwise */
typedef attn_status subcommand_run(const bench *launch, int argc, char **argv, bool *wrong, attn_error *error);

subcommand_run cmd_run, cmd_generate, cmd_verify, cmd_report, cmd_list;

#endif
