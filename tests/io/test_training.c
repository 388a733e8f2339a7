/* Training files: what is written is read with the same bits, curves of changing numbers of ranks, and files that are
 * none. Rank 0 alone reads and writes, as the driver does. */
#include "folder.h"

#include <attn/training_file.h>

#include <hdf5.h>
#include <math.h>

/* A small layer with every kind of array: Wk and Wv smaller than Wq, biases of some. */
static attn_training training_of(attn_dtype dtype)
{
    const attn_shape shape = {
        .batch = 1, .heads = 2, .kv_heads = 1, .seq = 4, .kv_seq = 4, .head_dim = 3, .v_head_dim = 2};

    return (attn_training){.layer = {.attention = attn_problem_init(shape, dtype),
                                     .embed_dim = 5,
                                     .out_dim = 3,
                                     .projected = true,
                                     .bias = {[ATTN_PROJECTION_KEY] = true, [ATTN_PROJECTION_OUT] = true}},
                           .optimiser = ATTN_ADAMW_INIT};
}

/* Elements of an array of a state. */
static int64_t count_of(const attn_training *training, attn_projection p, bool bias)
{
    const int64_t out = attn_layer_weight_out(&training->layer, p);

    return bias ? out : out * attn_layer_weight_in(&training->layer, p);
}

static void fill(const attn_training *training, attn_train_state *state)
{
    const attn_dtype type = attn_dtype_accumulator(training->layer.attention.dtype);

    for (int a = 0; a < ATTN_TRAIN_ARRAY_COUNT; a++)
        for (int p = 0; p < ATTN_PROJECTION_COUNT; p++)
            for (int bias = 0; bias < 2; bias++) {
                void *const to = bias ? state->arrays[a].bias[p] : state->arrays[a].weight[p];

                CU_ASSERT((to != NULL) == (!bias || training->layer.bias[p]));
                for (int64_t n = 0; to != NULL && n < count_of(training, (attn_projection)p, bias); n++)
                    attn_store(type, to, (size_t)n, sin((double)(1000 * a + 100 * p + 50 * bias + n)));
            }
}

static bool same(const attn_training *training, const attn_train_state *a, const attn_train_state *b)
{
    const size_t size = attn_dtype_size(attn_dtype_accumulator(training->layer.attention.dtype));
    bool equal = a->steps == b->steps;

    for (int n = 0; n < ATTN_TRAIN_ARRAY_COUNT; n++)
        for (int p = 0; p < ATTN_PROJECTION_COUNT; p++)
            for (int bias = 0; bias < 2; bias++) {
                const void *const x = bias ? a->arrays[n].bias[p] : a->arrays[n].weight[p];
                const void *const y = bias ? b->arrays[n].bias[p] : b->arrays[n].weight[p];

                equal = equal &&
                        (x == NULL ? y == NULL
                                   : memcmp(x, y, (size_t)count_of(training, (attn_projection)p, bias) * size) == 0);
            }
    return equal;
}

/* Appends steps of some number of ranks, whose times tell step, rank and phase. */
static void append(attn_training_record *record, int64_t steps, int64_t ranks)
{
    double seconds[8 * ATTN_PHASE_COUNT];

    for (int64_t n = 0; n < steps; n++) {
        const attn_train_step step = {.loss = 1 / (1.0 + (double)record->steps), .accuracy = 0.5};

        for (int64_t i = 0; i < ranks * ATTN_PHASE_COUNT; i++)
            seconds[i] = (double)(record->steps * 1000 + i);
        TEST_OK(attn_training_record_append(record, &step, ranks, seconds, &attn_test_error));
        record->state.steps = record->steps;
    }
}

static attn_training_record record_make(const attn_training *training, int64_t steps, int64_t ranks)
{
    attn_training_record record;

    TEST_OK(attn_training_record_create(&record, &attn_test_error));
    TEST_OK(attn_train_state_create(training, &record.state, &attn_test_error));
    TEST_OK(attn_attributes_set_integer(record.settings, "seq", 4));
    TEST_OK(attn_attributes_set_real(record.settings, "learning_rate", 0.1));
    TEST_OK(attn_attributes_set_text(record.environment, "host", "here"));
    fill(training, &record.state);
    append(&record, steps, ranks);
    return record;
}

static void write_record(const char *path, const attn_training *training, const attn_training_record *record)
{
    attn_training_writer *writer;

    TEST_OK(attn_training_writer_open(path, true, &writer, &attn_test_error));
    TEST_OK(attn_training_writer_put(writer, training, record, &attn_test_error));
    attn_training_writer_close(writer);
}

/* The time of a phase of a rank in the curve. */
static double time_at(const attn_training_record *r, int64_t step, int64_t rank, int64_t phase)
{
    return r->seconds[(step * r->ranks + rank) * r->phases + phase];
}

/* Written, read, continued with more ranks and with fewer, and written again. */
static void test_round_trip(void)
{
    char path[PATH_SIZE];

    if (test_rank() != 0)
        return;
    folder_path("trip.h5", path);
    for (int dtype = 0; dtype < ATTN_DTYPE_COUNT; dtype++) {
        const attn_training training = training_of((attn_dtype)dtype);
        attn_training_record record = record_make(&training, 5, 2), found;

        write_record(path, &training, &record);
        TEST_OK(attn_training_file_read(path, &training, &found, &attn_test_error));
        CU_ASSERT(same(&training, &record.state, &found.state));
        CU_ASSERT_EQUAL(attn_attributes_integer(found.settings, "seq", 0), 4);
        CU_ASSERT_EQUAL(attn_attributes_count(found.settings), 2);
        CU_ASSERT_STRING_EQUAL(attn_attributes_text(found.environment, "host", ""), "here");
        append(&found, 3, 3);
        append(&found, 9, 1);
        write_record(path, &training, &found);
        attn_training_record_release(&found);
        TEST_OK(attn_training_file_read(path, NULL, &found, &attn_test_error));
        CU_ASSERT(found.steps == 17 && found.ranks == 3 && found.phases == ATTN_PHASE_COUNT);
        CU_ASSERT_PTR_NULL(found.state.arrays[0].weight[0]);
        for (int64_t step = 0; step < found.steps; step++) {
            const int64_t ranks = step < 5 ? 2 : step < 8 ? 3 : 1;

            CU_ASSERT_EQUAL(found.loss[step], 1 / (1.0 + (double)step));
            for (int64_t n = 0; n < 3 * ATTN_PHASE_COUNT; n++) {
                const double got = time_at(&found, step, n / ATTN_PHASE_COUNT, n % ATTN_PHASE_COUNT);

                CU_ASSERT(n / ATTN_PHASE_COUNT < ranks ? got == (double)(step * 1000 + n) : isnan(got));
            }
        }
        attn_training_record_release(&found);
        attn_training_record_release(&record);
    }
}

/* Removes an object of a file. */
static void cut(const char *path, const char *object)
{
    const hid_t file = H5Fopen(path, H5F_ACC_RDWR, H5P_DEFAULT);

    CU_ASSERT(file >= 0 && H5Ldelete(file, object, H5P_DEFAULT) >= 0);
    H5Fclose(file);
}

static void refuse(const char *path, const attn_training *training, const char *what)
{
    attn_error error = ATTN_ERROR_INIT;
    attn_training_record found;

    CU_ASSERT_EQUAL(attn_training_file_read(path, training, &found, &error), ATTN_INPUT);
    CU_ASSERT(found.settings == NULL && found.loss == NULL);
    CU_ASSERT_PTR_NOT_NULL(strstr(error.message, what));
    if (strstr(error.message, what) == NULL)
        printf("%s\n", error.message);
}

static void test_defects(void)
{
    static const char *const objects[] = {
        "loss", "accuracy", "seconds", "settings", "environment", "mean/key.bias", "square/out_proj.weight", "weights"};
    const attn_training training = training_of(ATTN_FLOAT32);
    attn_training_record record;
    attn_training other = training;
    char path[PATH_SIZE];

    if (test_rank() != 0)
        return;
    folder_path("defect.h5", path);
    record = record_make(&training, 2, 1);
    for (size_t i = 0; i < sizeof objects / sizeof objects[0]; i++) {
        write_record(path, &training, &record);
        cut(path, objects[i]);
        refuse(path, &training, strcmp(objects[i], "weights") == 0 ? "weights/query.weight" : objects[i]);
    }
    write_record(path, &training, &record);
    other.layer.embed_dim = 6;
    refuse(path, &other, "dataset weights/query.weight: dimension 1 is 5; 6 is needed");
    record.state.steps = 3;
    write_record(path, &training, &record);
    refuse(path, &training, "attribute steps is 3; its curve has 2");
    folder_path("absent.h5", path);
    refuse(path, &training, "absent.h5");
    attn_training_record_release(&record);
}

/* One writer of a name, no file replaced unasked, nothing left behind. */
static void test_writer(void)
{
    const attn_training training = training_of(ATTN_FLOAT64);
    attn_error error = ATTN_ERROR_INIT;
    attn_training_writer *first, *second;
    attn_training_record record;
    char path[PATH_SIZE], none[PATH_SIZE];

    if (test_rank() != 0)
        return;
    folder_path("writer.h5", path);
    folder_path("none/writer.h5", none);
    record = record_make(&training, 1, 1);
    CU_ASSERT_EQUAL(attn_training_writer_open(none, false, &first, &error), ATTN_ARGUMENT);
    CU_ASSERT_PTR_NULL(first);
    TEST_OK(attn_training_writer_open(path, false, &first, &attn_test_error));
    CU_ASSERT_EQUAL(attn_training_writer_open(path, false, &second, &error), ATTN_ARGUMENT);
    CU_ASSERT_PTR_NOT_NULL(strstr(error.message, "another attnbench is writing it"));
    TEST_OK(attn_training_writer_put(first, &training, &record, &attn_test_error));
    attn_training_writer_close(first);
    CU_ASSERT_EQUAL(attn_training_writer_open(path, false, &second, &error), ATTN_ARGUMENT);
    CU_ASSERT_PTR_NOT_NULL(strstr(error.message, "exists; use --resume"));
    snprintf(none, sizeof none, "%.400s.lock", path);
    CU_ASSERT_NOT_EQUAL(access(none, F_OK), 0);
    snprintf(none, sizeof none, "%.400s.tmp", path);
    CU_ASSERT_NOT_EQUAL(access(none, F_OK), 0);
    attn_training_record_release(&record);
}

int main(int argc, char **argv)
{
    static const attn_test tests[] = {{"make a folder", folder_make},
                                      {"what is written is read", test_round_trip},
                                      {"defects", test_defects},
                                      {"one writer", test_writer},
                                      {"remove the folder", folder_remove}};

    return attn_test_main(argc, argv, "training files", tests, sizeof tests / sizeof tests[0]);
}
