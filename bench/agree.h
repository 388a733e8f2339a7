/* Agreement that ends where MPI has failed: then nobody can be waited for, and no collective call may follow. */
#ifndef BENCH_AGREE_H
#define BENCH_AGREE_H

#include <attn/comm.h>

/* attn_comm_agree, unless this rank's own status is ATTN_MPI already: that is passed on without a call. */
attn_status agree(MPI_Comm comm, attn_status local, attn_error *error);

#endif
