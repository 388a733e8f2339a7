/* attnbench train: trains a layer on associative recall, times its steps by phase, and keeps the curve with all that it
 * takes to continue. */
#include "exports.h"
#include "interrupt.h"
#include "launch.h"
#include "message.h"
#include "shown.h"
#include "training.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

static const option_key keys[] = {
    OPTION_BATCH,         OPTION_HEADS,        OPTION_KV_HEADS, OPTION_SEQ,      OPTION_HEAD_DIM,
    OPTION_EMBED_DIM,     OPTION_VALUES,       OPTION_DTYPE,    OPTION_CAUSAL,   OPTION_SEED,
    OPTION_STEPS,         OPTION_KERNEL,       OPTION_THREADS,  OPTION_GRID,     OPTION_EXCHANGE,
    OPTION_TRANSFER,      OPTION_HYBRID,       OPTION_INNER,    OPTION_LAYOUT,   OPTION_NODE_RANKS,
    OPTION_LEARNING_RATE, OPTION_WEIGHT_DECAY, OPTION_OUTPUT,   OPTION_CONTINUE, OPTION_CHECKPOINT_EVERY,
    OPTION_CURVE,         OPTION_QUIET,
};

static const option_default defaults[] = {
    {OPTION_BATCH, "16"}, {OPTION_HEADS, "4"}, {OPTION_SEQ, "64"}, {OPTION_HEAD_DIM, "16"}};

static const option_set set = {
    .usage = "attnbench train [OPTION...] [FILE...]",
    .about =
        "Trains a layer on associative recall. The first half of a sequence binds a value to each of its keys, the "
        "other half asks for values by their keys: only attention to rows of other ranks can answer. A step is "
        "forward, cross-entropy, backward and AdamW, on new random sequences; weights are kept in float32 where "
        "--dtype is bfloat16. --output keeps the curve, the times and all that --resume needs to go on with the "
        "same bits.",
    .examples = "  attnbench train\n"
                "  mpirun -n 4 attnbench train --causal --grid 4x1 --output recall.h5 --checkpoint-every 50\n"
                "  mpirun -n 4 attnbench train --causal --grid 4x1 --steps 400 --output recall.h5 --resume\n",
    .keys = keys,
    .count = sizeof keys / sizeof keys[0],
    .defaults = defaults,
    .default_count = sizeof defaults / sizeof defaults[0],
    .takes_files = true,
};

/* Lines that are printed of a whole training, and a step that is printed in any case. */
enum { LINES = 20 };

/* A training from its options to its end. */
typedef struct run {
    const bench *launch;
    const options *given;
    training_options wanted;
    rank_groups groups;
    bench_case one;
    attn_training training;
    attn_trainer *trainer;
    attn_training_record record;  /* on rank 0 */
    attn_training_writer *writer; /* on rank 0; NULL without --output */
    int64_t first;                /* steps that were made before */
    int64_t printed;              /* steps up to the last line */
    double *seconds;              /* on rank 0: [ranks,ATTN_PHASE_COUNT] of a step */
    bool interrupted, diverged;
} run;

/* Collective. Makes the case, with all its choices, and the trainer. */
static attn_status prepare(run *all, attn_error *error)
{
    const bench *const launch = all->launch;
    sweep *const lists = &all->wanted.lists;
    const sweep_point point = sweep_at(lists, 0);
    attn_layer_options chosen = {.output = ATTN_LAYER_OUTPUT_AUTO};
    attn_status status = rank_groups_create(launch, &lists->axes[AXIS_RANKS], &all->groups, error);

    if (status == ATTN_OK)
        status = bench_case_create(launch, lists, &point, &all->groups, NULL, NULL, &all->one, error);
    if (status != ATTN_OK)
        return status;
    if (all->one.runnable != ATTN_OK)
        return attn_error_set(error, all->one.runnable, "%s", all->one.reason.message);
    all->training = training_of(&all->wanted, &all->one.problem);
    chosen.attention = bench_case_choices(lists, &all->one);
    return attn_trainer_create(launch->comm, &all->training, &chosen, &all->trainer, error);
}

/* Rank 0: reads what --resume continues. */
static attn_status read_earlier(run *all, attn_error *error)
{
    const char *const path = all->wanted.output;
    attn_training_record earlier;
    attn_status status = attn_training_file_read(path, NULL, &earlier, error);

    if (status != ATTN_OK)
        return status;
    status = training_compare(path, all->record.settings, earlier.settings, error);
    if (status == ATTN_OK && earlier.steps > all->wanted.steps)
        status = attn_error_set(error, ATTN_ARGUMENT, "--steps %lld: %s has %lld already; as many or more are accepted",
                                (long long)all->wanted.steps, shown_path(path).text, (long long)earlier.steps);
    attn_training_record_release(&earlier);
    if (status == ATTN_OK)
        status = attn_training_file_read(path, &all->training, &earlier, error);
    if (status != ATTN_OK)
        return status;
    attn_attributes_destroy(earlier.environment);
    attn_attributes_destroy(earlier.settings);
    earlier.environment = all->record.environment;
    earlier.settings = all->record.settings;
    all->record.environment = all->record.settings = NULL;
    attn_training_record_release(&all->record);
    all->record = earlier;
    return ATTN_OK;
}

/* Rank 0: takes the output's name, and the record that it continues. */
static attn_status open_output(run *all, bool *continued, attn_error *error)
{
    const training_options *const wanted = &all->wanted;
    attn_status status = exports_check_path(OPTION_CURVE, wanted->plot, error);

    if (status == ATTN_OK)
        status = training_settings(&all->training, all->record.settings, error);
    if (status != ATTN_OK || wanted->output == NULL)
        return status;
    status = attn_training_writer_open(wanted->output, wanted->resume, &all->writer, error);
    if (status == ATTN_FILE)
        status = ATTN_ARGUMENT; /* what cannot be opened is the user's to mend */
    *continued = status == ATTN_OK && wanted->resume && access(wanted->output, F_OK) == 0;
    return *continued ? read_earlier(all, error) : status;
}

/* Collective. The record of rank 0, empty or continued, and the trainer that belongs to it. */
static attn_status begin(run *all, attn_error *error)
{
    const bench *const launch = all->launch;
    attn_attributes *environment = NULL;
    bool continued = false;
    attn_status status = launch_environment(launch, &all->groups.groups[0], all->training.seed, &environment, error);

    if (status != ATTN_OK)
        return status;
    if (launch->rank == 0) {
        status = attn_training_record_create(&all->record, error);
        if (status == ATTN_OK) {
            attn_attributes_destroy(all->record.environment);
            all->record.environment = environment;
            environment = NULL;
            status = open_output(all, &continued, error);
        }
        if (status == ATTN_OK && !continued)
            status = attn_train_state_create(&all->training, &all->record.state, error);
        all->seconds = malloc((size_t)launch->ranks * ATTN_PHASE_COUNT * sizeof *all->seconds);
        if (status == ATTN_OK && all->seconds == NULL)
            status = attn_error_set(error, ATTN_MEMORY, "no memory for the times of %d ranks", launch->ranks);
    }
    attn_attributes_destroy(environment);
    status = attn_comm_agree(launch->comm, status, error);
    if (status == ATTN_OK)
        status = attn_comm_broadcast(launch->comm, 0, &continued, sizeof continued, error);
    if (status == ATTN_OK && continued)
        status = attn_trainer_load(all->trainer, &all->record.state, error);
    all->first = all->printed = all->trainer != NULL ? attn_trainer_steps(all->trainer) : 0;
    return status;
}

/* Collective. Writes what there is. */
static attn_status checkpoint(run *all, attn_error *error)
{
    attn_status status = attn_trainer_save(all->trainer, &all->record.state, error);

    if (status == ATTN_OK && all->launch->rank == 0)
        status = attn_training_writer_put(all->writer, &all->training, &all->record, error);
    return attn_comm_agree(all->launch->comm, status, error);
}

/* Rank 0: keeps a step and prints some of them. */
static attn_status keep(run *all, const attn_train_step *step, attn_error *error)
{
    attn_training_record *const record = &all->record;
    const int64_t apart = (all->wanted.steps - all->first + LINES - 1) / LINES;
    attn_status status = attn_training_record_append(record, step, all->launch->ranks, all->seconds, error);
    const bool first = record->steps == all->first + 1;

    if (status != ATTN_OK || (!first && record->steps % apart != 0 && record->steps != all->wanted.steps))
        return status;
    if (first)
        training_print_head(stdout);
    status = training_print_step(record, all->printed, stdout, error);
    all->printed = record->steps;
    return status;
}

/* Collective. Whether a signal asks any rank to stop. */
static attn_status look_for_signal(run *all, attn_error *error)
{
    double stop = interrupt_name() != NULL;
    const attn_status status = attn_comm_max(all->launch->comm, &stop, 1, error);

    all->interrupted = stop > 0;
    return status;
}

/* Collective. */
static attn_status make_steps(run *all, attn_error *error)
{
    const MPI_Comm comm = all->launch->comm;
    const training_options *const wanted = &all->wanted;
    attn_status status = look_for_signal(all, error);

    while (status == ATTN_OK && !all->interrupted && !all->diverged &&
           attn_trainer_steps(all->trainer) < wanted->steps) {
        attn_train_step step;
        int64_t made;

        status = attn_comm_barrier(comm, error);
        if (status == ATTN_OK)
            status = attn_trainer_step(all->trainer, &step, error);
        if (status == ATTN_OK)
            status = attn_comm_gather(comm, step.seconds, ATTN_PHASE_COUNT, all->seconds, error);
        if (status == ATTN_OK && all->launch->rank == 0)
            status = keep(all, &step, error);
        status = attn_comm_agree(comm, status, error);
        made = attn_trainer_steps(all->trainer);
        if (status == ATTN_OK)
            all->diverged = !isfinite(step.loss);
        if (status == ATTN_OK && !all->diverged && wanted->every > 0 && made % wanted->every == 0 &&
            made < wanted->steps)
            status = checkpoint(all, error);
        if (status == ATTN_OK)
            status = look_for_signal(all, error);
    }
    return status;
}

/* Rank 0: what is printed and drawn at the end. */
static attn_status show(const run *all, attn_error *error)
{
    const training_options *const wanted = &all->wanted;
    const char *const *files;
    const size_t count = options_files(all->given, &files);
    attn_status status = ATTN_OK;

    if (all->record.steps > all->first)
        status = training_print_phases(&all->record, all->first, stdout, error);
    if (status == ATTN_OK && wanted->plot != NULL && !all->diverged)
        status = training_draw(&all->record, wanted->output != NULL ? shown_base(wanted->output) : "", files, count,
                               wanted->plot, error);
    return status;
}

static attn_status tell_interruption(const run *all, attn_error *error)
{
    const char *const name = interrupt_name() != NULL ? interrupt_name() : "a signal";
    const long long steps = attn_trainer_steps(all->trainer);

    if (all->wanted.output == NULL || steps == 0)
        return attn_error_set(error, ATTN_INTERRUPTED, "interrupted by %s after step %lld; nothing is kept", name,
                              steps);
    return attn_error_set(error, ATTN_INTERRUPTED,
                          "interrupted by %s after step %lld, which %s holds; --resume continues", name, steps,
                          shown_path(all->wanted.output).text);
}

static void warn(const run *all)
{
    if (all->wanted.quiet)
        return;
    if (all->first > 0)
        message_note(all->launch, "%s: %lld steps found, %lld to make", shown_path(all->wanted.output).text,
                     (long long)all->first, (long long)(all->wanted.steps - all->first));
    if (bench_case_oversubscribed(&all->one))
        message_warning(all->launch, "%d ranks x %d threads share %d cores, and times suffer", all->launch->ranks,
                        all->one.threads, all->one.group->cores);
}

/* Collective. */
static attn_status perform(run *all, bool *wrong, attn_error *error)
{
    const bench *const launch = all->launch;
    attn_status status = training_options_read(all->given, launch->ranks, &all->wanted, error);

    interrupt_watch();
    if (status == ATTN_OK)
        status = prepare(all, error);
    if (status == ATTN_OK)
        status = begin(all, error);
    if (status != ATTN_OK)
        return status;
    warn(all);
    status = make_steps(all, error);
    if (status == ATTN_OK && all->wanted.output != NULL && !all->diverged &&
        attn_trainer_steps(all->trainer) > all->first)
        status = checkpoint(all, error);
    if (status == ATTN_OK && launch->rank == 0)
        status = show(all, error);
    status = attn_comm_agree(launch->comm, status, error);
    if (status == ATTN_OK && all->interrupted && attn_trainer_steps(all->trainer) < all->wanted.steps)
        return tell_interruption(all, error);
    if (status == ATTN_OK && all->diverged)
        message_warning(launch, "the loss is no number after step %lld; a smaller --learning-rate may help",
                        (long long)attn_trainer_steps(all->trainer));
    *wrong = all->diverged;
    return status;
}

attn_status cmd_train(const bench *launch, int argc, char **argv, bool *wrong, attn_error *error)
{
    run all = {.launch = launch};
    options *given;
    attn_status status = options_parse(&set, argc, argv, &given, error);

    if (status != ATTN_OK)
        return status;
    all.given = given;
    if (!option_given(given, OPTION_HELP))
        status = perform(&all, wrong, error);
    else if (launch->rank == 0)
        options_help(&set);
    if (status != ATTN_MPI)
        attn_trainer_destroy(all.trainer);
    attn_training_writer_close(all.writer);
    attn_training_record_release(&all.record);
    free(all.seconds);
    bench_case_release(&all.one);
    if (status != ATTN_MPI)
        rank_groups_release(&all.groups);
    training_options_release(&all.wanted);
    options_destroy(given);
    return status;
}
