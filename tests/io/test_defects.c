/* Files that are not what they should be: one clear line, the same on all ranks. And unusual ones that are fine. */
#include "folder.h"

#include "io/h5.h"

#include <attn/input.h>

#include <math.h>

enum { B = 2, H = 2, S = 4, D = 3 };

static hid_t make_dataset(hid_t file, const char *name, hid_t stored, int rank, const hsize_t *extents,
                          const void *ints, const double *reals)
{
    const hid_t space = H5Screate_simple(rank, extents, NULL);
    const hid_t dataset = H5Dcreate2(file, name, stored, space, H5P_DEFAULT, H5P_DEFAULT, H5P_DEFAULT);

    if (ints != NULL)
        H5Dwrite(dataset, H5T_NATIVE_INT64, H5S_ALL, H5S_ALL, H5P_DEFAULT, ints);
    if (reals != NULL)
        H5Dwrite(dataset, H5T_NATIVE_DOUBLE, H5S_ALL, H5S_ALL, H5P_DEFAULT, reals);
    H5Sclose(space);
    return dataset;
}

static void add_array(hid_t file, const char *name, hid_t stored, const hsize_t extents[4])
{
    H5Dclose(make_dataset(file, name, stored, 4, extents, NULL, NULL));
}

static void add_list(hid_t file, const char *name, hsize_t count, const int64_t *values)
{
    H5Dclose(make_dataset(file, name, H5T_STD_I32LE, 1, &count, values, NULL));
}

static void add_reals(hid_t file, const char *name, hsize_t count, const double *values)
{
    H5Dclose(make_dataset(file, name, H5T_IEEE_F32BE, 1, &count, NULL, values));
}

static const hsize_t good_extents[4] = {B, H, S, D};

/* Replaces an array of the good file. */
static void replace(hid_t file, const char *name, hid_t stored, hsize_t b, hsize_t h, hsize_t s, hsize_t d)
{
    H5Ldelete(file, name, H5P_DEFAULT);
    add_array(file, name, stored, (hsize_t[4]){b, h, s, d});
}

static void set_integer(hid_t file, const char *name, int64_t value)
{
    H5Adelete(file, name);
    attn_h5_write_integer(file, name, value);
}

static void set_text(hid_t file, const char *name, const char *value)
{
    H5Adelete(file, name);
    attn_h5_write_text(file, name, value);
}

/* ---- One defect each ---- */

static void no_schema(hid_t f)
{
    H5Adelete(f, "schema");
}
static void other_schema(hid_t f)
{
    set_text(f, "schema", "weights-of-mine");
}
static void numeric_schema(hid_t f)
{
    set_integer(f, "schema", 3);
}
static void no_version(hid_t f)
{
    H5Adelete(f, "schema_version");
}
static void later_version(hid_t f)
{
    set_integer(f, "schema_version", 2);
}
static void no_q(hid_t f)
{
    H5Ldelete(f, "q", H5P_DEFAULT);
}
static void dangling_k(hid_t f)
{
    H5Ldelete(f, "k", H5P_DEFAULT);
    H5Lcreate_soft("/nowhere", f, "k", H5P_DEFAULT, H5P_DEFAULT);
}
static void group_k(hid_t f)
{
    H5Ldelete(f, "k", H5P_DEFAULT);
    H5Gclose(H5Gcreate2(f, "k", H5P_DEFAULT, H5P_DEFAULT, H5P_DEFAULT));
}
static void flat_q(hid_t f)
{
    H5Ldelete(f, "q", H5P_DEFAULT);
    H5Dclose(make_dataset(f, "q", H5T_IEEE_F32LE, 3, good_extents, NULL, NULL));
}
static void no_rows(hid_t f)
{
    replace(f, "q", H5T_IEEE_F32LE, B, H, 0, D);
}
static void other_width(hid_t f)
{
    replace(f, "k", H5T_IEEE_F32LE, B, H, S, D + 1);
}
static void other_keys(hid_t f)
{
    replace(f, "v", H5T_IEEE_F32LE, B, H, S + 5, D);
}
static void other_batch(hid_t f)
{
    replace(f, "v", H5T_IEEE_F32LE, B + 1, H, S, D);
}
static void uneven_heads(hid_t f)
{
    replace(f, "q", H5T_IEEE_F32LE, B, 3, S, D);
}
static void other_gradient(hid_t f)
{
    add_array(f, "do", H5T_IEEE_F32LE, (hsize_t[4]){B, H, S + 1, D});
}
static void integer_q(hid_t f)
{
    replace(f, "q", H5T_STD_I32LE, B, H, S, D);
}
static void bare_bits(hid_t f)
{
    replace(f, "q", H5T_STD_U16LE, B, H, S, D);
}
static void other_bits(hid_t f)
{
    const hid_t q = (replace(f, "q", H5T_STD_U16LE, B, H, S, D), H5Dopen2(f, "q", H5P_DEFAULT));

    attn_h5_write_text(q, "dtype", "fp8_e4m3");
    H5Dclose(q);
}
static void text_q(hid_t f)
{
    replace(f, "q", H5T_C_S1, B, H, S, D);
}
static void expected_is_data(hid_t f)
{
    add_list(f, "expected", 2, (int64_t[]){1, 2});
}
static void expected_lse_of_4(hid_t f)
{
    H5Gclose(H5Gcreate2(f, "expected", H5P_DEFAULT, H5P_DEFAULT, H5P_DEFAULT));
    add_array(f, "expected/lse", H5T_IEEE_F64LE, good_extents);
}
static void expected_dk_heads(hid_t f)
{
    H5Gclose(H5Gcreate2(f, "expected", H5P_DEFAULT, H5P_DEFAULT, H5P_DEFAULT));
    add_array(f, "expected/dk", H5T_IEEE_F64LE, (hsize_t[4]){B, 2 * H, S, D});
}
static void causal_of_2(hid_t f)
{
    set_integer(f, "causal", 2);
}
static void text_causal(hid_t f)
{
    set_text(f, "causal", "yes");
}
static void half_window(hid_t f)
{
    attn_h5_write_real(f, "window_left", 16.5);
}
static void negative_window(hid_t f)
{
    set_integer(f, "window_right", -7);
}
static void two_scales(hid_t f)
{
    const hsize_t two = 2;
    const hid_t space = H5Screate_simple(1, &two, NULL);

    H5Aclose(H5Acreate2(f, "scale", H5T_IEEE_F64LE, space, H5P_DEFAULT, H5P_DEFAULT));
    H5Sclose(space);
}
static void short_slopes(hid_t f)
{
    add_reals(f, "alibi_slopes", 1, (double[]){0.5});
}
static void nan_sink(hid_t f)
{
    add_reals(f, "sinks", H, (double[]){0, NAN});
}
static void integer_sinks(hid_t f)
{
    add_list(f, "sinks", H, (int64_t[]){1, 2});
}
static void long_padding(hid_t f)
{
    add_list(f, "kv_len", B, (int64_t[]){S, S + 2});
}
static void real_padding(hid_t f)
{
    add_reals(f, "kv_len", B, (double[]){1, 2});
}
static void falling_documents(hid_t f)
{
    add_list(f, "cu_seqlens", 4, (int64_t[]){0, 3, 2, S});
}
static void no_documents(hid_t f)
{
    add_list(f, "cu_seqlens", 1, (int64_t[]){0});
}
static void square_documents(hid_t f)
{
    H5Dclose(make_dataset(f, "cu_seqlens", H5T_STD_I64LE, 2, good_extents, NULL, NULL));
}

static const struct {
    const char *name;
    void (*spoil)(hid_t file);
    const char *words[3]; /* in the message */
} defects[] = {
    {"no schema", no_schema, {"schema", "attn-input"}},
    {"other schema", other_schema, {"schema", "weights-of-mine", "attn-input"}},
    {"numeric schema", numeric_schema, {"schema", "int64", "text"}},
    {"no version", no_version, {"schema_version", "missing"}},
    {"later version", later_version, {"schema_version", "2", "1"}},
    {"no q", no_q, {"dataset q", "missing"}},
    {"dangling k", dangling_k, {"dataset k", "missing"}},
    {"group k", group_k, {"k", "not a dataset"}},
    {"flat q", flat_q, {"dataset q", "3 dimensions", "[B,Hq,Sq,D]"}},
    {"no rows", no_rows, {"dataset q", "Sq is 0"}},
    {"other width", other_width, {"dataset k", "D is 4", "3 as in q"}},
    {"other keys", other_keys, {"dataset v", "Skv is 9", "4 as in k"}},
    {"other batch", other_batch, {"dataset v", "B is 3", "2 as in q"}},
    {"uneven heads", uneven_heads, {"3", "2"}},
    {"other gradient", other_gradient, {"dataset do", "Sq is 5", "4 as in q"}},
    {"integer q", integer_q, {"dataset q", "int32", "bfloat16"}},
    {"bare bits", bare_bits, {"dataset q", "uint16 without", "bfloat16"}},
    {"other bits", other_bits, {"dataset q", "fp8_e4m3", "bfloat16"}},
    {"text q", text_q, {"dataset q", "text"}},
    {"expected is data", expected_is_data, {"expected", "not a group"}},
    {"expected lse of 4", expected_lse_of_4, {"expected/lse", "4 dimensions", "[B,Hq,Sq]"}},
    {"expected dk heads", expected_dk_heads, {"expected/dk", "Hkv is 4", "2 as in k"}},
    {"causal of 2", causal_of_2, {"causal", "2", "0 or 1"}},
    {"text causal", text_causal, {"causal", "text", "number"}},
    {"half window", half_window, {"window_left", "16.5", "whole number"}},
    {"negative window", negative_window, {"window", "-7"}},
    {"two scales", two_scales, {"scale", "2 values", "one"}},
    {"short slopes", short_slopes, {"alibi_slopes", "1 values", "[Hq] = 2"}},
    {"nan sink", nan_sink, {"sink", "nan"}},
    {"integer sinks", integer_sinks, {"sinks", "int32", "reals"}},
    {"long padding", long_padding, {"kv_len", "6"}},
    {"real padding", real_padding, {"kv_len", "float32", "integers"}},
    {"falling documents", falling_documents, {"cu_seqlens", "2"}},
    {"no documents", no_documents, {"cu_seqlens", "1 values"}},
    {"square documents", square_documents, {"cu_seqlens", "2 dimensions"}},
};

/* A small valid file, spoilt. On rank 0. */
static void make_file(const char *path, void (*spoil)(hid_t file))
{
    const attn_h5_quiet saved = attn_h5_quiet_begin();
    const hid_t file = H5Fcreate(path, H5F_ACC_TRUNC, H5P_DEFAULT, H5P_DEFAULT);

    attn_h5_write_text(file, "schema", "attn-input");
    attn_h5_write_integer(file, "schema_version", 1);
    add_array(file, "q", H5T_IEEE_F32LE, good_extents);
    add_array(file, "k", H5T_IEEE_F32LE, good_extents);
    add_array(file, "v", H5T_IEEE_F32LE, good_extents);
    if (spoil != NULL)
        spoil(file);
    H5Fclose(file);
    attn_h5_quiet_end(saved);
}

/* Whether all ranks have the same message. */
static bool same_everywhere(const attn_error *error)
{
    attn_error first = *error;

    MPI_Bcast(&first, sizeof first, MPI_BYTE, 0, MPI_COMM_WORLD);
    return first.status == error->status && strcmp(first.message, error->message) == 0;
}

/* Opens what must not open, and looks at the one line that says why. */
static void expect_refusal(const char *what, const char *path, const char *const *words, size_t count)
{
    attn_error error = ATTN_ERROR_INIT;
    attn_input *input = NULL;
    const attn_status status = attn_input_open(MPI_COMM_WORLD, path, &input, &error);
    bool said = status == ATTN_INPUT && input == NULL && error.status == status && same_everywhere(&error) &&
                strchr(error.message, '\n') == NULL && strstr(error.message, path) != NULL;

    for (size_t i = 0; i < count && words[i] != NULL; i++)
        said = said && strstr(error.message, words[i]) != NULL;
    CU_ASSERT(said);
    if (!said && test_rank() == 0)
        fprintf(stderr, "%s: %s: %s\n", what, attn_status_words(status), error.message);
    attn_input_close(input, NULL);
}

static void test_defects(void)
{
    char path[PATH_SIZE];

    folder_make();
    for (size_t i = 0; i < sizeof defects / sizeof defects[0]; i++) {
        folder_path("spoilt.h5", path);
        if (test_rank() == 0)
            make_file(path, defects[i].spoil);
        MPI_Barrier(MPI_COMM_WORLD);
        expect_refusal(defects[i].name, path, defects[i].words, 3);
        MPI_Barrier(MPI_COMM_WORLD);
    }
    folder_remove();
}

/* The first `bytes` bytes of a good file; all but the last, when negative. */
static void make_truncated(const char *path, long bytes)
{
    FILE *stream;

    make_file(path, NULL);
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
    expect_refusal("missing", folder_path("missing.h5", path), (const char *[]){"No such file"}, 1);
    expect_refusal("folder", test_folder, (const char *[]){"not a regular file"}, 1);
    if (test_rank() == 0) {
        folder_write("text.h5", text, strlen(text));
        folder_write("empty.h5", text, 0);
        make_truncated(folder_path("head.h5", path), 60);
        make_truncated(folder_path("half.h5", path), 1000);
        make_truncated(folder_path("cut.h5", path), -1);
    }
    MPI_Barrier(MPI_COMM_WORLD);
    expect_refusal("text", folder_path("text.h5", path), (const char *[]){"not an HDF5 file"}, 1);
    expect_refusal("empty", folder_path("empty.h5", path), (const char *[]){"not an HDF5 file"}, 1);
    expect_refusal("head", folder_path("head.h5", path), (const char *[]){"damaged"}, 1);
    expect_refusal("half", folder_path("half.h5", path), (const char *[]){"damaged", "truncated"}, 2);
    expect_refusal("cut", folder_path("cut.h5", path), (const char *[]){"damaged", "truncated"}, 2);
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
    set_integer(file, "softcap", 30);
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
    H5Dclose(make_dataset(file, "q", half, 4, good_extents, NULL, values));
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
        make_file(path, change);
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
    {"foreign files are named", test_foreign_files},
    {"unusual files are read", test_unusual_files},
    {"nothing stays open", test_nothing_open},
};

int main(int argc, char **argv)
{
    return attn_test_main(argc, argv, "io/defects", tests, sizeof tests / sizeof tests[0]);
}
