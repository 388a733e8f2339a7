#!/usr/bin/env bash
# Kernels and passes of run: every kernel by --kernel all, the choice of the environment, decoding steps, bounds, roofline.
# shellcheck source=tests/cli/common.sh
. "$(dirname "${BASH_SOURCE[0]}")/common.sh"

short=(--heads 4 --head-dim 16 --max-time 0.05 --max-reps 20)
kernels=$(names_of Kernels)
count=$(wc -l <<<"$kernels")
check "there are kernels" test "$count" -ge 2

# Every kernel is a row for each type: measured, or skipped with the reason.
expect 1 0 run "${short[@]}" --seq 40 --kernel all --dtype float32,bfloat16 --output all.h5 --csv all.csv
check "a row for each kernel and type" test $(($(lines all.csv) - 1)) -eq $((2 * count))
for kernel in $kernels; do
    check "$kernel is measured, or says why not" test \
        "$(grep -cE " kernel $kernel .*(VALID\$|skipped: kernel $kernel: )" "$out")" -eq 2
done
check "nothing is invalid" lacks "$out" INVALID
{ head -n 1 all.csv && grep ',valid,' all.csv; } >valid.csv # reasons may have commas
valid=$(($(lines valid.csv) - 1))
check "each measured case names what bounds it" test "$(column bound valid.csv | grep -cx compute)" -eq "$valid"
peaks=$("$ATTNBENCH" list | awk '/^Probes/ {on = NR} on && NR > on + 2 {print $1}')
for level in $(column compute_level valid.csv | sort -u); do
    check "its peak $level is a probe" grep -qx "$level" <<<"$peaks"
done
good=$(awk -F, 'NR == 1 {for (i = 1; i <= NF; i++) at[$i] = i; next}
    NR > 1 {want = 100 * $at["flops"] / $at["compute_peak"] / $at["median_s"]; got = $at["bound-percent"]
     if (got > 0.999 * want && got < 1.001 * want) good++} END {print good + 0}' valid.csv)
check "the share is of that peak" test "$good" -eq "$valid"

# The environment chooses where the options do not; it is recorded, and an unknown name is refused in one line.
ATTN_KERNEL=portable expect 1 0 run "${short[@]}" --seq 40 --kernel auto,reference --output env.h5 --csv env.csv
check "auto is what it names" test "$(column kernel env.csv | sort | tr '\n' ' ')" = 'portable reference '
check "it is recorded" grep -q ATTN_KERNEL <(h5dump -g /environment env.h5)
ATTN_KERNEL=portable expect 1 0 verify --pass forward "$ATTN_TEST_DATA/golden/causal.h5"
check "verify takes it" grep -q ' portable, ' "$out"
for value in '' auto; do
    ATTN_KERNEL=$value expect 1 0 run "${short[@]}" --seq 40 --output "auto$value.h5" --csv auto.csv
    expect 1 0 run "${short[@]}" --seq 40 --output "own$value.h5" --csv own.csv
    check "'$value' leaves the choice" test "$(column kernel auto.csv)" = "$(column kernel own.csv)"
done
for ranks in 1 3; do
    ATTN_KERNEL=nosuchkernel expect $ranks 2 run "${short[@]}" --seq 40 --output refused.h5
    check "one line" test "$(lines "$err")" -eq 1
    check "the value" holds "$err" 'ATTN_KERNEL=nosuchkernel: '
    for kernel in $kernels; do
        check "the message names $kernel" holds "$err" "$kernel"
    done
    ATTN_KERNEL=nosuchkernel expect $ranks 2 verify "$ATTN_TEST_DATA/golden/causal.h5"
done
check "no file is made" test ! -e refused.h5

# Decoding steps: one row against 4096 keys unless told otherwise, with the bandwidth that can bound them.
expect 1 0 run --pass decode --heads 4 --kv-heads 4,1 --head-dim 16 --max-time 0.05 --max-reps 20 --output decode.h5 \
    --csv decode.csv
check "both are valid" holds "$out" 'VALID: 2 of 2 cases'
check "one row" test "$(column seq decode.csv | sort -u)" = 1
check "4096 keys" test "$(column kv_seq decode.csv | sort -u)" = 4096
check "the pass" test "$(column pass decode.csv | sort -u)" = decode
check "one bandwidth for the launch" test "$(column read_bandwidth decode.csv | sort -u | grep -c .)" -eq 1
# q and o of 4 heads, lse, and k and v of 4 heads or 1, in float32.
check "bytes are counted once" test "$(column memory_bytes decode.csv | sort -n | tr '\n' ' ')" = '524816 2097680 '
expect 3 0 run --pass decode --seq 3 --kv-seq 50 --heads 2 --head-dim 8 --causal --window-left 9 --max-time 0.05 \
    --max-reps 9 --ranks 1,3 --output window.h5 --csv window.csv
check "both are valid" holds "$out" 'VALID: 2 of 2 cases'
check "partial results come to the rows" test "$(column exchange window.csv | sort | tr '\n' ' ')" = 'none tree '
# Rows 47, 48 and 49 see keys 38 to 49: 12 of 50.
check "keys that nobody sees are not counted" test "$(column memory_bytes window.csv | sort -u)" = \
    $((4 * (2 * 2 * 3 * 8 + 2 * 3 + 2 * 2 * 12 * 8)))

# The backward pass: every kernel that has it, masks and shared heads, and the gradients of a file. Both passes' counts.
expect 1 0 run "${short[@]}" --pass backward --seq 40 --kv-heads 2 --causal --kernel all --dtype float32,bfloat16 \
    --output backward.h5 --csv backward.csv
check "nothing is invalid" lacks "$out" INVALID
check "there are valid ones" test "$(column status backward.csv | grep -cx valid)" -ge 2
check "the pass" test "$(column pass backward.csv | sort -u)" = backward
{ head -n 1 backward.csv && grep ',valid,' backward.csv; } >valid.csv
# 40 * 41 / 2 pairs of 4 heads, 10 * 16 operations each.
check "operations" test "$(column flops valid.csv | sort -u)" -eq $((40 * 41 * 4 * 160 / 2))
expect 3 0 run "${short[@]}" --pass backward --seq 33 --heads 6 --kv-heads 2 --alibi --sinks --softcap 5 --window-left 9 \
    --ranks 1,3 --grid auto,1x3 --exchange none --output heads.h5
check "nothing is invalid" lacks "$out" INVALID
check "alone and with shared heads" test "$(grep -c ' VALID$' "$out")" -ge 2
expect 3 0 run "${short[@]}" --pass backward --seq 33 --heads 6 --kv-heads 2 --causal --dropout 0.2 --layout all \
    --ranks 1,3 --grid auto,1x3 --output dropout.h5
check "nothing is invalid with dropout" lacks "$out" INVALID
check "there are valid ones with dropout" test "$(grep -c ' VALID$' "$out")" -ge 2
expect 1 0 run --pass backward --input "$ATTN_TEST_DATA/golden/gqa.h5" --max-time 0.05 --output file.h5
check "of a file" holds "$out" 'VALID: 1 of 1 cases'

# A launch in a hurry measures no bandwidth, unless memory can bind.
check "forward has none" test -z "$(column read_bandwidth valid.csv)"
if command -v gnuplot >/dev/null; then
    expect 1 0 report --roofline roofline.svg all.h5 decode.h5
    check "the roofs are named" grep -qE 'fma-float32.*GFLOP/s' roofline.svg
    check "the bandwidth too" grep -q 'read bandwidth' roofline.svg
    expect 1 2 report --roofline roofline.bmp all.h5
    check "pictures of other kinds are refused" holds "$err" '--roofline roofline.bmp: '
    expect 1 2 report --roofline same.svg --plot same.svg all.h5
fi
finish
