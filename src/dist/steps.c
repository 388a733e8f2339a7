#include "dist/steps.h"

#include "core/checked.h"
#include "dist/partial.h"

#include <attn/memory.h>

#include <assert.h>
#include <stdlib.h>
#include <string.h>

struct attn_steps {
    attn_steps_setup setup;
    attn_step_parts *parts;     /* [step_count], those of the setup */
    const attn_segments **list; /* of all steps, one after the other */
    int64_t *order;             /* beside list: numbers of the caller's parts; NULL: they stand in its order */
    attn_array *k, *v;          /* of a step's parts in that order; NULL, the same */
    attn_partial_rows of;
    attn_scratch *scratch;
    attn_forward **forward;   /* [step_count], NULL where nothing is seen; with nothing seen at all [0] has no parts */
    attn_backward **backward; /* [step_count], NULL: the plan is of the forward pass */
    int64_t seen;             /* steps that are seen */
    bool partial;             /* more than one: their results are merged */
    void *o_sum;              /* partial o or dq in the accumulator type, dense; NULL: in the caller's array */
    void *o_step, *lse_step;  /* of one step; NULL: not partial */
    void *lse_low;            /* what lse has lost to rounding; NULL: not partial */
    int64_t done;             /* steps of this pass */
    attn_array q, o, lse;     /* the caller's, forward */
    attn_steps_rows rows;     /* the caller's, backward */
    attn_array o_part, lse_part, dq_part; /* where partial results are summed */
};

static attn_dtype sum_dtype(const attn_steps_setup *setup)
{
    return attn_dtype_accumulator(setup->plan->problem.dtype);
}

double attn_steps_extra_bytes(const attn_plan *plan, int64_t head_count, int64_t rows, int64_t seen_steps)
{
    const attn_dtype dtype = plan->problem.dtype, sums = attn_dtype_accumulator(dtype);
    const attn_shape *shape = &plan->problem.shape;
    const double lines = (double)shape->batch * (double)head_count * (double)rows;
    const double element = (double)attn_dtype_size(sums);
    const double o = lines * (double)shape->v_head_dim * element, dq = lines * (double)shape->head_dim * element;
    const double wide = plan->pass == ATTN_PASS_BACKWARD && dq > o ? dq : o;

    return seen_steps <= 1 ? 0 : o + 2 * lines * element + (dtype == sums ? 0 : wide);
}

/* The pass over some parts; whole: they are all that is seen. */
static attn_status make_forward(attn_steps *steps, const attn_step_parts *parts, bool whole, attn_forward **out,
                                attn_error *error)
{
    const attn_steps_setup *setup = &steps->setup;
    const attn_problem *problem = &setup->plan->problem;
    const attn_forward_setup forward = {.problem = problem,
                                        .head_begin = setup->head_begin,
                                        .head_count = setup->head_count,
                                        .kv_head_begin = setup->kv_head_begin,
                                        .q_rows = setup->q_rows,
                                        .part_count = parts->part_count,
                                        .part_rows = parts->part_rows,
                                        .o_dtype = whole ? problem->dtype : sum_dtype(setup),
                                        .add_sinks = whole,
                                        .threads = setup->plan->threads,
                                        .scratch = steps->scratch,
                                        .deterministic = setup->plan->deterministic};

    return attn_forward_create(setup->plan->kernel, &forward, out, error);
}

static attn_status make_backward(attn_steps *steps, const attn_step_parts *parts, attn_backward **out,
                                 attn_error *error)
{
    const attn_steps_setup *setup = &steps->setup;
    const attn_problem *problem = &setup->plan->problem;
    const attn_backward_setup backward = {.problem = problem,
                                          .head_begin = setup->head_begin,
                                          .head_count = setup->head_count,
                                          .kv_head_begin = setup->kv_head_begin,
                                          .kv_head_count = setup->kv_head_count,
                                          .q_rows = setup->q_rows,
                                          .part_count = parts->part_count,
                                          .part_rows = parts->part_rows,
                                          .dq_dtype = steps->partial ? sum_dtype(setup) : problem->dtype,
                                          .dkv_dtype = setup->dkv_dtype,
                                          .accumulate = steps->partial,
                                          .threads = setup->plan->threads,
                                          .scratch = steps->scratch};

    assert(!steps->partial || setup->dkv_dtype == sum_dtype(setup));
    return attn_backward_create(setup->plan->kernel, &backward, out, error);
}

/* Whether a row sees a key of the parts. */
static bool sees(const attn_steps_setup *setup, const attn_step_parts *parts)
{
    const attn_problem *problem = &setup->plan->problem;
    const int64_t batches = problem->mask.kv_len != NULL ? problem->shape.batch : 1;

    for (int64_t b = 0; b < batches; b++)
        for (int64_t row = 0; row < setup->q_rows->rows; row++) {
            const attn_interval keys =
                attn_mask_row(&problem->mask, &problem->shape, b, attn_segments_global(setup->q_rows, row));

            for (int64_t p = 0; p < parts->part_count; p++)
                if (attn_segments_below(parts->part_rows[p], keys.hi) >
                    attn_segments_below(parts->part_rows[p], keys.lo))
                    return setup->head_count > 0;
        }
    return false;
}

static attn_status allocate(attn_steps *steps, attn_error *error)
{
    const attn_steps_setup *setup = &steps->setup;
    const bool backward = setup->plan->pass == ATTN_PASS_BACKWARD;
    const size_t o_bytes = attn_partial_o_bytes(&steps->of), lse_bytes = attn_partial_lse_bytes(&steps->of);
    const size_t dq_bytes = lse_bytes * (size_t)setup->plan->problem.shape.head_dim;

    if (!steps->partial)
        return ATTN_OK;
    steps->o_step = attn_aligned_alloc(o_bytes);
    steps->lse_step = attn_aligned_alloc(lse_bytes);
    steps->lse_low = attn_aligned_alloc(lse_bytes);
    if (setup->plan->problem.dtype != sum_dtype(setup))
        steps->o_sum = attn_aligned_alloc(backward && dq_bytes > o_bytes ? dq_bytes : o_bytes);
    if (steps->o_step == NULL || steps->lse_step == NULL || steps->lse_low == NULL ||
        (setup->plan->problem.dtype != sum_dtype(setup) && steps->o_sum == NULL))
        return attn_error_set(error, ATTN_MEMORY, "no memory for partial results of %lld rows and %lld heads",
                              (long long)steps->of.rows, (long long)steps->of.heads);
    return ATTN_OK;
}

/* The passes of all steps that are seen; where none is, one without parts writes what rows without keys have. */
static attn_status make_passes(attn_steps *steps, const bool *seen, attn_error *error)
{
    static const attn_step_parts none = {0, NULL};
    const attn_steps_setup *setup = &steps->setup;
    const bool backward = setup->plan->pass == ATTN_PASS_BACKWARD;
    attn_status status = ATTN_OK;

    if (steps->seen == 0) {
        status = make_forward(steps, &none, true, &steps->forward[0], error);
        return status == ATTN_OK && backward ? make_backward(steps, &none, &steps->backward[0], error) : status;
    }
    for (int64_t step = 0; step < setup->step_count && status == ATTN_OK; step++) {
        if (!seen[step])
            continue;
        status = make_forward(steps, &setup->steps[step], !steps->partial, &steps->forward[step], error);
        if (status == ATTN_OK && backward)
            status = make_backward(steps, &setup->steps[step], &steps->backward[step], error);
    }
    return status;
}

/* Orders the parts of a step by their first keys. */
static void order_parts(const attn_segments **list, int64_t *order, int64_t count)
{
    for (int64_t n = 0; n < count; n++) {
        const attn_segments *rows = list[n];
        int64_t to = n;

        for (; to > 0 && rows->count > 0 &&
               (list[to - 1]->count == 0 || list[to - 1]->list[0].begin > rows->list[0].begin);
             to--) {
            list[to] = list[to - 1];
            order[to] = order[to - 1];
        }
        list[to] = rows;
        order[to] = n;
    }
}

static bool make_order(attn_steps *steps, int64_t count)
{
    steps->order = attn_calloc_array(count + 1, sizeof *steps->order);
    steps->k = attn_calloc_array(count + 1, sizeof *steps->k);
    steps->v = attn_calloc_array(count + 1, sizeof *steps->v);
    if (steps->order == NULL || steps->k == NULL || steps->v == NULL)
        return false;
    for (int64_t step = 0; step < steps->setup.step_count; step++) {
        const int64_t first = steps->parts[step].part_rows - steps->list;

        order_parts(steps->list + first, steps->order + first, steps->parts[step].part_count);
    }
    return true;
}

/* Copies the lists of parts, which are the caller's. */
static bool copy_parts(attn_steps *steps, const attn_steps_setup *setup)
{
    int64_t count = 0;

    for (int64_t step = 0; step < setup->step_count; step++)
        count += setup->steps[step].part_count;
    steps->parts = attn_calloc_array(setup->step_count + 1, sizeof *steps->parts);
    steps->list = attn_calloc_array(count + 1, sizeof *steps->list);
    if (steps->parts == NULL || steps->list == NULL)
        return false;
    count = 0;
    for (int64_t step = 0; step < setup->step_count; step++) {
        steps->parts[step] = (attn_step_parts){setup->steps[step].part_count, &steps->list[count]};
        for (int64_t p = 0; p < setup->steps[step].part_count; p++)
            steps->list[count++] = setup->steps[step].part_rows[p];
    }
    steps->setup.steps = steps->parts;
    return !setup->plan->deterministic || setup->plan->pass == ATTN_PASS_BACKWARD || make_order(steps, count);
}

attn_status attn_steps_create(const attn_steps_setup *setup, attn_steps **out, attn_error *error)
{
    attn_steps *steps = calloc(1, sizeof *steps);
    bool *seen = attn_calloc_array(setup->step_count + 1, sizeof *seen);
    attn_status status;

    *out = NULL;
    if (steps != NULL) {
        steps->setup = *setup;
        steps->of = (attn_partial_rows){setup->plan, setup->head_begin, setup->head_count, setup->q_rows->rows};
        steps->forward = attn_calloc_array(setup->step_count + 1, sizeof(attn_forward *));
        steps->backward = attn_calloc_array(setup->step_count + 1, sizeof(attn_backward *));
    }
    if (steps == NULL || seen == NULL || steps->forward == NULL || steps->backward == NULL ||
        !copy_parts(steps, setup)) {
        free(seen);
        attn_steps_destroy(steps);
        return attn_error_set(error, ATTN_MEMORY, "no memory for %lld steps", (long long)setup->step_count);
    }
    for (int64_t step = 0; step < setup->step_count; step++) {
        seen[step] = sees(setup, &setup->steps[step]);
        steps->seen += seen[step];
    }
    steps->partial = steps->seen > 1;
    status = attn_scratch_create(&steps->scratch, error);
    if (status == ATTN_OK)
        status = allocate(steps, error);
    if (status == ATTN_OK)
        status = make_passes(steps, seen, error);
    free(seen);
    if (status != ATTN_OK) {
        attn_steps_destroy(steps);
        return status;
    }
    *out = steps;
    return ATTN_OK;
}

void attn_steps_destroy(attn_steps *steps)
{
    if (steps == NULL)
        return;
    for (int64_t step = 0; step <= steps->setup.step_count; step++) {
        if (steps->forward != NULL)
            attn_forward_destroy(steps->forward[step]);
        if (steps->backward != NULL)
            attn_backward_destroy(steps->backward[step]);
    }
    attn_scratch_destroy(steps->scratch);
    free(steps->parts);
    free(steps->list);
    free(steps->order);
    free(steps->k);
    free(steps->v);
    free(steps->forward);
    free(steps->backward);
    free(steps->o_sum);
    free(steps->o_step);
    free(steps->lse_step);
    free(steps->lse_low);
    free(steps);
}

bool attn_steps_see(const attn_steps *steps, int64_t step)
{
    return steps->seen > 0 && steps->forward[step] != NULL;
}

/* ---- Forward ---- */

static attn_array dense_rows(const attn_steps *steps, void *data, int64_t width)
{
    return attn_array_dense(data, steps->of.heads, steps->of.rows, width);
}

static void clear(const attn_steps *steps, const attn_array *array, int64_t heads, int64_t rows, int64_t width,
                  attn_dtype dtype)
{
    const int64_t batch = steps->setup.plan->problem.shape.batch;
    const size_t element = attn_dtype_size(dtype);

#pragma omp parallel for collapse(3) schedule(static) num_threads(steps->setup.plan->threads)
    for (int64_t b = 0; b < batch; b++)
        for (int64_t h = 0; h < heads; h++)
            for (int64_t row = 0; row < rows; row++)
                memset((char *)array->data +
                           (size_t)(b * array->batch_stride + h * array->head_stride + row * array->row_stride) *
                               element,
                       0, (size_t)width * element);
}

void attn_steps_forward(attn_steps *steps, const attn_array *q, const attn_array *o, const attn_array *lse)
{
    steps->q = *q;
    steps->o = *o;
    steps->lse = *lse;
    steps->o_part =
        steps->o_sum == NULL ? *o : dense_rows(steps, steps->o_sum, steps->setup.plan->problem.shape.v_head_dim);
    steps->lse_part = *lse;
    steps->done = 0;
}

static void put_in_order(attn_steps *steps, int64_t step, attn_forward_buffers *buffers)
{
    const int64_t *order = steps->order + (steps->parts[step].part_rows - steps->list);

    for (int64_t n = 0; n < steps->parts[step].part_count; n++) {
        steps->k[n] = buffers->k[order[n]];
        steps->v[n] = buffers->v[order[n]];
    }
    buffers->k = steps->k;
    buffers->v = steps->v;
}

void attn_steps_forward_step(attn_steps *steps, int64_t step, const attn_array *k, const attn_array *v,
                             const attn_progress *progress, attn_laps *laps)
{
    const bool first = steps->done == 0;
    const attn_array o_step = dense_rows(steps, steps->o_step, steps->setup.plan->problem.shape.v_head_dim);
    const attn_array lse_step = dense_rows(steps, steps->lse_step, 1);
    const attn_array lse_low = dense_rows(steps, steps->lse_low, 1);
    attn_forward_buffers buffers = {
        .q = steps->q, .k = k, .v = v, .o = first ? steps->o_part : o_step, .lse = first ? steps->lse_part : lse_step};

    if (!attn_steps_see(steps, step))
        return;
    if (progress != NULL)
        buffers.progress = *progress;
    if (steps->order != NULL)
        put_in_order(steps, step, &buffers);
    attn_forward_execute(steps->forward[step], &buffers);
    attn_lap(laps, ATTN_PHASE_COMPUTE);
    if (first && steps->partial) {
        clear(steps, &lse_low, steps->of.heads, steps->of.rows, 1, sum_dtype(&steps->setup));
    } else if (!first) {
        attn_partial_merge(&steps->of, &steps->o_part, &steps->lse_part, &lse_low, &o_step, &lse_step);
        attn_lap(laps, ATTN_PHASE_MERGE);
    }
    steps->done++;
}

void attn_steps_forward_end(attn_steps *steps, attn_laps *laps)
{
    assert(steps->done == steps->seen);
    if (steps->seen == 0) {
        const attn_forward_buffers buffers = {.q = steps->q, .o = steps->o, .lse = steps->lse};

        attn_forward_execute(steps->forward[0], &buffers);
        attn_lap(laps, ATTN_PHASE_COMPUTE);
    } else if (steps->partial) {
        attn_partial_finish(&steps->of, &steps->o_part, &steps->lse_part, &steps->o, &steps->lse);
        attn_lap(laps, ATTN_PHASE_MERGE);
    }
}

/* ---- Backward ---- */

void attn_steps_backward(attn_steps *steps, const attn_steps_rows *rows)
{
    const int64_t D = steps->setup.plan->problem.shape.head_dim;

    steps->rows = *rows;
    steps->dq_part = steps->o_sum == NULL ? rows->dq : dense_rows(steps, steps->o_sum, D);
    steps->done = 0;
    if (steps->partial)
        clear(steps, &steps->dq_part, steps->of.heads, steps->of.rows, D, sum_dtype(&steps->setup));
}

static void clear_parts(const attn_steps *steps, int64_t step, const attn_array *dk, const attn_array *dv)
{
    const attn_steps_setup *setup = &steps->setup;
    const attn_shape *shape = &setup->plan->problem.shape;

    for (int64_t p = 0; p < setup->steps[step].part_count; p++) {
        const int64_t rows = setup->steps[step].part_rows[p]->rows;

        clear(steps, &dk[p], setup->kv_head_count, rows, shape->head_dim, setup->dkv_dtype);
        clear(steps, &dv[p], setup->kv_head_count, rows, shape->v_head_dim, setup->dkv_dtype);
    }
}

void attn_steps_backward_step(attn_steps *steps, int64_t step, const attn_array *k, const attn_array *v,
                              const attn_array *dk, const attn_array *dv, const attn_progress *progress,
                              attn_laps *laps)
{
    attn_backward_buffers buffers = {.q = steps->rows.q,
                                     .o = steps->rows.o,
                                     .d_o = steps->rows.d_o,
                                     .lse = steps->rows.lse,
                                     .k = k,
                                     .v = v,
                                     .dq = steps->dq_part,
                                     .dk = dk,
                                     .dv = dv};

    if (steps->partial || !attn_steps_see(steps, step))
        clear_parts(steps, step, dk, dv);
    if (attn_steps_see(steps, step)) {
        if (progress != NULL)
            buffers.progress = *progress;
        attn_backward_execute(steps->backward[step], &buffers);
        steps->done++;
    }
    attn_lap(laps, ATTN_PHASE_COMPUTE);
}

void attn_steps_backward_end(attn_steps *steps, attn_laps *laps)
{
    const attn_shape *shape = &steps->setup.plan->problem.shape;
    const attn_dtype dtype = steps->setup.plan->problem.dtype;

    assert(steps->done == steps->seen);
    if (steps->seen == 0) {
        const attn_backward_buffers buffers = {.q = steps->rows.q,
                                               .o = steps->rows.o,
                                               .d_o = steps->rows.d_o,
                                               .lse = steps->rows.lse,
                                               .dq = steps->rows.dq};

        attn_backward_execute(steps->backward[0], &buffers);
        attn_lap(laps, ATTN_PHASE_COMPUTE);
    } else if (steps->o_sum != NULL) {
        const int64_t lines = shape->batch * steps->of.heads * steps->of.rows;
        const size_t element = attn_dtype_size(dtype), sum_element = attn_dtype_size(sum_dtype(&steps->setup));

        /* Both arrays are dense: dq is the caller's. */
#pragma omp parallel for schedule(static) num_threads(steps->setup.plan->threads)
        for (int64_t line = 0; line < lines; line++)
            attn_convert(dtype, (char *)steps->rows.dq.data + (size_t)(line * shape->head_dim) * element,
                         sum_dtype(&steps->setup),
                         (char *)steps->o_sum + (size_t)(line * shape->head_dim) * sum_element,
                         (size_t)shape->head_dim);
        attn_lap(laps, ATTN_PHASE_MERGE);
    }
}
