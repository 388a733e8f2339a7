#include "layer/project.h"

#include <stdlib.h>
#include <string.h>

struct attn_project {
    attn_project_setup of;
    attn_linear *block, *tail; /* forward; NULL: there are no such lines */
    attn_linear *all;          /* backward */
};

static attn_status make(const attn_project_setup *setup, int64_t lines, int64_t out_columns, bool backward,
                        attn_linear **out, attn_error *error)
{
    const attn_linear_setup linear = {.rows = lines,
                                      .in = setup->in,
                                      .out = out_columns,
                                      .x_stride = setup->in,
                                      .y_stride = out_columns,
                                      .w_stride = setup->in,
                                      .dtype = setup->dtype,
                                      .y_dtype = backward ? setup->dtype : setup->y_dtype,
                                      .bias = setup->bias,
                                      .backward = backward,
                                      .threads = setup->threads};

    if (lines == 0 || out_columns == 0 || setup->in == 0)
        return ATTN_OK;
    return attn_linear_create(NULL, &linear, out, error);
}

attn_status attn_project_create(const attn_project_setup *setup, attn_project **out, attn_error *error)
{
    attn_project *const project = calloc(1, sizeof *project);
    attn_status status;

    *out = NULL;
    if (project == NULL)
        return attn_error_set(error, ATTN_MEMORY, "no memory for a projection");
    project->of = *setup;
    if (project->of.block > setup->lines)
        project->of.block = setup->lines;
    status = make(setup, project->of.block, setup->out, false, &project->block, error);
    if (status == ATTN_OK && project->of.block > 0)
        status = make(setup, setup->lines % project->of.block, setup->out, false, &project->tail, error);
    if (status == ATTN_OK && setup->backward)
        status = make(setup, setup->lines, setup->back, true, &project->all, error);
    if (status != ATTN_OK) {
        attn_project_destroy(project);
        return status;
    }
    *out = project;
    return ATTN_OK;
}

void attn_project_destroy(attn_project *project)
{
    if (project == NULL)
        return;
    attn_linear_destroy(project->block);
    attn_linear_destroy(project->tail);
    attn_linear_destroy(project->all);
    free(project);
}

int64_t attn_project_end(const attn_project *project, int64_t begin)
{
    const int64_t end = begin + project->of.block;

    return end < project->of.lines ? end : project->of.lines;
}

void attn_project_forward(attn_project *project, int64_t begin, const void *x, const void *w, const void *b, void *y)
{
    const int64_t lines = attn_project_end(project, begin) - begin;
    const char *const from = (const char *)x + (size_t)(begin * project->of.in) * attn_dtype_size(project->of.dtype);
    attn_linear *const linear = lines == project->of.block ? project->block : project->tail;

    if (linear != NULL)
        attn_linear_forward(linear, from, w, b, y);
}

void attn_project_weights(attn_project *project, const void *dy, const void *x, void *dw, void *db)
{
    const attn_project_setup *const of = &project->of;
    const size_t size = attn_dtype_size(attn_dtype_accumulator(of->dtype)), skipped = (size_t)(of->out - of->back);
    char *const weight = (char *)dw + skipped * (size_t)of->in * size;
    char *const bias = of->bias ? (char *)db + skipped * size : NULL;

    if (project->all != NULL) {
        attn_linear_backward_weights(project->all, dy, x, weight, bias);
    } else if (of->back > 0) { /* no lines */
        memset(weight, 0, (size_t)(of->back * of->in) * size);
        if (of->bias)
            memset(bias, 0, (size_t)of->back * size);
    }
}

void attn_project_data(attn_project *project, const void *dy, const void *w, attn_dtype dx_dtype, bool add, void *dx)
{
    const attn_project_setup *const of = &project->of;
    const size_t skipped = (size_t)((of->out - of->back) * of->in) * attn_dtype_size(of->dtype);

    if (project->all != NULL)
        attn_linear_backward_data(project->all, dy, (const char *)w + skipped, dx_dtype, add, dx);
    else if (!add) /* no heads here; or no lines, and nothing is set */
        memset(dx, 0, (size_t)(of->lines * of->in) * attn_dtype_size(dx_dtype));
}
