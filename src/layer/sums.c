#include "layer/sums.h"

#include "dist/exchange.h"
#include "dist/pieces.h"
#include "plan/part.h"

#include <attn/comm.h>

enum { TAG = 2 };

attn_kv_holders attn_kv_holders_of(const attn_problem *problem, attn_grid grid, int head_index)
{
    attn_part own = {.seq_index = 0}, other = {.seq_index = 0};
    attn_kv_holders of = {.first_of_first = head_index, .first_of_last = head_index, .begin = 0, .end = 0};
    int64_t last;

    attn_part_assign_heads(&own, problem, grid, head_index);
    if (own.head_count == 0)
        return of;
    last = own.kv_head_begin + own.kv_head_count - 1;
    for (int r = grid.head - 1; r >= 0; r--) {
        attn_part_assign_heads(&other, problem, grid, r);
        if (other.head_count == 0)
            continue;
        if (r < head_index && other.kv_head_begin + other.kv_head_count - 1 == own.kv_head_begin)
            of.first_of_first = r;
        if (r < head_index && other.kv_head_begin + other.kv_head_count - 1 == last)
            of.first_of_last = r;
        if (r > head_index && other.kv_head_begin == last) {
            of.begin = r;
            of.end = of.end > r ? of.end : r + 1;
        }
    }
    of.counted = own.kv_head_count - (of.first_of_first < head_index);
    if (of.first_of_last != head_index)
        of.begin = of.end = 0;
    return of;
}

attn_status attn_sums_create(MPI_Comm comm, int64_t message_bytes, int64_t count, int64_t bytes, attn_sums *out,
                             attn_error *error)
{
    out->message_bytes = message_bytes;
    return attn_transfers_create(comm, message_bytes, count, bytes, &out->transfers, error);
}

void attn_sums_release(attn_sums *sums)
{
    attn_transfers_release(&sums->transfers);
}

void attn_sums_start(attn_sums *sums, MPI_Comm comm, attn_dtype dtype, void *data, int64_t count)
{
    const int64_t size = (int64_t)attn_dtype_size(dtype), piece = attn_piece_items(sums->message_bytes, size);

    for (int64_t done = 0; done < count && attn_comm_size(comm) > 1; done += piece)
        attn_transfers_sum(&sums->transfers, comm, attn_mpi_type(dtype), (char *)data + done * size,
                           (int)attn_piece_length(count, done, piece));
}

void attn_sums_send(attn_sums *sums, const void *data, int64_t bytes, int to)
{
    attn_transfers_send(&sums->transfers, data, bytes, to, TAG);
}

void attn_sums_receive(attn_sums *sums, void *data, int64_t bytes, int from)
{
    attn_transfers_receive(&sums->transfers, data, bytes, from, TAG);
}

attn_status attn_sums_finish(attn_sums *sums, attn_error *error)
{
    const attn_status status = attn_transfers_ready(&sums->transfers, error);

    return status == ATTN_OK ? attn_transfers_wait(&sums->transfers, error) : status;
}
