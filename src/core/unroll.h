/* Loops unrolled in full: those over the registers of a tile. */
#ifndef ATTN_CORE_UNROLL_H
#define ATTN_CORE_UNROLL_H

#if defined(__clang__)
#define UNROLL _Pragma("clang loop unroll(full)")
#else
#define UNROLL _Pragma("GCC unroll 16")
#endif

#endif
