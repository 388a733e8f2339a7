# The instruction-set level of each kernel source file.
attn_level(baseline kernel/portable.c kernel/decode_baseline.c kernel/merge.c)
attn_level(avx2 kernel/portable_avx2.c kernel/decode_avx2.c)
attn_level(avx512 kernel/portable_avx512.c kernel/decode_avx512.c)
attn_level(avx512_bf16 kernel/avx512_bf16.c)
attn_level(amx_bf16 kernel/amx_bf16.c kernel/decode_amx.c)
