#include "core/checked.h"
#include "dist/exchange.h"

#include <attn/comm.h>

MPI_Datatype attn_mpi_type(attn_dtype dtype)
{
    switch (dtype) {
    case ATTN_FLOAT64:
        return MPI_DOUBLE;
    case ATTN_FLOAT32:
        return MPI_FLOAT;
    default: /* 16-bit numbers are only moved */
        return MPI_UINT16_T;
    }
}

attn_status attn_mpi_run(attn_dtype dtype, int64_t count, MPI_Datatype *out, attn_error *error)
{
    int items;
    attn_status status;

    *out = MPI_DATATYPE_NULL;
    if (!attn_int_from_int64(count, &items))
        return attn_error_set(error, ATTN_UNSUPPORTED, "a row of %lld elements: MPI counts up to 2147483647",
                              (long long)count);
    status = attn_comm_check(MPI_Type_contiguous(items, attn_mpi_type(dtype), out), "MPI_Type_contiguous", error);
    if (status == ATTN_OK)
        status = attn_comm_check(MPI_Type_commit(out), "MPI_Type_commit", error);
    return status;
}
