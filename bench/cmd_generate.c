/* attnbench generate: an input file of random q, k and v. Every element depends on (seed, its global index) alone, so
 * the file is the same at any number of ranks. */
#include "case.h"
#include "tensors.h"

#include <attn/input.h>

#include <stdlib.h>
#include <string.h>
#include <unistd.h>

static const option_key keys[] = {
    OPTION_BATCH,      OPTION_HEADS, OPTION_KV_HEADS, OPTION_SEQ,         OPTION_KV_SEQ,       OPTION_HEAD_DIM,
    OPTION_V_HEAD_DIM, OPTION_DTYPE, OPTION_CAUSAL,   OPTION_WINDOW_LEFT, OPTION_WINDOW_RIGHT, OPTION_SOFTCAP,
    OPTION_SCALE,      OPTION_ALIBI, OPTION_SINKS,    OPTION_DOCUMENTS,   OPTION_SEED,         OPTION_OUTPUT,
};

static const option_set set = {
    .usage = "attnbench generate [OPTION...] --output FILE.h5",
    .about =
        "Writes an input file (HDF5) with random q, k and v, standard normal, and the settings of a problem. Each\n"
        "rank writes its part; the file is the same at any number of ranks. Lists are not accepted here.\n",
    .examples = "  attnbench generate --seq 1k --heads 4 --causal --output causal.h5\n"
                "  mpirun -n 4 attnbench generate --seq 64k --documents lognormal:512:1 --output packed.h5\n",
    .keys = keys,
    .count = sizeof keys / sizeof keys[0],
};

/* The rows of a sequence that this rank writes: an even share. */
static attn_status own_rows(const bench *launch, int64_t seq, attn_segments **out, attn_error *error)
{
    const int64_t begin = attn_share_begin(seq, launch->ranks, launch->rank);
    const int64_t length = attn_share_begin(seq, launch->ranks, launch->rank + 1) - begin;

    return attn_segments_create(1, &begin, &length, out, error);
}

/* Collective. Makes and writes this rank's rows of one array. */
static attn_status write_array(const bench *launch, attn_input *file, attn_input_array array, attn_stream stream,
                               uint64_t seed, int threads, attn_error *error)
{
    const attn_problem *problem = attn_input_problem(file);
    const attn_shape *shape = &problem->shape;
    const bool query = array == ATTN_INPUT_Q;
    const int64_t heads = query ? shape->heads : shape->kv_heads, seq = query ? shape->seq : shape->kv_seq;
    const int64_t width = array == ATTN_INPUT_V ? shape->v_head_dim : shape->head_dim;
    attn_segments *rows = NULL;
    void *data = NULL;
    attn_status status = own_rows(launch, seq, &rows, error);
    attn_block block = {0, heads, rows};

    if (status == ATTN_OK) {
        data = tensor_allocate(shape->batch * heads * rows->rows * width, problem->dtype);
        if (data == NULL)
            status = attn_error_set(error, ATTN_MEMORY, "no memory for %lld rows of %s", (long long)rows->rows,
                                    attn_input_array_path(array));
    }
    status = attn_comm_agree(launch->comm, status, error);
    if (status == ATTN_OK) {
        tensor_fill(seed, stream, shape->batch, heads, seq, width, &block, problem->dtype, data, threads);
        status = attn_input_write(file, array, &block, problem->dtype, data, error);
        status = attn_comm_agree(launch->comm, status, error);
    }
    free(data);
    attn_segments_destroy(rows);
    return status;
}

static attn_status write_file(const bench *launch, const char *path, const attn_problem *problem, uint64_t seed,
                              attn_error *error)
{
    static const struct {
        attn_input_array array;
        attn_stream stream;
    } arrays[] = {{ATTN_INPUT_Q, ATTN_STREAM_Q}, {ATTN_INPUT_K, ATTN_STREAM_K}, {ATTN_INPUT_V, ATTN_STREAM_V}};
    attn_dtype stored[ATTN_INPUT_ARRAY_COUNT];
    bool present[ATTN_INPUT_ARRAY_COUNT] = {[ATTN_INPUT_Q] = true, [ATTN_INPUT_K] = true, [ATTN_INPUT_V] = true};
    attn_input *file = NULL;
    attn_cores cores;
    attn_status status = attn_comm_cores(launch->comm, &cores, error);

    for (int i = 0; i < ATTN_INPUT_ARRAY_COUNT; i++)
        stored[i] = problem->dtype;
    if (status == ATTN_OK)
        status = attn_input_create(launch->comm, path, problem, stored, present, &file, error);
    if (status == ATTN_FILE)
        status = ATTN_ARGUMENT; /* what cannot be opened is the user's to mend */
    for (size_t i = 0; status == ATTN_OK && i < sizeof arrays / sizeof arrays[0]; i++)
        status = write_array(launch, file, arrays[i].array, arrays[i].stream, seed, cores.threads, error);
    if (status == ATTN_OK)
        return attn_input_close(file, error);
    if (status != ATTN_MPI)
        attn_input_discard(file);
    return status;
}

/* An output file is replaced only when it is an input file itself. */
static attn_status check_output(const bench *launch, const char *path, attn_error *error)
{
    char schema[32];
    double exists = 0;
    attn_status status;

    if (path == NULL || *path == '\0')
        return attn_error_set(error, ATTN_ARGUMENT, "--output: the name of the file to write is needed");
    if (launch->rank == 0)
        exists = access(path, F_OK) == 0;
    status = attn_comm_max(launch->comm, &exists, 1, error);
    if (status != ATTN_OK || exists == 0)
        return status;
    status = attn_file_schema(launch->comm, path, schema, sizeof schema, error);
    if (status == ATTN_MPI || (status == ATTN_OK && strcmp(schema, "attn-input") == 0))
        return status;
    return attn_error_set(error, ATTN_ARGUMENT, "--output %s: exists and is not an input file; a new name is accepted",
                          path);
}

static attn_status perform(const bench *launch, const options *given, attn_error *error)
{
    const char *path = option_text(given, OPTION_OUTPUT);
    bench_case one = {.slopes = NULL};
    sweep lists;
    attn_status status = sweep_read(given, launch->ranks, &lists, error);

    if (status == ATTN_OK && lists.count != 1)
        status = attn_error_set(error, ATTN_ARGUMENT, "generate writes one problem; lists with one value are accepted");
    if (status == ATTN_OK) {
        const sweep_point point = sweep_at(&lists, 0);

        status = bench_case_problem(&lists, &point, launch->ranks, &one, error);
    }
    if (status == ATTN_OK)
        status = check_output(launch, path, error);
    if (status == ATTN_OK)
        status = write_file(launch, path, &one.problem, lists.seed, error);
    bench_case_release(&one);
    sweep_release(&lists);
    return status;
}

attn_status cmd_generate(const bench *launch, int argc, char **argv, bool *wrong, attn_error *error)
{
    options *given;
    attn_status status = options_parse(&set, argc, argv, &given, error);

    (void)wrong;
    if (status != ATTN_OK)
        return status;
    if (!option_given(given, OPTION_HELP))
        status = perform(launch, given, error);
    else if (launch->rank == 0)
        options_help(&set);
    options_destroy(given);
    return status;
}
