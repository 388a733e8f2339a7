#include "defects.h"

#include "io/h5.h"

/* The good file: 2 query heads of 4 on one key-value head, x [B,S,D]; query.weight [8,D], key and value [4,D] with a
 * bias of value, out_proj.weight [5,8]; dy, expected/y and the gradient of query.weight. */
enum { HEADS = 2, HEAD_DIM = 4, WIDTH = HEADS * HEAD_DIM, OUT = 5 };

static void add(hid_t file, const char *name, hid_t stored, int rank, hsize_t a, hsize_t b, hsize_t c)
{
    const hsize_t extents[3] = {a, b, c};

    H5Dclose(file_add_dataset(file, name, stored, rank, extents, NULL, NULL));
}

static void group(hid_t file, const char *name)
{
    H5Gclose(H5Gcreate2(file, name, H5P_DEFAULT, H5P_DEFAULT, H5P_DEFAULT));
}

static void weight(hid_t file, const char *name, hsize_t out, hsize_t in)
{
    add(file, name, H5T_IEEE_F32LE, 2, out, in, 0);
}

static void rename_link(hid_t file, const char *from, const char *to)
{
    H5Lmove(file, from, file, to, H5P_DEFAULT, H5P_DEFAULT);
}

static void replace_weight(hid_t file, const char *name, hsize_t out, hsize_t in)
{
    H5Ldelete(file, name, H5P_DEFAULT);
    weight(file, name, out, in);
}

/* Query, key and value in one dataset. */
static void fuse(hid_t file, const char *name, hsize_t out)
{
    H5Ldelete(file, "weights/query.weight", H5P_DEFAULT);
    H5Ldelete(file, "weights/key.weight", H5P_DEFAULT);
    H5Ldelete(file, "weights/value.weight", H5P_DEFAULT);
    H5Ldelete(file, "expected/weights", H5P_DEFAULT);
    weight(file, name, out, D);
}

void layer_file_make(const char *path, void (*spoil)(hid_t file))
{
    const attn_h5_quiet saved = attn_h5_quiet_begin();
    const hid_t file = H5Fcreate(path, H5F_ACC_TRUNC, H5P_DEFAULT, H5P_DEFAULT);

    attn_h5_write_text(file, "schema", "attn-layer");
    attn_h5_write_integer(file, "schema_version", 1);
    attn_h5_write_integer(file, "num_heads", HEADS);
    attn_h5_write_integer(file, "num_kv_heads", 1);
    add(file, "x", H5T_IEEE_F32LE, 3, B, S, D);
    add(file, "dy", H5T_IEEE_F32LE, 3, B, S, OUT);
    group(file, "weights");
    group(file, "expected");
    group(file, "expected/weights");
    weight(file, "weights/query.weight", WIDTH, D);
    weight(file, "weights/key.weight", HEAD_DIM, D);
    weight(file, "weights/value.weight", HEAD_DIM, D);
    add(file, "weights/value.bias", H5T_IEEE_F32LE, 1, HEAD_DIM, 0, 0);
    weight(file, "weights/out_proj.weight", OUT, WIDTH);
    add(file, "expected/y", H5T_IEEE_F64LE, 3, B, S, OUT);
    weight(file, "expected/weights/query.weight", WIDTH, D);
    if (spoil != NULL)
        spoil(file);
    H5Fclose(file);
    attn_h5_quiet_end(saved);
}

/* ---- One defect each ---- */

static void no_x(hid_t f)
{
    H5Ldelete(f, "x", H5P_DEFAULT);
}
static void flat_x(hid_t f)
{
    no_x(f);
    add(f, "x", H5T_IEEE_F32LE, 2, S, D, 0);
}
static void no_rows(hid_t f)
{
    no_x(f);
    add(f, "x", H5T_IEEE_F32LE, 3, B, 0, D);
}
static void integer_x(hid_t f)
{
    no_x(f);
    add(f, "x", H5T_STD_I32LE, 3, B, S, D);
}
static void group_x(hid_t f)
{
    no_x(f);
    group(f, "x");
}
static void no_heads(hid_t f)
{
    H5Adelete(f, "num_heads");
}
static void zero_heads(hid_t f)
{
    file_set_integer(f, "num_heads", 0);
}
static void text_heads(hid_t f)
{
    no_heads(f);
    attn_h5_write_text(f, "num_heads", "two");
}
static void three_heads(hid_t f)
{
    file_set_integer(f, "num_heads", 3);
}
static void uneven_kv_heads(hid_t f)
{
    file_set_integer(f, "num_heads", 4);
    file_set_integer(f, "num_kv_heads", 3);
}
static void no_query(hid_t f)
{
    H5Ldelete(f, "weights/query.weight", H5P_DEFAULT);
}
static void no_value(hid_t f)
{
    H5Ldelete(f, "weights/value.weight", H5P_DEFAULT);
}
static void no_weights_inside(hid_t f)
{
    H5Ldelete(f, "weights", H5P_DEFAULT);
    group(f, "weights");
}
static void weights_is_data(hid_t f)
{
    H5Ldelete(f, "weights", H5P_DEFAULT);
    add(f, "weights", H5T_IEEE_F32LE, 1, 4, 0, 0);
}
static void bias_alone(hid_t f)
{
    add(f, "weights/o_proj.bias", H5T_IEEE_F32LE, 1, OUT, 0, 0);
    H5Ldelete(f, "weights/out_proj.weight", H5P_DEFAULT);
}
static void two_queries(hid_t f)
{
    weight(f, "weights/q_proj.weight", WIDTH, D);
}
static void fused_and_split(hid_t f)
{
    weight(f, "weights/in_proj_weight", WIDTH + 2 * HEAD_DIM, D);
}
static void leftover(hid_t f)
{
    add(f, "weights/LayerNorm.bias", H5T_IEEE_F32LE, 1, D, 0, 0);
}
static void dangling(hid_t f)
{
    H5Lcreate_soft("/nowhere", f, "weights/out_proj.bias", H5P_DEFAULT, H5P_DEFAULT);
}
static void flat_key(hid_t f)
{
    H5Ldelete(f, "weights/key.weight", H5P_DEFAULT);
    add(f, "weights/key.weight", H5T_IEEE_F32LE, 1, HEAD_DIM * D, 0, 0);
}
static void integer_key(hid_t f)
{
    H5Ldelete(f, "weights/key.weight", H5P_DEFAULT);
    add(f, "weights/key.weight", H5T_STD_I8LE, 2, HEAD_DIM, D, 0);
}
static void transposed_key(hid_t f)
{
    replace_weight(f, "weights/key.weight", D, HEAD_DIM);
}
static void wide_query(hid_t f)
{
    replace_weight(f, "weights/query.weight", WIDTH, D + 2);
}
static void odd_query(hid_t f)
{
    replace_weight(f, "weights/query.weight", WIDTH + 1, D);
}
static void long_key(hid_t f)
{
    replace_weight(f, "weights/key.weight", WIDTH, D);
}
static void long_bias(hid_t f)
{
    H5Ldelete(f, "weights/value.bias", H5P_DEFAULT);
    add(f, "weights/value.bias", H5T_IEEE_F32LE, 1, HEAD_DIM + 1, 0, 0);
}
static void narrow_out(hid_t f)
{
    replace_weight(f, "weights/out_proj.weight", OUT, WIDTH - 2);
}
static void odd_fused(hid_t f)
{
    fuse(f, "weights/in_proj_weight", WIDTH + 2 * HEAD_DIM + 1);
}
static void other_dy(hid_t f)
{
    H5Ldelete(f, "dy", H5P_DEFAULT);
    add(f, "dy", H5T_IEEE_F32LE, 3, B, S, OUT + 1);
}
static void short_y(hid_t f)
{
    H5Ldelete(f, "expected/y", H5P_DEFAULT);
    add(f, "expected/y", H5T_IEEE_F32LE, 3, B, S - 1, OUT);
}
static void other_gradient(hid_t f)
{
    replace_weight(f, "expected/weights/query.weight", WIDTH, D + 1);
}
static void renamed_gradient(hid_t f)
{
    rename_link(f, "expected/weights/query.weight", "expected/weights/q_proj.weight");
}
static void expected_weights_is_data(hid_t f)
{
    H5Ldelete(f, "expected/weights", H5P_DEFAULT);
    add(f, "expected/weights", H5T_IEEE_F32LE, 1, 4, 0, 0);
}
static void other_context_batch(hid_t f)
{
    add(f, "context", H5T_IEEE_F32LE, 3, B + 1, S, D);
}
static void wide_context(hid_t f)
{
    add(f, "context", H5T_IEEE_F32LE, 3, B, S + 3, D + 1);
}
static void no_context(hid_t f)
{
    add(f, "expected/dcontext", H5T_IEEE_F32LE, 3, B, S, D);
}
static void plain_heads(hid_t f)
{
    H5Ldelete(f, "weights", H5P_DEFAULT);
}
static void other_rotary(hid_t f)
{
    attn_h5_write_text(f, "rotary_style", "spiral");
}
static void odd_rotary(hid_t f)
{
    attn_h5_write_text(f, "rotary_style", "half");
    attn_h5_write_integer(f, "rotary_dim", 3);
}
static void wide_rotary(hid_t f)
{
    attn_h5_write_text(f, "rotary_style", "interleaved");
    attn_h5_write_integer(f, "rotary_dim", HEAD_DIM + 2);
}
static void negative_theta(hid_t f)
{
    attn_h5_write_text(f, "rotary_style", "half");
    attn_h5_write_real(f, "rotary_theta", -1);
}
static void causal_of_2(hid_t f)
{
    attn_h5_write_integer(f, "causal", 2);
}
static void negative_window(hid_t f)
{
    attn_h5_write_integer(f, "window_left", -7);
}
static void input_schema(hid_t f)
{
    H5Adelete(f, "schema");
    attn_h5_write_text(f, "schema", "attn-input");
}

const defect layer_defects[] = {
    {"no x", no_x, {"dataset x is missing", "[B,S,E]"}},
    {"flat x", flat_x, {"dataset x", "2 dimensions", "[B,S,E]"}},
    {"no rows", no_rows, {"dataset x", "extent 2 of [B,S,E] is 0"}},
    {"integer x", integer_x, {"dataset x", "int32", "bfloat16"}},
    {"group x", group_x, {"x is not a dataset"}},
    {"no heads", no_heads, {"num_heads is missing"}},
    {"zero heads", zero_heads, {"num_heads is 0", "1 to"}},
    {"text heads", text_heads, {"num_heads", "text", "number"}},
    {"three heads", three_heads, {"weights/query.weight", "out is 8", "3 times"}},
    {"uneven kv heads", uneven_kv_heads, {"num_kv_heads is 3", "divisor of num_heads 4"}},
    {"no query", no_query, {"query.weight", "missing", "query, key and value are needed"}},
    {"no value", no_value, {"value.weight", "missing"}},
    {"no weights inside", no_weights_inside, {"query.weight", "missing"}},
    {"weights is data", weights_is_data, {"weights is not a group"}},
    {"bias alone", bias_alone, {"o_proj.bias has no weight", "out_proj.weight is needed"}},
    {"two queries", two_queries, {"weights/q_proj.weight and weights/query.weight", "one weight"}},
    {"fused and split", fused_and_split, {"weights/in_proj_weight and weights/key.weight", "one weight"}},
    {"leftover", leftover, {"weights/LayerNorm.bias", "no name of", "docs/layers.md"}},
    {"dangling", dangling, {"dataset weights/out_proj.bias cannot be opened"}},
    {"flat key", flat_key, {"weights/key.weight", "1 dimensions", "[out,in]"}},
    {"integer key", integer_key, {"weights/key.weight", "int8", "bfloat16"}},
    {"transposed key", transposed_key, {"weights/key.weight", "out is 3", "4 is needed"}},
    {"wide query", wide_query, {"weights/query.weight", "in is 5", "3, the width of x"}},
    {"odd query", odd_query, {"weights/query.weight", "out is 9", "2 times"}},
    {"long key", long_key, {"weights/key.weight", "out is 8", "4 is needed with num_heads 2"}},
    {"long bias", long_bias, {"weights/value.bias", "out is 5", "4 is needed"}},
    {"narrow out", narrow_out, {"weights/out_proj.weight", "in is 6", "8, num_heads times"}},
    {"odd fused", odd_fused, {"weights/in_proj_weight", "out is 17", "3 times"}},
    {"other dy", other_dy, {"dataset dy", "width is 6", "5 is needed"}},
    {"short y", short_y, {"expected/y", "rows is 3", "4 is needed"}},
    {"other gradient", other_gradient, {"expected/weights/query.weight", "extents of weights/query.weight"}},
    {"renamed gradient", renamed_gradient, {"expected/weights/q_proj.weight", "there is no weights/q_proj.weight"}},
    {"expected weights is data", expected_weights_is_data, {"expected/weights is not a group"}},
    {"other context batch", other_context_batch, {"dataset context", "B is 3", "2 as in x"}},
    {"wide context", wide_context, {"weights/key.weight", "in is 3", "4, the width of context"}},
    {"no context", no_context, {"expected/dcontext", "there is no context"}},
    {"plain heads", plain_heads, {"num_heads is 2", "without weights 1"}},
    {"other rotary", other_rotary, {"rotary_style", "spiral", "half, interleaved or none"}},
    {"odd rotary", odd_rotary, {"rotary", "3", "even"}},
    {"wide rotary", wide_rotary, {"rotary", "6", "at most"}},
    {"negative theta", negative_theta, {"theta", "-1"}},
    {"causal of 2", causal_of_2, {"causal", "2", "0 or 1"}},
    {"negative window", negative_window, {"window", "-7"}},
    {"input schema", input_schema, {"schema is \"attn-input\"", "\"attn-layer\" is needed"}},
};

const size_t layer_defect_count = sizeof layer_defects / sizeof layer_defects[0];

/* ---- Unusual, and accepted ---- */

static void nested_names(hid_t f)
{
    H5Ldelete(f, "expected", H5P_DEFAULT);
    group(f, "weights/self");
    group(f, "weights/self/query");
    group(f, "weights/empty");
    rename_link(f, "weights/query.weight", "weights/self/query/weight");
    rename_link(f, "weights/key.weight", "weights/self/key.weight");
}
static void plain(hid_t f)
{
    H5Ldelete(f, "weights", H5P_DEFAULT);
    H5Ldelete(f, "expected", H5P_DEFAULT);
    H5Ldelete(f, "dy", H5P_DEFAULT);
    H5Adelete(f, "num_heads");
    H5Adelete(f, "num_kv_heads");
}
static void strangers(hid_t f)
{
    group(f, "notes");
    attn_h5_write_text(f, "rotary_style", "none");
    attn_h5_write_real(f, "rotary_theta", 10000);
}
static void linked(hid_t f)
{
    H5Lcreate_soft("/weights/key.weight", f, "weights/k", H5P_DEFAULT, H5P_DEFAULT);
    H5Ldelete(f, "weights/value.weight", H5P_DEFAULT);
    rename_link(f, "weights/k", "weights/value.weight");
}

const defect layer_oddities[] = {
    {"good", NULL, {NULL}},     {"nested names", nested_names, {NULL}},
    {"plain", plain, {NULL}},   {"strangers", strangers, {NULL}},
    {"linked", linked, {NULL}},
};

const size_t layer_oddity_count = sizeof layer_oddities / sizeof layer_oddities[0];
