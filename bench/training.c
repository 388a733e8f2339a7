#include "training.h"
#include "exports.h"
#include "filling.h"
#include "shown.h"

#include <attn/statistics.h>

#include <math.h>
#include <stdlib.h>
#include <string.h>

static attn_status read_numbers(const options *given, training_options *out, attn_error *error)
{
    attn_status status = option_integer(given, OPTION_EMBED_DIM, NUMBER_POSITIVE, &out->embed_dim, error);

    out->optimiser = (attn_adamw)ATTN_ADAMW_INIT;
    if (status == ATTN_OK)
        status = option_integer(given, OPTION_VALUES, NUMBER_POSITIVE, &out->values, error);
    if (status == ATTN_OK)
        status = option_integer(given, OPTION_STEPS, NUMBER_POSITIVE, &out->steps, error);
    if (status == ATTN_OK)
        status = option_integer(given, OPTION_CHECKPOINT_EVERY, NUMBER_COUNT, &out->every, error);
    if (status == ATTN_OK)
        status = option_real(given, OPTION_LEARNING_RATE, REAL_NOT_NEGATIVE, &out->optimiser.learning_rate, error);
    if (status == ATTN_OK)
        status = option_real(given, OPTION_WEIGHT_DECAY, REAL_NOT_NEGATIVE, &out->optimiser.weight_decay, error);
    return status;
}

/* Options that say nothing without another one. */
static attn_status check_output(const options *given, const training_options *wanted, attn_error *error)
{
    const option_key needing[] = {OPTION_CHECKPOINT_EVERY, OPTION_CONTINUE};
    const char *const *files;

    if (wanted->output != NULL && wanted->output[0] == '\0')
        return attn_error_set(error, ATTN_ARGUMENT, "--output \"\": the name of a file is accepted");
    for (size_t i = 0; i < sizeof needing / sizeof needing[0] && wanted->output == NULL; i++)
        if (option_given(given, needing[i]))
            return attn_error_set(error, ATTN_ARGUMENT, "%s: needs --output, the file of the training",
                                  option_label(needing[i]));
    if (options_files(given, &files) > 0 && wanted->plot == NULL)
        return attn_error_set(error, ATTN_ARGUMENT, "%s: files are accepted with --plot, which draws their curves",
                              shown_path(files[0]).text);
    return wanted->plot != NULL ? attn_study_check_picture(wanted->plot, error) : ATTN_OK;
}

attn_status training_options_read(const options *given, int ranks, training_options *out, attn_error *error)
{
    attn_status status;

    out->output = option_text(given, OPTION_OUTPUT);
    out->plot = option_text(given, OPTION_CURVE);
    out->resume = option_given(given, OPTION_CONTINUE);
    out->quiet = option_given(given, OPTION_QUIET);
    status = sweep_read(given, ranks, &out->lists, error);
    if (status == ATTN_OK && out->lists.count != 1)
        status = attn_error_set(error, ATTN_ARGUMENT, "train makes one training; lists of one value are accepted");
    out->lists.pass = ATTN_PASS_BACKWARD;
    if (status == ATTN_OK)
        status = read_numbers(given, out, error);
    return status == ATTN_OK ? check_output(given, out, error) : status;
}

void training_options_release(training_options *wanted)
{
    sweep_release(&wanted->lists);
}

attn_training training_of(const training_options *wanted, const attn_problem *problem)
{
    return (attn_training){
        .layer = {.attention = *problem, .embed_dim = wanted->embed_dim, .out_dim = wanted->values, .projected = true},
        .optimiser = wanted->optimiser,
        .seed = wanted->lists.seed};
}

attn_status training_settings(const attn_training *training, attn_attributes *settings, attn_error *error)
{
    const attn_problem *const problem = &training->layer.attention;
    const attn_shape *const shape = &problem->shape;
    filling to = {settings, ATTN_OK};

    put_integer(&to, "batch", shape->batch);
    put_integer(&to, "heads", shape->heads);
    put_integer(&to, "kv_heads", shape->kv_heads);
    put_integer(&to, "seq", shape->seq);
    put_integer(&to, "head_dim", shape->head_dim);
    put_integer(&to, "v_head_dim", shape->v_head_dim);
    put_integer(&to, "embed_dim", training->layer.embed_dim);
    put_integer(&to, "values", training->layer.out_dim);
    put_text(&to, "dtype", attn_dtype_name(problem->dtype));
    put_integer(&to, "causal", problem->mask.causal);
    put_real(&to, "scale", problem->score.scale);
    put_integer(&to, "seed", (int64_t)training->seed);
    put_real(&to, "learning_rate", training->optimiser.learning_rate);
    put_real(&to, "weight_decay", training->optimiser.weight_decay);
    return to.status == ATTN_OK ? ATTN_OK : attn_error_set(error, to.status, "no memory for the settings");
}

attn_status training_compare(const char *path, const attn_attributes *wanted, const attn_attributes *found,
                             attn_error *error)
{
    for (size_t i = 0; i < attn_attributes_count(wanted); i++) {
        const attn_attribute *const ours = attn_attributes_at(wanted, i);
        const attn_attribute *const theirs = attn_attributes_find(found, ours->name);
        char want[64], have[64] = "none";

        attn_attribute_format(ours, want, sizeof want);
        if (theirs != NULL)
            attn_attribute_format(theirs, have, sizeof have);
        if (strcmp(want, have) != 0)
            return attn_error_set(error, ATTN_ARGUMENT,
                                  "--resume: %s has %s %s, not %s; a training continues with the settings it had",
                                  shown_path(path).text, ours->name, have, want);
    }
    return ATTN_OK;
}

/* The most that a rank spent in a phase in one step. */
static double slowest(const attn_training_record *record, int64_t step, int64_t phase)
{
    double most = 0;

    for (int64_t rank = 0; rank < record->ranks; rank++)
        most =
            fmax(most, record->seconds[(step * record->ranks + rank) * record->phases + phase]); /* NaN: passed over */
    return most;
}

static int by_value(const void *a, const void *b)
{
    const double x = *(const double *)a, y = *(const double *)b;

    return (x > y) - (x < y);
}

/* The median over the steps from `first` on, s. */
static attn_status median(const attn_training_record *record, int64_t first, int64_t phase, double *out,
                          attn_error *error)
{
    const size_t count = (size_t)(record->steps - first);
    double *const values = malloc(count * sizeof *values + 1);

    *out = 0;
    if (values == NULL)
        return attn_error_set(error, ATTN_MEMORY, "no memory for the times of %zu steps", count);
    for (size_t n = 0; n < count; n++)
        values[n] = slowest(record, first + (int64_t)n, phase);
    qsort(values, count, sizeof *values, by_value);
    if (count > 0)
        *out = attn_quantile(values, count, 0.5);
    free(values);
    return ATTN_OK;
}

void training_print_head(FILE *stream)
{
    fprintf(stream, "    step        loss, nat  accuracy, %%   ms per step\n");
}

attn_status training_print_step(const attn_training_record *record, int64_t first, FILE *stream, attn_error *error)
{
    const int64_t last = record->steps - 1;
    double seconds;
    const attn_status status = median(record, first, ATTN_PHASE_TOTAL, &seconds, error);

    if (status != ATTN_OK)
        return status;
    fprintf(stream, "%8lld  %15.6g  %11.1f  %12.3f\n", (long long)record->steps, record->loss[last],
            100 * record->accuracy[last], 1e3 * seconds);
    fflush(stream);
    return ATTN_OK;
}

attn_status training_print_phases(const attn_training_record *record, int64_t first, FILE *stream, attn_error *error)
{
    double total;
    attn_status status = median(record, first, ATTN_PHASE_TOTAL, &total, error);

    fprintf(stream, "\nphase            ms per step  share, %%   (median over %lld steps of the rank with most)\n",
            (long long)(record->steps - first));
    for (int phase = 0; phase < ATTN_PHASE_COUNT && status == ATTN_OK; phase++) {
        double seconds;

        status = median(record, first, phase, &seconds, error);
        if (status == ATTN_OK && seconds > 0)
            fprintf(stream, "%-16s  %10.4f  %8.1f\n", attn_phase_name((attn_phase)phase), 1e3 * seconds,
                    100 * seconds / total);
    }
    return status;
}

/* "NAME, 4 ranks" */
static void curve_name(const char *name, int64_t ranks, char *out, size_t size)
{
    snprintf(out, size, "%s%s%lld rank%s", name, *name != '\0' ? ", " : "", (long long)ranks, ranks == 1 ? "" : "s");
}

typedef struct curve_text {
    char text[256];
} curve_text;

attn_status training_draw(const attn_training_record *record, const char *name, const char *const *files, size_t count,
                          const char *path, attn_error *error)
{
    attn_training_record *const others = calloc(count + 1, sizeof *others);
    attn_curve *const curves = calloc(count + 1, sizeof *curves);
    curve_text *const names = calloc(count + 1, sizeof *names);
    attn_status status = ATTN_OK;

    if (others == NULL || curves == NULL || names == NULL)
        status = attn_error_set(error, ATTN_MEMORY, "no memory to draw %zu curves", count + 1);
    for (size_t i = 0; i < count && status == ATTN_OK; i++)
        status = attn_training_file_read(files[i], NULL, &others[i], error);
    for (size_t i = 0; i <= count && status == ATTN_OK; i++) {
        const attn_training_record *const of = i == 0 ? record : &others[i - 1];

        curve_name(i == 0 ? name : shown_base(files[i - 1]), of->ranks, names[i].text, sizeof names[i].text);
        curves[i] = (attn_curve){.name = names[i].text, .values = of->loss, .count = of->steps};
    }
    if (status == ATTN_OK)
        status = attn_study_plot_curves(curves, count + 1, "training step", "loss, nat", path, error);
    for (size_t i = 0; others != NULL && i < count; i++)
        attn_training_record_release(&others[i]);
    free(others);
    free(curves);
    free(names);
    return status;
}
