#if defined(__linux__)
#define _GNU_SOURCE /* for syscall */
#endif
#include "core/cpu.h"

#if defined(__x86_64__)
#include <cpuid.h>
#if defined(__linux__)
#include <sys/syscall.h>
#include <unistd.h>
#endif
#endif

bool attn_cpu_baseline(void)
{
    return true;
}

bool attn_cpu_none(void)
{
    return false;
}

#if defined(__x86_64__)

/* The compiler's probe asks the operating system too (XGETBV), as registers that are not saved cannot be used. */
bool attn_cpu_avx2(void)
{
    return __builtin_cpu_supports("avx2") && __builtin_cpu_supports("fma");
}

bool attn_cpu_avx512(void)
{
    return __builtin_cpu_supports("avx512f") && __builtin_cpu_supports("avx512bw") &&
           __builtin_cpu_supports("avx512dq") && __builtin_cpu_supports("avx512vl");
}

bool attn_cpu_avx512_bf16(void)
{
    return attn_cpu_avx512() && __builtin_cpu_supports("avx512bf16");
}

bool attn_cpu_fast_bf16_dots(void)
{
    return attn_cpu_avx512_bf16() && __builtin_cpu_is("amd");
}

/* The state of tiles is large: Linux saves it only for a process that asked (arch/x86/include/uapi/asm/prctl.h). */
static bool tiles_granted(void)
{
#if defined(__linux__)
    enum { ARCH_REQ_XCOMP_PERM = 0x1023, XFEATURE_XTILEDATA = 18 };

    return syscall(SYS_arch_prctl, ARCH_REQ_XCOMP_PERM, XFEATURE_XTILEDATA) == 0;
#else
    return false;
#endif
}

/* CPUID leaf 7: bits of EDX. */
bool attn_cpu_amx_bf16(void)
{
    enum { AMX_BF16 = 1 << 22, AMX_TILE = 1 << 24 };
    unsigned a, b, c, d;

    return attn_cpu_avx512_bf16() && __get_cpuid_count(7, 0, &a, &b, &c, &d) != 0 && (d & AMX_BF16) != 0 &&
           (d & AMX_TILE) != 0 && tiles_granted();
}

#else

bool attn_cpu_avx2(void)
{
    return false;
}

bool attn_cpu_avx512(void)
{
    return false;
}

bool attn_cpu_avx512_bf16(void)
{
    return false;
}

bool attn_cpu_fast_bf16_dots(void)
{
    return false;
}

bool attn_cpu_amx_bf16(void)
{
    return false;
}

#endif
