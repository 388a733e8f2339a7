# The instruction-set level of the source files with inner loops.
attn_level(baseline layer/linear_plain_baseline.c layer/linear_sums.c layer/rotary.c layer/adamw.c)
attn_level(avx2 layer/linear_plain_avx2.c)
attn_level(avx512 layer/linear_plain_avx512.c)
# Square roots in vectors: of what is never negative, so that errno has nothing to tell.
set_property(SOURCE layer/adamw.c APPEND PROPERTY COMPILE_OPTIONS -fno-math-errno)
