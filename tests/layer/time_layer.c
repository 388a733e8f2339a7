/* What a layer takes, phase by phase: of the best of some passes, the slowest rank. Not a test, as no test asserts a
 * time.
 *
 *   mpirun -n P time_layer [DTYPE [BATCH [SEQ [EMBED [HEADS [THREADS [PH [OUTPUT [FORM]]]]]]]]]
 *
 * default float32 8 1024 768 12 2, Ph 1, output and form 0 (auto, fused); causal, with all projections and biases. */
#include <attn/comm.h>
#include <attn/layer.h>
#include <attn/memory.h>
#include <attn/random.h>

#include <mpi.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

enum { PASSES = 7 };

typedef struct arrays {
    attn_layer_arrays weights, gradients;
    void *x, *y, *dy, *dx;
} arrays;

static void *filled(attn_dtype dtype, int64_t count, uint64_t seed)
{
    void *array = attn_aligned_alloc((size_t)count * attn_dtype_size(dtype));

    if (array == NULL)
        MPI_Abort(MPI_COMM_WORLD, 4);
    attn_random_fill(seed, ATTN_STREAM_TEST, 0, (size_t)count, dtype, array);
    return array;
}

static void stop(const attn_error *error)
{
    fprintf(stderr, "time_layer: %s\n", error->message);
    MPI_Abort(MPI_COMM_WORLD, 2);
}

static arrays make_arrays(const attn_layer *layer)
{
    const attn_layer_problem *const p = attn_layer_problem_of(layer);
    const attn_dtype dtype = p->attention.dtype, sum = attn_dtype_accumulator(dtype);
    const int64_t lines = p->attention.shape.batch * attn_layer_rows(layer)->rows;
    arrays a = {.x = filled(dtype, lines * p->embed_dim, 1),
                .y = filled(dtype, lines * p->out_dim, 2),
                .dy = filled(dtype, lines * p->out_dim, 3),
                .dx = filled(dtype, lines * p->embed_dim, 4)};

    for (int n = 0; n < ATTN_PROJECTION_COUNT; n++) {
        const attn_weight_block block = attn_layer_block(layer, (attn_projection)n);

        a.weights.weight[n] = filled(dtype, block.row_count * block.column_count, 5);
        a.weights.bias[n] = filled(dtype, block.row_count, 6);
        a.gradients.weight[n] = filled(sum, block.row_count * block.column_count, 7);
        a.gradients.bias[n] = filled(sum, block.row_count, 8);
    }
    return a;
}

static void drop(arrays *a)
{
    for (int n = 0; n < ATTN_PROJECTION_COUNT; n++) {
        free(a->weights.weight[n]);
        free(a->weights.bias[n]);
        free(a->gradients.weight[n]);
        free(a->gradients.bias[n]);
    }
    free(a->x);
    free(a->y);
    free(a->dy);
    free(a->dx);
}

/* The phases of the pass that took least. */
static void measure(attn_layer *layer, const arrays *a, bool back, double best[ATTN_PHASE_COUNT])
{
    attn_error error;

    for (int pass = 0; pass < PASSES; pass++) {
        double seconds[ATTN_PHASE_COUNT] = {0};
        attn_status status = attn_comm_barrier(MPI_COMM_WORLD, &error);

        if (status == ATTN_OK)
            status = back ? attn_layer_backward(layer, &a->weights, a->x, NULL, a->dy, a->dx, NULL, &a->gradients,
                                                seconds, &error)
                          : attn_layer_forward(layer, &a->weights, a->x, NULL, a->y, seconds, &error);
        if (status == ATTN_OK)
            status = attn_comm_max(MPI_COMM_WORLD, seconds, ATTN_PHASE_COUNT, &error);
        if (status != ATTN_OK)
            stop(&error);
        if (pass == 0 || seconds[ATTN_PHASE_TOTAL] < best[ATTN_PHASE_TOTAL])
            memcpy(best, seconds, sizeof seconds);
    }
}

static void print(const char *name, double flops, const double seconds[ATTN_PHASE_COUNT])
{
    if (attn_comm_rank(MPI_COMM_WORLD) != 0)
        return;
    printf("%s: %.1f ms, %.1f GFLOP/s;", name, 1e3 * seconds[ATTN_PHASE_TOTAL],
           1e-9 * flops / seconds[ATTN_PHASE_TOTAL]);
    for (int phase = ATTN_PHASE_TOTAL + 1; phase < ATTN_PHASE_COUNT; phase++)
        if (seconds[phase] > 0)
            printf(" %s %.1f", attn_phase_name((attn_phase)phase), 1e3 * seconds[phase]);
    printf("\n");
}

static int64_t number(int argc, char **argv, int index, int64_t usual)
{
    return argc > index ? strtoll(argv[index], NULL, 10) : usual;
}

int main(int argc, char **argv)
{
    attn_dtype dtype = ATTN_FLOAT32;
    attn_layer_options options = {.attention = {.pass = ATTN_PASS_BACKWARD}};
    attn_layer_problem problem = {.projected = true, .bias = {true, true, true, true}};
    attn_shape shape = {.batch = 8};
    double seconds[ATTN_PHASE_COUNT];
    attn_layer *layer;
    attn_error error;
    arrays a;

    MPI_Init(&argc, &argv);
    if (argc > 1 && attn_dtype_parse(argv[1], &dtype, &error) != ATTN_OK)
        stop(&error);
    shape.batch = number(argc, argv, 2, 8);
    shape.seq = shape.kv_seq = number(argc, argv, 3, 1024);
    problem.embed_dim = problem.out_dim = number(argc, argv, 4, 768);
    shape.heads = shape.kv_heads = number(argc, argv, 5, 12);
    shape.head_dim = shape.v_head_dim = problem.embed_dim / shape.heads;
    problem.attention = attn_problem_init(shape, dtype);
    problem.attention.mask.causal = true;
    options.attention.threads = (int)number(argc, argv, 6, 2);
    options.attention.grid.head = (int)number(argc, argv, 7, 1);
    options.attention.grid.seq = attn_comm_size(MPI_COMM_WORLD) / options.attention.grid.head;
    options.output = (attn_layer_output)number(argc, argv, 8, 0);
    options.form = (attn_layer_form)number(argc, argv, 9, 0);
    if (attn_layer_create(MPI_COMM_WORLD, &problem, &options, &layer, &error) != ATTN_OK)
        stop(&error);
    a = make_arrays(layer);
    measure(layer, &a, false, seconds);
    print("forward", attn_layer_flops_forward(&problem), seconds);
    measure(layer, &a, true, seconds);
    print("backward", attn_layer_flops_backward(&problem), seconds);
    drop(&a);
    attn_layer_destroy(layer);
    MPI_Finalize();
    return 0;
}
