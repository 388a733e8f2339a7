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

/* X(name, summary): the table of subcommands, in the order of the help. A new one is one line here and one file
 * cmd_NAME.c, which defines cmd_NAME. */
#define SUBCOMMAND_LIST(X)                                                                                             \
    X(run, "time cases over ranks, shapes and algorithms; every result is validated")                                  \
    X(generate, "write an input file of random q, k and v")                                                            \
    X(train, "train a layer on a task that attention over ranks must solve, timed by phase")                           \
    X(verify, "check input files against what they expect, or a float64 computation")                                  \
    X(probe, "measure what the machine can do at best: arithmetic and memory")                                         \
    X(report, "tables, pictures and exports of result files")                                                          \
    X(compare, "whether cases became slower from one set of results to another")                                       \
    X(explain, "attention step by step, number by number, of a small file")                                            \
    X(list, "what this build and this machine offer")

#define SUBCOMMAND_DECLARE(name, summary) subcommand_run cmd_##name;
SUBCOMMAND_LIST(SUBCOMMAND_DECLARE)
#undef SUBCOMMAND_DECLARE

#endif
