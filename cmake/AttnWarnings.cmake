# Compile settings that every target of this project shares.
add_library(attn_settings INTERFACE)
target_compile_definitions(attn_settings INTERFACE _POSIX_C_SOURCE=200809L)
target_compile_options(attn_settings INTERFACE
    -Wall -Wextra -Wpedantic -Wconversion -Wshadow -Wstrict-prototypes -Wmissing-prototypes -Wvla -Wpointer-arith
    -Wcast-qual -Wwrite-strings -Wundef)
if(ATTN_WERROR)
    target_compile_options(attn_settings INTERFACE -Werror)
endif()
if(ATTN_SANITIZE)
    target_compile_options(attn_settings INTERFACE -fsanitize=${ATTN_SANITIZE} -fno-omit-frame-pointer
        -fno-sanitize-recover=all)
    target_link_options(attn_settings INTERFACE -fsanitize=${ATTN_SANITIZE})
endif()
