# The instruction-set level of each level's source file of the plain products.
attn_level(baseline layer/linear_plain_baseline.c)
attn_level(avx2 layer/linear_plain_avx2.c)
attn_level(avx512 layer/linear_plain_avx512.c)
