#include "verify.h"
#include "compare.h"
#include "shown.h"

#include <math.h>
#include <stdarg.h>
#include <stdlib.h>

/* The float64 reference takes all rows where they are at most so many and cost at most so many multiplications,
 * otherwise sampled ones. */
#define ALL_ROWS_COUNT 4e6
#define ALL_ROWS_COST 4e9
#define SAMPLED_ROWS 256

void verify_add_row(verification *all, const char *path, const char *array, const char *how, const double numbers[2],
                    const char *format, ...)
{
    char verdict[ATTN_MESSAGE_MAX];
    va_list arguments;

    va_start(arguments, format);
    vsnprintf(verdict, sizeof verdict, format, arguments);
    va_end(arguments);
    attn_table_cell(all->table, "%s", path);
    attn_table_cell(all->table, "%s", array);
    attn_table_cell(all->table, "%s", how);
    for (int i = 0; i < 2; i++)
        if (numbers != NULL)
            attn_table_cell(all->table, "%.3g", numbers[i]);
        else
            attn_table_cell(all->table, "-");
    attn_table_cell(all->table, "%s", verdict);
    attn_table_end_row(all->table);
}

void verify_add_unchecked(verification *all, const char *path, const char *array, const char *how, const char *reason)
{
    if (all->first_reason[0] == '\0')
        snprintf(all->first_reason, sizeof all->first_reason, "%.100s: %.300s", shown_base(path), reason);
    all->unchecked++;
    verify_add_row(all, path, array, how, NULL, "not checked: %s", reason);
}

/* What the verdicts of one file computed in one way share. */
typedef struct check_context {
    verification *all;
    const bench_case *one;
    const char *path, *how;
    attn_input *input; /* opened by the group */
    attn_dist *dist;
    tensors arrays;
    attn_check reference;
    bool all_rows;
} check_context;

/* Collective over the group. The float64 reference on all or on sampled rows: gives the largest score too. */
static attn_status check_reference(check_context *of, attn_error *error)
{
    const attn_problem *problem = &of->one->problem;
    const attn_shape *shape = &problem->shape;
    const double rows_all = (double)shape->batch * (double)shape->heads * (double)shape->seq;
    const double cost = rows_all * (double)shape->kv_seq * (double)(shape->head_dim + shape->v_head_dim);
    const attn_dist_buffers buffers = tensors_buffers(&of->arrays);
    attn_row *rows = NULL;
    int64_t count = 0;
    attn_status status;

    of->all_rows = (rows_all <= ALL_ROWS_COUNT && cost <= ALL_ROWS_COST) || rows_all <= SAMPLED_ROWS;
    status = attn_sample_rows(&of->one->plan, of->all_rows ? (int64_t)rows_all : SAMPLED_ROWS, of->all->lists.seed,
                              &rows, &count, error);
    status = attn_comm_agree(attn_dist_comm(of->dist), status, error);
    if (status == ATTN_OK)
        status = attn_dist_check(of->dist, &buffers, rows, count, tensors_epsilon(problem->dtype, of->input),
                                 &of->reference, error);
    free(rows);
    return status;
}

/* "3 of 64 rows are NaN, as the input holds NaN or infinities", or nothing. */
static void say_nan(const attn_check *check, char *words, size_t size)
{
    words[0] = '\0';
    if (check->nan_rows > 0)
        snprintf(words, size, "%lld of %lld rows are NaN, as the input holds NaN or infinities",
                 (long long)check->nan_rows, (long long)check->rows);
}

/* Rank 0. */
static void add_difference(check_context *of, attn_input_array array, const difference *worst)
{
    verification *all = of->all;
    const double stored = attn_dtype_epsilon(attn_input_stored_dtype(of->input, array));
    const double eps = fmax(tensors_epsilon(of->one->problem.dtype, of->input), stored);
    const double numbers[2] = {worst->error, attn_tolerance_forward(eps, of->reference.max_score)};
    const char *name = attn_input_array_path(array);
    char nan[128];

    say_nan(&of->reference, nan, sizeof nan);
    if (worst->error <= numbers[1]) {
        all->passed++;
        verify_add_row(all, of->path, name, of->how, numbers, *nan != '\0' ? "PASS (%s)" : "PASS%s", nan);
        return;
    }
    all->failed++;
    verify_add_row(all, of->path, name, of->how, numbers,
                   "FAIL at b %lld, head %lld, row %lld, column %lld: got %.9g, want %.9g", (long long)worst->b,
                   (long long)worst->h, (long long)worst->i, (long long)worst->d, worst->got, worst->want);
}

/* Rank 0: the verdict where the file expects nothing. */
static void add_reference(check_context *of)
{
    verification *all = of->all;
    const attn_check *check = &of->reference;
    const double numbers[2] = {check->max_error, check->tolerance};
    char rows[64] = "all rows", nan[128];

    say_nan(check, nan, sizeof nan);
    if (!of->all_rows)
        snprintf(rows, sizeof rows, "%lld sampled rows", (long long)check->rows);
    if (check->valid) {
        all->passed++;
        verify_add_row(all, of->path, "o, lse", of->how, numbers, "PASS (%s against float64%s%s)", rows,
                       *nan != '\0' ? "; " : "", nan);
        return;
    }
    all->failed++;
    verify_add_row(all, of->path, "o, lse", of->how, numbers,
                   "FAIL (%s against float64) at b %lld, head %lld, row %lld", rows, (long long)check->worst.b,
                   (long long)check->worst.h, (long long)check->worst.i);
}

/* Collective over the group. Compares with all that the file expects. */
static attn_status judge(check_context *of, attn_error *error)
{
    static const attn_input_array forward[] = {ATTN_INPUT_EXPECTED_O, ATTN_INPUT_EXPECTED_LSE};
    const bool root = of->all->launch->rank == 0;
    bool expects = false;
    attn_status status = ATTN_OK;

    for (size_t i = 0; status == ATTN_OK && i < sizeof forward / sizeof forward[0]; i++) {
        difference worst = {0};

        if (!attn_input_has(of->input, forward[i]))
            continue;
        expects = true;
        status = compare_array(of->dist, &of->arrays, of->input, forward[i], &worst, error);
        if (status == ATTN_OK && root)
            add_difference(of, forward[i], &worst);
    }
    if (status == ATTN_OK && !expects && root)
        add_reference(of);
    return status;
}

/* Collective over the group. What the computation needs of this machine: it may be too small for the file. */
static attn_status prepare(check_context *of, attn_error *error)
{
    const attn_status status = attn_dist_create(of->one->group->comm, &of->one->plan, &of->dist, error);

    return status != ATTN_OK
               ? status
               : attn_comm_agree(attn_dist_comm(of->dist), tensors_create(of->dist, &of->arrays, error), error);
}

/* Collective over the group. Inputs and one forward pass. */
static attn_status compute(check_context *of, attn_error *error)
{
    const attn_dist_buffers buffers = tensors_buffers(&of->arrays);
    double seconds[ATTN_PHASE_COUNT];
    const attn_status status = tensors_read(of->dist, of->input, of->all->lists.seed, &of->arrays, error);

    return status != ATTN_OK ? status : attn_dist_forward(of->dist, &buffers, seconds, error);
}

/* Collective over the group. */
static attn_status check(check_context *of, const char *target, attn_error *error)
{
    attn_error reason = ATTN_ERROR_INIT;
    attn_status status = prepare(of, &reason);

    if (status == ATTN_MEMORY || status == ATTN_UNSUPPORTED) {
        if (of->all->launch->rank == 0)
            verify_add_unchecked(of->all, of->path, "o, lse", of->how, reason.message);
        return ATTN_OK;
    }
    if (status != ATTN_OK)
        return attn_error_set(error, status, "%s", reason.message);
    status = compute(of, error);
    if (status == ATTN_OK)
        status = check_reference(of, error);
    if (status == ATTN_OK)
        status = judge(of, error);
    status = attn_comm_agree(of->one->group->comm, status, error);
    return status == ATTN_OK && target != NULL ? write_computed(of->dist, &of->arrays, of->input, target, error)
                                               : status;
}

attn_status verify_on_group(verification *all, const bench_case *one, const char *path, const char *how,
                            const char *target, attn_error *error)
{
    check_context of = {.all = all, .one = one, .path = path, .how = how};
    attn_status status = attn_input_open(one->group->comm, path, &of.input, error);

    if (status == ATTN_OK)
        status = attn_comm_agree(one->group->comm, check(&of, target, error), error);
    tensors_release(&of.arrays);
    if (status != ATTN_MPI) /* collective */
        attn_dist_destroy(of.dist);
    return tensors_close_input(of.input, status, error);
}
