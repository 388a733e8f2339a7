#include "layer/place.h"

#include "core/checked.h"

#include <attn/kernel.h>
#include <attn/memory.h>

#include <string.h>

/* Lines of one piece of work of a thread: few enough that one head after the other finds them in its cache. */
enum { PIECE_LINES = 32 };

static void copy_run(const attn_placing *p, const attn_line_run *run, char *lines, char *array, bool to_heads)
{
    const size_t size = attn_dtype_size(p->dtype), bytes = (size_t)p->width * size;
    const int64_t rows = attn_shares_part(p->shares)->rows;

    for (int64_t h = 0; h < p->count; h++) {
        char *const head = array + (size_t)((run->batch * p->heads + p->first + h) * rows + run->row) * bytes;
        char *const column = lines + (size_t)(run->line - p->begin) * (size_t)p->stride * size + (size_t)h * bytes;

        for (int64_t n = 0; n < run->count; n++) {
            char *const in_head = head + (size_t)n * bytes;
            char *const in_line = column + (size_t)(n * p->stride) * size;

            if (to_heads)
                memcpy(in_head, in_line, bytes);
            else
                memcpy(in_line, in_head, bytes);
        }
    }
}

static void copy(const attn_placing *p, char *lines, char *array, bool to_heads)
{
    if (p->count == 0)
        return;
#pragma omp parallel for schedule(static) num_threads(p->threads)
    for (int64_t begin = p->begin; begin < p->end; begin += PIECE_LINES) {
        const int64_t end = begin + PIECE_LINES < p->end ? begin + PIECE_LINES : p->end;
        attn_line_run run;

        for (int64_t line = begin; line < end; line += run.count) {
            run = attn_shares_run(p->shares, line, end);
            copy_run(p, &run, lines, array, to_heads);
        }
    }
}

void attn_lines_to_heads(const attn_placing *placing, const void *lines, void *array)
{
    copy(placing, attn_array_of_const(lines, 1, 1, 1).data, array, true);
}

void attn_heads_to_lines(const attn_placing *placing, const void *array, void *lines)
{
    copy(placing, lines, attn_array_of_const(array, 1, 1, 1).data, false);
}

attn_status attn_lines_allocate(int64_t a, int64_t b, int64_t c, attn_dtype dtype, void **out, attn_error *error)
{
    const int64_t factors[] = {a, b, c, (int64_t)attn_dtype_size(dtype)};
    int64_t bytes;

    *out = NULL;
    if (attn_int64_product(factors, 4, &bytes))
        *out = attn_aligned_alloc((size_t)bytes);
    return *out != NULL ? ATTN_OK
                        : attn_error_set(error, ATTN_MEMORY, "no memory for %lld x %lld x %lld elements of %s",
                                         (long long)a, (long long)b, (long long)c, attn_dtype_name(dtype));
}

void attn_add_line(attn_dtype dtype, const void *from, int64_t count, bool add, void *to)
{
    enum { PIECE = 128 };
    const attn_dtype sum = attn_dtype_accumulator(dtype);
    double doubles[PIECE] = {0};
    float floats[PIECE] = {0};

    if (!add) {
        attn_convert(sum, to, dtype, from, (size_t)count);
        return;
    }
    for (int64_t done = 0; done < count; done += PIECE) {
        const int64_t n = count - done < PIECE ? count - done : PIECE;
        const char *const begin = (const char *)from + (size_t)done * attn_dtype_size(dtype);

        if (sum == ATTN_FLOAT64) {
            attn_convert(sum, doubles, dtype, begin, (size_t)n);
            for (int64_t e = 0; e < n; e++)
                ((double *)to)[done + e] += doubles[e];
        } else {
            attn_convert(sum, floats, dtype, begin, (size_t)n);
            for (int64_t e = 0; e < n; e++)
                ((float *)to)[done + e] += floats[e];
        }
    }
}
