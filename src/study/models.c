#include "study/models.h"

#include "measure/fit.h"
#include "measure/median.h"
#include "study/points.h"
#include "study/summary.h"

#include <attn/random.h>

#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

enum { REPLICATES = 1000 };

/* Above that a fit is refused: a model that is off by so much does not describe the series. */
static const double worst_accepted = 0.10;

struct attn_model {
    const char *name;
    bool strong, weak; /* which scaling it is about */
    size_t terms;
    /* The terms of the response at one observation, and what the response is: P T / work, work / T, or T. */
    void (*terms_of)(const attn_observation *at, double *x);
    double (*response)(const attn_observation *at, double time);
    double (*time)(const attn_observation *at, double response);
    /* The parameters from the factors of the terms. */
    void (*parameters_of)(const double *c, double *out);
    const char *parameters[ATTN_MODEL_PARAMETERS];
};

/* P T of one unit of work. */
static double effort(const attn_observation *at, double time)
{
    return at->p * time / at->work;
}

static double effort_time(const attn_observation *at, double response)
{
    return response * at->work / at->p;
}

/* Amdahl 1967: T = a + b / P, so P T = b + a P, serial fraction a / (a + b). */
static void amdahl_terms(const attn_observation *at, double *x)
{
    x[0] = 1;
    x[1] = at->p;
}

static void amdahl_parameters(const double *c, double *out)
{
    out[0] = c[1] / (c[0] + c[1]);
}

/* Gustafson 1988: work / T = r (s + (1 - s) P), s the serial fraction of the time on P. */
static double rate(const attn_observation *at, double time)
{
    return at->work / time;
}

static void gustafson_parameters(const double *c, double *out)
{
    out[0] = c[0] / (c[0] + c[1]);
}

/* Gunther 1993, 2007: work / T = r P / (1 + sigma (P - 1) + kappa P (P - 1)); most work is done at sqrt((1 - sigma) /
 * kappa). */
static void usl_terms(const attn_observation *at, double *x)
{
    x[0] = 1;
    x[1] = at->p - 1;
    x[2] = at->p * (at->p - 1);
}

static void usl_parameters(const double *c, double *out)
{
    out[0] = c[1] / c[0];
    out[1] = c[2] / c[0];
    out[2] = c[2] > 0 && c[1] < c[0] ? sqrt((c[0] - c[1]) / c[2]) : NAN;
}

/* T = flops / rate + alpha messages + beta bytes, each of the rank that has most, nothing of it overlapped. */
static void analytic_terms(const attn_observation *at, double *x)
{
    x[0] = at->flops;
    x[1] = at->messages;
    x[2] = at->bytes;
}

static double plain(const attn_observation *at, double value)
{
    (void)at;
    return value;
}

static void analytic_parameters(const double *c, double *out)
{
    out[0] = c[0] > 0 ? 1e-9 / c[0] : NAN;
    out[1] = 1e6 * c[1];
    out[2] = 1e9 * c[2];
}

static const attn_model models[] = {
    {"amdahl", true, false, 2, amdahl_terms, effort, effort_time, amdahl_parameters, {"serial fraction", "", ""}},
    {"gustafson", false, true, 2, amdahl_terms, rate, rate, gustafson_parameters, {"serial fraction", "", ""}},
    {"usl", true, true, 3, usl_terms, effort, effort_time, usl_parameters, {"sigma", "kappa", "P of the peak"}},
    {"analytic",
     true,
     true,
     3,
     analytic_terms,
     plain,
     plain,
     analytic_parameters,
     {"GFLOP/s of P = 1", "alpha us/message", "beta ns/byte"}},
};

_Static_assert(sizeof models / sizeof models[0] <= ATTN_MODEL_MOST, "attn_models has room for all");

const char *attn_model_name(const attn_model *model)
{
    return model->name;
}

const char *attn_model_parameter(const attn_model *model, size_t index)
{
    return model->parameters[index];
}

/* Takes the launches of a point: their medians, or the repetitions of the only one. */
static attn_status observe(const attn_results *results, const attn_series *series, const attn_point *point,
                           attn_observation *out, attn_error *error)
{
    const attn_attributes *outcomes = point->result->outcomes;
    const double cores = (double)(point->ranks * (series->per_core ? point->threads : 1));
    const double base = series->baseline->flops;
    const bool weak = strncmp(attn_attributes_text(point->result->factors, "scaling", ""), "weak", 4) == 0;
    double effective = 1;
    attn_status status = ATTN_OK;

    *out = (attn_observation){.point = point, .p = cores, .time = point->time, .block = 1};
    out->work = point->flops > 0 && base > 0 ? point->flops / base : weak ? NAN : 1;
    out->flops = point->flops * attn_attributes_real(outcomes, "imbalance_predicted", 1) / cores;
    out->messages = attn_attributes_real(outcomes, "messages_predicted", NAN);
    out->bytes = attn_attributes_real(outcomes, "bytes_predicted", NAN);
    out->values = calloc((size_t)point->reps, sizeof *out->values);
    if (out->values == NULL)
        return attn_error_set(error, ATTN_MEMORY, "no memory for %lld times", (long long)point->reps);
    for (size_t c = 0; c < results->count && status == ATTN_OK; c++) {
        const attn_result *result = results->cases[c];
        attn_summary summary;

        if (strcmp(result->id, point->result->id) != 0 || result->status != ATTN_CASE_VALID || result->reps < 1 ||
            strcmp(attn_point_processor(results, result), attn_point_processor(results, point->result)) != 0)
            continue;
        if (point->launches == 1) {
            attn_result_slowest(result, out->values);
            out->count = (size_t)result->reps;
            status = attn_effective_count(out->values, out->count, NULL, &effective, error);
            out->block = (size_t)ceil((double)out->count / effective);
        } else {
            status = attn_summarise(result, &summary, error);
            out->values[out->count++] = summary.time.median;
        }
    }
    return status;
}

/* Draws the values of an observation with replacement, in blocks that wrap around (Politis and Romano 1992), and
 * returns their median.
 *   drawn  [count], for work
 *   next   in/out, number of the next draw */
static double draw_time(const attn_observation *of, double *drawn, uint64_t *next)
{
    for (size_t i = 0; i < of->count;) {
        const size_t begin = (size_t)attn_random_below(0, ATTN_STREAM_BOOTSTRAP, (*next)++, (int64_t)of->count);

        for (size_t k = 0; k < of->block && i < of->count; k++)
            drawn[i++] = of->values[(begin + k) % of->count];
    }
    attn_values_sort(drawn, of->count);
    return attn_quantile(drawn, of->count, 0.5);
}

/* What one model is fitted with. */
typedef struct fitting {
    const attn_model *model;
    const attn_observation *observations;
    size_t count;
    double (*x)[ATTN_FIT_TERMS]; /* [count] */
    double *y;                   /* [count] */
    double *times;               /* [count], for work */
} fitting;

/* Fits the first `count` observations at these times. */
static bool fit_times(const fitting *f, const double *times, size_t count, double *c)
{
    for (size_t i = 0; i < count; i++)
        f->y[i] = f->model->response(&f->observations[i], times[i]);
    return attn_fit((const double(*)[ATTN_FIT_TERMS])f->x, f->y, count, f->model->terms, c);
}

static double time_at(const fitting *f, size_t index, const double *c)
{
    double response = 0;

    for (size_t t = 0; t < f->model->terms; t++)
        response += f->x[index][t] * c[t];
    return f->model->time(&f->observations[index], response);
}

static bool term_used(const fitting *f, size_t term)
{
    for (size_t i = 0; i < f->count; i++)
        if (f->x[i][term] > 0 || f->x[i][term] < 0)
            return true;
    return false;
}

/* Fits all, and all but the last.
 *   values  out, [ATTN_MODEL_PARAMETERS + 1]: the parameters, and the prediction of the last time */
static bool fit_both(const fitting *f, const double *times, double *c, double *values)
{
    double held_out[ATTN_FIT_TERMS];

    for (size_t p = 0; p < ATTN_MODEL_PARAMETERS; p++)
        values[p] = NAN;
    if (!fit_times(f, times, f->count, c) || !fit_times(f, times, f->count - 1, held_out))
        return false;
    f->model->parameters_of(c, values);
    for (size_t t = 0; t < f->model->terms; t++)
        if (!term_used(f, t)) /* of the analytic model alone, whose parameters are those of its terms */
            values[t] = NAN;
    values[ATTN_MODEL_PARAMETERS] = time_at(f, f->count - 1, held_out);
    return true;
}

/* The percentile interval of one value over all replicates; those without a value are left out.
 *   drawn  in, [REPLICATES][stride]
 *   sorted [REPLICATES], for work */
static attn_estimate estimate(double value, const double *drawn, size_t stride, double level, double *sorted)
{
    attn_estimate out = {value, NAN, NAN};
    size_t count = 0;

    for (size_t r = 0; r < REPLICATES; r++)
        if (!isnan(drawn[r * stride]))
            sorted[count++] = drawn[r * stride];
    if (isnan(value) || count < REPLICATES / 2)
        return out;
    attn_values_sort(sorted, count);
    out.lo = attn_quantile(sorted, count, (1 - level) / 2);
    out.hi = attn_quantile(sorted, count, (1 + level) / 2);
    return out;
}

/* Why a model cannot be fitted to as many points; the reason is empty when it can. */
static void check_points(const fitting *f, attn_model_fit *out)
{
    size_t needed = 2;

    out->reason[0] = '\0';
    for (size_t i = 0; i < f->count; i++) {
        f->model->terms_of(&f->observations[i], f->x[i]);
        for (size_t t = 0; t < f->model->terms; t++)
            if (isnan(f->x[i][t]) || isnan(f->observations[i].work)) {
                snprintf(out->reason, sizeof out->reason, "FLOP, messages or bytes of %lld ranks are not known",
                         (long long)f->observations[i].point->ranks);
                return;
            }
    }
    for (size_t t = 0; t < f->model->terms; t++)
        needed += term_used(f, t);
    if (f->count < needed)
        snprintf(out->reason, sizeof out->reason, "%zu point%s; %zu are needed, two more than it has terms", f->count,
                 f->count == 1 ? "" : "s", needed);
}

static void find_worst(const fitting *f, const double *c, attn_model_fit *out)
{
    out->worst = 0;
    for (size_t i = 0; i < f->count; i++) {
        const double off = fabs(time_at(f, i, c) / f->observations[i].time - 1);

        if (off >= out->worst) {
            out->worst = off;
            out->worst_p = f->observations[i].p;
        }
    }
    if (out->worst > worst_accepted)
        snprintf(out->reason, sizeof out->reason, "bad fit, off by %.0f %% at P = %g; %.0f %% are accepted",
                 100 * out->worst, out->worst_p, 100 * worst_accepted);
}

/* Fits one model, and fits it again to REPLICATES bootstrap samples. */
static attn_status fit_model(const fitting *f, double level, attn_model_fit *out, attn_error *error)
{
    enum { STRIDE = ATTN_MODEL_PARAMETERS + 1 };
    double c[ATTN_FIT_TERMS], values[STRIDE], *all, *sorted, *drawn;
    size_t most = 1;
    uint64_t next = 0;

    *out = (attn_model_fit){.model = f->model, .worst = NAN, .worst_p = NAN, .prediction = {NAN, NAN, NAN}};
    check_points(f, out);
    if (out->reason[0] != '\0')
        return ATTN_OK;
    for (size_t i = 0; i < f->count; i++) {
        f->times[i] = f->observations[i].time;
        most = f->observations[i].count > most ? f->observations[i].count : most;
    }
    if (!fit_both(f, f->times, c, values)) {
        snprintf(out->reason, sizeof out->reason, "these points cannot tell its terms apart");
        return ATTN_OK;
    }
    find_worst(f, c, out);
    if (out->reason[0] != '\0')
        return ATTN_OK;
    all = calloc(REPLICATES * (STRIDE + 1) + most, sizeof *all);
    if (all == NULL)
        return attn_error_set(error, ATTN_MEMORY, "no memory for bootstrap samples");
    sorted = all + (size_t)REPLICATES * STRIDE;
    drawn = sorted + REPLICATES;
    for (size_t r = 0; r < REPLICATES; r++) {
        for (size_t i = 0; i < f->count; i++)
            f->times[i] = draw_time(&f->observations[i], drawn, &next);
        if (!fit_both(f, f->times, c, all + r * STRIDE))
            all[r * STRIDE + ATTN_MODEL_PARAMETERS] = NAN;
    }
    for (size_t p = 0; p < ATTN_MODEL_PARAMETERS; p++)
        out->parameters[p] = estimate(values[p], all + p, STRIDE, level, sorted);
    out->prediction = estimate(values[ATTN_MODEL_PARAMETERS], all + ATTN_MODEL_PARAMETERS, STRIDE, level, sorted);
    free(all);
    return ATTN_OK;
}

static bool is_weak(const attn_series *series)
{
    return strncmp(attn_attributes_text(series->points[0].result->factors, "scaling", ""), "weak", 4) == 0;
}

attn_status attn_models_fit(const attn_results *results, const attn_series *series, double level, attn_models *out,
                            attn_error *error)
{
    fitting f = {.x = calloc(series->count, sizeof *f.x),
                 .y = calloc(series->count, sizeof *f.y),
                 .times = calloc(series->count, sizeof *f.times)};
    attn_status status = ATTN_OK;

    *out = (attn_models){.observations = calloc(series->count, sizeof *out->observations)};
    if (out->observations == NULL || f.x == NULL || f.y == NULL || f.times == NULL)
        status = attn_error_set(error, ATTN_MEMORY, "no memory for models of %zu points", series->count);
    for (size_t p = 0; p < series->count && status == ATTN_OK; p++)
        if (series->points[p].valid && !series->points[p].oversubscribed)
            status = observe(results, series, &series->points[p], &out->observations[out->count++], error);
    f.observations = out->observations;
    f.count = out->count;
    for (size_t m = 0; m < sizeof models / sizeof models[0] && status == ATTN_OK; m++) {
        if (!(is_weak(series) ? models[m].weak : models[m].strong))
            continue;
        f.model = &models[m];
        status = fit_model(&f, level, &out->fits[out->fit_count++], error);
    }
    free(f.x);
    free(f.y);
    free(f.times);
    return status;
}

void attn_models_release(attn_models *of)
{
    for (size_t i = 0; of->observations != NULL && i < of->count; i++)
        free(of->observations[i].values);
    free(of->observations);
    of->observations = NULL;
}
