/* Training on associative recall: the task itself, that it is learned, alike at any number of ranks, and that a
 * training that is continued has the bits of one that never stopped. */
#include "harness.h"
#include "layer/recall.h"

#include <attn/comm.h>

#include <float.h>
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

/* Four heads of 8 over 24 rows: 12 keys, 4 values. */
static attn_training training_of(attn_dtype dtype, bool causal)
{
    const attn_shape shape = {
        .batch = 8, .heads = 4, .kv_heads = 2, .seq = 24, .kv_seq = 24, .head_dim = 8, .v_head_dim = 8};
    attn_training t = {.layer = {.attention = attn_problem_init(shape, dtype),
                                 .embed_dim = 32,
                                 .out_dim = 4,
                                 .projected = true,
                                 .bias = {[ATTN_PROJECTION_QUERY] = true, [ATTN_PROJECTION_OUT] = true}},
                       .optimiser = ATTN_ADAMW_INIT,
                       .seed = 7};

    t.layer.attention.mask.causal = causal;
    t.optimiser.learning_rate = 0.01;
    return t;
}

static attn_trainer *trainer_make(MPI_Comm comm, const attn_training *training, const attn_layer_options *options)
{
    attn_trainer *t;

    TEST_OK(attn_trainer_create(comm, training, options, &t, &attn_test_error));
    return t;
}

/* Makes steps and keeps their losses; returns the accuracy of the last one. */
static double train(attn_trainer *t, int steps, double *losses)
{
    attn_train_step step = {.accuracy = 0};

    for (int n = 0; n < steps; n++) {
        double parts = 0;

        TEST_OK(attn_trainer_step(t, &step, &attn_test_error));
        losses[n] = step.loss;
        for (int phase = 0; phase < ATTN_PHASE_COUNT; phase++) {
            CU_ASSERT(step.seconds[phase] >= 0);
            parts += phase != ATTN_PHASE_TOTAL ? step.seconds[phase] : 0;
        }
        CU_ASSERT(parts <= step.seconds[ATTN_PHASE_TOTAL] * (1 + 1e-9));
        CU_ASSERT(step.seconds[ATTN_PHASE_LOSS] > 0 && step.seconds[ATTN_PHASE_OPTIMISER] > 0);
    }
    return step.accuracy;
}

/* A row of a fact and the row of a query for its key, in a whole sequence. */
static void test_task(void)
{
    const attn_training training = training_of(ATTN_FLOAT64, false);
    const int64_t zero = 0, seq = training.layer.attention.shape.seq, embed = training.layer.embed_dim;
    const int64_t half = embed / 2;
    attn_segments *rows;
    attn_recall r;
    double *x = malloc((size_t)(8 * seq * embed) * sizeof *x);
    int64_t changed = 0;

    TEST_OK(attn_segments_create(1, &zero, &seq, &rows, &attn_test_error));
    TEST_OK(attn_recall_create(&training, rows, &r, &attn_test_error));
    CU_ASSERT_EQUAL(attn_recall_queries(&r), 8 * 12);
    attn_recall_rows(&r, 3, 2, x);
    for (int64_t b = 0; b < 8; b++) {
        bool bound[12] = {false};

        for (int64_t row = 0; row < seq; row++) {
            const int64_t key = attn_recall_key(&r, 3, b, row), value = attn_recall_value(&r, 3, b, key);
            const double *const line = x + (b * seq + row) * embed;
            const int64_t answer = row < 12 ? value : 4;

            CU_ASSERT(key >= 0 && key < 12 && value >= 0 && value < 4);
            CU_ASSERT(memcmp(line, r.keys + key * half * 8, (size_t)half * 8) == 0);
            CU_ASSERT(memcmp(line + half, r.answers + answer * half * 8, (size_t)half * 8) == 0);
            CU_ASSERT(row >= 12 ? bound[key] : !bound[key]); /* each key once, before any query */
            bound[key] = true;
            changed += value != attn_recall_value(&r, 4, b, key);
        }
    }
    CU_ASSERT(changed > 8 * seq / 2); /* three of four, in the mean */
    attn_recall_release(&r);
    attn_segments_destroy(rows);
    free(x);
}

/* The gradient of the loss against its differences, and facts without one. */
static void test_loss(void)
{
    const attn_training training = training_of(ATTN_FLOAT64, false);
    const int64_t zero = 0, seq = training.layer.attention.shape.seq, count = 8 * seq * 4;
    const double h = 1e-5;
    attn_segments *rows;
    attn_recall r;
    double *y = malloc((size_t)count * sizeof *y), *dy = malloc((size_t)count * sizeof *dy);
    double *other = malloc((size_t)count * sizeof *other);
    attn_recall_sums sums;

    TEST_OK(attn_segments_create(1, &zero, &seq, &rows, &attn_test_error));
    TEST_OK(attn_recall_create(&training, rows, &r, &attn_test_error));
    memset(y, 0, (size_t)count * sizeof *y);
    sums = attn_recall_loss(&r, 5, 1, y, dy);
    TEST_CLOSE(sums.loss, 96 * log(4), 1e-12);
    CU_ASSERT_EQUAL(sums.right, 0); /* a tie is not right */
    attn_random_fill(1, ATTN_STREAM_TEST, 0, (size_t)count, ATTN_FLOAT64, y);
    attn_recall_loss(&r, 5, 2, y, dy);
    for (int64_t n = 0; n < count; n += 7) {
        const double kept = y[n];
        double high, low;

        y[n] = kept + h;
        high = attn_recall_loss(&r, 5, 1, y, other).loss;
        y[n] = kept - h;
        low = attn_recall_loss(&r, 5, 1, y, other).loss;
        y[n] = kept;
        TEST_CLOSE(dy[n], (high - low) / (2 * h) / 96, 1e-9);
        CU_ASSERT(n / 4 % seq >= 12 || dy[n] == 0);
    }
    attn_recall_release(&r);
    attn_segments_destroy(rows);
    free(y);
    free(dy);
    free(other);
}

enum { LEARN_STEPS = 150 };

/* Learned: below a tenth of the loss of guessing, log 4, and right. The curve is that of one rank. */
static void check_learning(attn_dtype dtype, attn_layer_options options, int steps, double bound, double tolerance)
{
    const attn_training training = training_of(dtype, options.attention.grid.head % 2 == 1);
    attn_trainer *all, *one;
    double losses[LEARN_STEPS], alone[LEARN_STEPS], accuracy;

    options.attention.threads = 1;
    all = trainer_make(MPI_COMM_WORLD, &training, &options);
    options.attention.grid = (attn_grid){1, 1};
    options.attention.exchange = NULL;
    one = trainer_make(MPI_COMM_SELF, &training, &options);
    if (all != NULL && one != NULL) {
        accuracy = train(all, steps, losses);
        train(one, steps, alone);
        CU_ASSERT(fabs(losses[0] - log(4)) < 1);
        if (bound > 0) {
            CU_ASSERT(losses[steps - 1] < bound);
            CU_ASSERT(accuracy > 0.97);
            if (!(losses[steps - 1] < bound))
                printf("loss %g after %d steps\n", losses[steps - 1], steps);
        }
        for (int n = 0; n < steps; n++)
            TEST_CLOSE(losses[n], alone[n], tolerance);
    }
    attn_trainer_destroy(all);
    attn_trainer_destroy(one);
}

static void test_learns(void)
{
    const int ranks = attn_comm_size(MPI_COMM_WORLD);

    check_learning(ATTN_FLOAT64, (attn_layer_options){.attention = {.grid = {ranks, 1}}}, LEARN_STEPS, 0.14, 1e-9);
}

/* Every grid and way of output for a while: each weight is held by other ranks, and updated alike. */
static void test_grids(void)
{
    const int ranks = attn_comm_size(MPI_COMM_WORLD);

    for (int head = 1; head <= ranks; head++)
        for (int way = ATTN_LAYER_OUTPUT_ALLGATHER; way <= ATTN_LAYER_OUTPUT_REDUCE_SCATTER && ranks % head == 0; way++)
            check_learning(
                ATTN_FLOAT64,
                (attn_layer_options){.attention = {.grid = {ranks / head, head}}, .output = (attn_layer_output)way}, 10,
                0, 1e-11);
}

/* Rounding grows from step to step; the first few are those of one rank. */
static void test_types(void)
{
    const int ranks = attn_comm_size(MPI_COMM_WORLD);
    const attn_layer_options options = {.attention = {.grid = {ranks, 1}}};

    check_learning(ATTN_FLOAT32, options, 20, 0, 1e-4);
    check_learning(ATTN_BFLOAT16, options, 10, 0, 0.03);
}

static bool same_states(const attn_train_state *a, const attn_train_state *b, const attn_training *training)
{
    const size_t size = attn_dtype_size(attn_dtype_accumulator(training->layer.attention.dtype));
    bool same = a->steps == b->steps;

    for (int n = 0; n < ATTN_TRAIN_ARRAY_COUNT; n++)
        for (int p = 0; p < ATTN_PROJECTION_COUNT; p++) {
            const int64_t out = attn_layer_weight_out(&training->layer, (attn_projection)p);
            const int64_t in = attn_layer_weight_in(&training->layer, (attn_projection)p);

            same = same && memcmp(a->arrays[n].weight[p], b->arrays[n].weight[p], (size_t)(out * in) * size) == 0;
            if (training->layer.bias[p])
                same = same && memcmp(a->arrays[n].bias[p], b->arrays[n].bias[p], (size_t)out * size) == 0;
        }
    return same;
}

enum { HALF = 6 };

/* 2 HALF steps, and HALF steps, a state, and HALF steps of another trainer that is given it. */
static void check_resume(attn_dtype dtype, const attn_layer_options *options)
{
    const attn_training training = training_of(dtype, true);
    attn_trainer *const through = trainer_make(MPI_COMM_WORLD, &training, options);
    attn_trainer *const first = trainer_make(MPI_COMM_WORLD, &training, options);
    attn_trainer *const second = trainer_make(MPI_COMM_WORLD, &training, options);
    const bool root = attn_comm_rank(MPI_COMM_WORLD) == 0;
    attn_train_state a, b, begin;
    double losses[2 * HALF], resumed[2 * HALF];

    TEST_OK(attn_train_state_create(&training, &a, &attn_test_error));
    TEST_OK(attn_train_state_create(&training, &b, &attn_test_error));
    TEST_OK(attn_train_state_create(&training, &begin, &attn_test_error));
    TEST_OK(attn_trainer_save(first, &begin, &attn_test_error));
    train(through, 2 * HALF, losses);
    train(first, HALF, resumed);
    TEST_OK(attn_trainer_save(first, root ? &b : NULL, &attn_test_error));
    TEST_OK(attn_trainer_load(second, root ? &b : NULL, &attn_test_error));
    CU_ASSERT_EQUAL(attn_trainer_steps(second), HALF);
    train(second, HALF, resumed + HALF);
    CU_ASSERT(memcmp(losses, resumed, sizeof losses) == 0);
    TEST_OK(attn_trainer_save(through, &a, &attn_test_error));
    TEST_OK(attn_trainer_save(second, &b, &attn_test_error));
    if (root) {
        CU_ASSERT(same_states(&a, &b, &training));
        CU_ASSERT(!same_states(&a, &begin, &training));
    }
    attn_train_state_release(&a);
    attn_train_state_release(&b);
    attn_train_state_release(&begin);
    attn_trainer_destroy(through);
    attn_trainer_destroy(first);
    attn_trainer_destroy(second);
}

static void test_resume(void)
{
    const int ranks = attn_comm_size(MPI_COMM_WORLD);

    for (int head = 1; head <= ranks; head++) {
        attn_layer_options options = {.attention = {.grid = {ranks / head, head}, .threads = 2},
                                      .output = ATTN_LAYER_OUTPUT_REDUCE_SCATTER};

        if (ranks % head == 0)
            check_resume(head % 2 == 1 ? ATTN_BFLOAT16 : ATTN_FLOAT32, &options);
    }
}

static void refuse(attn_training training, const char *what)
{
    const attn_layer_options options = {.form = ATTN_LAYER_FORM_FUSED};
    attn_error error = ATTN_ERROR_INIT;
    attn_trainer *t;

    CU_ASSERT_EQUAL(attn_trainer_create(MPI_COMM_WORLD, &training, &options, &t, &error), ATTN_ARGUMENT);
    CU_ASSERT_PTR_NULL(t);
    CU_ASSERT_PTR_NOT_NULL(strstr(error.message, what));
}

static void test_refuses(void)
{
    attn_training t = training_of(ATTN_FLOAT16, false);

    refuse(t, "float16");
    t = training_of(ATTN_FLOAT32, false);
    t.layer.out_dim = 1;
    refuse(t, "values 1");
    t = training_of(ATTN_FLOAT32, false);
    t.layer.embed_dim = 1;
    refuse(t, "embed-dim 1");
    t = training_of(ATTN_FLOAT32, false);
    t.layer.attention.shape.kv_seq = 25;
    refuse(t, "kv-seq 25");
    t = training_of(ATTN_FLOAT32, false);
    t.optimiser.learning_rate = NAN;
    refuse(t, "learning_rate");
}

int main(int argc, char **argv)
{
    static const attn_test tests[] = {
        {"the task", test_task},
        {"the loss and its gradient", test_loss},
        {"learns, as one rank does", test_learns},
        {"every grid", test_grids},
        {"every type", test_types},
        {"resumes with the same bits", test_resume},
        {"refuses", test_refuses},
    };

    return attn_test_main(argc, argv, "train", tests, sizeof tests / sizeof tests[0]);
}
