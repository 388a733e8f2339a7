#!/usr/bin/env bash
# attnbench train: it learns, keeps its curve, continues with the same bits, also after a signal, and refuses what is bad.
# shellcheck source=tests/cli/common.sh
. "$(dirname "${BASH_SOURCE[0]}")/common.sh"
# shellcheck source=tests/cli/table.sh
. "$(dirname "${BASH_SOURCE[0]}")/table.sh"
LIMIT=120

small=(train --batch 8 --heads 4 --kv-heads 2 --seq 24 --head-dim 8 --embed-dim 32 --values 4 --threads 1 --seed 3)

# last FILE: the loss of the last line of the curve. raw FILE DATASET: its bytes.
last() { awk '$1 ~ /^[0-9]+$/ { loss = $2 } END { print loss }' "$1"; }
below() { awk -v a="$1" -v b="$2" 'BEGIN { exit !(a < b) }'; }
raw() { h5dump -d "$2" -b FILE -o "$3" "$1" >/dev/null 2>&1; }
same() { raw "$1" "$3" "$scratch/a" && raw "$2" "$3" "$scratch/b" && test -s "$scratch/a" && cmp "$scratch/a" "$scratch/b"; }

# Learned: at most a tenth of the loss of guessing one of four values, log 4 = 1.386.
for ranks in 1 4; do
    expect $ranks 0 "${small[@]}" --causal --grid ${ranks}x1 --layout contiguous --steps 150 --output learn.$ranks.h5 --quiet
    check "learned at $ranks ranks" below "$(last "$out")" 0.14
    check "a line says where the time went" grep -qE '^optimiser +[0-9.]+ +[0-9.]+$' "$out"
    check "nothing on stderr" is_empty "$err"
    check "the curve has all steps" grep -q '( 150 )' <(h5dump -H -d loss learn.$ranks.h5)
    check "and times of each rank" grep -qE "\( 150, $ranks, [0-9]+ \)" <(h5dump -H -d seconds learn.$ranks.h5)
done

# 6 steps and 6 more have the bits of 12.
for setting in '1 --dtype float32' '3 --dtype bfloat16' '4 --dtype float64 --grid 2x2'; do
    read -r ranks options <<<"$setting"
    rm -f through.h5 parts.h5
    # shellcheck disable=SC2086 # several words
    expect "$ranks" 0 "${small[@]}" $options --steps 12 --output through.h5 --checkpoint-every 5
    # shellcheck disable=SC2086
    expect "$ranks" 0 "${small[@]}" $options --steps 6 --output parts.h5
    # shellcheck disable=SC2086
    expect "$ranks" 2 "${small[@]}" $options --steps 12 --output parts.h5
    check "a file is not replaced" holds "$err" 'parts.h5 exists; use --resume'
    # shellcheck disable=SC2086
    expect "$ranks" 0 "${small[@]}" $options --steps 12 --output parts.h5 --resume
    check "it says what was there" holds "$err" 'parts.h5: 6 steps found, 6 to make'
    for set in loss accuracy {weights,mean,square}/{query,key,value,out_proj}.weight; do
        check "$set at $ranks ranks after --resume" same through.h5 parts.h5 "$set"
    done
done

# A state goes on at another number of ranks.
expect 2 0 "${small[@]}" --dtype float64 --steps 14 --output parts.h5 --resume
check "the curve has all steps" grep -q '( 14 )' <(h5dump -H -d loss parts.h5)
check "times of four ranks and of two" grep -q '( 14, 4, ' <(h5dump -H -d seconds parts.h5)
expect 2 2 "${small[@]}" --dtype float64 --steps 3 --output parts.h5 --resume
check "fewer steps than there are" holds "$err" '--steps 3: parts.h5 has 14 already'
expect 2 2 "${small[@]}" --dtype float64 --learning-rate 0.5 --steps 20 --output parts.h5 --resume
check "another setting" holds "$err" 'parts.h5 has learning_rate 0.01, not 0.5'

# A signal: what was made is kept whole, and goes on with the same bits.
timeout -k 5 100 "$ATTNBENCH" "${small[@]}" --steps 1000000 --output stop.h5 --checkpoint-every 10 >"$out" 2>"$err" &
pid=$!
tries=0
until [ -s stop.h5 ] || [ $tries -ge 600 ]; do
    tries=$((tries + 1))
    sleep 0.05
done
pkill -TERM -P $pid
wait $pid
code=$?
check "SIGTERM exits 3" test "$code" -eq 3
check "it names the signal and the file" grep -qE 'interrupted by SIGTERM after step [0-9]+, which stop.h5 holds' "$err"
check "no other file is left" test -z "$(find . -name 'stop.h5?*')"
steps=$(h5dump -H -d loss stop.h5 | sed -n 's|.*SIMPLE { ( \([0-9]*\) ).*|\1|p' | head -n 1)
expect 1 0 "${small[@]}" --steps $((steps + 3)) --output stop.h5 --resume
expect 1 0 "${small[@]}" --steps $((steps + 3)) --output whole.h5
check "the loss goes on with the same bits" same stop.h5 whole.h5 loss
check "and the weights" same stop.h5 whole.h5 weights/out_proj.weight

if command -v gnuplot >/dev/null; then
    expect 2 0 "${small[@]}" --steps 3 --plot curve.svg learn.1.h5 learn.4.h5
    check "a picture of three curves" grep -q 'learn.4.h5, 4 ranks' curve.svg
fi

mkdir -p "$scratch/files"
cp parts.h5 "$scratch/files/float64.h5"
printf 'no' >"$scratch/files/text.h5"
LIMIT=$((5 * ${ATTN_TEST_SLOWNESS:-1}))
bad 2 <<'ROWS'
no steps                   | train --steps 0                              | --steps
two lengths                | train --seq 8,16                             | lists of one value are accepted
one row                    | train --seq 1                                | seq 1
one value                  | train --values 1                             | values 1: training takes at least 2
float16                    | train --dtype float16                        | float16: training takes
a rate that is none        | train --learning-rate fast                   | --learning-rate
a negative rate            | train --learning-rate -1                     | --learning-rate
a grid of other ranks      | train --grid 3x1                             | grid 3x1
--resume without a file    | train --resume                               | --resume: needs --output
checkpoints without a file | train --checkpoint-every 3                   | --checkpoint-every: needs --output
no folder                  | train --output none/x.h5                     | none/x.h5
not a training             | train --output ../files/text.h5 --resume     | text.h5: not an HDF5 file
another shape              | train --output ../files/float64.h5 --resume  | has batch 8, not 16
a picture of no kind       | train --plot x.gif                           | a name ending in .png, .svg or .pdf
files without --plot       | train ../files/float64.h5                    | files are accepted with --plot
ROWS
finish_table
