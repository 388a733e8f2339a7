#include "defects.h"

#include "io/h5.h"

#include <math.h>

hid_t file_add_dataset(hid_t file, const char *name, hid_t stored, int rank, const hsize_t *extents, const void *ints,
                       const double *reals)
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
    H5Dclose(file_add_dataset(file, name, stored, 4, extents, NULL, NULL));
}

static void add_list(hid_t file, const char *name, hsize_t count, const int64_t *values)
{
    H5Dclose(file_add_dataset(file, name, H5T_STD_I32LE, 1, &count, values, NULL));
}

static void add_reals(hid_t file, const char *name, hsize_t count, const double *values)
{
    H5Dclose(file_add_dataset(file, name, H5T_IEEE_F32BE, 1, &count, NULL, values));
}

const hsize_t good_extents[4] = {B, H, S, D};

/* Replaces an array of the good file. */
static void replace(hid_t file, const char *name, hid_t stored, hsize_t b, hsize_t h, hsize_t s, hsize_t d)
{
    H5Ldelete(file, name, H5P_DEFAULT);
    add_array(file, name, stored, (hsize_t[4]){b, h, s, d});
}

void file_set_integer(hid_t file, const char *name, int64_t value)
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
    file_set_integer(f, "schema", 3);
}
static void no_version(hid_t f)
{
    H5Adelete(f, "schema_version");
}
static void later_version(hid_t f)
{
    file_set_integer(f, "schema_version", 2);
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
    H5Dclose(file_add_dataset(f, "q", H5T_IEEE_F32LE, 3, good_extents, NULL, NULL));
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
    file_set_integer(f, "causal", 2);
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
    file_set_integer(f, "window_right", -7);
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
    H5Dclose(file_add_dataset(f, "cu_seqlens", H5T_STD_I64LE, 2, good_extents, NULL, NULL));
}

static void short_padding(hid_t f)
{
    add_list(f, "kv_len", B - 1, (int64_t[]){S});
}
static void negative_padding(hid_t f)
{
    add_list(f, "kv_len", B, (int64_t[]){S, -1});
}
static void late_documents(hid_t f)
{
    add_list(f, "cu_seqlens", 3, (int64_t[]){1, 3, S});
}
static void short_documents(hid_t f)
{
    add_list(f, "cu_seqlens", 3, (int64_t[]){0, 2, S - 1});
}
static void uneven_documents(hid_t f)
{
    replace(f, "k", H5T_IEEE_F32LE, B, H, S + 1, D);
    replace(f, "v", H5T_IEEE_F32LE, B, H, S + 1, D);
    add_list(f, "cu_seqlens", 3, (int64_t[]){0, 2, S});
}
static void long_sinks(hid_t f)
{
    add_reals(f, "sinks", H + 1, (double[]){0, 0, 0});
}
static void nan_scale(hid_t f)
{
    attn_h5_write_real(f, "scale", NAN);
}
static void negative_softcap(hid_t f)
{
    attn_h5_write_real(f, "softcap", -30);
}

static void large_dropout(hid_t f)
{
    attn_h5_write_real(f, "dropout", 1.5);
}

/* A dataset of any extents: in pieces of which none is ever stored. */
static void add_hollow(hid_t f, const char *name, hid_t stored, int rank, const hsize_t *extents)
{
    const hid_t pieces = H5Pcreate(H5P_DATASET_CREATE), space = H5Screate_simple(rank, extents, NULL);

    H5Pset_chunk(pieces, rank, (hsize_t[4]){1, 1, 1, 1});
    H5Dclose(H5Dcreate2(f, name, stored, space, H5P_DEFAULT, pieces, H5P_DEFAULT));
    H5Sclose(space);
    H5Pclose(pieces);
}

static void hollow_arrays(hid_t f, hsize_t b, hsize_t s)
{
    for (int i = 0; i < 3; i++) {
        const char *const name = (const char *const[]){"q", "k", "v"}[i];

        H5Ldelete(f, name, H5P_DEFAULT);
        add_hollow(f, name, H5T_IEEE_F32LE, 4, (hsize_t[4]){b, H, s, D});
    }
}
static void endless_batch(hid_t f)
{
    hollow_arrays(f, (hsize_t)1 << 40, (hsize_t)1 << 20);
}
static void endless_documents(hid_t f)
{
    add_hollow(f, "cu_seqlens", H5T_STD_I64LE, 1, (hsize_t[1]){(hsize_t)1 << 40});
}

const defect defects[] = {
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
    {"short padding", short_padding, {"kv_len", "1 values", "[B] = 2"}},
    {"negative padding", negative_padding, {"kv_len", "-1"}},
    {"late documents", late_documents, {"cu_seqlens", "1"}},
    {"short documents", short_documents, {"cu_seqlens", "3", "4"}},
    {"uneven documents", uneven_documents, {"4", "5"}},
    {"long sinks", long_sinks, {"sinks", "3 values", "[Hq] = 2"}},
    {"nan scale", nan_scale, {"scale", "nan"}},
    {"negative softcap", negative_softcap, {"softcap", "-30"}},
    {"large dropout", large_dropout, {"dropout", "1.5"}},
    {"endless batch", endless_batch, {"1099511627776 x 2 x 1048576 x 3", "too large"}},
    {"endless documents", endless_documents, {"cu_seqlens", "1099511627776 values", "at most"}},
};

const size_t defect_count = sizeof defects / sizeof defects[0];

/* ---- Unusual, and accepted ---- */

static void nan_q(hid_t f)
{
    double values[B * H * S * D] = {0};

    values[B * H * S * D - 1] = NAN;
    H5Ldelete(f, "q", H5P_DEFAULT);
    H5Dclose(file_add_dataset(f, "q", H5T_IEEE_F32LE, 4, good_extents, NULL, values));
}
static void zero_scale(hid_t f)
{
    attn_h5_write_real(f, "scale", 0);
}
static void no_keys(hid_t f)
{
    add_list(f, "kv_len", B, (int64_t[]){0, 0});
}
static void empty_documents(hid_t f)
{
    add_list(f, "cu_seqlens", 5, (int64_t[]){0, 0, 2, 2, S});
}
static void endless_rows(hid_t f)
{
    hollow_arrays(f, B, (hsize_t)1 << 40);
}

const defect oddities[] = {
    {"good", NULL, {NULL}},
    {"nan q", nan_q, {NULL}},
    {"zero scale", zero_scale, {NULL}},
    {"no keys", no_keys, {NULL}},
    {"empty documents", empty_documents, {NULL}},
    {"endless rows", endless_rows, {NULL}},
};

const size_t oddity_count = sizeof oddities / sizeof oddities[0];

void file_make(const char *path, void (*spoil)(hid_t file))
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
