#!/usr/bin/env bash
# What needs no MPI on another processor: core, plan, kernel and, of layer, plain projections and the optimiser, with their
# tests, compiled for aarch64 and run under qemu.
#
#   tests/cross/test_aarch64.sh [all]      all: every test of core and kernel and that of projections, some minutes
#
# Exit 77 where the compiler or qemu is missing.
set -euo pipefail

root=$(cd "$(dirname "${BASH_SOURCE[0]}")/../.." && pwd)
compiler=aarch64-linux-gnu-gcc
qemu=$(command -v qemu-aarch64-static || command -v qemu-aarch64 || true)
if ! command -v "$compiler" >/dev/null || [ -z "$qemu" ]; then
    echo "skipped: needs $compiler and qemu-aarch64 (user mode)"
    exit 77
fi
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
cd "$root"

flags=(-std=c11 -D_POSIX_C_SOURCE=200809L -Wall -Wextra -Wconversion -Wshadow -Werror -fopenmp -Iinclude -Isrc -Itests
    -DATTN_TEST_DATA="\"$root/tests/data\"")
# Random123 and CUnit are wanted for their headers alone, which are the same for every target.
mkdir "$folder/include"
for headers in Random123 CUnit; do
    ln -s "/usr/include/$headers" "$folder/include/$headers"
done
flags+=(-isystem "$folder/include")

compile() {
    local object=$folder/${1//\//_}.o
    "$compiler" "${flags[@]}" "${@:2}" -c "$1" -o "$object"
}

pids=()
for file in src/core/*.c src/plan/*.c tests/harness_checks.c tests/fixture.c tests/cross/main.c; do
    compile "$file" -O2
done
for file in src/kernel/*.c src/layer/linear{,_plain*,_sums}.c src/layer/adamw.c; do
    compile "$file" -O3 -ffp-contract=fast &
    pids+=($!)
    if [ ${#pids[@]} -ge 2 ]; then
        wait "${pids[0]}"
        pids=("${pids[@]:1}")
    fi
done
for pid in "${pids[@]}"; do
    wait "$pid"
done
# An archive, so that what stands above these layers (the tables of exchanges) is not asked for.
aarch64-linux-gnu-ar rc "$folder/all.a" "$folder"/*.o

# Emulated, the larger tests of the kernels take minutes: these go through the blocked and the decoding one.
tests=(tests/core/test_*.c tests/kernel/test_{decode,pages,weights}.c tests/layer/test_adamw.c)
[ "${1:-}" != all ] || tests=(tests/core/test_*.c tests/kernel/test_*.c tests/layer/test_{linear,adamw}.c)
for file in "${tests[@]}"; do
    program=$folder/$(basename "$file" .c)
    "$compiler" "${flags[@]}" -O2 "$file" "$folder/all.a" -o "$program" -lm
    OMP_WAIT_POLICY=passive "$qemu" -L /usr/aarch64-linux-gnu "$program"
done
