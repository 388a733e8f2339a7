# The instruction-set level of each kernel source file.
attn_level(baseline kernel/portable.c)
attn_level(avx2 kernel/portable_avx2.c)
attn_level(avx512 kernel/portable_avx512.c)
