#include "filling.h"
#include "measure.h"

#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

static void put_prediction(filling *to, const bench_case *one)
{
    put_real(to, "flops", one->flops);
    put_real(to, "memory_bytes", one->bytes);
    put_real(to, "pairs", one->prediction.pairs);
    put_real(to, "bytes_predicted", one->prediction.bytes);
    put_real(to, "messages_predicted", one->prediction.messages);
    put_real(to, "memory_predicted", one->prediction.memory);
    put_real(to, "imbalance_predicted", one->prediction.imbalance);
}

static void put_how(filling *to, const measure_context *context, const bench_case *one)
{
    put_real(to, "ci", context->sampling.ci);
    put_real(to, "rel_err", context->sampling.rel_err);
    put_integer(to, "warmup", context->sampling.warmup);
    put_text(to, "sync", "barrier");
    put_text(to, "clock", "CLOCK_MONOTONIC");
    put_text(to, "reduction", "max over ranks");
    put_integer(to, "nodes", one->group->nodes);
    put_integer(to, "cores_available", one->group->cores);
    put_integer(to, "oversubscribed", bench_case_oversubscribed(one));
}

/* What the cost model says of the plan, and what came of measuring plans. */
static void put_plan(filling *to, const measure_context *context, const bench_case *one, const measured *made)
{
    const bool planned = bench_case_planned(context->lists, one);

    put_text(to, "plan", attn_plan_mode_name(planned ? context->lists->plan : ATTN_PLAN_MODE_RULE));
    put_real(to, "predicted_seconds", made->estimate.seconds);
    put_real(to, "predicted_compute", made->estimate.compute);
    put_real(to, "predicted_exchange", made->estimate.exchange);
    put_real(to, "predicted_exposed", made->estimate.exchange - made->estimate.hidden);
    put_real(to, "predicted_copy", made->estimate.copy);
    put_real(to, "predicted_combine", made->estimate.combine);
    if (made->tuning.tried == 0)
        return;
    put_integer(to, "candidates_tried", made->tuning.tried);
    put_real(to, "candidate_seconds", made->tuning.measured);
    if (made->tuning.model_measured > 0) {
        put_real(to, "model_seconds", made->tuning.model_measured);
        put_real(to, "regret", made->tuning.regret);
    }
}

static void put_samples(filling *to, const measured *made)
{
    put_integer(to, "converged", made->samples.converged);
    put_text(to, "stop_reason", made->samples.stop_reason);
    put_real(to, "max_error", made->check.max_error);
    put_real(to, "tolerance", made->check.tolerance);
    put_real(to, "max_score", made->check.max_score);
    put_integer(to, "rows_checked", made->check.rows);
    put_integer(to, "ranks_checked", made->check.ranks);
    put_integer(to, "nan_rows", made->check.nan_rows);
    put_integer(to, "input_bytes", (int64_t)made->input_bytes);
}

/* What disturbs the measurement of a peak makes it lower: the larger of the two is the better one. */
static void put_peaks(filling *to, const bench_case *one, const measured *made)
{
    const double fma = fmax(made->before.fma, made->after.fma);
    const double compute = fmax(made->before.compute, made->after.compute);

    put_real(to, "fma_peak", fma);
    put_real(to, "fma_peak_spread", 1 - fmin(made->before.fma, made->after.fma) / fma);
    put_text(to, "fma_level", attn_probe_name(roofs_fma_probe(one)));
    put_real(to, "compute_peak", compute);
    put_real(to, "compute_peak_spread", 1 - fmin(made->before.compute, made->after.compute) / compute);
    put_text(to, "compute_level", attn_probe_name(roofs_compute_probe(one)));
}

/* The time below which the case cannot come here, and what sets it. */
static void put_bound(filling *to, const bench_case *one, const measured *made)
{
    const double compute = one->flops / fmax(made->before.compute, made->after.compute);
    const double memory = made->bandwidth > 0 ? one->bytes / made->bandwidth : 0;

    if (made->bandwidth > 0)
        put_real(to, "read_bandwidth", made->bandwidth);
    put_real(to, "bound_seconds", fmax(compute, memory));
    put_text(to, "bound", memory > compute ? "memory" : "compute");
}

/* What became of the case, and in `reason` why, unless it is valid. */
static attn_case_status judge(const bench_case *one, const measured *made, char *reason, size_t size)
{
    const attn_row *worst = made != NULL ? &made->check.worst : NULL;

    reason[0] = '\0';
    if (made == NULL || made->status == ATTN_MEMORY || made->status == ATTN_UNSUPPORTED) {
        snprintf(reason, size, "%s", made == NULL ? one->reason.message : made->reason.message);
        return ATTN_CASE_SKIPPED;
    }
    if (made->samples.reps == 0) {
        snprintf(reason, size, "before the first repetition");
        return ATTN_CASE_INTERRUPTED;
    }
    if (!made->check.valid) {
        snprintf(reason, size, "error %.3g above the tolerance %.3g at b %lld, head %lld, row %lld",
                 made->check.max_error, made->check.tolerance, (long long)worst->b, (long long)worst->h,
                 (long long)worst->i);
        return ATTN_CASE_INVALID;
    }
    if (strcmp(made->samples.stop_reason, "interrupted") == 0) {
        snprintf(reason, size, "after %lld repetitions", (long long)made->samples.reps);
        return ATTN_CASE_INTERRUPTED;
    }
    return ATTN_CASE_VALID;
}

attn_status record_case(const measure_context *context, const bench_case *one, measured *made, attn_result *result,
                        attn_error *error)
{
    filling to = {result->outcomes, ATTN_OK};
    char reason[ATTN_MESSAGE_MAX], asked[ATTN_ID_SIZE] = "";

    to.status = bench_case_factors(one, context->lists, &context->input, result->factors);
    if (to.status == ATTN_OK)
        attn_attributes_id(result->factors, result->id);
    snprintf(result->launch_id, sizeof result->launch_id, "%s", context->launch_id);
    result->status = judge(one, made, reason, sizeof reason);
    put_text(&to, "reason", reason);
    if (to.status == ATTN_OK && bench_case_planned(context->lists, one)) {
        to.status = bench_case_asked(one, context->lists, &context->input, asked, error);
        put_text(&to, "asked", asked);
    }
    put_integer(&to, "sweep_index", one->index);
    if (one->runnable == ATTN_OK)
        put_prediction(&to, one);
    put_how(&to, context, one);
    if (made != NULL && made->status == ATTN_OK && made->all != NULL) {
        put_samples(&to, made);
        put_plan(&to, context, one, made);
        if (bench_case_has_bound(one)) {
            put_peaks(&to, one, made);
            put_bound(&to, one, made);
        }
        result->reps = made->samples.reps;
        result->ranks = one->group->ranks;
        result->phases = ATTN_PHASE_COUNT;
        result->samples = made->all;
        made->all = NULL;
        result->timeline = made->line.events;
        result->events = made->line.count;
        result->events_lost = made->line.lost;
        made->line.events = NULL;
    }
    return to.status == ATTN_OK ? ATTN_OK : attn_error_set(error, to.status, "no memory for the record of a case");
}
