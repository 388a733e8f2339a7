#!/usr/bin/env bash
# Installs the project into a folder of its own and uses it from there as others do: each public header alone, the programs of
# examples/ with find_package and with pkg-config, the driver; and all again after the folder has been moved.
#
#   tests/consumer/test_consumer.sh static|shared [BUILD]
#
# BUILD: a finished build of that kind; without it one is made. Reads CC, CXX, CMAKE, GENERATOR, MPIRUN where they are set.
set -euo pipefail

kind=$1
build=${2:+$(realpath "$2")}
root=$(cd "$(dirname "${BASH_SOURCE[0]}")/../.." && pwd)
CC=${CC:-cc} CXX=${CXX:-c++} CMAKE=${CMAKE:-cmake} MPIRUN=${MPIRUN:-mpirun}
warnings=(-Wall -Wextra -Wpedantic -Werror)
unset CFLAGS CXXFLAGS LDFLAGS LD_LIBRARY_PATH

scratch=$(mktemp -d)
trap 'rm -rf "$scratch"' EXIT
cd "$scratch"

# quietly COMMAND...: shows what it printed only when it fails, and ends the test then.
quietly() {
    "$@" >"$scratch/log" 2>&1 </dev/null && return
    printf 'FAILED: %s\n' "$*"
    tail -n 40 "$scratch/log"
    exit 1
}

configure() { quietly "$CMAKE" -G "${GENERATOR:-Unix Makefiles}" -DCMAKE_C_COMPILER="$CC" "$@"; }

if [ -z "$build" ]; then
    shared=OFF
    [ "$kind" = static ] || shared=ON
    build=$scratch/build
    configure -S "$root" -B "$build" -DBUILD_SHARED_LIBS=$shared -DATTN_BUILD_TESTS=OFF -DCMAKE_BUILD_TYPE=Debug
    quietly "$CMAKE" --build "$build" --parallel 2
fi
prefix=$scratch/first
quietly "$CMAKE" --install "$build" --prefix "$prefix"

# What the headers declare with ATTN_API, without comments and preprocessor lines, a name a line.
declared() {
    cat "$root"/include/attn/*.h | sed -e '/^#/d' | tr '\n' ' ' | sed -e 's@/\*@\n&@g' -e 's@\*/@&\n@g' |
        sed -e '/^\/\*/d' | tr '\n' ' ' | grep -oE 'ATTN_API[^;(]*[;(]' | sed -E 's/.*[ *]([a-zA-Z0-9_]+) *[;(]$/\1/' | sort
}

# The shared library shows what the headers declare, nothing more and nothing less, and nothing under another's prefix.
check_symbols() {
    nm -D --defined-only "$prefix"/lib*/libattn.so | awk '{ print $NF }' | sort >exported
    declared >wanted
    if ! diff wanted exported >difference || grep -v '^attn_' exported || ! [ -s exported ]; then
        echo 'FAILED: symbols of the shared library; < is declared and not exported, > exported and not declared'
        cat difference
        exit 1
    fi
    echo "symbols: $(wc -l <exported), all of them declared"
}

read_flags() {
    PKG_CONFIG_PATH=$(echo "$prefix"/lib*/pkgconfig) pkg-config "$@"
}

# Each header alone, in C11 and in C++17, and a C++ program that is linked.
check_headers() {
    local header flags
    read -r -a flags <<<"$(read_flags --cflags attn)"
    for header in "$prefix"/include/attn/*.h; do
        printf '#include <attn/%s>\nint main(void) { return 0; }\n' "${header##*/}" >header.c
        quietly "$CC" -std=c11 "${warnings[@]}" "${flags[@]}" -fsyntax-only header.c
        if command -v "$CXX" >/dev/null; then
            quietly "$CXX" -std=c++17 -Wall -Wextra -Werror "${flags[@]}" -x c++ -fsyntax-only header.c
        fi
    done
    if ! command -v "$CXX" >/dev/null; then
        echo 'headers: good in C11; not tried in C++, for want of a compiler'
        return
    fi
    printf '#include <attn/attn.h>\nint main() { return attn_kernel_count() == 0; }\n' >program.cc
    read -r -a flags <<<"$(read_flags --cflags --libs attn) $(run_path)"
    quietly "$CXX" -std=c++17 program.cc -o program_cc "${flags[@]}"
    quietly ./program_cc
    echo 'headers: each is good alone, in C11 and in C++17'
}

# shown PATTERN: prints the line of the last output that matches; without one the test ends.
shown() {
    grep "$1" log && return
    printf 'FAILED: no line matches "%s" in\n' "$1"
    cat log
    exit 1
}

run_path() { echo "-Wl,-rpath,$(read_flags --variable=libdir attn)"; }

# run_both FOLDER: the two programs there pass, and say so.
run_both() {
    quietly "$1/one_rank"
    shown '^PASS: '
    quietly "$MPIRUN" -n 2 "$1/distributed"
    shown '^PASS: 2 ranks'
}

use_cmake() {
    rm -rf cmake_build
    configure -S "$root/examples" -B cmake_build -DCMAKE_PREFIX_PATH="$prefix" -DCMAKE_C_FLAGS="${warnings[*]}"
    quietly "$CMAKE" --build cmake_build
    run_both cmake_build
}

use_pkg_config() {
    local name flags
    rm -rf pkg_build
    mkdir pkg_build
    read -r -a flags <<<"$(read_flags --cflags --libs attn) $(run_path)"
    for name in one_rank distributed; do
        quietly "$CC" -std=c11 "${warnings[@]}" "$root/examples/$name.c" "${flags[@]}" -o "pkg_build/$name"
    done
    run_both pkg_build
}

use() {
    echo "$kind, $1: CMake"
    use_cmake
    echo "$kind, $1: pkg-config"
    use_pkg_config
    quietly "$prefix/bin/attnbench" run --seq 64 --max-reps 5 --output "$1.h5"
    shown '^VALID: 1 of 1'
}

[ "$kind" = static ] || check_symbols
check_headers
use installed
mv "$prefix" "$scratch/second"
prefix=$scratch/second
use moved
