/* attnbench verify: computes what input and layer files ask for and compares it with what they expect, or with a
 * float64 computation where they expect nothing. Every file is opened and checked before anything is computed. */
#include "case.h"
#include "layer_tensors.h"
#include "shown.h"
#include "tensors.h"
#include "verify.h"

#include <errno.h>
#include <limits.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>

static const option_key keys[] = {
    OPTION_DTYPE,  OPTION_SEED,     OPTION_PASS,     OPTION_KERNEL,        OPTION_THREADS, OPTION_RANKS,
    OPTION_GRID,   OPTION_EXCHANGE, OPTION_TRANSFER, OPTION_HYBRID,        OPTION_INNER,   OPTION_NODE_RANKS,
    OPTION_LAYOUT, OPTION_COMBINE,  OPTION_SCALING,  OPTION_DETERMINISTIC, OPTION_WRITE,
};

static const option_set set = {
    .usage = "attnbench verify [OPTION...] FILE...",
    .about = "Computes the attention of input files, and layers of layer files, and compares with the arrays in their "
             "group expected/, or with a float64 computation where there is none. An array passes where |got - want| "
             "<= tol (1 + |want|). What "
             "this version cannot compute is listed as not checked.",
    .examples = "  attnbench verify input.h5\n"
                "  mpirun -n 4 attnbench verify --pass forward --layout all --grid 4x1,2x2,1x4 tests/data/golden/*.h5\n"
                "  mpirun -n 4 attnbench verify --dtype float64 --write computed/ input.h5\n",
    .keys = keys,
    .count = sizeof keys / sizeof keys[0],
    .takes_files = true,
};

/* Where --write puts the copy of a file. */
static attn_status target_path(const verification *all, const char *path, char *out, size_t size, attn_error *error)
{
    if ((size_t)snprintf(out, size, "%s/%s", all->write, shown_base(path)) >= size)
        return attn_error_set(error, ATTN_ARGUMENT, "--write %s: a shorter name is accepted",
                              shown_path(all->write).text);
    return ATTN_OK;
}

/* Rank 0: refuses to write one file twice or over an input file. */
static attn_status check_targets(const verification *all, attn_error *error)
{
    for (size_t i = 0; i < all->count; i++) {
        char target[PATH_MAX];
        struct stat made, given;
        const attn_status status = target_path(all, all->files[i], target, sizeof target, error);

        if (status != ATTN_OK)
            return status;
        for (size_t j = 0; j < i; j++)
            if (strcmp(shown_base(all->files[i]), shown_base(all->files[j])) == 0)
                return attn_error_set(error, ATTN_ARGUMENT,
                                      "--write %s: two files are named %s; one of them is accepted",
                                      shown_path(all->write).text, shown_value(shown_base(all->files[i])).text);
        for (size_t j = 0; stat(target, &made) == 0 && j < all->count; j++)
            if (stat(all->files[j], &given) == 0 && made.st_dev == given.st_dev && made.st_ino == given.st_ino)
                return attn_error_set(error, ATTN_ARGUMENT,
                                      "--write %s: %s would be overwritten; another folder is accepted",
                                      shown_path(all->write).text, shown_path(all->files[j]).text);
    }
    return ATTN_OK;
}

/* Rank 0: makes the folder with those above it. */
static attn_status make_folder(const char *path, attn_error *error)
{
    char part[PATH_MAX];
    struct stat found;

    if ((size_t)snprintf(part, sizeof part, "%s/", path) >= sizeof part)
        return attn_error_set(error, ATTN_ARGUMENT, "--write %s: a shorter name is accepted", shown_path(path).text);
    for (char *slash = strchr(part + 1, '/'); slash != NULL; slash = strchr(slash + 1, '/')) {
        *slash = '\0';
        if (mkdir(part, 0777) != 0 && errno != EEXIST)
            return attn_error_set(error, ATTN_ARGUMENT, "--write %s: %s", shown_path(path).text, strerror(errno));
        *slash = '/';
    }
    if (stat(path, &found) != 0 || !S_ISDIR(found.st_mode))
        return attn_error_set(error, ATTN_ARGUMENT, "--write %s: the name of a folder is accepted",
                              shown_path(path).text);
    return ATTN_OK;
}

static attn_status read_settings(verification *all, attn_error *error)
{
    attn_status status = ATTN_OK;

    all->count = options_files(all->given, &all->files);
    all->write = option_text(all->given, OPTION_WRITE);
    all->forward_only = option_given(all->given, OPTION_PASS);
    if (status == ATTN_OK && all->count == 0)
        status = attn_error_set(error, ATTN_ARGUMENT, "verify: a file is needed; see attnbench verify --help");
    if (status == ATTN_OK)
        status = sweep_read(all->given, all->launch->ranks, &all->lists, error);
    if (status != ATTN_OK)
        return status;
    if (all->lists.pass != ATTN_PASS_FORWARD)
        return attn_error_set(error, ATTN_ARGUMENT,
                              "--pass %s: forward is accepted, which limits the check to o, lse and y",
                              attn_pass_name(all->lists.pass));
    if (all->lists.scaling != SCALING_STRONG)
        return attn_error_set(error, ATTN_ARGUMENT, "--scaling %s: files have one size, strong is accepted",
                              sweep_scaling_name(all->lists.scaling));
    if (all->write != NULL && *all->write == '\0')
        return attn_error_set(error, ATTN_ARGUMENT, "--write \"\": the name of a folder is accepted");
    if (all->write != NULL && all->lists.count > 1)
        return attn_error_set(error, ATTN_ARGUMENT,
                              "--write %s: %lld ways to compute were asked for; one at a time is accepted",
                              shown_path(all->write).text, (long long)all->lists.count);
    return ATTN_OK;
}

/* Opens every file, so that a bad one is found before anything is computed. */
static attn_status open_files(verification *all, attn_error *error)
{
    attn_status status;

    all->inputs = calloc(all->count, sizeof *all->inputs);
    all->layers = calloc(all->count, sizeof *all->layers);
    status = all->inputs != NULL && all->layers != NULL
                 ? ATTN_OK
                 : attn_error_set(error, ATTN_MEMORY, "no memory for %zu files", all->count);
    status = attn_comm_agree(all->launch->comm, status, error);
    for (size_t i = 0; status == ATTN_OK && i < all->count; i++) {
        char schema[32];

        status = attn_file_schema(all->launch->comm, all->files[i], schema, sizeof schema, error);
        if (status == ATTN_OK && strcmp(schema, "attn-input") == 0)
            status = attn_input_open(all->launch->comm, all->files[i], &all->inputs[i], error);
        else if (status == ATTN_OK && strcmp(schema, "attn-layer") == 0)
            status = attn_layer_file_open(all->launch->comm, all->files[i], &all->layers[i], error);
        else if (status == ATTN_OK)
            status = attn_error_set(error, ATTN_INPUT, "%s: schema %s; attn-input and attn-layer are accepted",
                                    shown_path(all->files[i]).text, schema);
    }
    return status;
}

static attn_status prepare_folder(const verification *all, attn_error *error)
{
    attn_status status = ATTN_OK;

    if (all->write == NULL)
        return ATTN_OK;
    if (all->launch->rank == 0)
        status = check_targets(all, error);
    if (all->launch->rank == 0 && status == ATTN_OK)
        status = make_folder(all->write, error);
    return attn_comm_agree(all->launch->comm, status, error);
}

/* "avx2, allgather, 2x2, zigzag, allgather" */
static void describe_plan(const attn_plan *plan, char *how, size_t size)
{
    snprintf(how, size, "%s, %s, %dx%d, %s, %s", attn_kernel_name(plan->kernel), attn_exchange_name(plan->exchange),
             plan->grid.seq, plan->grid.head, attn_layout_name(plan->layout), attn_combine_name(plan->combine));
}

/* Collective over the group. */
static attn_status verify_file(verification *all, size_t file, const bench_case *one, attn_error *error)
{
    const char *const path = all->files[file];
    char how[160], target[PATH_MAX] = "";
    attn_status status = ATTN_OK;

    if (all->write != NULL)
        status = target_path(all, path, target, sizeof target, error);
    if (status != ATTN_OK)
        return status;
    if (all->layers[file] != NULL)
        return verify_layer_on_group(all, one, path, all->write != NULL ? target : NULL, error);
    describe_plan(&one->plan, how, sizeof how);
    status = verify_on_group(all, one, path, how, all->write != NULL ? target : NULL, error);
    return status == ATTN_OK ? verify_gradients_on_group(all, one, path, how, error) : status;
}

/* Rank 0. */
static void add_unrunnable(verification *all, size_t file, const char *reason)
{
    if (all->layers[file] != NULL) {
        verify_add_unchecked_layer(all, all->layers[file], all->files[file], "-", reason);
        return;
    }
    verify_add_unchecked(all, all->files[file], "o, lse", "-", reason);
    verify_add_unchecked_gradients(all, all->inputs[file], all->files[file], "-", reason);
}

/* Collective over the launch. One way to compute one file. */
static attn_status verify_point(verification *all, size_t file, const sweep_point *point, attn_error *error)
{
    const bench *launch = all->launch;
    const attn_problem *problem = all->layers[file] != NULL ? &attn_layer_file_problem(all->layers[file])->attention
                                                            : attn_input_problem(all->inputs[file]);
    bench_case one;
    attn_status status = bench_case_create(launch, &all->lists, point, &all->groups, NULL, problem, &one, error);

    if (status == ATTN_OK && one.runnable == ATTN_OK) {
        if (rank_group_has(one.group, launch))
            status = verify_file(all, file, &one, error);
        if (status != ATTN_MPI) { /* after an MPI failure nobody can be waited for */
            const attn_status woken = attn_comm_sleep_barrier(launch->comm, status == ATTN_OK ? error : NULL);

            status = status == ATTN_OK ? woken : status;
        }
    }
    if (status == ATTN_OK && launch->rank == 0 && one.runnable != ATTN_OK)
        add_unrunnable(all, file, one.reason.message);
    bench_case_release(&one);
    return attn_comm_agree(launch->comm, status, error);
}

static attn_status verify_files(verification *all, attn_error *error)
{
    attn_status status = ATTN_OK;

    for (size_t i = 0; status == ATTN_OK && i < all->count; i++)
        for (int64_t n = 0; status == ATTN_OK && n < all->lists.count; n++) {
            const sweep_point point = sweep_at(&all->lists, n);

            status = verify_point(all, i, &point, error);
        }
    return status;
}

/* Rank 0. */
static attn_status print_outcome(const verification *all, attn_error *error)
{
    attn_status status;

    if (all->passed + all->failed == 0)
        return attn_error_set(error, ATTN_UNSUPPORTED, "nothing was checked; %s", all->first_reason);
    status = attn_table_print(all->table, ATTN_TABLE_TEXT, stdout);
    printf("%lld checked: %lld PASS, %lld FAIL; %lld not checked\n", (long long)(all->passed + all->failed),
           (long long)all->passed, (long long)all->failed, (long long)all->unchecked);
    return status;
}

static attn_status perform(verification *all, bool *wrong, attn_error *error)
{
    const bench *launch = all->launch;
    attn_status status = read_settings(all, error);

    if (status == ATTN_OK)
        status = open_files(all, error);
    if (status == ATTN_OK)
        status = rank_groups_create(launch, &all->lists.axes[AXIS_RANKS], &all->groups, error);
    if (status == ATTN_OK)
        status = prepare_folder(all, error);
    if (status == ATTN_OK && launch->rank == 0)
        status = attn_table_create("<file|<array|<kernel, exchange, grid, layout, combine|max error|tolerance|<verdict",
                                   &all->table, error);
    if (status == ATTN_OK)
        status = verify_files(all, error);
    if (status == ATTN_OK && launch->rank == 0)
        status = print_outcome(all, error);
    status = attn_comm_agree(launch->comm, status, error);
    if (status == ATTN_OK)
        status = attn_comm_broadcast(launch->comm, 0, &all->failed, sizeof all->failed, error);
    *wrong = all->failed > 0;
    return status;
}

attn_status cmd_verify(const bench *launch, int argc, char **argv, bool *wrong, attn_error *error)
{
    verification all = {.launch = launch};
    options *given;
    attn_status status = options_parse(&set, argc, argv, &given, error);

    if (status != ATTN_OK)
        return status;
    all.given = given;
    if (!option_given(given, OPTION_HELP))
        status = perform(&all, wrong, error);
    else if (launch->rank == 0)
        options_help(&set);
    attn_table_destroy(all.table);
    for (size_t i = 0; all.inputs != NULL && i < all.count; i++)
        status = tensors_close_input(all.inputs[i], status, error);
    for (size_t i = 0; all.layers != NULL && i < all.count; i++)
        status = layer_tensors_close_file(all.layers[i], status, error);
    if (status != ATTN_MPI) /* collective */
        rank_groups_release(&all.groups);
    free(all.inputs);
    free(all.layers);
    sweep_release(&all.lists);
    options_destroy(given);
    return status;
}
