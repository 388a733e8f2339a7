/* The multiply-add peaks of one instruction-set level. Included once by each probe_fma*.c, which is compiled with the
 * flags of its level and defines
 *   FMA_SYMBOL(type), FMA_NAME(type)      table row and name of a type: float, "float32"
 *   FMA_SUMMARY, FMA_NEEDS, FMA_CPU_HAS   its texts and the run-time probe
 *   VECTOR_BYTES                          of a register
 *   CHAINS                                accumulators; two more registers hold the factors
 */
#include "core/cpu.h"
#include "measure/probe.h"

#if defined(__clang__)
#define FMA_UNROLL _Pragma("clang loop unroll(full)")
#else
#define FMA_UNROLL _Pragma("GCC unroll 32")
#endif

enum { REPEATS = 4 }; /* of all chains in a pass */

#define REAL float
#define FN(name) name##_float
#define ROW FMA_SYMBOL(float)
#define ROW_NAME FMA_NAME("float32")
#define ROW_TYPE ATTN_FLOAT32
#include "measure/probe_fma_loop.h"
#undef REAL
#undef FN
#undef ROW
#undef ROW_NAME
#undef ROW_TYPE

#define REAL double
#define FN(name) name##_double
#define ROW FMA_SYMBOL(double)
#define ROW_NAME FMA_NAME("float64")
#define ROW_TYPE ATTN_FLOAT64
#include "measure/probe_fma_loop.h"
