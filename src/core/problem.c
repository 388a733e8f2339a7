#include <attn/problem.h>

#include <assert.h>
#include <inttypes.h>
#include <math.h>

double attn_scale_default(int64_t head_dim)
{
    return 1 / sqrt((double)head_dim);
}

void attn_alibi_slopes(int64_t heads, double *slopes)
{
    int64_t power = 1;

    assert(heads > 0);
    while (power <= heads / 2)
        power *= 2;
    for (int64_t h = 0; h < power; h++)
        slopes[h] = exp2(-8.0 * (double)(h + 1) / (double)power);
    /* Slopes 1, 3, 5, ... of the next power of two. */
    for (int64_t h = power; h < heads; h++)
        slopes[h] = exp2(-4.0 * (double)(2 * (h - power) + 1) / (double)power);
}

static attn_status check_finite(const char *name, const double *values, int64_t count, attn_error *error)
{
    for (int64_t h = 0; values != NULL && h < count; h++)
        if (!isfinite(values[h]))
            return attn_error_set(error, ATTN_ARGUMENT, "%s[%" PRId64 "] = %g: must be a finite number", name, h,
                                  values[h]);
    return ATTN_OK;
}

attn_status attn_problem_check(const attn_problem *problem, attn_error *error)
{
    const attn_score *const score = &problem->score;
    attn_status status = attn_shape_check(&problem->shape, error);

    if (status == ATTN_OK && (unsigned)problem->dtype >= ATTN_DTYPE_COUNT)
        status = attn_error_set(error, ATTN_ARGUMENT, "dtype %d: must be float64, float32, float16 or bfloat16",
                                (int)problem->dtype);
    if (status == ATTN_OK)
        status = attn_mask_check(&problem->mask, &problem->shape, error);
    if (status == ATTN_OK && !isfinite(score->scale))
        status = attn_error_set(error, ATTN_ARGUMENT, "scale %g: must be a finite number", score->scale);
    if (status == ATTN_OK && !(isfinite(score->softcap) && score->softcap >= 0))
        status = attn_error_set(error, ATTN_ARGUMENT, "softcap %g: must be 0 (off) or a positive finite number",
                                score->softcap);
    if (status == ATTN_OK)
        status = check_finite("alibi_slopes", score->alibi_slopes, problem->shape.heads, error);
    if (status == ATTN_OK)
        status = check_finite("sinks", score->sinks, problem->shape.heads, error);
    return status;
}

double attn_flops_forward(const attn_problem *problem)
{
    const attn_shape *const shape = &problem->shape;
    const double a_pair = 2 * ((double)shape->head_dim + (double)shape->v_head_dim);

    return a_pair * (double)shape->heads * (double)attn_mask_pairs(&problem->mask, shape);
}
