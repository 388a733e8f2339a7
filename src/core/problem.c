#include <attn/problem.h>
#include <attn/random.h>

#include <assert.h>
#include <float.h>
#include <inttypes.h>
#include <math.h>

attn_problem attn_problem_init(attn_shape shape, attn_dtype dtype)
{
    return (attn_problem){
        .shape = shape, .dtype = dtype, .mask = ATTN_MASK_FULL, .score = {.scale = attn_scale_default(shape.head_dim)}};
}

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

/* Kernels multiply settings with log2(e), about 1.44, in the type in which they sum. */
static double largest_setting(attn_dtype dtype)
{
    return (attn_dtype_accumulator(dtype) == ATTN_FLOAT64 ? DBL_MAX : (double)FLT_MAX) / 2;
}

static attn_status check_values(const char *name, const double *values, const attn_problem *problem, attn_error *error)
{
    const double largest = largest_setting(problem->dtype);

    for (int64_t h = 0; values != NULL && h < problem->shape.heads; h++)
        if (!(fabs(values[h]) <= largest))
            return attn_error_set(error, ATTN_ARGUMENT, "%s[%" PRId64 "] = %g: must be a number up to %.2g with %s",
                                  name, h, values[h], largest, attn_dtype_name(problem->dtype));
    return ATTN_OK;
}

static attn_status check_score(const attn_problem *problem, attn_error *error)
{
    const attn_score *const score = &problem->score;
    const double largest = largest_setting(problem->dtype);
    const char *const type = attn_dtype_name(problem->dtype);
    attn_status status;

    if (!(fabs(score->scale) <= largest))
        return attn_error_set(error, ATTN_ARGUMENT, "scale %g: must be a number up to %.2g with %s", score->scale,
                              largest, type);
    if (score->softcap != 0 &&
        !(score->softcap >= 1 / largest && score->softcap <= largest && fabs(score->scale) / score->softcap <= largest))
        return attn_error_set(
            error, ATTN_ARGUMENT,
            "softcap %g: must be 0 (off) or from %.2g to %.2g with %s, and scale / softcap up to %.2g", score->softcap,
            1 / largest, largest, type, largest);
    status = check_values("alibi_slopes", score->alibi_slopes, problem, error);
    return status == ATTN_OK ? check_values("sinks", score->sinks, problem, error) : status;
}

/* The numbers of rows, blocks of keys and heads are words of the generator's counter. */
static attn_status check_dropout(const attn_problem *problem, attn_error *error)
{
    const int64_t words = INT64_C(1) << 32;
    const attn_shape *const shape = &problem->shape;

    if (!(problem->dropout >= 0 && problem->dropout < 1))
        return attn_error_set(error, ATTN_ARGUMENT, "dropout %g: must be 0 (off) or more, and less than 1",
                              problem->dropout);
    if (problem->dropout == 0)
        return ATTN_OK;
    if (shape->seq > words || shape->kv_seq / ATTN_DROPOUT_KEYS > words - 1)
        return attn_error_set(error, ATTN_ARGUMENT,
                              "seq %" PRId64 ", kv-seq %" PRId64 ": at most 2^32 rows and 2^35 - 1 keys have dropout",
                              shape->seq, shape->kv_seq);
    if (shape->batch > words / shape->heads)
        return attn_error_set(error, ATTN_ARGUMENT,
                              "batch %" PRId64 " of %" PRId64 " heads: at most 2^32 heads have dropout", shape->batch,
                              shape->heads);
    return ATTN_OK;
}

attn_status attn_problem_check(const attn_problem *problem, attn_error *error)
{
    attn_status status = attn_shape_check(&problem->shape, error);

    if (status == ATTN_OK && (unsigned)problem->dtype >= ATTN_DTYPE_COUNT)
        status = attn_error_set(error, ATTN_ARGUMENT, "dtype %d: must be float64, float32, float16 or bfloat16",
                                (int)problem->dtype);
    if (status == ATTN_OK)
        status = attn_mask_check(&problem->mask, &problem->shape, error);
    if (status == ATTN_OK)
        status = check_score(problem, error);
    return status == ATTN_OK ? check_dropout(problem, error) : status;
}

static double count_head_pairs(const attn_problem *problem)
{
    return (double)problem->shape.heads * (double)attn_mask_pairs(&problem->mask, &problem->shape);
}

double attn_flops_forward(const attn_problem *problem)
{
    const attn_shape *const shape = &problem->shape;

    return 2 * ((double)shape->head_dim + (double)shape->v_head_dim) * count_head_pairs(problem);
}

double attn_flops_backward(const attn_problem *problem)
{
    const attn_shape *const shape = &problem->shape;

    return (6 * (double)shape->head_dim + 4 * (double)shape->v_head_dim) * count_head_pairs(problem);
}
