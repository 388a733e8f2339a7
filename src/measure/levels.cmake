# The instruction-set level of each probe's source file.
attn_level(baseline measure/probe_vector.c measure/probe_memory.c)
attn_level(avx2 measure/probe_vector_avx2.c)
attn_level(avx512 measure/probe_vector_avx512.c)
attn_level(avx512_bf16 measure/probe_bf16.c)
attn_level(amx_bf16 measure/probe_amx.c)
