#include "core/cpu.h"

bool attn_cpu_baseline(void)
{
    return true;
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

#else

bool attn_cpu_avx2(void)
{
    return false;
}

bool attn_cpu_avx512(void)
{
    return false;
}

#endif
