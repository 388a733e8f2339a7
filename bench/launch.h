/* The identity and the provenance of a launch. */
#ifndef BENCH_LAUNCH_H
#define BENCH_LAUNCH_H

#include "groups.h"

#include <attn/attributes.h>

#define LAUNCH_ID_SIZE 32

/* Collective. A name that no other launch has: date and six random hexadecimal digits, "20261123T130501-a1b2c3".
 *   id  out, the same on every rank */
attn_status launch_make_id(const bench *launch, char id[LAUNCH_ID_SIZE], attn_error *error);

/* Collective. Everything that is known of the launch: machine and build, command line, hosts, bindings.
 *   all         in, the group of all ranks of the launch or the largest one that runs
 *   order_seed  in, of the order in which cases run
 *   out         on rank 0 destroyed by the caller; NULL elsewhere and on failure */
attn_status launch_environment(const bench *launch, const rank_group *all, uint64_t order_seed, attn_attributes **out,
                               attn_error *error);

#endif
