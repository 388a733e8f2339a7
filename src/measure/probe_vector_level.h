/* The arithmetic probes of one instruction-set level: multiply-add peaks of registers alone and of operands from the L1
 * cache, and exponentials. Included once by each probe_vector*.c, which is compiled with the flags of its level and
 * defines
 *   PROBE_SYMBOL(what), PROBE_NAME(what)        table row and name of a probe: fma_float, "fma-float32"
 *   PROBE_SUMMARY, PROBE_NEEDS, PROBE_CPU_HAS   its texts and the run-time probe
 *   VECTOR_BYTES                                of a register
 *   CHAINS                                      accumulators of the peak; two more registers hold the factors
 *   TILE_ROWS, TILE_VECTORS                     accumulators of the tile that is fed from the cache
 *   MAX_FLOAT(x, y)                             optional: x > y ? x : y in one instruction
 */
#include "core/cpu.h"
#include "measure/probe.h"

#include <string.h>

#if defined(__clang__)
#define PROBE_UNROLL _Pragma("clang loop unroll(full)")
#else
#define PROBE_UNROLL _Pragma("GCC unroll 32")
#endif

enum { REPEATS = 4 }; /* of all chains in a pass */

#define REAL float
#define WORD uint32_t
#define SWORD int32_t
#define MANTISSA 23
#ifdef MAX_FLOAT
#define VECTOR_MAX MAX_FLOAT
#endif
#define FN(name) name##_float
#define ROW PROBE_SYMBOL(fma_float)
#define ROW_NAME PROBE_NAME("fma-float32")
#define ROW_TYPE ATTN_FLOAT32
#include "core/vector.h"
#include "measure/probe_exp_loop.h"
#include "measure/probe_fma_loop.h"
#include "measure/probe_l1_loop.h"
#undef REAL
#undef WORD
#undef SWORD
#undef MANTISSA
#undef VECTOR_MAX
#undef FN
#undef ROW
#undef ROW_NAME
#undef ROW_TYPE
#undef VEC
#undef BITS
#undef INTS

#define REAL double
#define WORD uint64_t
#define SWORD int64_t
#define MANTISSA 52
#define FN(name) name##_double
#define ROW PROBE_SYMBOL(fma_double)
#define ROW_NAME PROBE_NAME("fma-float64")
#define ROW_TYPE ATTN_FLOAT64
#include "core/vector.h"
#include "measure/probe_fma_loop.h"
