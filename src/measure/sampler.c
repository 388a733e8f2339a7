/* One repetition is: barrier, run, barrier, reduction, decision.
 *
 * The first barrier lets the ranks start together. The second one follows the run at once, before any other
 * communication, so that the time which a rank spends in it is the time until the last rank has ended, plus the cost of
 * the barrier itself; that is imbalance-wait. Whatever the decision depends on (the total, the time used, a wish to
 * stop, a lack of memory) goes through one reduction, so every rank decides on the same numbers. */
#include <attn/sampler.h>

#include "core/checked.h"
#include "measure/median.h"

#include <inttypes.h>
#include <stdlib.h>
#include <string.h>

/* The values that are reduced after a repetition. */
enum { REDUCED_TOTAL, REDUCED_ELAPSED, REDUCED_STOP, REDUCED_NO_MEMORY, REDUCED_COUNT };

typedef struct sampler {
    const attn_sampler_options *options;
    const attn_sampler_target *target;
    attn_samples *samples;
    double *sorted;     /* [capacity] the values of `slowest` in order, made when the interval is wanted */
    int64_t capacity;   /* repetitions for which there is room */
    int64_t next_check; /* repetitions from which on the interval is looked at again */
} sampler;

attn_sampler_options attn_sampler_defaults(void)
{
    return (attn_sampler_options){
        .warmup = 1, .min_reps = 5, .max_reps = 1000, .max_time = 10, .ci = 0.95, .rel_err = 0.02};
}

static attn_status check_options(const attn_sampler_options *o, attn_error *error)
{
    if (o->warmup < 0)
        return attn_error_set(error, ATTN_ARGUMENT, "warmup %" PRId64 ": must be 0 or more", o->warmup);
    if (o->min_reps < 1)
        return attn_error_set(error, ATTN_ARGUMENT, "min-reps %" PRId64 ": must be 1 or more", o->min_reps);
    if (o->max_reps < o->min_reps)
        return attn_error_set(error, ATTN_ARGUMENT, "max-reps %" PRId64 ": must be %" PRId64 " (min-reps) or more",
                              o->max_reps, o->min_reps);
    if (!(o->max_time >= 0))
        return attn_error_set(error, ATTN_ARGUMENT, "max-time %g: must be 0 seconds or more", o->max_time);
    if (!(o->ci > 0 && o->ci < 1))
        return attn_error_set(error, ATTN_ARGUMENT, "ci %g: must be between 0 and 1", o->ci);
    if (!(o->rel_err > 0))
        return attn_error_set(error, ATTN_ARGUMENT, "rel-err %g: must be a positive number", o->rel_err);
    return ATTN_OK;
}

static bool resize(double **array, int64_t capacity, size_t columns)
{
    double *const resized = attn_realloc_array(*array, capacity, columns * sizeof **array);

    if (resized != NULL)
        *array = resized;
    return resized != NULL;
}

/* Makes room for `reps` repetitions; false when memory is short. */
static bool reserve(sampler *s, int64_t reps)
{
    int64_t capacity;

    if (reps <= s->capacity)
        return true;
    if (!attn_int64_add(reps, reps / 2, &capacity))
        return false;
    if (!resize(&s->samples->seconds, capacity, ATTN_PHASE_COUNT) || !resize(&s->samples->slowest, capacity, 1) ||
        !resize(&s->sorted, capacity, 1))
        return false;
    s->capacity = capacity;
    return true;
}

static double wants_stop(const attn_sampler_target *target)
{
    return target->stop != NULL && target->stop(target->context) ? 1 : 0;
}

/* What all ranks must know before a repetition that does not count, and before the first. */
static attn_status agree_to_begin(const sampler *s, bool have_memory, attn_error *error)
{
    const attn_sampler_target *const t = s->target;
    double values[] = {wants_stop(t), have_memory ? 0 : 1};
    const attn_status status = t->max(t->context, values, 2, error);

    if (status != ATTN_OK)
        return status;
    if (values[1] > 0)
        return attn_error_set(error, ATTN_MEMORY, "no memory for the timings of %" PRId64 " repetitions",
                              s->options->min_reps);
    if (values[0] > 0)
        return attn_error_set(error, ATTN_INTERRUPTED, "interrupted before the first repetition");
    return ATTN_OK;
}

static attn_status warm_up(sampler *s, attn_error *error)
{
    const attn_sampler_target *const t = s->target;
    attn_status status = agree_to_begin(s, reserve(s, s->options->min_reps), error);

    for (int64_t w = 0; status == ATTN_OK && w < s->options->warmup; w++) {
        double seconds[ATTN_PHASE_COUNT] = {0};

        status = t->barrier(t->context, error);
        if (status == ATTN_OK)
            status = t->run(t->context, seconds, error);
        if (status == ATTN_OK)
            status = agree_to_begin(s, true, error);
    }
    return status;
}

/* Times one repetition and appends it; reduced [REDUCED_COUNT] out. */
static attn_status repeat(sampler *s, double begin, double *reduced, attn_error *error)
{
    const attn_sampler_target *const t = s->target;
    attn_samples *const samples = s->samples;
    double *const seconds = samples->seconds + samples->reps * ATTN_PHASE_COUNT;
    attn_status status;
    double end;

    memset(seconds, 0, ATTN_PHASE_COUNT * sizeof *seconds);
    status = t->barrier(t->context, error);
    if (status == ATTN_OK)
        status = t->run(t->context, seconds, error);
    if (status != ATTN_OK)
        return status;
    end = attn_clock();
    status = t->barrier(t->context, error);
    if (status != ATTN_OK)
        return status;
    seconds[ATTN_PHASE_IMBALANCE_WAIT] = attn_clock() - end;

    reduced[REDUCED_TOTAL] = seconds[ATTN_PHASE_TOTAL];
    reduced[REDUCED_STOP] = wants_stop(t);
    reduced[REDUCED_NO_MEMORY] = reserve(s, samples->reps + 2) ? 0 : 1;
    reduced[REDUCED_ELAPSED] = attn_clock() - begin;
    status = t->max(t->context, reduced, REDUCED_COUNT, error);
    if (status != ATTN_OK)
        return status;
    samples->slowest[samples->reps++] = reduced[REDUCED_TOTAL];
    if (reduced[REDUCED_NO_MEMORY] > 0)
        return attn_error_set(error, ATTN_MEMORY, "no memory for the timings of more than %" PRId64 " repetitions",
                              samples->reps);
    return ATTN_OK;
}

static void find_median(sampler *s)
{
    attn_samples *const samples = s->samples;
    const size_t count = (size_t)samples->reps;

    memcpy(s->sorted, samples->slowest, count * sizeof *s->sorted);
    attn_values_sort(s->sorted, count);
    samples->median = attn_median_of_sorted(s->sorted, count, s->options->ci);
}

/* Why to stop after this repetition, or NULL. The interval costs a sort, so it is looked at only when there are a tenth
 * more repetitions than at the last look, and before stopping for another reason. */
static const char *reason_to_stop(sampler *s, const double *reduced)
{
    const attn_sampler_options *const o = s->options;
    attn_samples *const samples = s->samples;
    const bool enough = samples->reps >= o->min_reps;
    const char *reason = NULL;

    if (reduced[REDUCED_STOP] > 0)
        reason = "interrupted";
    if (enough && reduced[REDUCED_ELAPSED] >= o->max_time)
        reason = "max-time";
    if (samples->reps >= o->max_reps)
        reason = "max-reps";
    if (reason != NULL || (enough && samples->reps >= s->next_check)) {
        const attn_median *const m = &samples->median;

        find_median(s);
        s->next_check = samples->reps + 1 + samples->reps / 10;
        samples->converged = enough && m->reached && (m->hi - m->lo) / 2 <= o->rel_err * m->median;
        if (samples->converged)
            reason = "converged";
    }
    return reason;
}

attn_status attn_sample(const attn_sampler_options *options, const attn_sampler_target *target, attn_samples *out,
                        attn_error *error)
{
    sampler s = {.options = options, .target = target, .samples = out};
    attn_status status;
    double begin;

    *out = (attn_samples){0};
    status = check_options(options, error);
    if (status == ATTN_OK)
        status = warm_up(&s, error);
    begin = attn_clock();
    while (status == ATTN_OK && out->stop_reason == NULL) {
        double reduced[REDUCED_COUNT];

        status = repeat(&s, begin, reduced, error);
        if (status == ATTN_OK)
            out->stop_reason = reason_to_stop(&s, reduced);
    }
    free(s.sorted);
    if (status != ATTN_OK)
        attn_samples_release(out);
    return status;
}

void attn_samples_release(attn_samples *samples)
{
    if (samples == NULL)
        return;
    free(samples->seconds);
    free(samples->slowest);
    *samples = (attn_samples){0};
}
