# Instruction-set levels. A file that is named in no level is compiled for the baseline of the target; the choice between
# levels is made at run time, and there is no -march=native.
set(attn_level_baseline "")
set(attn_level_avx2 "")
set(attn_level_avx512 "")
set(attn_level_avx512_bf16 "")
set(attn_level_amx_bf16 "")
if(CMAKE_SYSTEM_PROCESSOR MATCHES "x86_64|AMD64|amd64")
    set(attn_level_avx2 -mavx2 -mfma -mf16c)
    set(attn_level_avx512 -mavx512f -mavx512bw -mavx512dq -mavx512vl -mfma -mf16c -mprefer-vector-width=512)
    # Younger than the compilers that the rest compiles with: without the flags such files have no kernel in them.
    include(CheckCCompilerFlag)
    check_c_compiler_flag(-mavx512bf16 ATTN_HAVE_AVX512_BF16)
    if(ATTN_HAVE_AVX512_BF16)
        set(attn_level_avx512_bf16 ${attn_level_avx512} -mavx512bf16)
        check_c_compiler_flag("-mamx-tile -mamx-bf16" ATTN_HAVE_AMX_BF16)
        if(ATTN_HAVE_AMX_BF16)
            set(attn_level_amx_bf16 ${attn_level_avx512_bf16} -mamx-tile -mamx-bf16)
        endif()
    endif()
endif()

# attn_level(LEVEL FILE...): compiles source files of the current folder for a level. They are always optimised, so that a
# debug build tests and measures the code of a release (less under sanitizers, whose checks make gcc take minutes for
# inlined templates), and products and sums are contracted to fused multiply-adds, which
# ISO C mode would switch off. ATTN_KERNEL_FLAGS tells the provenance of a result of it.
set(ATTN_KERNEL_FLAGS "")
function(attn_level level)
    set(optimise -O3)
    if(ATTN_SANITIZE)
        set(optimise -O1)
    endif()
    set(flags ${optimise} -ffp-contract=fast ${attn_level_${level}})
    set_source_files_properties(${ARGN} PROPERTIES COMPILE_OPTIONS "${flags}")
    string(REPLACE ";" " " flags "${flags}")
    foreach(file IN LISTS ARGN)
        get_filename_component(name ${file} NAME)
        string(APPEND ATTN_KERNEL_FLAGS "${name}: ${flags}; ")
    endforeach()
    set(ATTN_KERNEL_FLAGS "${ATTN_KERNEL_FLAGS}" PARENT_SCOPE)
endfunction()
