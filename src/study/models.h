/* Models of scaling, fitted to series. All are linear in factors that are not negative, in time or in its inverse, so
 * that least squares of relative errors have one solution. P is the number of ranks, or of cores where threads
 * differ. */
#ifndef ATTN_STUDY_MODELS_H
#define ATTN_STUDY_MODELS_H

#include "study/series.h"

#include <attn/statistics.h>

enum { ATTN_MODEL_PARAMETERS = 3 };

/* What a model is fitted to: one point of a series. */
typedef struct attn_observation {
    const attn_point *point;
    double p, time, work;          /* work in that of the first observation, NAN when unknown */
    double flops, messages, bytes; /* of the rank that has most */
    double *values;                /* [count] s: medians of launches, or repetitions of the one launch */
    size_t count, block;           /* repetitions that are drawn together */
} attn_observation;

/* A value with its bootstrap percentile interval; NAN where there is none. */
typedef struct attn_estimate {
    double value, lo, hi;
} attn_estimate;

typedef struct attn_model attn_model;

typedef struct attn_model_fit {
    const attn_model *model;
    char reason[160]; /* why there is no fit; "" otherwise */
    attn_estimate parameters[ATTN_MODEL_PARAMETERS];
    double worst;             /* largest relative error of a fitted time */
    double worst_p;           /* at that P */
    attn_estimate prediction; /* s: of the last observation, by the fit to all others */
} attn_model_fit;

enum { ATTN_MODEL_MOST = 4 };

/* The models of one series. */
typedef struct attn_models {
    attn_observation *observations; /* [count], rising p: valid and not oversubscribed */
    size_t count;
    attn_model_fit fits[ATTN_MODEL_MOST]; /* [fit_count] those that apply to strong, or to weak scaling */
    size_t fit_count;
} attn_models;

/* Names of a model and of its parameters; "" behind the last. */
const char *attn_model_name(const attn_model *model);
const char *attn_model_parameter(const attn_model *model, size_t index);

/* Fits all models that apply.
 *   results  in, where the launches of the points are
 *   level    in, coverage of the intervals
 *   out      out, released with attn_models_release, on failure too
 * ATTN_MEMORY. */
attn_status attn_models_fit(const attn_results *results, const attn_series *series, double level, attn_models *out,
                            attn_error *error);
void attn_models_release(attn_models *of);

#endif
