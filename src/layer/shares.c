#include "layer/shares.h"

#include "core/checked.h"
#include "dist/transfers.h"

#include <attn/comm.h>
#include <attn/partition.h>

#include <assert.h>
#include <stdlib.h>
#include <string.h>

enum { TAG = 1 };

struct attn_shares {
    int ranks, rank;
    int64_t batch;
    int64_t *begins; /* [ranks + 1] rows of the part at which shares begin */
    attn_segments *part, *own;
    attn_transfers transfers; /* zeros when alone */
};

/* Rows [begin, end) of a list, numbered within it. */
static attn_status cut_rows(const attn_segments *rows, int64_t begin, int64_t end, attn_segments **out,
                            attn_error *error)
{
    int64_t *const begins = attn_calloc_array(2 * rows->count, sizeof *begins);
    int64_t *lengths;
    attn_status status;

    *out = NULL;
    if (begins == NULL)
        return attn_error_set(error, ATTN_MEMORY, "no memory for the rows of a share");
    lengths = begins + rows->count;
    for (int64_t s = 0; s < rows->count; s++) {
        const attn_segment *const segment = &rows->list[s];
        const int64_t from = begin > segment->offset ? begin : segment->offset;
        const int64_t last = segment->offset + segment->length, to = end < last ? end : last;

        begins[s] = segment->begin + (from < last ? from - segment->offset : 0);
        lengths[s] = to > from ? to - from : 0;
    }
    status = attn_segments_create(rows->count, begins, lengths, out, error);
    free(begins);
    return status;
}

/* A rank has at most one share more than lines / ranks, and sends and receives at most all shares ranks times. */
static attn_status create_transfers(attn_shares *shares, MPI_Comm comm, int64_t line_bytes, int64_t message_bytes,
                                    attn_error *error)
{
    const int64_t factors[] = {2, shares->batch, shares->part->rows + shares->ranks, line_bytes};
    int64_t bytes;

    if (!attn_int64_product(factors, 4, &bytes))
        return attn_error_set(error, ATTN_UNSUPPORTED, "lines of %lld bytes: too large together",
                              (long long)line_bytes);
    return attn_transfers_create(comm, message_bytes, 2 * (int64_t)shares->ranks, bytes, &shares->transfers, error);
}

attn_status attn_shares_create(MPI_Comm comm, int64_t batch, const attn_segments *rows, int64_t line_bytes,
                               int64_t message_bytes, attn_shares **out, attn_error *error)
{
    attn_shares *const shares = calloc(1, sizeof *shares);
    attn_status status;

    *out = NULL;
    if (shares == NULL)
        return attn_error_set(error, ATTN_MEMORY, "no memory for the rows of a share");
    shares->ranks = comm == MPI_COMM_NULL ? 1 : attn_comm_size(comm);
    shares->rank = comm == MPI_COMM_NULL ? 0 : attn_comm_rank(comm);
    shares->batch = batch;
    shares->begins = attn_calloc_array(shares->ranks + 1, sizeof *shares->begins);
    status = shares->begins != NULL ? cut_rows(rows, 0, rows->rows, &shares->part, error)
                                    : attn_error_set(error, ATTN_MEMORY, "no memory for the rows of a share");
    for (int r = 0; status == ATTN_OK && r <= shares->ranks; r++)
        shares->begins[r] = attn_share_begin(rows->rows, shares->ranks, r);
    if (status == ATTN_OK)
        status = cut_rows(rows, shares->begins[shares->rank], shares->begins[shares->rank + 1], &shares->own, error);
    if (status == ATTN_OK && shares->ranks > 1)
        status = create_transfers(shares, comm, line_bytes, message_bytes, error);
    if (status != ATTN_OK) {
        attn_shares_destroy(shares);
        return status;
    }
    *out = shares;
    return ATTN_OK;
}

void attn_shares_destroy(attn_shares *shares)
{
    if (shares == NULL)
        return;
    attn_transfers_release(&shares->transfers);
    attn_segments_destroy(shares->part);
    attn_segments_destroy(shares->own);
    free(shares->begins);
    free(shares);
}

int attn_shares_ranks(const attn_shares *shares)
{
    return shares->ranks;
}

const attn_segments *attn_shares_part(const attn_shares *shares)
{
    return shares->part;
}

const attn_segments *attn_shares_own(const attn_shares *shares)
{
    return shares->own;
}

/* First line of a rank's share, and how many it has. */
static int64_t line_begin(const attn_shares *shares, int rank)
{
    return shares->batch * shares->begins[rank];
}

static int64_t line_count(const attn_shares *shares, int rank)
{
    return shares->batch * (shares->begins[rank + 1] - shares->begins[rank]);
}

int64_t attn_shares_lines(const attn_shares *shares)
{
    return line_begin(shares, shares->ranks);
}

int64_t attn_shares_own_lines(const attn_shares *shares)
{
    return line_count(shares, shares->rank);
}

int64_t attn_shares_own_begin(const attn_shares *shares)
{
    return line_begin(shares, shares->rank);
}

attn_line_run attn_shares_run(const attn_shares *shares, int64_t line, int64_t end)
{
    int low = 0, high = shares->ranks; /* the share begins at or before the line, and has lines */
    int64_t rows, within;
    attn_line_run run = {.line = line};

    assert(line < end);
    while (high - low > 1) {
        const int middle = low + (high - low) / 2;

        if (line_begin(shares, middle) <= line)
            low = middle;
        else
            high = middle;
    }
    rows = shares->begins[low + 1] - shares->begins[low];
    within = line - line_begin(shares, low);
    run.batch = within / rows;
    run.row = shares->begins[low] + within % rows;
    run.count = rows - within % rows;
    if (run.count > end - line)
        run.count = end - line;
    return run;
}

/* Another rank, at a distance forwards: to whom this rank sends while the one at the same distance back sends to it. */
static int ahead(const attn_shares *shares, int distance)
{
    return (shares->rank + distance) % shares->ranks;
}

static int behind(const attn_shares *shares, int distance)
{
    return (shares->rank + shares->ranks - distance) % shares->ranks;
}

static attn_status finish(attn_shares *shares, attn_error *error)
{
    const attn_status status = attn_transfers_ready(&shares->transfers, error);

    return status == ATTN_OK ? attn_transfers_wait(&shares->transfers, error) : status;
}

attn_status attn_shares_gather(attn_shares *shares, int64_t line_bytes, const void *own, void *all, attn_error *error)
{
    const int64_t own_bytes = attn_shares_own_lines(shares) * line_bytes;

    attn_transfers_begin(&shares->transfers);
    for (int distance = 1; distance < shares->ranks; distance++) {
        const int from = behind(shares, distance);

        attn_transfers_receive(&shares->transfers, (char *)all + line_begin(shares, from) * line_bytes,
                               line_count(shares, from) * line_bytes, from, TAG);
        attn_transfers_send(&shares->transfers, own, own_bytes, ahead(shares, distance), TAG);
    }
    memcpy((char *)all + attn_shares_own_begin(shares) * line_bytes, own, (size_t)own_bytes);
    return shares->ranks > 1 ? finish(shares, error) : ATTN_OK;
}

/* Where what came from a rank lies in room: the ranks but this one, in order. */
static int64_t room_place(const attn_shares *shares, int rank, int64_t count)
{
    return (rank < shares->rank ? rank : rank - 1) * count;
}

static void add_double(const double *from, bool first, int64_t begin, int64_t end, double *sum)
{
    for (int64_t n = begin; n < end; n++)
        sum[n] = first ? from[n] : sum[n] + from[n];
}

static void add_float(const float *from, bool first, int64_t begin, int64_t end, float *sum)
{
    for (int64_t n = begin; n < end; n++)
        sum[n] = first ? from[n] : sum[n] + from[n];
}

attn_status attn_shares_sum(attn_shares *shares, attn_dtype dtype, int64_t width, const void *all, void *room,
                            void *sum, int threads, attn_error *error)
{
    const int64_t line_bytes = width * (int64_t)attn_dtype_size(dtype);
    const int64_t count = attn_shares_own_lines(shares) * width, bytes = count * (int64_t)attn_dtype_size(dtype);
    enum { PIECE = 4096 };
    attn_status status = ATTN_OK;

    attn_transfers_begin(&shares->transfers);
    for (int distance = 1; distance < shares->ranks; distance++) {
        const int from = behind(shares, distance), to = ahead(shares, distance);

        attn_transfers_receive(&shares->transfers, (char *)room + room_place(shares, from, bytes), bytes, from, TAG);
        attn_transfers_send(&shares->transfers, (const char *)all + line_begin(shares, to) * line_bytes,
                            line_count(shares, to) * line_bytes, to, TAG);
    }
    if (shares->ranks > 1)
        status = finish(shares, error);
    if (status != ATTN_OK)
        return status;
#pragma omp parallel for schedule(static) num_threads(threads)
    for (int64_t begin = 0; begin < count; begin += PIECE) {
        const int64_t end = begin + PIECE < count ? begin + PIECE : count;

        for (int r = 0; r < shares->ranks; r++) {
            const void *const from = r == shares->rank ? (const char *)all + attn_shares_own_begin(shares) * line_bytes
                                                       : (const char *)room + room_place(shares, r, bytes);

            if (dtype == ATTN_FLOAT64)
                add_double(from, r == 0, begin, end, sum);
            else
                add_float(from, r == 0, begin, end, sum);
        }
    }
    return ATTN_OK;
}

/* Copies columns between lines of different lengths, in bytes. */
static void copy_columns(int64_t lines, int64_t bytes, const char *from, int64_t from_stride, char *to,
                         int64_t to_stride, int threads)
{
    if (bytes == 0)
        return;
#pragma omp parallel for schedule(static) num_threads(threads)
    for (int64_t n = 0; n < lines; n++)
        memcpy(to + n * to_stride, from + n * from_stride, (size_t)bytes);
}

/* Bytes that a rank's columns have in a line. */
static int64_t column_bytes(const int64_t *columns, int rank)
{
    return columns[rank + 1] - columns[rank];
}

attn_status attn_shares_heads_to_rows(attn_shares *shares, const int64_t *columns, const void *heads, void *room,
                                      void *rows, int threads, attn_error *error)
{
    const int64_t lines = attn_shares_own_lines(shares), line = columns[shares->ranks];
    const int64_t own = column_bytes(columns, shares->rank);
    attn_status status = ATTN_OK;

    attn_transfers_begin(&shares->transfers);
    for (int distance = 1; distance < shares->ranks; distance++) {
        const int from = behind(shares, distance), to = ahead(shares, distance);

        attn_transfers_receive(&shares->transfers, (char *)room + lines * columns[from],
                               lines * column_bytes(columns, from), from, TAG);
        attn_transfers_send(&shares->transfers, (const char *)heads + line_begin(shares, to) * own,
                            line_count(shares, to) * own, to, TAG);
    }
    copy_columns(lines, own, (const char *)heads + attn_shares_own_begin(shares) * own, own,
                 (char *)rows + columns[shares->rank], line, threads);
    if (shares->ranks > 1)
        status = finish(shares, error);
    for (int r = 0; r < shares->ranks && status == ATTN_OK; r++)
        if (r != shares->rank)
            copy_columns(lines, column_bytes(columns, r), (const char *)room + lines * columns[r],
                         column_bytes(columns, r), (char *)rows + columns[r], line, threads);
    return status;
}

attn_status attn_shares_rows_to_heads(attn_shares *shares, const int64_t *columns, const void *rows, void *room,
                                      void *heads, int threads, attn_error *error)
{
    const int64_t lines = attn_shares_own_lines(shares), line = columns[shares->ranks];
    const int64_t own = column_bytes(columns, shares->rank);

    attn_transfers_begin(&shares->transfers);
    for (int distance = 1; distance < shares->ranks; distance++) {
        const int from = behind(shares, distance), to = ahead(shares, distance);
        char *const packed = (char *)room + lines * columns[to];

        attn_transfers_receive(&shares->transfers, (char *)heads + line_begin(shares, from) * own,
                               line_count(shares, from) * own, from, TAG);
        copy_columns(lines, column_bytes(columns, to), (const char *)rows + columns[to], line, packed,
                     column_bytes(columns, to), threads);
        attn_transfers_send(&shares->transfers, packed, lines * column_bytes(columns, to), to, TAG);
    }
    copy_columns(lines, own, (const char *)rows + columns[shares->rank], line,
                 (char *)heads + attn_shares_own_begin(shares) * own, own, threads);
    return shares->ranks > 1 ? finish(shares, error) : ATTN_OK;
}
