#include "layer/model.h"

#include "harness.h"

#include <attn/explain.h>
#include <attn/random.h>

#include <math.h>
#include <stdlib.h>
#include <string.h>

int64_t model_x_count(const attn_layer_problem *problem)
{
    return problem->attention.shape.batch * problem->attention.shape.seq * problem->embed_dim;
}

int64_t model_context_count(const attn_layer_problem *problem)
{
    return problem->attention.shape.batch * problem->attention.shape.kv_seq * problem->context_dim;
}

int64_t model_y_count(const attn_layer_problem *problem)
{
    return problem->attention.shape.batch * problem->attention.shape.seq * attn_layer_out_dim(problem);
}

/* Normals times a factor, as the dtype has them. */
static double *draw(const attn_layer_problem *problem, uint64_t seed, int64_t count, double factor)
{
    double *const made = malloc((size_t)count * sizeof *made + 1);
    double rounded;

    for (int64_t n = 0; n < count; n++) {
        made[n] = factor * attn_random_normal(seed, ATTN_STREAM_TEST, (uint64_t)n);
        attn_store(problem->attention.dtype, &rounded, 0, made[n]);
        made[n] = attn_load(problem->attention.dtype, &rounded, 0);
    }
    return made;
}

/* The same layer computed in float64. */
static attn_explanation *explain(const model *m)
{
    attn_layer_problem exact = m->problem;
    attn_explanation *made;

    exact.attention.dtype = ATTN_FLOAT64;
    TEST_OK(attn_explanation_make(&exact, &m->weights, m->x, m->context, &made, &attn_test_error));
    return made;
}

static double loss(const model *m)
{
    attn_explanation *const made = explain(m);
    double sum = 0;

    for (int64_t n = 0; n < model_y_count(&m->problem); n++)
        sum += m->dy[n] * made->y[n];
    attn_explanation_destroy(made);
    return sum;
}

/* The derivative of the loss by each of some inputs. */
static double *differentiate(const model *m, double *inputs, int64_t count)
{
    const double h = 1e-3;
    double *const made = calloc((size_t)count + 1, sizeof *made);
    int rank, ranks;

    MPI_Comm_rank(MPI_COMM_WORLD, &rank);
    MPI_Comm_size(MPI_COMM_WORLD, &ranks);
    for (int64_t n = rank; n < count; n += ranks) {
        const double at = inputs[n];
        double near, far;

        inputs[n] = at + h, near = loss(m);
        inputs[n] = at - h, near -= loss(m);
        inputs[n] = at + 2 * h, far = loss(m);
        inputs[n] = at - 2 * h, far -= loss(m);
        inputs[n] = at;
        made[n] = (8 * near - far) / (12 * h);
    }
    MPI_Allreduce(MPI_IN_PLACE, made, (int)count, MPI_DOUBLE, MPI_SUM, MPI_COMM_WORLD);
    return made;
}

static int64_t weight_count(const attn_layer_problem *problem, int p)
{
    return attn_layer_weight_out(problem, (attn_projection)p) * attn_layer_weight_in(problem, (attn_projection)p);
}

static int64_t bias_count(const attn_layer_problem *problem, int p)
{
    return problem->bias[p] ? attn_layer_weight_out(problem, (attn_projection)p) : 0;
}

model model_make(const attn_layer_problem *problem, bool gradients)
{
    const attn_shape *const s = &problem->attention.shape;
    model m = {.problem = *problem};
    attn_explanation *made;

    TEST_OK(attn_layer_problem_check(problem, &attn_test_error));
    m.x = draw(problem, 1, model_x_count(problem), 1);
    m.dy = draw(problem, 2, model_y_count(problem), 1);
    if (problem->context_dim > 0)
        m.context = draw(problem, 3, model_context_count(problem), 1);
    for (int p = 0; p < ATTN_PROJECTION_COUNT; p++) {
        if (weight_count(problem, p) == 0)
            continue;
        m.weights.weight[p] = draw(problem, 4 + (uint64_t)p, weight_count(problem, p),
                                   1 / sqrt((double)attn_layer_weight_in(problem, (attn_projection)p)));
        if (problem->bias[p])
            m.weights.bias[p] = draw(problem, 8 + (uint64_t)p, bias_count(problem, p), 0.5);
    }
    made = explain(&m);
    m.y = malloc((size_t)model_y_count(problem) * sizeof *m.y);
    memcpy(m.y, made->y, (size_t)model_y_count(problem) * sizeof *m.y);
    for (int64_t n = 0; n < s->batch * s->heads * s->seq * s->kv_seq; n++)
        if (isfinite(made->scores[n]))
            m.max_score = fmax(m.max_score, fabs(made->scores[n]));
    attn_explanation_destroy(made);
    if (!gradients)
        return m;
    m.dx = differentiate(&m, m.x, model_x_count(problem));
    if (m.context != NULL)
        m.d_context = differentiate(&m, m.context, model_context_count(problem));
    for (int p = 0; p < ATTN_PROJECTION_COUNT; p++) {
        m.gradients.weight[p] = differentiate(&m, m.weights.weight[p], weight_count(problem, p));
        m.gradients.bias[p] = differentiate(&m, m.weights.bias[p], bias_count(problem, p));
    }
    return m;
}

void model_drop(model *m)
{
    free(m->x);
    free(m->context);
    free(m->dy);
    free(m->y);
    free(m->dx);
    free(m->d_context);
    for (int p = 0; p < ATTN_PROJECTION_COUNT; p++) {
        free(m->weights.weight[p]);
        free(m->weights.bias[p]);
        free(m->gradients.weight[p]);
        free(m->gradients.bias[p]);
    }
}

/* ---- Passes ---- */

/* Calls visit for each number of this rank's [B,rows,width] with its place among the whole [B,S,width]. */
typedef void visit_number(void *context, int64_t local, int64_t global);

static void visit_rows(const attn_shape *shape, const attn_segments *rows, int64_t seq, int64_t width,
                       visit_number *visit, void *context)
{
    for (int64_t b = 0; b < shape->batch; b++)
        for (int64_t r = 0; r < rows->rows; r++)
            for (int64_t e = 0; e < width; e++)
                visit(context, (b * rows->rows + r) * width + e, (b * seq + attn_segments_global(rows, r)) * width + e);
}

static void visit_block(const attn_weight_block *block, int64_t width, visit_number *visit, void *context)
{
    for (int64_t r = 0; r < block->row_count; r++)
        for (int64_t c = 0; c < block->column_count; c++)
            visit(context, r * block->column_count + c, (block->row_begin + r) * width + block->column_begin + c);
}

typedef struct copying {
    attn_dtype dtype;
    void *to;
    const double *from;
} copying;

static void copy_number(void *context, int64_t local, int64_t global)
{
    const copying *const c = context;

    attn_store(c->dtype, c->to, (size_t)local, c->from[global]);
}

/* Room for numbers that are to be written, and are not yet. */
static void *make_room(int64_t count, attn_dtype dtype)
{
    void *const made = malloc((size_t)count * attn_dtype_size(dtype) + 1);

    memset(made, 0xff, (size_t)count * attn_dtype_size(dtype) + 1); /* NaN */
    return made;
}

static void *cut_rows(const model *m, const attn_segments *rows, int64_t seq, int64_t width, const double *from)
{
    const attn_shape *const s = &m->problem.attention.shape;
    const attn_dtype dtype = m->problem.attention.dtype;
    copying c = {dtype, make_room(s->batch * rows->rows * width, dtype), from};

    visit_rows(s, rows, seq, width, copy_number, &c);
    return c.to;
}

/* A bias is a block of one column. */
static attn_weight_block bias_block(const attn_layer *layer, int p)
{
    attn_weight_block block = attn_layer_block(layer, (attn_projection)p);

    block.column_begin = 0;
    block.column_count = 1;
    return block;
}

static void *cut_block(const model *m, const attn_weight_block *block, int64_t width, const double *from)
{
    copying c = {m->problem.attention.dtype,
                 make_room(block->row_count * block->column_count, m->problem.attention.dtype), from};

    visit_block(block, width, copy_number, &c);
    return c.to;
}

run run_make(const model *m, attn_layer *layer)
{
    const attn_shape *const s = &m->problem.attention.shape;
    const attn_dtype dtype = m->problem.attention.dtype, sum = attn_dtype_accumulator(dtype);
    const attn_segments *const rows = attn_layer_rows(layer), *const context_rows = attn_layer_context_rows(layer);
    const int64_t out = attn_layer_out_dim(&m->problem);
    run r = {.layer = layer, .of = m};

    r.x = cut_rows(m, rows, s->seq, m->problem.embed_dim, m->x);
    r.dy = cut_rows(m, rows, s->seq, out, m->dy);
    r.y = make_room(s->batch * rows->rows * out, dtype);
    r.dx = make_room(s->batch * rows->rows * m->problem.embed_dim, dtype);
    if (m->context != NULL) {
        r.context = cut_rows(m, context_rows, s->kv_seq, m->problem.context_dim, m->context);
        r.d_context = make_room(s->batch * context_rows->rows * m->problem.context_dim, dtype);
    }
    for (int p = 0; p < ATTN_PROJECTION_COUNT; p++) {
        const attn_weight_block block = attn_layer_block(layer, (attn_projection)p), rows_of = bias_block(layer, p);

        if (weight_count(&m->problem, p) == 0) {
            CU_ASSERT(block.row_count == 0 && block.column_count == 0);
            continue;
        }
        r.weights.weight[p] =
            cut_block(m, &block, attn_layer_weight_in(&m->problem, (attn_projection)p), m->weights.weight[p]);
        r.gradients.weight[p] = make_room(block.row_count * block.column_count, sum);
        if (m->problem.bias[p]) {
            r.weights.bias[p] = cut_block(m, &rows_of, 1, m->weights.bias[p]);
            r.gradients.bias[p] = make_room(block.row_count, sum);
        }
    }
    return r;
}

void run_finish(run *r)
{
    attn_layer_destroy(r->layer);
    free(r->x);
    free(r->context);
    free(r->dy);
    free(r->y);
    free(r->dx);
    free(r->d_context);
    for (int p = 0; p < ATTN_PROJECTION_COUNT; p++) {
        free(r->weights.weight[p]);
        free(r->weights.bias[p]);
        free(r->gradients.weight[p]);
        free(r->gradients.bias[p]);
    }
}

static void check_times(const double seconds[ATTN_PHASE_COUNT])
{
    double sum = 0;

    for (int phase = 0; phase < ATTN_PHASE_COUNT; phase++) {
        CU_ASSERT(seconds[phase] >= 0);
        sum += phase == ATTN_PHASE_TOTAL ? 0 : seconds[phase];
    }
    TEST_CLOSE(sum, seconds[ATTN_PHASE_TOTAL], 1e-9); /* the phases leave nothing out */
}

void run_forward(run *r)
{
    double seconds[ATTN_PHASE_COUNT] = {0};

    TEST_OK(attn_layer_forward(r->layer, &r->weights, r->x, r->context, r->y, seconds, &attn_test_error));
    check_times(seconds);
}

void run_backward(run *r)
{
    double seconds[ATTN_PHASE_COUNT] = {0};

    TEST_OK(attn_layer_backward(r->layer, &r->weights, r->x, r->context, r->dy, r->dx, r->d_context, &r->gradients,
                                seconds, &attn_test_error));
    check_times(seconds);
}

typedef struct comparing {
    attn_dtype dtype;
    const void *got;
    const double *want;
    double tolerance, worst;
} comparing;

static void compare_number(void *context, int64_t local, int64_t global)
{
    comparing *const c = context;
    const double got = attn_load(c->dtype, c->got, (size_t)local), want = c->want[global];
    const double apart = fabs(got - want) / (1 + fabs(want)) / c->tolerance;

    if (!(apart <= c->worst)) /* NaN too */
        c->worst = isnan(apart) ? INFINITY : apart;
}

static double compare_rows(const run *r, const attn_segments *rows, int64_t seq, int64_t width, const void *got,
                           const double *want, double tolerance)
{
    comparing c = {r->of->problem.attention.dtype, got, want, tolerance, 0};

    visit_rows(&r->of->problem.attention.shape, rows, seq, width, compare_number, &c);
    return c.worst;
}

double run_error(const run *r, bool gradients)
{
    const attn_layer_problem *const p = &r->of->problem;
    const attn_shape *const s = &p->attention.shape;
    const double eps = attn_dtype_epsilon(p->attention.dtype);
    const double forward = attn_tolerance_forward(eps, r->of->max_score);
    const double backward = attn_tolerance_backward(eps, r->of->max_score) +
                            (p->attention.dtype == ATTN_FLOAT64 ? 1e-9 : 0); /* what differences are exact to */
    const attn_dtype sum = attn_dtype_accumulator(p->attention.dtype);
    const attn_segments *const rows = attn_layer_rows(r->layer), *const keys = attn_layer_context_rows(r->layer);
    double worst = compare_rows(r, rows, s->seq, attn_layer_out_dim(p), r->y, r->of->y, forward);

    if (!gradients)
        return worst;
    worst = fmax(worst, compare_rows(r, rows, s->seq, p->embed_dim, r->dx, r->of->dx, backward));
    if (r->of->context != NULL)
        worst = fmax(worst, compare_rows(r, keys, s->kv_seq, p->context_dim, r->d_context, r->of->d_context, backward));
    for (int n = 0; n < ATTN_PROJECTION_COUNT; n++) {
        const attn_weight_block block = attn_layer_block(r->layer, (attn_projection)n),
                                rows_of = bias_block(r->layer, n);
        comparing c = {sum, r->gradients.weight[n], r->of->gradients.weight[n], backward, 0};

        visit_block(&block, attn_layer_weight_in(p, (attn_projection)n), compare_number, &c);
        worst = fmax(worst, c.worst);
        c = (comparing){sum, r->gradients.bias[n], r->of->gradients.bias[n], backward, 0};
        if (p->bias[n])
            visit_block(&rows_of, 1, compare_number, &c);
        worst = fmax(worst, c.worst);
    }
    return worst;
}

static bool same(const void *a, const void *b, int64_t count, attn_dtype dtype)
{
    return count == 0 || memcmp(a, b, (size_t)count * attn_dtype_size(dtype)) == 0;
}

bool run_same(const run *a, const run *b, bool gradients)
{
    const attn_layer_problem *const p = &a->of->problem;
    const attn_dtype dtype = p->attention.dtype, sum = attn_dtype_accumulator(dtype);
    const int64_t batch = p->attention.shape.batch, lines = batch * attn_layer_rows(a->layer)->rows;
    bool all = same(a->y, b->y, lines * attn_layer_out_dim(p), dtype);

    if (!gradients)
        return all;
    all = all && same(a->dx, b->dx, lines * p->embed_dim, dtype);
    if (a->d_context != NULL)
        all = all &&
              same(a->d_context, b->d_context, batch * attn_layer_context_rows(a->layer)->rows * p->context_dim, dtype);
    for (int n = 0; n < ATTN_PROJECTION_COUNT; n++) {
        const attn_weight_block block = attn_layer_block(a->layer, (attn_projection)n);

        all = all && same(a->gradients.weight[n], b->gradients.weight[n], block.row_count * block.column_count, sum);
        if (p->bias[n])
            all = all && same(a->gradients.bias[n], b->gradients.bias[n], block.row_count, sum);
    }
    return all;
}
