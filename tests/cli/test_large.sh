#!/usr/bin/env bash
# Four ranks write and read one input file, and each moves its own quarter and nothing else: counted in the calls of HDF5
# and by the operating system. No rank ever has much more memory than its share.
#   ATTN_LARGE_MIB    bytes of q, k and v together, in MiB (128)
#   ATTN_COUNTING_IO  the library made from tests/large/counting_io.c
# shellcheck source=tests/cli/common.sh
. "$(dirname "${BASH_SOURCE[0]}")/common.sh"
mib=${ATTN_LARGE_MIB:-128}
LIMIT=$((100 + mib / 4))

# 4096 bytes a row: 8 query heads and twice 4 key-value heads of 64 float32. With a short window there is little to compute.
shape=(--heads 8 --kv-heads 4 --head-dim 64)
share=$((mib << 18))
output=$((share / 2)) # o has as many bytes as q

real=$ATTNBENCH
printf '#!/bin/sh\nLD_PRELOAD="%s" exec "%s" "$@"\n' "${ATTN_COUNTING_IO:?}" "$real" >"$scratch/counting"
chmod +x "$scratch/counting"
# A sanitizer comes before all other libraries, and has memory of its own.
sanitized=$(grep -qa __asan_init "$real" && echo yes)
export ASAN_OPTIONS=${ASAN_OPTIONS:+$ASAN_OPTIONS:}verify_asan_link_order=0

# figure RANK NAME: what was counted on a rank.
figure() { sed -n "s/^counted: rank $1 .*$2 \([0-9]*\).*/\1/p" "$err"; }
# between LEAST VALUE MOST: an empty value is in no range.
between() { [ -n "$2" ] && [ "$2" -ge "$1" ] && [ "$2" -le "$3" ]; }
# within WHAT RANK NAME LEAST MOST
within() {
    local value
    value=$(figure "$2" "$3")
    check "$1, rank $2: $3 is ${value:-not counted}, from $4 to $5" between "$4" "$value" "$5"
}
# counts WHAT READ WRITTEN MEMORY: bytes of each rank, at least and, but for small things, at most; peak memory at most.
counts() {
    local rank slack=$((3 << 20))
    for rank in 0 1 2 3; do
        within "$1" $rank hdf5_read "$2" $(($2 + slack))
        within "$1" $rank hdf5_written "$3" $(($3 + slack))
        within "$1" $rank mpi_read "$2" $(($2 + slack))
        within "$1" $rank mpi_written "$3" $(($3 + slack))
        within "$1" $rank process_read "$2" $(($2 + slack))
        within "$1" $rank process_written "$3" $(($3 + slack))
        [ -n "$sanitized" ] || within "$1" $rank peak_kib 1 $(($4 >> 10))
    done
    [ "$mib" -lt 1024 ] || sed -n "s/^counted/$1/p" "$err"
}

overhead=$((80 << 20))
ATTNBENCH=$scratch/counting
expect 4 0 generate "${shape[@]}" --seq $((mib * 256)) --causal --window-left 16 --output input.h5
counts generate 0 $share $overhead
check "the file has what was asked for" test "$(stat -c %s input.h5)" -ge $((4 * share))
check "and little more" test "$(stat -c %s input.h5)" -le $((4 * share + 100000))
check "bytes and bandwidth are told" grep -qE "^attnbench: input.h5: $((4 * share)) bytes of .* GB/s" "$err"
[ "$mib" -lt 1024 ] || grep '^attnbench' "$err"

# ways RANKS-GRID LAYOUT...: heads, then rows in each layout; all keys are gathered with rows, which takes memory.
ways=('1x4 contiguous')
[ "$mib" -gt 1024 ] || ways+=('4x1 contiguous' '4x1 zigzag' '4x1 striped')
for way in "${ways[@]}"; do
    read -r grid layout <<<"$way"
    rm -rf r.h5*
    # Below a second the bandwidth of memory is not measured: that takes buffers of its own, beyond the caches.
    expect 4 0 run --input input.h5 --grid "$grid" --layout "$layout" --combine none --warmup 0 --min-reps 1 --max-reps 1 \
        --max-time 0.5 --output r.h5 --csv r.csv
    memory=$((share + output + overhead))
    # k and v of all ranks
    [ "$grid" = 1x4 ] || memory=$((memory + 2 * share))
    counts "run $way" $share 0 $memory
    check "it is right" holds "$out" 'VALID: 1 of 1 cases'
    check "input bytes are told" test "$(column input_bytes r.csv)" = $((4 * share))
    phases=$(h5dump -d "/cases/$(column id r.csv)/samples" -y -w 0 r.h5 | sed -n '/DATA {/,/}/p' | grep -E '[0-9]')
    slowest=$(printf '%s' "$phases" | tr -d ' \n' | awk -F, '{n = NF / 4; for (r = 0; r < 4; r++) if ($(r * n + 2) + 0 > m) m = $(r * n + 2); print m}')
    check "reading has its own phase" awk -v s="$slowest" 'BEGIN {exit !(s > 0)}'
    [ "$mib" -lt 1024 ] || awk -v s="$slowest" -v b=$((4 * share)) 'BEGIN {printf "read in %.3g s, %.3g GB/s\n", s, b / s / 1e9}'
done
finish
