# The instruction-set level of each probe's source file.
attn_level(baseline measure/probe_fma.c measure/probe_read.c)
attn_level(avx2 measure/probe_fma_avx2.c)
attn_level(avx512 measure/probe_fma_avx512.c)
