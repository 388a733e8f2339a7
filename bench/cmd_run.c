/* attnbench run: expands a sweep, measures each case, records it at once, and prints what was recorded. */
#include "digest.h"
#include "exports.h"
#include "interrupt.h"
#include "launch.h"
#include "measure.h"
#include "message.h"
#include "shown.h"
#include "tables.h"
#include "tensors.h"

#include <attn/input.h>
#include <attn/random.h>

#include <limits.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

static const option_key keys[] = {
    OPTION_BATCH,         OPTION_HEADS,       OPTION_KV_HEADS, OPTION_SEQ,
    OPTION_KV_SEQ,        OPTION_HEAD_DIM,    OPTION_DTYPE,    OPTION_V_HEAD_DIM,
    OPTION_CAUSAL,        OPTION_WINDOW_LEFT, OPTION_SOFTCAP,  OPTION_SCALE,
    OPTION_WINDOW_RIGHT,  OPTION_ALIBI,       OPTION_SINKS,    OPTION_DOCUMENTS,
    OPTION_DROPOUT,       OPTION_INPUT,       OPTION_SEED,     OPTION_PASS,
    OPTION_KERNEL,        OPTION_THREADS,     OPTION_RANKS,    OPTION_GRID,
    OPTION_EXCHANGE,      OPTION_TRANSFER,    OPTION_HYBRID,   OPTION_INNER,
    OPTION_NODE_RANKS,    OPTION_LAYOUT,      OPTION_COMBINE,  OPTION_PLAN,
    OPTION_DETERMINISTIC, OPTION_SCALING,     OPTION_MIN_REPS, OPTION_MAX_REPS,
    OPTION_MAX_TIME,      OPTION_CI,          OPTION_REL_ERR,  OPTION_WARMUP,
    OPTION_OUTPUT,        OPTION_JSON,        OPTION_CSV,      OPTION_METRIC,
    OPTION_RESUME,        OPTION_QUIET,
};

static const option_set set = {
    .usage = "attnbench run [OPTION...]",
    .about = "Times a pass of attention: forward, backward, or a decoding step. Options that take lists make a sweep: "
             "every combination is a case. "
             "Each case repeats until the confidence interval of its median is narrow enough, is validated against a "
             "float64 computation, and is recorded at once; a point that cannot run is a row with its reason. Raw "
             "times of every repetition, rank and phase go to --output (default: attnbench-DATE-LAUNCH.h5).",
    .examples = "  attnbench run --seq 1k --causal\n"
                "  mpirun -n 4 attnbench run --seq 1k:16k:x2 --ranks 1,2,4 --causal --output scaling.h5\n"
                "  mpirun -n 4 attnbench run --input real.h5 --exchange all --layout all --json -\n",
    .keys = keys,
    .count = sizeof keys / sizeof keys[0],
};

/* A run from its options to its results. */
typedef struct run {
    const bench *launch;
    const options *given;
    sweep lists;
    exports wanted;
    metric_columns metrics;
    measure_context context;
    bandwidths bandwidths;
    machines machines;
    rank_groups groups;
    attn_input *input;
    bench_case *cases;   /* [lists.count], in the order of the sweep */
    unsigned char *skip; /* [lists.count] valid in an earlier launch, or the same case twice */
    int64_t *order;      /* [lists.count] */
    char launch_id[LAUNCH_ID_SIZE];
    char output[PATH_MAX];
    attn_result_writer *writer; /* on rank 0, with the counts below */
    int64_t finished;           /* cases of this launch that are recorded for good */
    int64_t measured;           /* cases with a result, of this launch or an earlier one */
    int64_t found;              /* cases that an earlier launch has measured, and those that are left to run */
    int64_t left;
    int64_t rows_checked, nan_rows;
    char first_reason[ATTN_MESSAGE_MAX]; /* why a case did not run */
    bool invalid, interrupted;
} run;

static attn_status read_sampling(const options *given, attn_sampler_options *out, attn_error *error)
{
    attn_status status = option_integer(given, OPTION_MIN_REPS, NUMBER_POSITIVE, &out->min_reps, error);

    if (status == ATTN_OK)
        status = option_integer(given, OPTION_MAX_REPS, NUMBER_POSITIVE, &out->max_reps, error);
    if (status == ATTN_OK && out->min_reps > out->max_reps)
        status = attn_error_set(error, ATTN_ARGUMENT, "--min-reps %lld: at most --max-reps, %lld, is accepted",
                                (long long)out->min_reps, (long long)out->max_reps);
    if (status == ATTN_OK)
        status = option_real(given, OPTION_MAX_TIME, REAL_POSITIVE, &out->max_time, error);
    if (status == ATTN_OK)
        status = option_real(given, OPTION_CI, REAL_FRACTION, &out->ci, error);
    if (status == ATTN_OK)
        status = option_real(given, OPTION_REL_ERR, REAL_POSITIVE, &out->rel_err, error);
    return status != ATTN_OK ? status : option_integer(given, OPTION_WARMUP, NUMBER_COUNT, &out->warmup, error);
}

/* An input file brings its problem along: options that would change it are refused. */
static attn_status check_input_options(const run *all, attn_error *error)
{
    static const option_key fixed[] = {
        OPTION_BATCH,      OPTION_HEADS,  OPTION_KV_HEADS,    OPTION_SEQ,          OPTION_KV_SEQ,  OPTION_HEAD_DIM,
        OPTION_V_HEAD_DIM, OPTION_CAUSAL, OPTION_WINDOW_LEFT, OPTION_WINDOW_RIGHT, OPTION_SOFTCAP, OPTION_SCALE,
        OPTION_ALIBI,      OPTION_SINKS,  OPTION_DOCUMENTS,   OPTION_DROPOUT,
    };

    if (!option_given(all->given, OPTION_INPUT))
        return ATTN_OK;
    for (size_t i = 0; i < sizeof fixed / sizeof fixed[0]; i++)
        if (option_given(all->given, fixed[i]))
            return attn_error_set(error, ATTN_ARGUMENT, "%s: not accepted with --input, whose file sets it",
                                  option_label(fixed[i]));
    if (all->lists.scaling != SCALING_STRONG)
        return attn_error_set(error, ATTN_ARGUMENT, "--scaling %s: with --input, strong is accepted",
                              sweep_scaling_name(all->lists.scaling));
    return ATTN_OK;
}

static attn_status read_settings(run *all, attn_error *error)
{
    case_input *input = &all->context.input;
    attn_status status = sweep_read(all->given, all->launch->ranks, &all->lists, error);
    if (status == ATTN_OK)
        status = read_sampling(all->given, &all->context.sampling, error);
    if (status == ATTN_OK)
        status = check_input_options(all, error);
    if (status == ATTN_OK)
        status = exports_read(all->given, &all->wanted, error);
    if (status == ATTN_OK)
        status = metric_columns_read(all->given, &all->metrics, error);
    if (status != ATTN_OK)
        return status;
    if (option_given(all->given, OPTION_RESUME) && !option_given(all->given, OPTION_OUTPUT))
        return attn_error_set(error, ATTN_ARGUMENT, "--resume: name the file to continue with --output FILE.h5");
    if (option_given(all->given, OPTION_OUTPUT) && option_text(all->given, OPTION_OUTPUT)[0] == '\0')
        return attn_error_set(error, ATTN_ARGUMENT, "--output \"\": the name of a file is accepted");
    all->context.launch = all->launch;
    all->context.lists = &all->lists;
    all->context.launch_id = all->launch_id;
    all->context.bandwidths = &all->bandwidths;
    all->context.machines = &all->machines;
    input->path = option_text(all->given, OPTION_INPUT);
    input->name = input->path != NULL ? shown_base(input->path) : "";
    return ATTN_OK;
}

/* Makes every case; ATTN_UNSUPPORTED with the reason when none can run. */
static attn_status prepare_cases(run *all, attn_error *error)
{
    const size_t count = (size_t)all->lists.count;
    const attn_problem *file = all->input != NULL ? attn_input_problem(all->input) : NULL;
    int64_t runnable = 0;
    attn_status status = ATTN_OK;

    all->cases = calloc(count, sizeof *all->cases);
    all->skip = calloc(count, sizeof *all->skip);
    all->order = calloc(count, sizeof *all->order);
    if (all->cases == NULL || all->skip == NULL || all->order == NULL)
        status = attn_error_set(error, ATTN_MEMORY, "no memory for %zu cases", count);
    status = attn_comm_agree(all->launch->comm, status, error);
    for (int64_t i = 0; status == ATTN_OK && i < all->lists.count; i++) {
        const sweep_point point = sweep_at(&all->lists, i);

        status = bench_case_create(all->launch, &all->lists, &point, &all->groups, &all->machines, file, &all->cases[i],
                                   error);
        all->cases[i].index = i;
        runnable += all->cases[i].runnable == ATTN_OK;
    }
    if (status != ATTN_OK || runnable > 0)
        return status;
    if (count == 1)
        return attn_error_set(error, ATTN_UNSUPPORTED, "nothing can run: %s", all->cases[0].reason.message);
    return attn_error_set(error, ATTN_UNSUPPORTED, "none of %zu cases can run; the first: %s", count,
                          all->cases[0].reason.message);
}

/* On rank 0, with --resume: what an earlier launch has recorded, joined or in parts; NULL when nothing, or it cannot be
 * read. */
static attn_results *read_earlier(const run *all)
{
    char parts[PATH_MAX + 8];
    const char *const paths[] = {all->output, parts};
    attn_results *results;

    snprintf(parts, sizeof parts, "%s.parts", all->output);
    if (attn_results_read(paths, 2, &results, NULL) == ATTN_OK ||
        attn_results_read(paths, 1, &results, NULL) == ATTN_OK ||
        attn_results_read(paths + 1, 1, &results, NULL) == ATTN_OK)
        return results;
    return NULL;
}

/* Whether a case whose choices were not the rule's has a result: under what was asked for, as other choices may have
 * been made of it. */
static attn_status find_asked(const run *all, const attn_results *earlier, const bench_case *one, bool *found,
                              attn_error *error)
{
    char id[ATTN_ID_SIZE];
    attn_status status = ATTN_OK;

    *found = false;
    if (earlier == NULL || !bench_case_planned(&all->lists, one))
        return ATTN_OK;
    status = bench_case_asked(one, &all->lists, &all->context.input, id, error);
    for (size_t n = 0; status == ATTN_OK && n < earlier->count; n++)
        *found = *found || (earlier->cases[n]->status == ATTN_CASE_VALID &&
                            strcmp(attn_attributes_text(earlier->cases[n]->outcomes, "asked", ""), id) == 0);
    return status;
}

/* On rank 0: marks the cases for which an earlier launch has a valid result and those that stand twice in the sweep. */
static attn_status mark_skipped(run *all, attn_error *error)
{
    char(*ids)[ATTN_ID_SIZE] = calloc((size_t)all->lists.count, sizeof *ids);
    attn_results *earlier = option_given(all->given, OPTION_RESUME) ? read_earlier(all) : NULL;
    attn_status status = ids != NULL ? ATTN_OK : attn_error_set(error, ATTN_MEMORY, "no memory for the cases");

    for (int64_t i = 0; status == ATTN_OK && i < all->lists.count; i++) {
        attn_attributes *factors;
        bool asked = false;

        status = attn_attributes_create(&factors, error);
        if (status != ATTN_OK)
            break;
        status = bench_case_factors(&all->cases[i], &all->lists, &all->context.input, factors);
        attn_attributes_id(factors, ids[i]);
        attn_attributes_destroy(factors);
        if (status == ATTN_OK)
            status = find_asked(all, earlier, &all->cases[i], &asked, error);
        all->skip[i] = asked || attn_result_writer_has(all->writer, ids[i]);
        all->found += all->skip[i];
        for (int64_t j = 0; !all->skip[i] && j < i; j++)
            all->skip[i] = strcmp(ids[i], ids[j]) == 0;
        all->left += !all->skip[i];
    }
    all->measured = all->found;
    attn_results_destroy(earlier);
    free(ids);
    return status;
}

/* Opens the result file on rank 0 and tells all ranks what is left to run. */
static attn_status open_output(run *all, attn_error *error)
{
    const bench *launch = all->launch;
    const char *output = option_text(all->given, OPTION_OUTPUT);
    const rank_group *largest = &all->groups.groups[0];
    attn_attributes *environment = NULL;
    attn_status status = launch_make_id(launch, all->launch_id, error);

    for (int i = 1; i < all->groups.count; i++)
        if (all->groups.groups[i].ranks > largest->ranks)
            largest = &all->groups.groups[i];
    if (status == ATTN_OK)
        status = launch_environment(launch, largest, all->lists.seed, &environment, error);
    if (status != ATTN_OK)
        return status;
    if (output == NULL)
        snprintf(all->output, sizeof all->output, "attnbench-%s.h5", all->launch_id);
    else if ((size_t)snprintf(all->output, sizeof all->output, "%s", output) >= sizeof all->output)
        status =
            attn_error_set(error, ATTN_ARGUMENT, "--output %s: a shorter name is accepted", shown_path(output).text);
    if (launch->rank == 0 && status == ATTN_OK) {
        status = exports_check(&all->wanted, all->output, error);
        if (status == ATTN_OK)
            status = attn_result_writer_open(all->output, option_given(all->given, OPTION_RESUME), all->launch_id,
                                             environment, &all->writer, error);
        if (status == ATTN_FILE)
            status = ATTN_ARGUMENT; /* what cannot be opened is the user's to mend */
        if (status == ATTN_OK)
            status = mark_skipped(all, error);
    }
    attn_attributes_destroy(environment);
    status = attn_comm_agree(launch->comm, status, error);
    return status != ATTN_OK
               ? status
               : attn_comm_broadcast(launch->comm, 0, all->skip, (size_t)all->lists.count * sizeof *all->skip, error);
}

static void warn(const run *all)
{
    if (option_given(all->given, OPTION_QUIET))
        return;
    if (option_given(all->given, OPTION_RESUME))
        message_note(all->launch, "%lld of %lld case%s found, %lld to run", (long long)all->found,
                     (long long)(all->found + all->left), all->found + all->left > 1 ? "s" : "", (long long)all->left);
    if (getenv("OMP_NUM_THREADS") != NULL && !option_given(all->given, OPTION_THREADS))
        message_warning(all->launch, "OMP_NUM_THREADS is not read; --threads sets the threads of a rank");
    for (int64_t i = 0; i < all->lists.count; i++) {
        const bench_case *one = &all->cases[i];

        if (all->skip[i] || one->runnable != ATTN_OK || !bench_case_oversubscribed(one))
            continue;
        message_warning(all->launch, "%d rank%s x %d thread%s on %d core%s: they share cores, and times suffer",
                        one->group->ranks, one->group->ranks > 1 ? "s" : "", one->threads, one->threads > 1 ? "s" : "",
                        one->group->cores, one->group->cores > 1 ? "s" : "");
        return;
    }
}

/* A seeded shuffle (Fisher and Yates), so that drift of the machine does not follow the sweep. */
static void shuffle(run *all)
{
    for (int64_t i = 0; i < all->lists.count; i++)
        all->order[i] = i;
    for (int64_t i = all->lists.count - 1; i > 0; i--) {
        const int64_t j = attn_random_below(all->lists.seed, ATTN_STREAM_CASE_ORDER, (uint64_t)i, i + 1);
        const int64_t kept = all->order[i];

        all->order[i] = all->order[j];
        all->order[j] = kept;
    }
}

/* Rank 0: publishes a finished case and shows it. */
static attn_status keep(run *all, const attn_result *result, int64_t position, int64_t total, attn_error *error)
{
    const attn_status status = attn_result_writer_put(all->writer, result, NULL, 0, error);

    if (status != ATTN_OK)
        return status;
    all->invalid = all->invalid || result->status == ATTN_CASE_INVALID;
    all->finished += result->status != ATTN_CASE_INTERRUPTED;
    all->measured += result->status != ATTN_CASE_SKIPPED;
    if (result->status == ATTN_CASE_SKIPPED && all->first_reason[0] == '\0')
        snprintf(all->first_reason, sizeof all->first_reason, "%s",
                 attn_attributes_text(result->outcomes, "reason", ""));
    all->rows_checked += attn_attributes_integer(result->outcomes, "rows_checked", 0);
    all->nan_rows += attn_attributes_integer(result->outcomes, "nan_rows", 0);
    if (!option_given(all->given, OPTION_QUIET) && message_on_terminal()) {
        fprintf(stderr, "attnbench: [%lld/%lld] ", (long long)position, (long long)total);
        attn_study_print_case_line(result, stderr);
    }
    return ATTN_OK;
}

static attn_status run_cases(run *all, attn_error *error)
{
    const MPI_Comm comm = all->launch->comm;
    int64_t position = 0, total = 0;
    attn_status status = ATTN_OK;

    shuffle(all);
    for (int64_t i = 0; i < all->lists.count; i++)
        total += !all->skip[i];
    for (int64_t n = 0; status == ATTN_OK && n < all->lists.count; n++) {
        const int64_t index = all->order[n];
        attn_result *result;
        double stop = interrupt_name() != NULL;

        if (all->skip[index])
            continue;
        status = attn_comm_max(comm, &stop, 1, error);
        all->interrupted = stop > 0;
        if (status != ATTN_OK || all->interrupted)
            break;
        status = measure_case(&all->context, &all->cases[index], &result, error);
        if (status == ATTN_OK && all->launch->rank == 0)
            status = keep(all, result, ++position, total, error);
        if (status == ATTN_OK && result != NULL)
            all->interrupted = result->status == ATTN_CASE_INTERRUPTED;
        attn_result_destroy(result);
        status = attn_comm_agree(comm, status, error);
    }
    return status;
}

/* Rank 0: such rows agree with the reference, but hardly as anybody wishes. */
static void warn_of_nan(const run *all)
{
    if (all->nan_rows > 0 && !option_given(all->given, OPTION_QUIET))
        message_warning(all->launch, "%lld of %lld checked rows are NaN because the input holds NaN or infinities",
                        (long long)all->nan_rows, (long long)all->rows_checked);
}

/* Rank 0: prints and exports from the files, as anybody else would read them. */
static attn_status show(const run *all, const char *const *paths, size_t count, attn_error *error)
{
    attn_results *results;
    attn_status status = attn_results_read(paths, count, &results, error);

    if (status != ATTN_OK)
        return status;
    results_order(results);
    exports_warn(all->launch, results);
    status = attn_study_print_cases(results, all->metrics.list, all->metrics.count, ATTN_TABLE_TEXT,
                                    exports_table_stream(&all->wanted), error);
    if (status == ATTN_OK)
        status = exports_write(&all->wanted, results, error);
    attn_results_destroy(results);
    warn_of_nan(all);
    return status;
}

/* Rank 0: ends the file, joined or, after an interruption or a failure, in parts. */
static attn_status finish(run *all, attn_status status, attn_error *error)
{
    const bool join = status == ATTN_OK && !all->interrupted;
    attn_error closing = ATTN_ERROR_INIT;
    attn_status closed = attn_result_writer_close(all->writer, join, &closing);
    char parts[PATH_MAX + 8];
    const char *const paths[] = {parts, all->output};

    all->writer = NULL;
    if (status != ATTN_OK)
        return status;
    if (closed != ATTN_OK)
        return attn_error_set(error, closed, "%s", closing.message);
    if (join) {
        status = show(all, paths + 1, 1, error);
        if (!option_given(all->given, OPTION_QUIET) && !option_given(all->given, OPTION_OUTPUT))
            message_note(all->launch, "the results are in %s", shown_path(all->output).text);
        if (status == ATTN_OK && all->measured == 0) /* found while they were tried: the reasons are in the file */
            status = attn_error_set(error, ATTN_UNSUPPORTED, "nothing could run: %s", all->first_reason);
        return status;
    }
    snprintf(parts, sizeof parts, "%s.parts", all->output);
    if (all->finished > 0) /* the file is there too when it was being resumed */
        show(all, paths, access(all->output, R_OK) == 0 ? 2 : 1, NULL);
    return attn_error_set(error, ATTN_INTERRUPTED,
                          "interrupted by %s; finished cases are kept in %s.parts, --resume continues",
                          interrupt_name() != NULL ? interrupt_name() : "a signal", shown_path(all->output).text);
}

static attn_status perform(run *all, bool *wrong, attn_error *error)
{
    const bench *launch = all->launch;
    case_input *input = &all->context.input;
    attn_status status = read_settings(all, error);

    interrupt_watch();
    if (status == ATTN_OK && input->path != NULL)
        status = attn_input_open(launch->comm, input->path, &all->input, error);
    if (status == ATTN_OK)
        status = rank_groups_create(launch, &all->lists.axes[AXIS_RANKS], &all->groups, error);
    if (status == ATTN_OK)
        status = prepare_cases(all, error);
    if (status == ATTN_OK && input->path != NULL) /* a file that fits in memory by now */
        status = input_digest(launch->comm, all->input, input->digest, error);
    if (status == ATTN_OK)
        status = open_output(all, error);
    if (status == ATTN_OK) {
        warn(all);
        status = run_cases(all, error);
    }
    if (launch->rank == 0 && all->writer != NULL)
        status = finish(all, status, error);
    status = attn_comm_agree(launch->comm, status, error);
    if (status == ATTN_OK)
        status = attn_comm_broadcast(launch->comm, 0, &all->invalid, sizeof all->invalid, error);
    *wrong = all->invalid;
    return status;
}

attn_status cmd_run(const bench *launch, int argc, char **argv, bool *wrong, attn_error *error)
{
    run all = {.launch = launch};
    options *given;
    attn_status status = options_parse(&set, argc, argv, &given, error);

    if (status != ATTN_OK)
        return status;
    all.given = given;
    if (option_given(given, OPTION_HELP)) {
        if (launch->rank == 0)
            options_help(&set);
    } else {
        status = perform(&all, wrong, error);
    }
    for (int64_t i = 0; all.cases != NULL && i < all.lists.count; i++)
        bench_case_release(&all.cases[i]);
    free(all.cases);
    free(all.skip);
    free(all.order);
    free(all.bandwidths.list);
    machines_release(&all.machines);
    status = tensors_close_input(all.input, status, error);
    if (status != ATTN_MPI) /* collective */
        rank_groups_release(&all.groups);
    sweep_release(&all.lists);
    metric_columns_release(&all.metrics);
    options_destroy(given);
    return status;
}
