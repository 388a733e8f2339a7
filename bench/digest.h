/* What tells input files of one name apart. */
#ifndef BENCH_DIGEST_H
#define BENCH_DIGEST_H

#include <attn/attributes.h>
#include <attn/input.h>

/* Collective over comm, by whose ranks the input was opened. 64-bit FNV-1a over extents, stored types, all settings
 * and the stored values of up to 64 evenly spread rows of q, k and v; the same for any number of ranks.
 *   digest  out, 16 hexadecimal digits and a terminating zero, the same on every rank
 * ATTN_FILE, ATTN_MEMORY, ATTN_MPI. */
attn_status input_digest(MPI_Comm comm, attn_input *input, char digest[ATTN_ID_SIZE], attn_error *error);

#endif
