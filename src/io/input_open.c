/* The life of an input file. */
#include "io/h5.h"
#include "io/input_file.h"
#include "io/move.h"

#include <attn/comm.h>

#include <stdlib.h>
#include <string.h>

/* The way out of every failure, and the end; collective as attn_together_give_up. */
static void release(attn_input *input, attn_status status)
{
    if (input == NULL)
        return;
    attn_together_give_up(&input->file, status);
    attn_settings_release(&input->header.settings);
    free(input);
}

/* Collective. Makes an input without a file. */
static attn_status prepare(MPI_Comm comm, const char *path, bool created, attn_input **out, attn_error *error)
{
    attn_input *const input = calloc(1, sizeof *input);
    const attn_status status = attn_together_prepare(comm, path, created, input != NULL ? &input->file : NULL, error);

    if (status == ATTN_OK)
        *out = input;
    else
        release(input, status);
    return status;
}

/* Collective. */
static attn_status open_together(attn_input *input, attn_error *error)
{
    const char *names[ATTN_INPUT_ARRAY_COUNT];

    for (int a = 0; a < ATTN_INPUT_ARRAY_COUNT; a++)
        names[a] = input->header.present[a] ? attn_input_array_path((attn_input_array)a) : NULL;
    return attn_together_open(&input->file, names, ATTN_INPUT_ARRAY_COUNT, error);
}

attn_status attn_input_open(MPI_Comm comm, const char *path, attn_input **out, attn_error *error)
{
    const attn_h5_quiet saved = attn_h5_quiet_begin();
    attn_input *input = NULL;
    attn_status status;

    *out = NULL;
    status = prepare(comm, path, false, &input, error);
    if (status != ATTN_OK)
        goto end;
    if (attn_comm_rank(comm) == 0)
        status = attn_input_scan(path, &input->header, error);
    status = attn_comm_agree(comm, status, error);
    if (status == ATTN_OK)
        status = attn_input_header_share(comm, &input->header, error);
    if (status == ATTN_OK)
        status = open_together(input, error);
    if (status == ATTN_OK)
        *out = input;
    else
        release(input, status);
end:
    attn_h5_quiet_end(saved);
    return status;
}

/* What the caller asks for, on each rank. */
static attn_status check_request(const char *path, const attn_problem *problem, const attn_dtype *stored,
                                 const bool *present, attn_error *error)
{
    const attn_status status = attn_problem_check(problem, error);

    if (status != ATTN_OK)
        return status;
    for (int a = 0; a < ATTN_INPUT_ARRAY_COUNT; a++) {
        if (a <= ATTN_INPUT_V && !present[a])
            return attn_error_set(error, ATTN_ARGUMENT, "%s: an input file has q, k and v; %s is left out", path,
                                  attn_input_array_path((attn_input_array)a));
        if (present[a] && (unsigned)stored[a] >= ATTN_DTYPE_COUNT)
            return attn_error_set(error, ATTN_ARGUMENT, "%s: %s: element type %d; 0 to %d are known", path,
                                  attn_input_array_path((attn_input_array)a), (int)stored[a], ATTN_DTYPE_COUNT - 1);
    }
    return ATTN_OK;
}

attn_status attn_input_create(MPI_Comm comm, const char *path, bool replace, const attn_problem *problem,
                              const attn_dtype stored[ATTN_INPUT_ARRAY_COUNT],
                              const bool present[ATTN_INPUT_ARRAY_COUNT], attn_input **out, attn_error *error)
{
    const attn_h5_quiet saved = attn_h5_quiet_begin();
    attn_input *input = NULL;
    attn_status status;

    *out = NULL;
    status = attn_comm_agree(comm, check_request(path, problem, stored, present, error), error);
    if (status == ATTN_OK)
        status = prepare(comm, path, true, &input, error);
    if (status != ATTN_OK)
        goto end;
    input->header.problem = *problem;
    status = attn_settings_set(&input->header.settings, &input->header.problem, error);
    memcpy(input->header.stored, stored, sizeof input->header.stored);
    memcpy(input->header.present, present, sizeof input->header.present);
    if (status == ATTN_OK && attn_comm_rank(comm) == 0)
        status = attn_together_claim(&input->file, replace, error);
    if (status == ATTN_OK && attn_comm_rank(comm) == 0)
        status = attn_input_lay_out(&input->file, &input->header, error);
    status = attn_comm_agree(comm, status, error);
    if (status == ATTN_OK)
        status = open_together(input, error);
    if (status == ATTN_OK)
        *out = input;
    else
        release(input, status);
end:
    attn_h5_quiet_end(saved);
    return status;
}

attn_status attn_input_close(attn_input *input, attn_error *error)
{
    attn_h5_quiet saved;
    attn_status status;

    if (input == NULL)
        return ATTN_OK;
    saved = attn_h5_quiet_begin();
    status = attn_together_close(&input->file, error);
    release(input, status);
    attn_h5_quiet_end(saved);
    return status;
}

void attn_input_discard(attn_input *input)
{
    attn_h5_quiet saved;

    if (input == NULL)
        return;
    saved = attn_h5_quiet_begin();
    release(input, ATTN_OK);
    attn_h5_quiet_end(saved);
}

const attn_problem *attn_input_problem(const attn_input *input)
{
    return &input->header.problem;
}

bool attn_input_has(const attn_input *input, attn_input_array array)
{
    return input->header.present[array];
}

attn_dtype attn_input_stored_dtype(const attn_input *input, attn_input_array array)
{
    return input->header.stored[array];
}

/* Collective. */
static attn_status move(attn_input *input, attn_input_array array, const attn_block *block, attn_move m,
                        attn_error *error)
{
    attn_status status = ATTN_OK;

    m.file = &input->file;
    m.dataset = (int)array;
    m.name = attn_input_array_path(array);
    m.stored = input->header.stored[array];
    m.rows = block->rows;
    m.extents[3] = 1;
    attn_input_extents(&input->header.problem.shape, array, m.extents);
    memcpy(m.count, m.extents, sizeof m.count);
    m.begin[1] = block->head_begin;
    m.count[1] = block->head_count;
    if (!input->header.present[array])
        status = attn_error_set(error, ATTN_ARGUMENT, "%s: dataset %s is missing", input->file.path, m.name);
    return attn_move_array(&m, status, error);
}

attn_status attn_input_read(attn_input *input, attn_input_array array, const attn_block *block, attn_dtype dtype,
                            void *buffer, attn_error *error)
{
    return move(input, array, block, (attn_move){.dtype = dtype, .to = buffer}, error);
}

attn_status attn_input_write(attn_input *input, attn_input_array array, const attn_block *block, attn_dtype dtype,
                             const void *buffer, attn_error *error)
{
    return move(input, array, block, (attn_move){.dtype = dtype, .from = buffer, .writing = true}, error);
}
