/* attnbench: the driver. The only file that speaks MPI itself and the only place that ends the program. The table
 * of subcommands is in bench.h. */
#include "bench.h"
#include "message.h"
#include "shown.h"
#include "suggest.h"

#include <attn/version.h>

#include <mpi.h>
#include <omp.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

typedef struct subcommand {
    const char *name;
    const char *summary;
    subcommand_run *run;
} subcommand;

static const subcommand subcommands[] = {
#define SUBCOMMAND_ROW(name, summary) {#name, summary, cmd_##name},
    SUBCOMMAND_LIST(SUBCOMMAND_ROW)};

#define SUBCOMMAND_COUNT (sizeof subcommands / sizeof subcommands[0])

enum { EXIT_GOOD = 0, EXIT_WRONG = 1, EXIT_USAGE = 2, EXIT_INTERRUPTED = 3, EXIT_SYSTEM = 4 };

/* Without a default, so that the compiler names a status that has no exit code. */
static int exit_code(attn_status status)
{
    switch (status) {
    case ATTN_OK:
        return EXIT_GOOD;
    case ATTN_ARGUMENT:
    case ATTN_INPUT:
    case ATTN_UNSUPPORTED:
        return EXIT_USAGE;
    case ATTN_INTERRUPTED:
        return EXIT_INTERRUPTED;
    case ATTN_MEMORY:
    case ATTN_FILE:
    case ATTN_MPI:
    case ATTN_STATUS_COUNT:
        break;
    }
    return EXIT_SYSTEM;
}

static void print_help(void)
{
    printf("usage: attnbench SUBCOMMAND [OPTION...]\n\n"
           "Measures attention, the core operation of large language models, distributed over MPI ranks.\n"
           "Start it under mpirun or srun for several ranks; alone it is one rank.\n\nSubcommands\n");
    for (size_t i = 0; i < SUBCOMMAND_COUNT; i++)
        printf("  %-10s%s\n", subcommands[i].name, subcommands[i].summary);
    printf("\nattnbench SUBCOMMAND --help tells the options of each; attnbench --version the version.\n\n"
           "Exit status\n"
           "  0  all good                         3  interrupted; finished cases are kept\n"
           "  1  a result is wrong, or slower     4  the system failed: MPI, memory or disk\n"
           "  2  bad usage or bad input, nothing could run, or the output cannot be opened\n\n"
           "Examples\n"
           "  mpirun -n 4 attnbench run --seq 1k:16k:x2 --causal\n"
           "  attnbench generate --seq 4k --output input.h5\n"
           "  mpirun -n 4 attnbench verify input.h5\n");
}

/* "run, generate, ..." */
static void accepted_names(char *text, size_t size)
{
    size_t used = 0;

    text[0] = '\0';
    for (size_t i = 0; i < SUBCOMMAND_COUNT && used < size; i++)
        used += (size_t)snprintf(text + used, size - used, "%s%s", i > 0 ? ", " : "", subcommands[i].name);
}

static attn_status unknown_subcommand(const char *name, attn_error *error)
{
    suggestion best = {name, NULL, 0};
    char accepted[256], meant[64] = "";

    for (size_t i = 0; i < SUBCOMMAND_COUNT; i++)
        suggest_offer(&best, subcommands[i].name);
    if (best.nearest != NULL)
        snprintf(meant, sizeof meant, "did you mean \"%s\"? ", best.nearest);
    accepted_names(accepted, sizeof accepted);
    return attn_error_set(error, ATTN_ARGUMENT, "unknown subcommand \"%s\"; %saccepted: %s",
                          *name != '\0' ? shown_value(name).text : "", meant, accepted);
}

static attn_status dispatch(const bench *launch, int argc, char **argv, bool *wrong, attn_error *error)
{
    char accepted[256];

    if (argc < 2) {
        accepted_names(accepted, sizeof accepted);
        return attn_error_set(error, ATTN_ARGUMENT, "a subcommand is needed: %s; see attnbench --help", accepted);
    }
    if (strcmp(argv[1], "--help") == 0 || strcmp(argv[1], "-h") == 0) {
        if (launch->rank == 0)
            print_help();
        return ATTN_OK;
    }
    if (strcmp(argv[1], "--version") == 0) {
        if (launch->rank == 0)
            printf("attnbench %s\n", ATTN_VERSION);
        return ATTN_OK;
    }
    for (size_t i = 0; i < SUBCOMMAND_COUNT; i++)
        if (strcmp(argv[1], subcommands[i].name) == 0)
            return subcommands[i].run(launch, argc - 1, argv + 1, wrong, error);
    return unknown_subcommand(argv[1], error);
}

/* The arguments joined by blanks; NULL without memory. */
static char *join_arguments(int argc, char **argv)
{
    size_t size = 1, used = 0;
    char *line;

    for (int i = 0; i < argc; i++)
        size += strlen(argv[i]) + 1;
    line = malloc(size);
    if (line == NULL)
        return NULL;
    line[0] = '\0';
    for (int i = 0; i < argc; i++)
        used += (size_t)snprintf(line + used, size - used, "%s%s", i > 0 ? " " : "", argv[i]);
    return line;
}

static attn_status run(const bench *launch, int argc, char **argv, bool *wrong, attn_error *error)
{
    attn_status status = launch->command_line == NULL
                             ? attn_error_set(error, ATTN_MEMORY, "no memory for the command line")
                             : dispatch(launch, argc, argv, wrong, error);

    if (status == ATTN_OK && (fflush(stdout) != 0 || ferror(stdout)))
        status = attn_error_set(error, ATTN_FILE, "standard output cannot be written");
    if (status != ATTN_OK && error->message[0] == '\0')
        attn_error_set(error, status, "%s", attn_status_words(status));
    return attn_comm_agree(launch->comm, status, error);
}

int main(int argc, char **argv)
{
    attn_error error = ATTN_ERROR_INIT;
    attn_status status;
    bool wrong = false;
    char *line = join_arguments(argc, argv);
    bench launch = {.command_line = line};
    int provided;

    signal(SIGXFSZ, SIG_IGN); /* a file that may not grow is told by the write, as a full disk is */
    omp_set_dynamic(0);       /* OMP_DYNAMIC would let teams shrink with the load */
    if (MPI_Init_thread(&argc, &argv, MPI_THREAD_FUNNELED, &provided) != MPI_SUCCESS) {
        fprintf(stderr, "attnbench: MPI cannot be initialised\n");
        free(line);
        return EXIT_SYSTEM;
    }
    launch.comm = MPI_COMM_WORLD;
    launch.rank = attn_comm_rank(launch.comm);
    launch.ranks = attn_comm_size(launch.comm);
    MPI_Comm_set_errhandler(launch.comm, MPI_ERRORS_RETURN);
    status = provided < MPI_THREAD_FUNNELED
                 ? attn_error_set(&error, ATTN_MPI, "this MPI does not support threads (MPI_THREAD_FUNNELED)")
                 : run(&launch, argc, argv, &wrong, &error);
    if (status == ATTN_MPI || (status != ATTN_OK && launch.rank == 0)) /* of an MPI failure rank 0 may not know */
        message_error(error.message);
    free(line);
    if (status == ATTN_MPI)
        MPI_Abort(launch.comm, EXIT_SYSTEM); /* other ranks may wait for this one */
    MPI_Finalize();
    return status == ATTN_OK && wrong ? EXIT_WRONG : exit_code(status);
}
