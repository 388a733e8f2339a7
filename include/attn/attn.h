/* libattn: distributed attention, planned once and executed many times. This header includes the whole public API.
 *
 * What holds for every function, unless its own comment says otherwise:
 *   Parameters   "in" when nothing is said; "out" ones need not be initialised. Pointers are not NULL where NULL is not
 *                mentioned. Units stand beside the values: bytes, s (seconds), FLOP; counts are int64_t, sizes size_t.
 *   Ownership    What is passed in is borrowed for the call. What _create, _open and _read hand out is the caller's, to
 *                be given to the matching _destroy or _close. Names and rows of tables have static storage.
 *   Failure      An attn_status is returned, and *error (out, may be NULL) gets one line that names the value at fault.
 *                On failure an `out` handle is NULL and any other out parameter is unchanged. Codes that a function may
 *                return beside ATTN_OK are listed with it. A violated precondition is an assert.
 *   Threads      No global state: calls on different objects may run at the same time, and so may calls that only read
 *                the same object (const). Functions that communicate, and those of input.h and result.h, are for one
 *                thread at a time (MPI_THREAD_FUNNELED; HDF5 is not thread safe).
 *   Collective   In headers that bring in MPI each function says whether it is: a collective one is called by all ranks
 *                of its communicator in the same order with arguments that agree. After ATTN_MPI nothing collective may
 *                be called on that communicator any more, destroy and close included; the program is to be ended. */
#ifndef ATTN_ATTN_H
#define ATTN_ATTN_H

#include <attn/attributes.h>
#include <attn/cache.h>
#include <attn/comm.h>
#include <attn/dist.h>
#include <attn/dtype.h>
#include <attn/explain.h>
#include <attn/input.h>
#include <attn/kernel.h>
#include <attn/layer.h>
#include <attn/layer_file.h>
#include <attn/machine.h>
#include <attn/mask.h>
#include <attn/memory.h>
#include <attn/metric.h>
#include <attn/optimiser.h>
#include <attn/partition.h>
#include <attn/pass.h>
#include <attn/phase.h>
#include <attn/plan.h>
#include <attn/planner.h>
#include <attn/probe.h>
#include <attn/problem.h>
#include <attn/random.h>
#include <attn/result.h>
#include <attn/sampler.h>
#include <attn/segments.h>
#include <attn/shape.h>
#include <attn/statistics.h>
#include <attn/status.h>
#include <attn/study.h>
#include <attn/train.h>
#include <attn/training_file.h>
#include <attn/tuning.h>
#include <attn/version.h>

#endif
