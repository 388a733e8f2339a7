# The instruction-set level of each kernel source file. Everything else is compiled for the baseline of the target, and the
# choice between kernels is made at run time; there is no -march=native.
# The kernels are always optimised, so that a debug build tests the code that a release measures, and products and sums are
# contracted to fused multiply-adds, which ISO C mode would switch off.
set(ATTN_KERNEL_FLAGS "")
function(attn_kernel_level file)
    set(flags -O3 -ffp-contract=fast ${ARGN})
    set_source_files_properties(kernel/${file} PROPERTIES COMPILE_OPTIONS "${flags}")
    string(REPLACE ";" " " flags "${flags}")
    string(APPEND ATTN_KERNEL_FLAGS "${file}: ${flags}; ")
    set(ATTN_KERNEL_FLAGS "${ATTN_KERNEL_FLAGS}" PARENT_SCOPE)
endfunction()

attn_kernel_level(portable.c)
if(CMAKE_SYSTEM_PROCESSOR MATCHES "x86_64|AMD64|amd64")
    attn_kernel_level(portable_avx2.c -mavx2 -mfma -mf16c)
    attn_kernel_level(portable_avx512.c -mavx512f -mavx512bw -mavx512dq -mavx512vl -mfma -mf16c
        -mprefer-vector-width=512)
endif()
