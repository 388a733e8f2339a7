/* Layer files written and read in parallel: what one partition writes, any other reads, under every name. */
#include "blocks.h"

#include "io/h5.h"
#include "io/layer_format.h"

#include <math.h>

enum { E = 7, EC = 9, OUT = 11 };

static attn_layer_problem plain_layer(void)
{
    attn_layer_problem problem = {.attention = plain_problem(),
                                  .embed_dim = E,
                                  .context_dim = EC,
                                  .out_dim = OUT,
                                  .projected = true,
                                  .bias = {true, false, true, true},
                                  .rotary = {ATTN_ROTARY_HALF, 500000, 4}};

    problem.attention.mask.causal = true;
    return problem;
}

static attn_layer_contents all_contents(attn_dtype stored)
{
    attn_layer_contents contents = {.weights = stored, .gradients = true, .gradient_type = ATTN_FLOAT32};

    for (int a = 0; a < ATTN_LAYER_ARRAY_COUNT; a++) {
        contents.present[a] = true;
        contents.stored[a] = stored;
    }
    return contents;
}

/* ---- Values that say where they stand ---- */

static double number_at(int which, int64_t b, int64_t row, int64_t column)
{
    return (double)(((b * 71 + row) * 13 + column * 3 + which * 17) % 251 - 125) / 8;
}

/* Stores or compares the elements of a dense array [batches,rows,columns] of a rank. */
static void each_element(int which, int64_t batches, const attn_segments *rows, int64_t begin, int64_t columns,
                         attn_dtype dtype, void *buffer, bool check)
{
    int64_t wrong = 0;
    size_t index = 0;

    for (int64_t b = 0; b < batches; b++)
        for (int64_t r = 0; r < rows->rows; r++)
            for (int64_t c = 0; c < columns; c++, index++) {
                const double want = number_at(which, b, attn_segments_global(rows, r), begin + c);

                if (!check)
                    attn_store(dtype, buffer, index, want);
                else
                    wrong += attn_load(dtype, buffer, index) != want;
            }
    CU_ASSERT_EQUAL(wrong, 0);
}

static void move_rows(attn_layer_file *file, attn_layer_array array, layout kind, attn_dtype dtype, bool writing)
{
    int64_t extents[3];
    attn_segments *rows;
    void *buffer;

    attn_layer_array_extents(attn_layer_file_problem(file), array, extents);
    rows = make_rows(kind, extents[1], test_ranks(), test_rank());
    buffer = calloc((size_t)(extents[0] * rows->rows * extents[2]) + 1, attn_dtype_size(dtype));
    if (writing) {
        each_element((int)array, extents[0], rows, 0, extents[2], dtype, buffer, false);
        TEST_OK(attn_layer_file_write(file, array, rows, dtype, buffer, &attn_test_error));
    } else {
        TEST_OK(attn_layer_file_read(file, array, rows, dtype, buffer, &attn_test_error));
        each_element((int)array, extents[0], rows, 0, extents[2], dtype, buffer, true);
    }
    free(buffer);
    attn_segments_destroy(rows);
}

/* This rank's share of a weight: of its rows, or, the output projection's, of its columns. */
static attn_weight_block make_share(const attn_layer_problem *problem, attn_layer_weight weight, bool rows)
{
    const int64_t out = attn_layer_weight_out(problem, weight.projection);
    const int64_t in = weight.bias ? 1 : attn_layer_weight_in(problem, weight.projection);
    const int64_t extent = rows ? out : in;
    const int64_t begin = extent * test_rank() / test_ranks(), end = extent * (test_rank() + 1) / test_ranks();

    return rows ? (attn_weight_block){begin, end - begin, 0, in} : (attn_weight_block){0, out, begin, end - begin};
}

static void move_weight(attn_layer_file *file, attn_layer_weight weight, bool by_rows, attn_dtype dtype, bool writing)
{
    const attn_weight_block block = make_share(attn_layer_file_problem(file), weight, by_rows);
    attn_segment one = {block.row_begin, block.row_count, 0};
    const attn_segments rows = {&one, 1, block.row_count};
    const int which = 10 + 4 * (int)weight.projection + 2 * weight.bias + weight.expected;
    void *const buffer = calloc((size_t)(block.row_count * block.column_count) + 1, attn_dtype_size(dtype));

    if (writing) {
        each_element(which, 1, &rows, block.column_begin, block.column_count, dtype, buffer, false);
        TEST_OK(attn_layer_file_write_weight(file, weight, &block, dtype, buffer, &attn_test_error));
    } else {
        TEST_OK(attn_layer_file_read_weight(file, weight, &block, dtype, buffer, &attn_test_error));
        each_element(which, 1, &rows, block.column_begin, block.column_count, dtype, buffer, true);
    }
    free(buffer);
}

static void move_all(attn_layer_file *file, layout kind, bool by_rows, attn_dtype dtype, bool writing)
{
    for (int a = 0; a < ATTN_LAYER_ARRAY_COUNT; a++)
        if (attn_layer_file_has(file, (attn_layer_array)a))
            move_rows(file, (attn_layer_array)a, kind, dtype, writing);
    for (int n = 0; n < 4 * ATTN_PROJECTION_COUNT; n++) {
        const attn_layer_weight weight = {(attn_projection)(n / 4), n / 2 % 2 == 1, n % 2 == 1};

        /* Columns of a bias are one: only rank 0 would have it. */
        if (attn_layer_file_has_weight(file, weight))
            move_weight(file, weight, by_rows || weight.bias, dtype, writing);
    }
}

static void write_file(const char *path, const attn_layer_problem *problem, const attn_layer_contents *contents,
                       layout kind, bool by_rows, attn_dtype dtype)
{
    attn_layer_file *file;

    TEST_OK(attn_layer_file_create(MPI_COMM_WORLD, path, true, problem, contents, &file, &attn_test_error));
    if (file == NULL)
        return;
    move_all(file, kind, by_rows, dtype, true);
    TEST_OK(attn_layer_file_close(file, &attn_test_error));
}

/* ---- Tests ---- */

static void test_types(void)
{
    const attn_layer_problem problem = plain_layer();
    char path[PATH_SIZE];

    folder_make();
    folder_path("types.h5", path);
    for (int stored = 0; stored < ATTN_DTYPE_COUNT; stored++)
        for (int memory = 0; memory < ATTN_DTYPE_COUNT; memory++) {
            const attn_layer_contents contents = all_contents((attn_dtype)stored);
            attn_layer_file *file;

            write_file(path, &problem, &contents, ZIGZAG, true, (attn_dtype)memory);
            TEST_OK(attn_layer_file_open(MPI_COMM_WORLD, path, &file, &attn_test_error));
            CU_ASSERT_EQUAL(attn_layer_file_problem(file)->attention.dtype, (attn_dtype)stored);
            CU_ASSERT_EQUAL(attn_layer_file_stored_dtype(file, ATTN_LAYER_DY), (attn_dtype)stored);
            CU_ASSERT_EQUAL(attn_layer_file_weight_dtype(file, (attn_layer_weight){ATTN_PROJECTION_KEY, false, false}),
                            (attn_dtype)stored);
            CU_ASSERT_EQUAL(attn_layer_file_weight_dtype(file, (attn_layer_weight){ATTN_PROJECTION_KEY, false, true}),
                            ATTN_FLOAT32);
            move_all(file, STRIPED, false, (attn_dtype)((memory + 1) % ATTN_DTYPE_COUNT), false);
            TEST_OK(attn_layer_file_close(file, &attn_test_error));
        }
    MPI_Barrier(MPI_COMM_WORLD);
    CU_ASSERT_EQUAL(folder_count(""), 1);
    folder_remove();
}

static void test_settings(void)
{
    const double sinks[HQ] = {0, -1, 2.5, 1e-3, -7, 1};
    const int64_t kv_len[B] = {SKV, 0};
    attn_layer_problem problem = plain_layer();
    attn_layer_contents contents = all_contents(ATTN_BFLOAT16);
    const attn_layer_problem *read;
    attn_layer_file *file;
    char path[PATH_SIZE];

    problem.attention.mask = (attn_mask){true, 12, 3, kv_len, NULL, 0};
    problem.attention.score = (attn_score){.scale = 0.3, .softcap = 20, .sinks = sinks};
    problem.attention.dropout = 0.25;
    problem.attention.dropout_seed = UINT64_MAX - 4;
    problem.rotary = (attn_rotary){ATTN_ROTARY_INTERLEAVED, 10000, 2};
    contents.present[ATTN_LAYER_DY] = contents.gradients = false;
    folder_make();
    folder_path("settings.h5", path);
    write_file(path, &problem, &contents, CONTIGUOUS, true, ATTN_FLOAT32);
    TEST_OK(attn_layer_file_open(MPI_COMM_WORLD, path, &file, &attn_test_error));
    read = attn_layer_file_problem(file);
    CU_ASSERT_EQUAL(memcmp(&read->attention.shape, &problem.attention.shape, sizeof shape), 0);
    CU_ASSERT_EQUAL(read->embed_dim, E);
    CU_ASSERT_EQUAL(read->context_dim, EC);
    CU_ASSERT_EQUAL(read->out_dim, OUT);
    CU_ASSERT_EQUAL(memcmp(read->bias, problem.bias, sizeof problem.bias), 0);
    CU_ASSERT_EQUAL(read->rotary.style, ATTN_ROTARY_INTERLEAVED);
    CU_ASSERT_EQUAL(read->rotary.theta, 10000);
    CU_ASSERT_EQUAL(read->rotary.dim, 2);
    CU_ASSERT(read->attention.mask.causal);
    CU_ASSERT_EQUAL(read->attention.mask.window_left, 12);
    CU_ASSERT_EQUAL(read->attention.mask.window_right, 3);
    CU_ASSERT_EQUAL(memcmp(read->attention.mask.kv_len, kv_len, sizeof kv_len), 0);
    CU_ASSERT_EQUAL(memcmp(read->attention.score.sinks, sinks, sizeof sinks), 0);
    CU_ASSERT_EQUAL(read->attention.score.scale, 0.3);
    CU_ASSERT_EQUAL(read->attention.score.softcap, 20);
    CU_ASSERT_EQUAL(read->attention.dropout, 0.25);
    CU_ASSERT_EQUAL(read->attention.dropout_seed, UINT64_MAX - 4);
    CU_ASSERT(!attn_layer_file_has(file, ATTN_LAYER_DY));
    CU_ASSERT(!attn_layer_file_has_weight(file, (attn_layer_weight){ATTN_PROJECTION_KEY, true, false}));
    CU_ASSERT(!attn_layer_file_has_weight(file, (attn_layer_weight){ATTN_PROJECTION_KEY, false, true}));
    TEST_OK(attn_layer_file_close(file, &attn_test_error));
    folder_remove();
}

/* Makes a file by other names: x, and datasets of given extents filled with the numbers of the projections in them. */
typedef struct naming {
    const char *weights[4], *biases[4]; /* below weights/ */
    bool context;
} naming;

static void add_weight(hid_t file, const attn_layer_problem *problem, const char *name)
{
    attn_layer_role role = ATTN_LAYER_ROLE_QUERY;
    bool bias = false;
    hsize_t extents[2] = {0, 0};
    double values[4096];
    size_t index = 0;
    char path[PATH_SIZE];
    const hid_t links = H5Pcreate(H5P_LINK_CREATE);
    hid_t space, dataset;

    H5Pset_create_intermediate_group(links, 1);
    CU_ASSERT(attn_layer_name_find(name, &role, &bias));
    for (int p = (int)attn_layer_role_first(role); p < (int)attn_layer_role_first(role) + attn_layer_role_count(role);
         p++) {
        const int64_t out = attn_layer_weight_out(problem, (attn_projection)p);

        extents[0] += (hsize_t)out;
        extents[1] = (hsize_t)attn_layer_weight_in(problem, (attn_projection)p);
        for (int64_t r = 0; r < out; r++)
            for (int64_t c = 0; c < (bias ? 1 : (int64_t)extents[1]); c++)
                values[index++] = number_at(10 + 4 * p + 2 * bias, 0, r, c);
    }
    snprintf(path, sizeof path, "weights/%s", name);
    space = H5Screate_simple(bias ? 1 : 2, extents, NULL);
    dataset = H5Dcreate2(file, path, H5T_IEEE_F32LE, space, links, H5P_DEFAULT, H5P_DEFAULT);
    CU_ASSERT(H5Dwrite(dataset, H5T_NATIVE_DOUBLE, H5S_ALL, H5S_ALL, H5P_DEFAULT, values) >= 0);
    H5Dclose(dataset);
    H5Sclose(space);
    H5Pclose(links);
}

static void make_named(const char *path, const attn_layer_problem *problem, const naming *names)
{
    const hid_t file = H5Fcreate(path, H5F_ACC_TRUNC, H5P_DEFAULT, H5P_DEFAULT);
    const hsize_t x[3] = {B, SKV, E}, context[3] = {B, SKV, EC};
    hid_t space = H5Screate_simple(3, x, NULL);

    attn_h5_write_text(file, "schema", "attn-layer");
    attn_h5_write_integer(file, "schema_version", 1);
    attn_h5_write_integer(file, "num_heads", HQ);
    attn_h5_write_integer(file, "num_kv_heads", HKV);
    H5Dclose(H5Dcreate2(file, "x", H5T_IEEE_F32LE, space, H5P_DEFAULT, H5P_DEFAULT, H5P_DEFAULT));
    H5Sclose(space);
    space = H5Screate_simple(3, context, NULL);
    if (names->context)
        H5Dclose(H5Dcreate2(file, "context", H5T_IEEE_F32LE, space, H5P_DEFAULT, H5P_DEFAULT, H5P_DEFAULT));
    H5Sclose(space);
    for (int n = 0; n < 4; n++) {
        if (names->weights[n] != NULL)
            add_weight(file, problem, names->weights[n]);
        if (names->biases[n] != NULL)
            add_weight(file, problem, names->biases[n]);
    }
    H5Fclose(file);
}

static const naming namings[] = {
    {{"query.weight", "key.weight", "value.weight", "out_proj.weight"}, {"value.bias"}, false},
    {{"W_query.weight", "W_key.weight", "W_value.weight"}, {"W_key.bias"}, false},
    {{"attention.self.query.weight", "attention.self.key.weight", "attention.self.value.weight",
      "attention.output.dense.weight"},
     {"attention.self.query.bias", "attention.output.dense.bias"},
     false},
    {{"self/query/weight", "self/key/weight", "self/value.weight", "output/dense/weight"}, {"self/key/bias"}, true},
    {{"model.layers.11.self_attn.q_proj.weight", "model.layers.11.self_attn.k_proj.weight",
      "model.layers.11.self_attn.v_proj.weight", "model.layers.11.self_attn.o_proj.weight"},
     {NULL},
     true},
    {{"in_proj_weight", "out_proj.weight"}, {"in_proj_bias", "out_proj.bias"}, false},
    {{"q_proj_weight", "k_proj_weight", "v_proj_weight", "out_proj.weight"}, {"in_proj_bias"}, true},
    {{"h.0.attn.c_attn.weight", "h.0.attn.c_proj.weight"}, {"h.0.attn.c_attn.bias", "h.0.attn.c_proj.bias"}, false},
    {{"Wqkv.weight"}, {"Wqkv.bias"}, false},
    {{"to_q.weight", "to_kv.weight", "to_out.0.weight"}, {"to_kv.bias", "to_out.0.bias"}, true},
    {{"WQ.weight", "wk.weight", "Wv.WEIGHT", "wo.weight"}, {NULL}, false},
    {{"linears.0.weight", "linears.1.weight", "linears.2.weight", "linears.3.weight"}, {"linears.3.bias"}, false},
};

/* Each naming is read, copied by `like`, and read from the copy. */
static void test_names(void)
{
    char path[PATH_SIZE], copy[PATH_SIZE];

    folder_make();
    folder_path("names.h5", path);
    folder_path("copy.h5", copy);
    for (size_t n = 0; n < sizeof namings / sizeof namings[0]; n++) {
        attn_layer_problem problem = plain_layer();
        attn_layer_contents contents = all_contents(ATTN_FLOAT64);
        attn_layer_file *file, *written;
        const attn_layer_problem *read;

        problem.context_dim = namings[n].context ? EC : 0;
        problem.attention.shape.seq = SKV;
        problem.attention.shape.v_head_dim = namings[n].weights[1] == NULL ? D : DV;
        if (test_rank() == 0)
            make_named(path, &problem, &namings[n]);
        MPI_Barrier(MPI_COMM_WORLD);
        TEST_OK(attn_layer_file_open(MPI_COMM_WORLD, path, &file, &attn_test_error));
        if (file == NULL)
            continue;
        read = attn_layer_file_problem(file);
        CU_ASSERT_EQUAL(memcmp(&read->attention.shape, &problem.attention.shape, sizeof shape), 0);
        CU_ASSERT_EQUAL(read->context_dim, problem.context_dim);
        TEST_CLOSE(read->attention.score.scale, 1 / sqrt(D), 1e-15);
        for (int p = 0; p < ATTN_PROJECTION_COUNT; p++)
            for (int bias = 0; bias < 2; bias++) {
                const attn_layer_weight weight = {(attn_projection)p, bias == 1, false};

                if (attn_layer_file_has_weight(file, weight))
                    move_weight(file, weight, true, ATTN_FLOAT32, false);
            }
        contents.present[ATTN_LAYER_CONTEXT] = contents.present[ATTN_LAYER_EXPECTED_DCONTEXT] = namings[n].context;
        contents.like = file;
        TEST_OK(attn_layer_file_create(MPI_COMM_WORLD, copy, true, read, &contents, &written, &attn_test_error));
        move_all(written, STRIPED, true, ATTN_FLOAT32, true);
        TEST_OK(attn_layer_file_close(written, &attn_test_error));
        TEST_OK(attn_layer_file_open(MPI_COMM_WORLD, copy, &written, &attn_test_error));
        move_all(written, RAGGED, true, ATTN_FLOAT64, false);
        CU_ASSERT_STRING_EQUAL(
            attn_layer_file_weight_path(written, (attn_layer_weight){ATTN_PROJECTION_VALUE, false, false}),
            attn_layer_file_weight_path(file, (attn_layer_weight){ATTN_PROJECTION_VALUE, false, false}));
        CU_ASSERT_EQUAL(attn_layer_file_weight_dtype(written, (attn_layer_weight){ATTN_PROJECTION_VALUE, false, false}),
                        ATTN_FLOAT32);
        TEST_OK(attn_layer_file_close(written, &attn_test_error));
        TEST_OK(attn_layer_file_close(file, &attn_test_error));
    }
    folder_remove();
}

/* Without weights: attention as dot product and softmax. */
static void test_plain(void)
{
    attn_layer_problem problem = {.attention = plain_problem(), .embed_dim = E};
    attn_layer_contents contents = {.present = {[ATTN_LAYER_X] = true, [ATTN_LAYER_EXPECTED_Y] = true}};
    attn_layer_file *file;
    char path[PATH_SIZE];

    problem.attention.shape = (attn_shape){B, 1, 1, SQ, SQ, E, E};
    problem.attention.score.scale = 1;
    folder_make();
    folder_path("plain.h5", path);
    write_file(path, &problem, &contents, RAGGED, true, ATTN_FLOAT32);
    TEST_OK(attn_layer_file_open(MPI_COMM_WORLD, path, &file, &attn_test_error));
    CU_ASSERT(!attn_layer_file_problem(file)->projected);
    CU_ASSERT_EQUAL(attn_layer_file_problem(file)->attention.score.scale, 1);
    CU_ASSERT_EQUAL(attn_layer_file_problem(file)->attention.dtype, ATTN_FLOAT64);
    move_all(file, ZIGZAG, true, ATTN_FLOAT64, false);
    TEST_OK(attn_layer_file_close(file, &attn_test_error));
    folder_remove();
}

static void test_publishing(void)
{
    const attn_layer_problem problem = plain_layer();
    const attn_layer_contents contents = all_contents(ATTN_FLOAT32);
    attn_error error = ATTN_ERROR_INIT;
    attn_layer_file *file, *second;
    char path[PATH_SIZE];

    folder_make();
    folder_path("x.h5", path);
    TEST_OK(attn_layer_file_create(MPI_COMM_WORLD, path, false, &problem, &contents, &file, &attn_test_error));
    CU_ASSERT_NOT_EQUAL(access(path, F_OK), 0);
    CU_ASSERT_EQUAL(attn_layer_file_create(MPI_COMM_WORLD, path, true, &problem, &contents, &second, &error),
                    ATTN_ARGUMENT);
    CU_ASSERT_PTR_NULL(second);
    CU_ASSERT_PTR_NOT_NULL(strstr(error.message, "another attnbench is writing it"));
    attn_layer_file_discard(file);
    MPI_Barrier(MPI_COMM_WORLD);
    CU_ASSERT_EQUAL(folder_count(""), 0);
    MPI_Barrier(MPI_COMM_WORLD);
    TEST_OK(attn_layer_file_create(MPI_COMM_WORLD, path, false, &problem, &contents, &file, &attn_test_error));
    TEST_OK(attn_layer_file_close(file, &attn_test_error));
    CU_ASSERT_EQUAL(attn_layer_file_create(MPI_COMM_WORLD, path, false, &problem, &contents, &file, &error),
                    ATTN_ARGUMENT);
    CU_ASSERT_PTR_NOT_NULL(strstr(error.message, "exists"));
    MPI_Barrier(MPI_COMM_WORLD);
    CU_ASSERT_EQUAL(folder_count(""), 1);
    attn_layer_file_discard(NULL);
    TEST_OK(attn_layer_file_close(NULL, &attn_test_error));
    folder_remove();
}

static void test_wrong_calls(void)
{
    attn_layer_problem problem = plain_layer();
    attn_layer_contents contents = all_contents(ATTN_FLOAT32);
    const int64_t out = attn_layer_weight_out(&problem, ATTN_PROJECTION_KEY);
    attn_error error = ATTN_ERROR_INIT;
    attn_layer_file *file;
    char path[PATH_SIZE];
    float buffer[512];

    folder_make();
    folder_path("x.h5", path);
    contents.present[ATTN_LAYER_CONTEXT] = false;
    CU_ASSERT_EQUAL(attn_layer_file_create(MPI_COMM_WORLD, path, true, &problem, &contents, &file, &error),
                    ATTN_ARGUMENT);
    CU_ASSERT_PTR_NOT_NULL(strstr(error.message, "context"));
    contents = all_contents(ATTN_FLOAT32);
    contents.present[ATTN_LAYER_DY] = contents.gradients = false;
    TEST_OK(attn_layer_file_create(MPI_COMM_WORLD, path, true, &problem, &contents, &file, &attn_test_error));
    CU_ASSERT_EQUAL(attn_layer_file_write(file, ATTN_LAYER_DY, NULL, ATTN_FLOAT32, NULL, &error), ATTN_ARGUMENT);
    CU_ASSERT_PTR_NOT_NULL(strstr(error.message, "dy is missing"));
    CU_ASSERT_EQUAL(attn_layer_file_write_weight(file, (attn_layer_weight){ATTN_PROJECTION_KEY, false, true},
                                                 &(attn_weight_block){0, 1, 0, EC}, ATTN_FLOAT32, buffer, &error),
                    ATTN_ARGUMENT);
    CU_ASSERT_PTR_NOT_NULL(strstr(error.message, "gradient of the weight of key is missing"));
    /* The last rank alone asks for too much: all ranks are told. */
    CU_ASSERT_EQUAL(
        attn_layer_file_write_weight(file, (attn_layer_weight){ATTN_PROJECTION_KEY, false, false},
                                     &(attn_weight_block){test_rank() == test_ranks() - 1 ? out - 1 : 0, 2, 0, EC},
                                     ATTN_FLOAT32, buffer, &error),
        ATTN_ARGUMENT);
    CU_ASSERT_PTR_NOT_NULL(strstr(error.message, "there are 15"));
    CU_ASSERT_EQUAL(attn_layer_file_write_weight(file, (attn_layer_weight){ATTN_PROJECTION_KEY, false, false},
                                                 &(attn_weight_block){0, 1, 1, EC}, ATTN_FLOAT32, buffer, &error),
                    ATTN_ARGUMENT);
    CU_ASSERT_PTR_NOT_NULL(strstr(error.message, "columns 1 to 9; there are 9"));
    attn_layer_file_discard(file);
    problem.rotary.dim = 3;
    CU_ASSERT_EQUAL(attn_layer_file_create(MPI_COMM_WORLD, path, true, &problem, &contents, &file, &error),
                    ATTN_ARGUMENT);
    MPI_Barrier(MPI_COMM_WORLD);
    CU_ASSERT_EQUAL(folder_count(""), 0);
    folder_remove();
}

/* Every known name, with and without prefix, and names that are near. */
static void test_aliases(void)
{
    static const struct {
        const char *name;
        int role; /* -1: none */
        bool bias;
    } names[] = {
        {"query.weight", ATTN_LAYER_ROLE_QUERY, false},
        {"encoder.layer.3.attention.self.query.bias", ATTN_LAYER_ROLE_QUERY, true},
        {"q.weight", ATTN_LAYER_ROLE_QUERY, false},
        {"in_proj_bias", ATTN_LAYER_ROLE_QKV, true},
        {"transformer/h/0/attn/c_attn/weight", ATTN_LAYER_ROLE_QKV, false},
        {"attention.query_key_value.weight", ATTN_LAYER_ROLE_QKV, false},
        {"blocks.0.attn.proj.weight", ATTN_LAYER_ROLE_OUT, false},
        {"to_out.0.bias", ATTN_LAYER_ROLE_OUT, true},
        {"kv_proj.weight", ATTN_LAYER_ROLE_KV, false},
        {"blk.7.attn_output.weight", ATTN_LAYER_ROLE_OUT, false},
        {"weight", -1, false},
        {".weight", -1, false},
        {"queryweight", -1, false},
        {"myquery.weight", -1, false},
        {"query.weights", -1, false},
        {"query", -1, false},
        {"to_out.1.weight", -1, false},
        {"layer_norm.bias", -1, false},
        {"", -1, false},
    };

    for (size_t i = 0; i < sizeof names / sizeof names[0]; i++) {
        attn_layer_role role = ATTN_LAYER_ROLE_COUNT;
        bool bias = false;
        const bool found = attn_layer_name_find(names[i].name, &role, &bias);

        CU_ASSERT_EQUAL(found, names[i].role >= 0);
        if (found) {
            CU_ASSERT_EQUAL((int)role, names[i].role);
            CU_ASSERT_EQUAL(bias, names[i].bias);
        }
    }
}

static void test_golden(void)
{
    static const struct {
        const char *name;
        attn_shape shape;
        int64_t embed, out;
        bool causal, bias;
    } files[] = {
        {"golden/book_multihead.h5", {2, 2, 2, 6, 6, 1, 1}, 3, 2, true, false},
        {"golden/book_self_attention_v1.h5", {1, 1, 1, 6, 6, 2, 2}, 3, 0, false, false},
        {"golden/book_self_attention_v2.h5", {1, 1, 1, 6, 6, 2, 2}, 3, 0, false, false},
        {"golden/causal_multihead.h5", {2, 6, 6, 33, 33, 8, 8}, 48, 48, true, true},
        {"golden/gqa_layer.h5", {1, 8, 2, 40, 40, 8, 8}, 32, 64, true, false},
        {"golden/module_self_attention.h5", {2, 1, 1, 20, 20, 32, 32}, 32, 0, false, true},
        {"golden/self_attention.h5", {1, 1, 1, 24, 24, 16, 16}, 16, 0, false, true},
    };

    for (size_t i = 0; i < sizeof files / sizeof files[0]; i++) {
        const attn_layer_problem *problem;
        attn_layer_file *file;

        TEST_OK(attn_layer_file_open(MPI_COMM_WORLD, attn_test_data(files[i].name), &file, &attn_test_error));
        if (file == NULL)
            continue;
        problem = attn_layer_file_problem(file);
        CU_ASSERT_EQUAL(memcmp(&problem->attention.shape, &files[i].shape, sizeof shape), 0);
        CU_ASSERT_EQUAL(problem->embed_dim, files[i].embed);
        CU_ASSERT_EQUAL(problem->out_dim, files[i].out);
        CU_ASSERT_EQUAL(problem->attention.mask.causal, files[i].causal);
        CU_ASSERT_EQUAL(problem->bias[ATTN_PROJECTION_VALUE], files[i].bias);
        CU_ASSERT_EQUAL(problem->rotary.style, ATTN_ROTARY_NONE);
        TEST_CLOSE(problem->attention.score.scale, 1 / sqrt((double)files[i].shape.head_dim), 1e-15);
        CU_ASSERT(attn_layer_file_has(file, ATTN_LAYER_EXPECTED_Y));
        CU_ASSERT(attn_layer_file_has(file, ATTN_LAYER_EXPECTED_DX));
        for (int p = 0; p <= ATTN_PROJECTION_VALUE; p++)
            CU_ASSERT(attn_layer_file_has_weight(file, (attn_layer_weight){(attn_projection)p, false, true}));
        TEST_OK(attn_layer_file_close(file, &attn_test_error));
    }
}

/* Files that stay open in a failing path would pile up over a long sweep. Runs last. */
static void test_nothing_open(void)
{
    CU_ASSERT_EQUAL(H5Fget_obj_count(H5F_OBJ_ALL, H5F_OBJ_ALL), 0);
}

static const attn_test tests[] = {
    {"every stored type in every type of memory", test_types},
    {"settings come back", test_settings},
    {"files by many names", test_names},
    {"names", test_aliases},
    {"without weights", test_plain},
    {"published whole or not at all", test_publishing},
    {"calls that cannot be served", test_wrong_calls},
    {"reference files", test_golden},
    {"nothing stays open", test_nothing_open},
};

int main(int argc, char **argv)
{
    return attn_test_main(argc, argv, "io/layer_file", tests, sizeof tests / sizeof tests[0]);
}
