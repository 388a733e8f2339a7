/* attnbench generate: an input file of random q, k and v. Every element depends on (seed, its global index) alone, so
 * the file is the same at any number of ranks. */
#include "case.h"
#include "message.h"
#include "shown.h"
#include "tensors.h"

#include <attn/input.h>

#include <stdlib.h>

static const option_key keys[] = {
    OPTION_BATCH,        OPTION_HEADS,      OPTION_KV_HEADS, OPTION_SEQ,    OPTION_KV_SEQ,
    OPTION_HEAD_DIM,     OPTION_V_HEAD_DIM, OPTION_DTYPE,    OPTION_CAUSAL, OPTION_WINDOW_LEFT,
    OPTION_WINDOW_RIGHT, OPTION_SOFTCAP,    OPTION_SCALE,    OPTION_ALIBI,  OPTION_SINKS,
    OPTION_DOCUMENTS,    OPTION_DROPOUT,    OPTION_SEED,     OPTION_OUTPUT, OPTION_QUIET,
};

static const option_set set = {
    .usage = "attnbench generate [OPTION...] --output FILE.h5",
    .about =
        "Writes an input file (HDF5) with random q, k and v, standard normal, and the settings of a problem. Each\n"
        "rank writes its part; the file is the same at any number of ranks. One problem: lists of one value.\n",
    .examples = "  attnbench generate --seq 1k --heads 4 --causal --output causal.h5\n"
                "  mpirun -n 4 attnbench generate --seq 64k --documents lognormal:512:1 --output packed.h5\n",
    .keys = keys,
    .count = sizeof keys / sizeof keys[0],
};

/* An array on its way to the file, in chunks of all batches, some heads and some rows: whole shares of as many heads as
 * fit, or pieces of one head's share. Every rank makes the same chunks, the last ones of some with fewer rows or
 * none. */
typedef struct array_writer {
    attn_input *file;
    attn_input_array array;
    attn_stream stream;
    uint64_t seed;
    int threads;
    int64_t heads, seq, width; /* of the array */
    int64_t begin, end;        /* this rank's rows */
    int64_t most;              /* rows of the rank that has most */
    int64_t chunk_heads, chunk_rows;
    void *data; /* room for a chunk */
} array_writer;

/* Bytes of a chunk, unless one row of one head has more. */
#define CHUNK_BYTES (16 * 1024 * 1024)

static int64_t clamp(int64_t value, int64_t least, int64_t most)
{
    return value < least ? least : value > most ? most : value;
}

static attn_status begin_array(const bench *launch, array_writer *to, attn_error *error)
{
    const attn_problem *problem = attn_input_problem(to->file);
    const attn_shape *shape = &problem->shape;
    const bool query = to->array == ATTN_INPUT_Q;
    int64_t row_limit; /* rows of one head that a chunk may have */

    to->heads = query ? shape->heads : shape->kv_heads;
    to->seq = query ? shape->seq : shape->kv_seq;
    to->width = to->array == ATTN_INPUT_V ? shape->v_head_dim : shape->head_dim;
    to->begin = attn_share_begin(to->seq, launch->ranks, launch->rank);
    to->end = attn_share_begin(to->seq, launch->ranks, launch->rank + 1);
    to->most = (to->seq - 1) / launch->ranks + 1;
    row_limit = CHUNK_BYTES / (int64_t)attn_dtype_size(problem->dtype) / to->width / shape->batch;
    to->chunk_rows = clamp(row_limit, 1, to->most);
    to->chunk_heads = clamp(row_limit / to->chunk_rows, 1, to->heads);
    to->data = tensor_allocate(shape->batch * to->chunk_heads * to->chunk_rows * to->width, problem->dtype);
    if (to->data == NULL)
        return attn_error_set(error, ATTN_MEMORY, "no memory for %lld rows of %s", (long long)to->chunk_rows,
                              attn_input_array_path(to->array));
    return ATTN_OK;
}

/* Collective. Makes and writes the chunk that begins at a head and at a row of the share. */
static attn_status write_chunk(const bench *launch, const array_writer *to, int64_t head, int64_t row,
                               attn_error *error)
{
    const attn_problem *problem = attn_input_problem(to->file);
    const int64_t begin = clamp(to->begin + row, to->begin, to->end);
    const int64_t length = clamp(to->end - begin, 0, to->chunk_rows);
    attn_block block = {head, clamp(to->heads - head, 1, to->chunk_heads), NULL};
    attn_segments *rows = NULL;
    attn_status status = attn_comm_agree(launch->comm, attn_segments_create(1, &begin, &length, &rows, error), error);

    if (status == ATTN_OK) {
        block.rows = rows;
        tensor_fill(to->seed, to->stream, problem->shape.batch, to->heads, to->seq, to->width, &block, problem->dtype,
                    to->data, to->threads);
        status = attn_input_write(to->file, to->array, &block, problem->dtype, to->data, error);
    }
    attn_segments_destroy(rows);
    return status;
}

/* Collective. */
static attn_status write_array(const bench *launch, array_writer *to, attn_error *error)
{
    attn_status status = attn_comm_agree(launch->comm, begin_array(launch, to, error), error);

    for (int64_t head = 0; status == ATTN_OK && head < to->heads; head += to->chunk_heads)
        for (int64_t row = 0; status == ATTN_OK && row < to->most; row += to->chunk_rows)
            status = write_chunk(launch, to, head, row, error);
    free(to->data);
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
        status = attn_input_create(launch->comm, path, false, problem, stored, present, &file, error);
    for (size_t i = 0; status == ATTN_OK && i < sizeof arrays / sizeof arrays[0]; i++) {
        array_writer to = {
            .file = file, .array = arrays[i].array, .stream = arrays[i].stream, .seed = seed, .threads = cores.threads};

        status = write_array(launch, &to, error);
    }
    if (status == ATTN_OK)
        return attn_input_close(file, error);
    if (status != ATTN_MPI)
        attn_input_discard(file);
    return status;
}

/* Tells how much was written and how fast: all of it, from the first random number to the file that is durable. */
static void tell(const bench *launch, const char *path, const attn_problem *problem, double seconds)
{
    const attn_shape *s = &problem->shape;
    const double q = (double)s->heads * (double)s->seq * (double)s->head_dim;
    const double kv = (double)s->kv_heads * (double)s->kv_seq * (double)(s->head_dim + s->v_head_dim);
    const double bytes = (double)s->batch * (q + kv) * (double)attn_dtype_size(problem->dtype);

    message_note(launch, "%s: %.0f bytes of q, k and v in %.3g s, %.3g GB/s", shown_path(path).text, bytes, seconds,
                 bytes / 1e9 / seconds);
}

static attn_status perform(const bench *launch, const options *given, attn_error *error)
{
    const char *path = option_text(given, OPTION_OUTPUT);
    const double begin = attn_clock();
    bench_case one = {.slopes = NULL};
    sweep lists;
    attn_status status = sweep_read(given, launch->ranks, &lists, error);

    if (status == ATTN_OK && lists.count != 1)
        status = attn_error_set(error, ATTN_ARGUMENT, "generate writes one problem; lists of one value are accepted");
    if (status == ATTN_OK) {
        const sweep_point point = sweep_at(&lists, 0);

        status = bench_case_problem(&lists, &point, launch->ranks, &one, error);
    }
    if (status == ATTN_OK && (path == NULL || *path == '\0'))
        status = attn_error_set(error, ATTN_ARGUMENT, "--output: the name of the file to write is needed");
    if (status == ATTN_OK)
        status = write_file(launch, path, &one.problem, lists.seed, error);
    if (status == ATTN_OK && !option_given(given, OPTION_QUIET))
        tell(launch, path, &one.problem, attn_clock() - begin);
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
