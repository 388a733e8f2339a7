/* Input files written and read in parallel: what one partition writes, any other reads. */
#include "blocks.h"

#include "io/h5.h"

#include <math.h>
#include <signal.h>
#include <sys/resource.h>

static void write_file(const char *path, const attn_problem *problem, const attn_dtype *stored, partition how,
                       attn_dtype dtype, size_t bytes)
{
    const bool present[ATTN_INPUT_ARRAY_COUNT] = {true, true, true, true, true, true, true, true, true};
    attn_input *input;

    TEST_OK(attn_input_create(MPI_COMM_WORLD, path, true, problem, stored, present, &input, &attn_test_error));
    if (input == NULL)
        return;
    if (bytes > 0)
        input->file.direct_bytes = input->file.bounce_bytes = bytes;
    for (int a = 0; a < ATTN_INPUT_ARRAY_COUNT; a++)
        move_array(input, (attn_input_array)a, how, dtype, true);
    TEST_OK(attn_input_close(input, &attn_test_error));
}

static void read_file(const char *path, partition how, attn_dtype dtype, size_t bytes)
{
    attn_input *input;

    TEST_OK(attn_input_open(MPI_COMM_WORLD, path, &input, &attn_test_error));
    if (input == NULL)
        return;
    if (bytes > 0)
        input->file.direct_bytes = input->file.bounce_bytes = bytes;
    for (int a = 0; a < ATTN_INPUT_ARRAY_COUNT; a++)
        move_array(input, (attn_input_array)a, how, dtype, false);
    TEST_OK(attn_input_close(input, &attn_test_error));
}

/* ---- Tests ---- */

static void test_types(void)
{
    const attn_problem problem = plain_problem();
    char path[PATH_SIZE];

    folder_make();
    for (int stored = 0; stored < ATTN_DTYPE_COUNT; stored++)
        for (int memory = 0; memory < ATTN_DTYPE_COUNT; memory++) {
            attn_dtype types[ATTN_INPUT_ARRAY_COUNT];
            attn_input *input;

            for (int a = 0; a < ATTN_INPUT_ARRAY_COUNT; a++)
                types[a] = (attn_dtype)stored;
            write_file(folder_path("types.h5", path), &problem, types, (partition){ZIGZAG, 1}, (attn_dtype)memory, 0);
            TEST_OK(attn_input_open(MPI_COMM_WORLD, path, &input, &attn_test_error));
            CU_ASSERT_EQUAL(attn_input_problem(input)->dtype, (attn_dtype)stored);
            CU_ASSERT_EQUAL(attn_input_stored_dtype(input, ATTN_INPUT_EXPECTED_LSE), (attn_dtype)stored);
            TEST_OK(attn_input_close(input, &attn_test_error));
            for (int other = 0; other < ATTN_DTYPE_COUNT; other++)
                read_file(path, (partition){STRIPED, 1}, (attn_dtype)other, 0);
        }
    MPI_Barrier(MPI_COMM_WORLD);
    CU_ASSERT_EQUAL(folder_count(""), 1);
    folder_remove();
}

static void test_partitions(void)
{
    const attn_problem problem = plain_problem();
    const attn_dtype types[ATTN_INPUT_ARRAY_COUNT] = {ATTN_FLOAT32, ATTN_FLOAT64, ATTN_FLOAT16,
                                                      ATTN_FLOAT32, ATTN_FLOAT64, ATTN_FLOAT64,
                                                      ATTN_FLOAT32, ATTN_FLOAT32, ATTN_BFLOAT16};
    const int head_parts[] = {1, 2, 3, 6};
    char path[PATH_SIZE];

    folder_make();
    folder_path("partitions.h5", path);
    for (int kind = 0; kind < LAYOUT_COUNT; kind++)
        for (size_t h = 0; h < sizeof head_parts / sizeof head_parts[0]; h++) {
            const partition wrote = {(layout)kind, head_parts[h]};
            const partition reads = {(layout)((kind + 2 + (int)h) % LAYOUT_COUNT), head_parts[3 - h]};

            write_file(path, &problem, types, wrote, ATTN_FLOAT32, 0);
            read_file(path, reads, ATTN_FLOAT32, 0);
        }
    folder_remove();
}

/* A limit of a few elements cuts blocks at every dimension in turn, differently on each rank. */
static void test_small_transfers(void)
{
    const attn_problem problem = plain_problem();
    const attn_dtype types[ATTN_INPUT_ARRAY_COUNT] = {ATTN_FLOAT32, ATTN_FLOAT64, ATTN_FLOAT32,
                                                      ATTN_FLOAT32, ATTN_FLOAT32, ATTN_FLOAT32,
                                                      ATTN_FLOAT32, ATTN_FLOAT32, ATTN_FLOAT16};
    const size_t limits[] = {1, 3 * 4, 7 * 8, 30 * 4, 500 * 4, 2000 * 4};
    char path[PATH_SIZE];

    folder_make();
    folder_path("small.h5", path);
    for (size_t i = 0; i < sizeof limits / sizeof limits[0]; i++) {
        /* One element a call is slow with many ranks, and one layout shows it. */
        const int kinds = limits[i] < 100 ? 1 : LAYOUT_COUNT;

        for (int kind = 0; kind < kinds; kind++) {
            write_file(path, &problem, types, (partition){(layout)((kind + 2) % LAYOUT_COUNT), 2}, ATTN_FLOAT32,
                       limits[i]);
            read_file(path, (partition){(layout)kind, 1}, ATTN_FLOAT32, limits[i]);
        }
    }
    folder_remove();
}

/* Rank 0 makes an input file whose arrays are compressed in chunks. */
static void write_compressed(const char *path, const attn_problem *problem)
{
    const attn_input_array arrays[] = {ATTN_INPUT_Q, ATTN_INPUT_K, ATTN_INPUT_V};
    const hid_t file = H5Fcreate(path, H5F_ACC_TRUNC, H5P_DEFAULT, H5P_DEFAULT);
    const hid_t pieces = H5Pcreate(H5P_DATASET_CREATE);

    attn_h5_write_text(file, "schema", "attn-input");
    attn_h5_write_integer(file, "schema_version", 1);
    H5Pset_chunk(pieces, 4, (hsize_t[4]){1, 2, 7, 2});
    H5Pset_deflate(pieces, 1);
    for (size_t i = 0; i < sizeof arrays / sizeof arrays[0]; i++) {
        float values[B * HQ * SKV * D];
        attn_segments *rows;
        attn_block all;
        int64_t extents[4];
        hsize_t sizes[4];
        hid_t space, dataset;

        attn_input_extents(&problem->shape, arrays[i], extents);
        for (int d = 0; d < 4; d++)
            sizes[d] = (hsize_t)extents[d];
        rows = make_rows(CONTIGUOUS, extents[2], 1, 0);
        all = (attn_block){0, extents[1], rows};
        for_each(arrays[i], &all, ATTN_FLOAT32, values, false);
        space = H5Screate_simple(4, sizes, NULL);
        dataset = H5Dcreate2(file, attn_input_array_path(arrays[i]), H5T_NATIVE_FLOAT, space, H5P_DEFAULT, pieces,
                             H5P_DEFAULT);
        CU_ASSERT(H5Dwrite(dataset, H5T_NATIVE_FLOAT, H5S_ALL, H5S_ALL, H5P_DEFAULT, values) >= 0);
        H5Dclose(dataset);
        H5Sclose(space);
        attn_segments_destroy(rows);
    }
    H5Pclose(pieces);
    H5Fclose(file);
}

/* Ranks read different numbers of pieces of compressed arrays, whose index is read on the way. */
static void test_compressed(void)
{
    const attn_problem problem = plain_problem();
    char path[PATH_SIZE];
    attn_input *input;

    folder_make();
    folder_path("compressed.h5", path);
    if (test_rank() == 0)
        write_compressed(path, &problem);
    MPI_Barrier(MPI_COMM_WORLD);
    TEST_OK(attn_input_open(MPI_COMM_WORLD, path, &input, &attn_test_error));
    if (test_rank() % 2 == 1)
        input->file.direct_bytes = 30 * 4;
    for (int kind = 0; kind < LAYOUT_COUNT; kind++)
        for (int a = ATTN_INPUT_Q; a <= ATTN_INPUT_V; a++)
            move_array(input, (attn_input_array)a, (partition){(layout)kind, 3}, ATTN_FLOAT32, false);
    TEST_OK(attn_input_close(input, &attn_test_error));
    folder_remove();
}

/* Overlapping reads, as ranks that share a key-value head make them, and blocks without rows. */
static void test_shared_and_empty_blocks(void)
{
    const attn_problem problem = plain_problem();
    const attn_dtype types[ATTN_INPUT_ARRAY_COUNT] = {ATTN_FLOAT32, ATTN_FLOAT32, ATTN_FLOAT32,
                                                      ATTN_FLOAT32, ATTN_FLOAT32, ATTN_FLOAT32,
                                                      ATTN_FLOAT32, ATTN_FLOAT32, ATTN_FLOAT32};
    const attn_block nothing = {.head_begin = 0, .head_count = 0, .rows = NULL};
    attn_segments *rows = make_rows(CONTIGUOUS, SKV, 1, 0);
    const attn_block one_head = {.head_begin = test_rank() % HKV, .head_count = 1, .rows = rows};
    char path[PATH_SIZE];
    attn_input *input;
    float *const buffer = calloc((size_t)B * SKV * D, sizeof *buffer);

    folder_make();
    write_file(folder_path("shared.h5", path), &problem, types, (partition){CONTIGUOUS, 1}, ATTN_FLOAT32, 0);
    TEST_OK(attn_input_open(MPI_COMM_WORLD, path, &input, &attn_test_error));
    TEST_OK(attn_input_read(input, ATTN_INPUT_K, &one_head, ATTN_FLOAT32, buffer, &attn_test_error));
    for_each(ATTN_INPUT_K, &one_head, ATTN_FLOAT32, buffer, true);
    /* Only the last rank has something; then nobody has. */
    memset(buffer, 0, (size_t)B * SKV * D * sizeof *buffer);
    if (test_rank() == test_ranks() - 1) {
        TEST_OK(attn_input_read(input, ATTN_INPUT_K, &one_head, ATTN_FLOAT32, buffer, &attn_test_error));
        for_each(ATTN_INPUT_K, &one_head, ATTN_FLOAT32, buffer, true);
    } else {
        TEST_OK(attn_input_read(input, ATTN_INPUT_K, &nothing, ATTN_FLOAT32, NULL, &attn_test_error));
    }
    TEST_OK(attn_input_read(input, ATTN_INPUT_Q, &nothing, ATTN_FLOAT64, NULL, &attn_test_error));
    TEST_OK(attn_input_close(input, &attn_test_error));
    folder_remove();
    free(buffer);
    attn_segments_destroy(rows);
}

static void test_settings(void)
{
    const double slopes[HQ] = {0.5, 0.25, 0.125, 0.0625, 0.3, 0.1}, sinks[HQ] = {0, -1, 2.5, 1e-3, -7, 1};
    const int64_t kv_len[B] = {SKV, 0}, starts[] = {0, 10, 10, SKV};
    const bool present[ATTN_INPUT_ARRAY_COUNT] = {true, true, true};
    const attn_dtype types[ATTN_INPUT_ARRAY_COUNT] = {ATTN_BFLOAT16, ATTN_BFLOAT16, ATTN_BFLOAT16};
    attn_problem problem = plain_problem();
    const attn_problem *read;
    attn_input *input;
    char path[PATH_SIZE];

    folder_make();
    problem.shape.seq = SKV;
    problem.mask = (attn_mask){true, 12, 3, kv_len, starts, 3};
    problem.score = (attn_score){.scale = 0.3, .softcap = 20, .alibi_slopes = slopes, .sinks = sinks};
    problem.dropout = 0.1;
    problem.dropout_seed = UINT64_MAX - 4;
    folder_path("settings.h5", path);
    TEST_OK(attn_input_create(MPI_COMM_WORLD, path, true, &problem, types, present, &input, &attn_test_error));
    TEST_OK(attn_input_close(input, &attn_test_error));
    TEST_OK(attn_input_open(MPI_COMM_WORLD, path, &input, &attn_test_error));
    read = attn_input_problem(input);
    CU_ASSERT_EQUAL(memcmp(&read->shape, &problem.shape, sizeof problem.shape), 0);
    CU_ASSERT_EQUAL(read->dtype, ATTN_BFLOAT16);
    CU_ASSERT(read->mask.causal);
    CU_ASSERT_EQUAL(read->mask.window_left, 12);
    CU_ASSERT_EQUAL(read->mask.window_right, 3);
    CU_ASSERT_EQUAL(read->mask.documents, 3);
    CU_ASSERT_EQUAL(memcmp(read->mask.kv_len, kv_len, sizeof kv_len), 0);
    CU_ASSERT_EQUAL(memcmp(read->mask.cu_seqlens, starts, sizeof starts), 0);
    CU_ASSERT_EQUAL(read->score.scale, 0.3);
    CU_ASSERT_EQUAL(read->score.softcap, 20);
    CU_ASSERT_EQUAL(read->dropout, 0.1);
    CU_ASSERT_EQUAL(read->dropout_seed, UINT64_MAX - 4);
    CU_ASSERT_EQUAL(memcmp(read->score.alibi_slopes, slopes, sizeof slopes), 0);
    CU_ASSERT_EQUAL(memcmp(read->score.sinks, sinks, sizeof sinks), 0);
    CU_ASSERT(attn_input_has(input, ATTN_INPUT_V));
    CU_ASSERT(!attn_input_has(input, ATTN_INPUT_DO));
    CU_ASSERT(!attn_input_has(input, ATTN_INPUT_EXPECTED_O));
    TEST_OK(attn_input_close(input, &attn_test_error));
    folder_remove();
}

/* A created file is there whole after close, and not at all before it or after discard. */
static void test_publishing(void)
{
    const attn_problem problem = plain_problem();
    const bool present[ATTN_INPUT_ARRAY_COUNT] = {true, true, true};
    const attn_dtype types[ATTN_INPUT_ARRAY_COUNT] = {ATTN_FLOAT32, ATTN_FLOAT32, ATTN_FLOAT32};
    attn_input *input;
    char path[PATH_SIZE];

    folder_make();
    folder_path("x.h5", path);
    TEST_OK(attn_input_create(MPI_COMM_WORLD, path, true, &problem, types, present, &input, &attn_test_error));
    CU_ASSERT_NOT_EQUAL(access(path, F_OK), 0);
    attn_input_discard(input);
    MPI_Barrier(MPI_COMM_WORLD);
    CU_ASSERT_EQUAL(folder_count(""), 0);
    MPI_Barrier(MPI_COMM_WORLD);
    TEST_OK(attn_input_create(MPI_COMM_WORLD, path, true, &problem, types, present, &input, &attn_test_error));
    TEST_OK(attn_input_close(input, &attn_test_error));
    CU_ASSERT_EQUAL(access(path, F_OK), 0);
    CU_ASSERT_EQUAL(folder_count(""), 1);
    MPI_Barrier(MPI_COMM_WORLD);
    /* An existing file is replaced. */
    TEST_OK(attn_input_create(MPI_COMM_WORLD, path, true, &problem, types, present, &input, &attn_test_error));
    move_array(input, ATTN_INPUT_Q, (partition){STRIPED, 1}, ATTN_FLOAT32, true);
    TEST_OK(attn_input_close(input, &attn_test_error));
    TEST_OK(attn_input_open(MPI_COMM_WORLD, path, &input, &attn_test_error));
    move_array(input, ATTN_INPUT_Q, (partition){CONTIGUOUS, 1}, ATTN_FLOAT32, false);
    TEST_OK(attn_input_close(input, &attn_test_error));
    TEST_OK(attn_input_close(NULL, &attn_test_error));
    attn_input_discard(NULL);
    folder_remove();
}

/* Files cannot grow past the limit, as on a full disk: told on all ranks, and nothing is left behind. */
static void test_no_space(void)
{
    const attn_problem problem = plain_problem();
    const bool present[ATTN_INPUT_ARRAY_COUNT] = {true, true, true};
    const attn_dtype types[ATTN_INPUT_ARRAY_COUNT] = {ATTN_FLOAT32, ATTN_FLOAT32, ATTN_FLOAT32};
    const rlim_t limits[] = {1000, 12000, RLIM_INFINITY}; /* the settings do not fit; the elements */
    struct rlimit unlimited, limited;
    attn_error error = ATTN_ERROR_INIT;
    attn_input *input;
    char path[PATH_SIZE];

    folder_make();
    folder_path("x.h5", path);
    signal(SIGXFSZ, SIG_IGN);
    CU_ASSERT_EQUAL(getrlimit(RLIMIT_FSIZE, &unlimited), 0);
    limited = unlimited;
    for (size_t i = 0; i < sizeof limits / sizeof limits[0]; i++) {
        attn_status status;

        limited.rlim_cur = limits[i] < unlimited.rlim_cur ? limits[i] : unlimited.rlim_cur;
        setrlimit(RLIMIT_FSIZE, &limited);
        status = attn_input_create(MPI_COMM_WORLD, path, true, &problem, types, present, &input, &error);
        CU_ASSERT_EQUAL(status, i < 2 ? ATTN_FILE : ATTN_OK);
        if (status == ATTN_OK) {
            attn_segments *rows;
            const attn_block block = make_block((partition){CONTIGUOUS, 1}, ATTN_INPUT_V, &rows);
            float *const buffer = calloc((size_t)B * HKV * SKV * DV, sizeof *buffer);

            /* On one rank alone: the others do not wait for it in the middle of their writing. */
            limited.rlim_cur = 12000;
            if (test_rank() == test_ranks() - 1)
                setrlimit(RLIMIT_FSIZE, &limited);
            CU_ASSERT_EQUAL(attn_input_write(input, ATTN_INPUT_V, &block, ATTN_FLOAT32, buffer, &error), ATTN_FILE);
            CU_ASSERT_PTR_NOT_NULL(strstr(error.message, "dataset v cannot be written"));
            setrlimit(RLIMIT_FSIZE, &unlimited);
            CU_ASSERT_EQUAL(attn_input_close(input, &error), ATTN_FILE);
            free(buffer);
            attn_segments_destroy(rows);
        }
        setrlimit(RLIMIT_FSIZE, &unlimited);
        MPI_Barrier(MPI_COMM_WORLD);
        CU_ASSERT_EQUAL(folder_count(""), 0);
        MPI_Barrier(MPI_COMM_WORLD);
    }
    folder_remove();
}

/* Of two writers of one name the second is refused, and what is there is replaced only where that was asked for. */
static void test_two_writers(void)
{
    const attn_problem problem = plain_problem();
    const bool present[ATTN_INPUT_ARRAY_COUNT] = {true, true, true};
    const attn_dtype types[ATTN_INPUT_ARRAY_COUNT] = {ATTN_FLOAT32, ATTN_FLOAT32, ATTN_FLOAT32};
    attn_error error = ATTN_ERROR_INIT;
    attn_input *input, *second;
    char path[PATH_SIZE];

    folder_make();
    folder_path("x.h5", path);
    TEST_OK(attn_input_create(MPI_COMM_WORLD, path, false, &problem, types, present, &input, &attn_test_error));
    for (int replace = 0; replace < 2; replace++) {
        CU_ASSERT_EQUAL(attn_input_create(MPI_COMM_WORLD, path, replace, &problem, types, present, &second, &error),
                        ATTN_ARGUMENT);
        CU_ASSERT_PTR_NULL(second);
        CU_ASSERT_PTR_NOT_NULL(strstr(error.message, "x.h5: another attnbench is writing it"));
    }
    TEST_OK(attn_input_close(input, &attn_test_error));
    CU_ASSERT_EQUAL(attn_input_create(MPI_COMM_WORLD, path, false, &problem, types, present, &second, &error),
                    ATTN_ARGUMENT);
    CU_ASSERT_PTR_NOT_NULL(strstr(error.message, "x.h5: exists; a new name is accepted"));
    TEST_OK(attn_input_create(MPI_COMM_WORLD, path, true, &problem, types, present, &input, &attn_test_error));
    TEST_OK(attn_input_close(input, &attn_test_error));
    MPI_Barrier(MPI_COMM_WORLD);
    CU_ASSERT_EQUAL(folder_count(""), 1);
    folder_remove();
}

/* Each array has fewer than 2^63 bytes, all of them together have not. */
static void test_endless_file(void)
{
    const bool present[ATTN_INPUT_ARRAY_COUNT] = {true, true, true};
    const attn_dtype types[ATTN_INPUT_ARRAY_COUNT] = {ATTN_FLOAT64, ATTN_FLOAT64, ATTN_FLOAT64};
    attn_problem problem = plain_problem();
    attn_error error = ATTN_ERROR_INIT;
    attn_input *input;
    char path[PATH_SIZE];

    problem.shape = (attn_shape){1, 1, 1, INT64_C(1) << 59, INT64_C(1) << 59, 1, 1};
    folder_make();
    folder_path("x.h5", path);
    CU_ASSERT_EQUAL(attn_input_create(MPI_COMM_WORLD, path, false, &problem, types, present, &input, &error),
                    ATTN_FILE);
    CU_ASSERT_PTR_NOT_NULL(strstr(error.message, "cannot get the bytes that it needs: File too large"));
    MPI_Barrier(MPI_COMM_WORLD);
    CU_ASSERT_EQUAL(folder_count(""), 0);
    folder_remove();
}

static void test_wrong_calls(void)
{
    attn_problem problem = plain_problem();
    const bool present[ATTN_INPUT_ARRAY_COUNT] = {true, true, true}, without_k[ATTN_INPUT_ARRAY_COUNT] = {true};
    const attn_dtype types[ATTN_INPUT_ARRAY_COUNT] = {ATTN_FLOAT32, ATTN_FLOAT32, ATTN_FLOAT32};
    attn_segments *rows = make_rows(CONTIGUOUS, SQ, 1, 0);
    attn_error error = ATTN_ERROR_INIT;
    float *const buffer = calloc((size_t)B * HQ * SKV * D, sizeof *buffer);
    attn_input *input;
    char path[PATH_SIZE];

    folder_make();
    folder_path("no/such/folder.h5", path);
    CU_ASSERT_EQUAL(attn_input_create(MPI_COMM_WORLD, path, true, &problem, types, present, &input, &error),
                    ATTN_ARGUMENT);
    CU_ASSERT_PTR_NULL(input);
    CU_ASSERT_PTR_NOT_NULL(strstr(error.message, "no/such"));
    CU_ASSERT_PTR_NOT_NULL(strstr(error.message, "No such file"));
    CU_ASSERT_EQUAL(attn_input_create(MPI_COMM_WORLD, test_folder, true, &problem, types, present, &input, &error),
                    ATTN_ARGUMENT);
    CU_ASSERT_PTR_NOT_NULL(strstr(error.message, "not a regular file"));
    folder_path("x.h5", path);
    CU_ASSERT_EQUAL(attn_input_create(MPI_COMM_WORLD, path, true, &problem, types, without_k, &input, &error),
                    ATTN_ARGUMENT);
    CU_ASSERT_PTR_NOT_NULL(strstr(error.message, "k is left out"));
    TEST_OK(attn_input_create(MPI_COMM_WORLD, path, true, &problem, types, present, &input, &attn_test_error));
    CU_ASSERT_EQUAL(attn_input_write(input, ATTN_INPUT_DO, &(attn_block){0, 1, rows}, ATTN_FLOAT32, buffer, &error),
                    ATTN_ARGUMENT);
    CU_ASSERT_PTR_NOT_NULL(strstr(error.message, "do is missing"));
    /* The last rank alone asks for a head too many: all ranks are told. */
    CU_ASSERT_EQUAL(attn_input_write(input, ATTN_INPUT_Q,
                                     &(attn_block){test_rank() == test_ranks() - 1 ? HQ : 0, 1, rows}, ATTN_FLOAT32,
                                     buffer, &error),
                    ATTN_ARGUMENT);
    CU_ASSERT_PTR_NOT_NULL(strstr(error.message, "there are 6"));
    attn_input_discard(input);
    problem.shape.kv_heads = 4;
    CU_ASSERT_EQUAL(attn_input_create(MPI_COMM_WORLD, path, true, &problem, types, present, &input, &error),
                    ATTN_ARGUMENT);
    MPI_Barrier(MPI_COMM_WORLD);
    CU_ASSERT_EQUAL(folder_count(""), 0);
    folder_remove();
    free(buffer);
    attn_segments_destroy(rows);
}

/* Files that stay open in a failing path would pile up over a long sweep. Runs last. */
static void test_nothing_open(void)
{
    CU_ASSERT_EQUAL(H5Fget_obj_count(H5F_OBJ_ALL, H5F_OBJ_ALL), 0);
}

static const attn_test tests[] = {
    {"every stored type in every type of memory", test_types},
    {"one partition writes, another reads", test_partitions},
    {"transfers of a few elements", test_small_transfers},
    {"compressed arrays", test_compressed},
    {"shared heads and ranks with nothing", test_shared_and_empty_blocks},
    {"settings come back", test_settings},
    {"published whole or not at all", test_publishing},
    {"no space", test_no_space},
    {"two writers", test_two_writers},
    {"a file beyond 2^63 bytes", test_endless_file},
    {"calls that cannot be served", test_wrong_calls},
    {"nothing stays open", test_nothing_open},
};

int main(int argc, char **argv)
{
    return attn_test_main(argc, argv, "io/input", tests, sizeof tests / sizeof tests[0]);
}
