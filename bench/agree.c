#include "agree.h"

attn_status agree(MPI_Comm comm, attn_status local, attn_error *error)
{
    return local == ATTN_MPI ? local : attn_comm_agree(comm, local, error);
}
