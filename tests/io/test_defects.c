/* Files that are not what they should be: one clear line, the same on all ranks. And unusual ones that are fine. */
#include "defects.h"
#include "folder.h"

#include "io/h5.h"

#include <attn/input.h>
#include <attn/layer_file.h>

/* Whether all ranks have the same message. */
static bool same_everywhere(const attn_error *error)
{
    attn_error first = *error;

    MPI_Bcast(&first, sizeof first, MPI_BYTE, 0, MPI_COMM_WORLD);
    return first.status == error->status && strcmp(first.message, error->message) == 0;
}

static attn_status open_and_close(const char *path, bool layer, bool *opened, attn_error *error)
{
    attn_input *input = NULL;
    attn_layer_file *file = NULL;
    const attn_status status = layer ? attn_layer_file_open(MPI_COMM_WORLD, path, &file, error)
                                     : attn_input_open(MPI_COMM_WORLD, path, &input, error);

    *opened = input != NULL || file != NULL;
    attn_input_close(input, NULL);
    attn_layer_file_close(file, NULL);
    return status;
}

/* Opens what must not open, and looks at the one line that says why. */
static void expect_refusal(const char *what, const char *path, bool layer, const char *const *words, size_t count)
{
    attn_error error = ATTN_ERROR_INIT;
    bool opened;
    const attn_status status = open_and_close(path, layer, &opened, &error);
    bool said = status == ATTN_INPUT && !opened && error.status == status && same_everywhere(&error) &&
                strchr(error.message, '\n') == NULL && strstr(error.message, path) != NULL;

    for (size_t i = 0; i < count && words[i] != NULL; i++)
        said = said && strstr(error.message, words[i]) != NULL;
    CU_ASSERT(said);
    if (!said && test_rank() == 0)
        fprintf(stderr, "%s: %s: %s\n", what, attn_status_words(status), error.message);
}

static void expect_defects(const defect *list, size_t count, bool layer)
{
    char path[PATH_SIZE];

    folder_make();
    for (size_t i = 0; i < count; i++) {
        folder_path("spoilt.h5", path);
        if (test_rank() == 0)
            (layer ? layer_file_make : file_make)(path, list[i].spoil);
        MPI_Barrier(MPI_COMM_WORLD);
        expect_refusal(list[i].name, path, layer, list[i].words, 3);
        MPI_Barrier(MPI_COMM_WORLD);
    }
    folder_remove();
}

static void test_defects(void)
{
    expect_defects(defects, defect_count, false);
}

static void test_layer_defects(void)
{
    expect_defects(layer_defects, layer_defect_count, true);
}

static void test_layer_oddities(void)
{
    char path[PATH_SIZE];

    folder_make();
    folder_path("odd.h5", path);
    for (size_t i = 0; i < layer_oddity_count; i++) {
        attn_layer_file *file;

        if (test_rank() == 0)
            layer_file_make(path, layer_oddities[i].spoil);
        MPI_Barrier(MPI_COMM_WORLD);
        TEST_OK(attn_layer_file_open(MPI_COMM_WORLD, path, &file, &attn_test_error));
        TEST_OK(attn_layer_file_close(file, &attn_test_error));
    }
    folder_remove();
}

/* The first `bytes` bytes of a good file; all but the last, when negative. */
static void make_truncated(const char *path, long bytes)
{
    FILE *stream;

    file_make(path, NULL);
    stream = fopen(path, "rb");
    fseek(stream, 0, SEEK_END);
    CU_ASSERT_EQUAL(truncate(path, bytes >= 0 ? bytes : ftell(stream) + bytes), 0);
    fclose(stream);
}

static void test_foreign_files(void)
{
    static const char text[] = "q k v\n1 2 3\n";
    char path[PATH_SIZE];

    folder_make();
    expect_refusal("missing", folder_path("missing.h5", path), false, (const char *[]){"No such file"}, 1);
    expect_refusal("folder", test_folder, false, (const char *[]){"not a regular file"}, 1);
    if (test_rank() == 0) {
        folder_write("text.h5", text, strlen(text));
        folder_write("empty.h5", text, 0);
        make_truncated(folder_path("head.h5", path), 60);
        make_truncated(folder_path("half.h5", path), 1000);
        make_truncated(folder_path("cut.h5", path), -1);
    }
    MPI_Barrier(MPI_COMM_WORLD);
    expect_refusal("text", folder_path("text.h5", path), false, (const char *[]){"not an HDF5 file"}, 1);
    expect_refusal("empty", folder_path("empty.h5", path), false, (const char *[]){"not an HDF5 file"}, 1);
    expect_refusal("head", folder_path("head.h5", path), false, (const char *[]){"damaged"}, 1);
    expect_refusal("half", folder_path("half.h5", path), false, (const char *[]){"damaged", "truncated"}, 2);
    expect_refusal("cut", folder_path("cut.h5", path), false, (const char *[]){"damaged", "truncated"}, 2);
    folder_remove();
}

static void unusual_text(hid_t file, H5T_str_t padding, size_t size)
{
    const hid_t type = H5Tcopy(H5T_C_S1), space = H5Screate(H5S_SCALAR);
    hid_t attribute;
    char text[64];

    H5Adelete(file, "schema");
    H5Tset_size(type, size);
    H5Tset_strpad(type, padding);
    memset(text, padding == H5T_STR_SPACEPAD ? ' ' : '\0', sizeof text);
    memcpy(text, "attn-input", 10);
    attribute = H5Acreate2(file, "schema", type, space, H5P_DEFAULT, H5P_DEFAULT);
    H5Awrite(attribute, type, text);
    H5Aclose(attribute);
    H5Sclose(space);
    H5Tclose(type);
}

static void exact_text(hid_t file)
{
    unusual_text(file, H5T_STR_NULLPAD, 10);
}
static void spaced_text(hid_t file)
{
    unusual_text(file, H5T_STR_SPACEPAD, 24);
}

/* Settings as other software stores them: real causal, truth value, small and big-endian integers. */
static void foreign_numbers(hid_t file)
{
    const hid_t truth = H5Tenum_create(H5T_NATIVE_INT8), space = H5Screate(H5S_SCALAR);
    const int8_t no = 0, yes = 1;
    hid_t attribute;

    H5Tenum_insert(truth, "FALSE", &no);
    H5Tenum_insert(truth, "TRUE", &yes);
    attribute = H5Acreate2(file, "causal", truth, space, H5P_DEFAULT, H5P_DEFAULT);
    H5Awrite(attribute, truth, &yes);
    H5Aclose(attribute);
    attribute = H5Acreate2(file, "window_left", H5T_STD_U8BE, space, H5P_DEFAULT, H5P_DEFAULT);
    H5Awrite(attribute, H5T_NATIVE_INT8, &yes);
    H5Aclose(attribute);
    attn_h5_write_real(file, "window_right", 2);
    file_set_integer(file, "softcap", 30);
    H5Tclose(truth);
    H5Sclose(space);
}

/* Big-endian elements, halves and bits; q, k and v of three types; compressed pieces. */
static void foreign_elements(hid_t file)
{
    const hid_t half = attn_h5_type(ATTN_FLOAT16), pieces = H5Pcreate(H5P_DATASET_CREATE);
    const hid_t space = H5Screate_simple(4, good_extents, NULL);
    hid_t v;
    double values[B * H * S * D];
    uint16_t bits[B * H * S * D];

    for (int i = 0; i < B * H * S * D; i++)
        values[i] = i - 20.5;
    attn_convert(ATTN_BFLOAT16, bits, ATTN_FLOAT64, values, B * H * S * D);
    H5Tset_order(half, H5T_ORDER_BE);
    H5Ldelete(file, "q", H5P_DEFAULT);
    H5Ldelete(file, "k", H5P_DEFAULT);
    H5Ldelete(file, "v", H5P_DEFAULT);
    H5Dclose(file_add_dataset(file, "q", half, 4, good_extents, NULL, values));
    H5Pset_chunk(pieces, 4, (hsize_t[4]){1, H, 3, D});
    v = H5Dcreate2(file, "k", H5T_IEEE_F64BE, space, H5P_DEFAULT, pieces, H5P_DEFAULT);
    H5Dwrite(v, H5T_NATIVE_DOUBLE, H5S_ALL, H5S_ALL, H5P_DEFAULT, values);
    H5Dclose(v);
    v = H5Dcreate2(file, "v", H5T_STD_U16BE, space, H5P_DEFAULT, H5P_DEFAULT, H5P_DEFAULT);
    H5Dwrite(v, H5T_NATIVE_UINT16, H5S_ALL, H5S_ALL, H5P_DEFAULT, bits);
    attn_h5_write_text(v, "dtype", "bfloat16");
    H5Dclose(v);
    H5Sclose(space);
    H5Pclose(pieces);
    H5Tclose(half);
}

static attn_input *open_unusual(void (*change)(hid_t file))
{
    char path[PATH_SIZE];
    attn_input *input;

    folder_path("unusual.h5", path);
    MPI_Barrier(MPI_COMM_WORLD);
    if (test_rank() == 0)
        file_make(path, change);
    MPI_Barrier(MPI_COMM_WORLD);
    TEST_OK(attn_input_open(MPI_COMM_WORLD, path, &input, &attn_test_error));
    return input;
}

static void test_unusual_files(void)
{
    const int64_t begin = test_rank() % S, length = 1;
    attn_segments *row = NULL;
    const attn_problem *problem;
    attn_block block = {.head_begin = 0, .head_count = H};
    attn_input *input;
    float values[B * H * D];

    folder_make();
    TEST_OK(attn_input_close(open_unusual(NULL), &attn_test_error));
    TEST_OK(attn_input_close(open_unusual(exact_text), &attn_test_error));
    TEST_OK(attn_input_close(open_unusual(spaced_text), &attn_test_error));
    input = open_unusual(foreign_numbers);
    problem = attn_input_problem(input);
    CU_ASSERT(problem->mask.causal);
    CU_ASSERT_EQUAL(problem->mask.window_left, 1);
    CU_ASSERT_EQUAL(problem->mask.window_right, 2);
    CU_ASSERT_EQUAL(problem->score.softcap, 30);
    TEST_OK(attn_input_close(input, &attn_test_error));

    TEST_OK(attn_segments_create(1, &begin, &length, &row, &attn_test_error));
    block.rows = row;
    input = open_unusual(foreign_elements);
    CU_ASSERT_EQUAL(attn_input_problem(input)->dtype, ATTN_FLOAT16);
    for (int a = ATTN_INPUT_Q; a <= ATTN_INPUT_V; a++) {
        TEST_OK(attn_input_read(input, (attn_input_array)a, &block, ATTN_FLOAT32, values, &attn_test_error));
        for (int i = 0; i < B * H * D; i++)
            CU_ASSERT_EQUAL(values[i], (float)((i / D * S + begin) * D + i % D) - 20.5F);
    }
    TEST_OK(attn_input_close(input, &attn_test_error));
    attn_segments_destroy(row);
    folder_remove();
}

/* Files that stay open in a failing path would pile up over a long sweep. Runs last. */
static void test_nothing_open(void)
{
    CU_ASSERT_EQUAL(H5Fget_obj_count(H5F_OBJ_ALL, H5F_OBJ_ALL), 0);
}

static const attn_test tests[] = {
    {"defects are named", test_defects},
    {"defects of layers are named", test_layer_defects},
    {"odd layers are read", test_layer_oddities},
    {"foreign files are named", test_foreign_files},
    {"unusual files are read", test_unusual_files},
    {"nothing stays open", test_nothing_open},
};

int main(int argc, char **argv)
{
    return attn_test_main(argc, argv, "io/defects", tests, sizeof tests / sizeof tests[0]);
}
