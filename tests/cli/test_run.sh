#!/usr/bin/env bash
# A tiny sweep from its table to its files: result file, JSON, CSV, resuming, skipped points, real input, report.
# shellcheck source=tests/cli/common.sh
. "$(dirname "${BASH_SOURCE[0]}")/common.sh"

short=(--heads 4 --head-dim 16 --max-time 0.05 --max-reps 20)
# Two lengths at three numbers of ranks.
sweep=(run "${short[@]}" --seq '32,48' --ranks '1,2,4' --causal --kv-heads 2)
expect 4 0 "${sweep[@]}" --output a.h5 --json a.json --csv a.csv
check "six rows are valid" test "$(grep -c ' VALID' "$out")" -eq 6
check "it says so" holds "$out" 'VALID: 6 of 6 cases'
check "no progress where stderr is no terminal" lacks "$err" '/6]'
if command -v script >/dev/null; then
    script -qec "'$ATTNBENCH' run --heads 2 --head-dim 8 --seq 16 --max-time 0.01 --output terminal.h5" /dev/null >"$scratch/terminal"
    check "progress on a terminal is a message like the others" grep -q '^attnbench: \[1/1\] ' "$scratch/terminal"
fi
check "stderr holds warnings alone" test "$(grep -vc '^attnbench: warning: ' "$err")" -eq 0
check "JSON is JSON" json_good a.json
check "JSON has iterations and aggregates" grep -q '"aggregate"' a.json
check "CSV has a row a case" test "$(lines a.csv)" -eq 7
check "HDF5 has six cases" test "$(cases_in a.h5)" -eq 6
check "no parts are left" test ! -e a.h5.parts
check "three files" test "$(find . -type f -name 'a.*' ! -name '*.lock' | wc -l)" -eq 3
check "every rank's rows are looked at" test "$(column ranks_checked a.csv)" = "$(column ranks a.csv)"
check "no row is NaN" test "$(column nan_rows a.csv | sort -u)" = 0
check "the threads stay the same along a series" test "$(column threads a.csv | sort -u | wc -l)" -eq 1
h5dump -g /environment a.h5 >"$scratch/environment"
for word in command_line hosts bindings order_seed compile_flags; do
    check "the launch has $word" holds "$scratch/environment" "\"$word\""
done

# The same file again: refused, or resumed with nothing to do, or resumed with what is new.
expect 4 2 "${sweep[@]}" --output a.h5
check "one line" test "$(lines "$err")" -eq 1
check "it says how to go on" holds "$err" '--resume'
check "nothing is printed" is_empty "$out"
cp a.h5 before.h5
expect 4 0 "${sweep[@]}" --output a.h5 --resume
check "all are there" holds "$out" 'VALID: 6 of 6 cases'
check "it says that nothing is left" holds "$err" 'attnbench: 6 of 6 cases found, 0 to run'
check "nothing was run again" test "$(launches_of a.h5)" = "$(launches_of before.h5)"
expect 4 0 "${sweep[@]}" --seq 32,48,64 --output a.h5 --resume
check "three more" test "$(cases_in a.h5)" -eq 9
check "it says what is left" holds "$err" 'attnbench: 6 of 9 cases found, 3 to run'
expect 4 0 "${sweep[@]}" --seq 32,48,64 --output a.h5 --resume --quiet
check "not with --quiet" is_empty "$err"
check "in another launch" test "$(launches_of a.h5 | wc -l)" -eq 2

# Bits that do not depend on the number of ranks, or the reason.
expect 3 0 run "${short[@]}" --seq 32,768 --causal --ranks 1,3 --grid auto,3x1 --kernel portable --deterministic --output bits.h5 --csv bits.csv
check "what cannot be is skipped" grep -q 'skipped.*deterministic: kv-seq 32 over 3 ranks: each rank must have a multiple of 128 keys' "$out"
check "it is a factor" test "$(column deterministic bits.csv | sort -u)" = 1
check "one rank, three that split the heads, three that split whole blocks" test "$(grep -c ' VALID' "$out")" -eq 4
expect 3 0 run "${short[@]}" --seq 768 --layout contiguous,zigzag --grid 3x1 --kernel portable --deterministic --output layouts.h5
check "another layout is refused" grep -q 'skipped.*deterministic: layout zigzag' "$out"

# Nothing to resume starts fresh; the default name; JSON and CSV on stdout.
expect 2 0 run "${short[@]}" --seq 32 --output fresh.h5 --resume
check "a file" test "$(cases_in fresh.h5)" -eq 1
mkdir default && cd default || exit 1
expect 2 0 run "${short[@]}" --seq 32 --quiet --json -
check "stdout is JSON alone" json_good "$out"
check "the table is on stderr" holds "$err" 'VALID: 1 of 1 cases'
check "the default name" test "$(find . -name 'attnbench-[0-9]*T[0-9]*-[0-9a-f]*.h5' | wc -l)" -eq 1
cd .. || exit 1

# Every exchange, layout, combine and kernel; the same case twice is run once.
layouts=$(names_of Layouts | wc -l)
ways=$(($(names_of Exchanges | wc -l) * layouts * $(names_of Combines | wc -l)))
check "there are some" test "$ways" -ge 12
expect 3 0 run "${short[@]}" --seq 33 --heads 3 --exchange all --layout all --combine all --output all.h5
check "$ways cases" holds "$out" "VALID: $ways of $ways cases"
expect 1 0 run "${short[@]}" --seq 40 --kernel all --dtype all --window-left -1,7 --output kernels.h5
check "all are valid" test "$(grep -c ' VALID' "$out")" -ge 16
expect 2 0 run "${short[@]}" --seq 32,32 --kernel auto,auto --output twice.h5
check "once" holds "$out" 'VALID: 1 of 1 cases'

# A point that cannot run is a row with its reason, and fails nothing.
expect 3 0 run "${short[@]}" --seq 32 --grid 3x1,2x2 --output skipped.h5
check "the reason" grep -q 'skipped.*grid 2x2 has 4 ranks and 3 run' "$out"
check "the other one is valid" holds "$out" 'VALID: 1 of 2 cases'
expect 3 0 run "${short[@]}" --seq 32 --grid 3x1,2x2 --output skipped.h5 --resume

# Masks and scores; documents; weak scaling; more ranks than rows and heads.
expect 4 0 run "${short[@]}" --seq 61 --kv-seq 67 --causal --alibi --sinks --softcap 0,15 --scale 0.3 \
    --window-left 9 --v-head-dim 7 --dtype float64,bfloat16 --output masks.h5
check "four valid cases" holds "$out" 'VALID: 4 of 4 cases'
# Dropout is a factor where there is some: without it a case keeps the name that it had before there was dropout.
expect 4 0 run "${short[@]}" --seq 61 --causal --dropout 0,0.25 --layout all --grid 4x1,2x2 --seed 3 --output dropout.h5
check "nothing is invalid with dropout" lacks "$out" INVALID
h5dump -A dropout.h5 >"$scratch/dropout"
check "cases with and without the factor" test \
    "$(grep -c 'ATTRIBUTE "dropout"' "$scratch/dropout")" -eq $(($(cases_in dropout.h5) / 2))
expect 4 0 run "${short[@]}" --seq 61 --dtype bfloat16 --dropout 0.1 --csv dropout.csv --output auto.h5
check "a kernel with dropout is chosen" holds "$out" 'VALID: 1 of 1 cases'
expect 4 0 run "${short[@]}" --seq 64 --documents 0,5,fixed:9,uniform:3:9,lognormal:8:1 --output documents.h5
check "five valid cases" holds "$out" 'VALID: 5 of 5 cases'
for scaling in weak-seq weak-batch weak-work; do
    expect 4 0 run "${short[@]}" --seq 32 --ranks 1,4 --scaling $scaling --output $scaling.h5 --csv $scaling.csv
    check "$scaling: two valid cases" holds "$out" 'VALID: 2 of 2 cases'
done
# Columns: batch is the 4th of each row, seq the 7th.
check "weak-seq grows seq" test "$(cut -d, -f4,7 weak-seq.csv | sort | tr '\n' ' ')" = '1,128 1,32 batch,seq '
check "weak-batch grows batch" test "$(cut -d, -f4,7 weak-batch.csv | sort | tr '\n' ' ')" = '1,32 4,32 batch,seq '
check "weak-work grows seq by the root" test "$(cut -d, -f4,7 weak-work.csv | sort | tr '\n' ' ')" = '1,32 1,64 batch,seq '
expect 4 0 run "${short[@]}" --seq 3 --heads 2 --grid 4x1,2x2,1x4 --layout all --output few.h5
check "a valid case each" holds "$out" "VALID: $((3 * layouts)) of $((3 * layouts)) cases"

# No export replaces an HDF5 file, be it the results, the output under another name, or an input.
expect 1 2 report few.h5 --csv few.h5
check "it would be lost" holds "$err" 'few.h5: is an HDF5 file and would be lost'
expect 2 2 run "${short[@]}" --seq 16 --output new.h5 --json new.h5
check "the output is no name for an export" holds "$err" '--json new.h5: is the --output'
check "nothing was made" test ! -e new.h5
expect 1 2 run "${short[@]}" --seq 16 --output new.h5 --csv ./new.h5
check "nor is another name of it" holds "$err" './new.h5: is an HDF5 file'
expect 1 0 report few.h5 new.h5

# The threads of OpenMP's own variable are not meant.
OMP_NUM_THREADS=1 expect 1 0 run "${short[@]}" --seq 16
check "a warning says so" holds "$err" 'OMP_NUM_THREADS is not read'
check "the name of the results is told" grep -q 'attnbench: the results are in attnbench-.*\.h5' "$err"

# An input file.
expect 4 0 run --input "$ATTN_TEST_DATA/golden/packed_documents.h5" --ranks 1,3 --max-time 0.05 --dtype float32,float64 \
    --output input.h5 --csv input.csv
check "four valid cases" holds "$out" 'VALID: 4 of 4 cases'
check "its name is recorded" holds input.csv ',packed_documents.h5,'

# Two files of one name are two cases; a copy in another place is the same case, at any number of ranks.
mkdir first second copy
settings=(generate --heads 2 --seq 200 --kv-seq 3 --head-dim 4)
expect 1 0 "${settings[@]}" --output first/x.h5
expect 1 0 "${settings[@]}" --seed 1 --output second/x.h5
cp first/x.h5 copy/x.h5
again=(run --max-time 0.05 --max-reps 9 --ranks 1 --threads 1 --csv x.csv --output x.h5)
expect 1 0 "${again[@]}" --input first/x.h5
expect 3 0 "${again[@]}" --input copy/x.h5 --resume
check "a copy is the same case" test "$(cases_in x.h5)" -eq 1
check "it is not run again" test "$(launches_of x.h5 | wc -l)" -eq 1
expect 2 0 "${again[@]}" --input second/x.h5 --resume
check "other data, another case" test "$(column input_digest x.csv | sort -u | wc -l)" -eq 2
check "16 digits" test "$(column input_digest x.csv | grep -cE '^[0-9a-f]{16}$')" -eq 2
# One value of the last rows, one setting: each makes another case.
cp first/x.h5 copy/x.h5 && put_bytes '\001' copy/x.h5 v
expect 1 0 "${again[@]}" --input copy/x.h5 --resume
rm -f copy/x.h5
expect 1 0 "${settings[@]}" --scale 0.25 --output copy/x.h5
expect 1 0 "${again[@]}" --input copy/x.h5 --resume
rm -f copy/x.h5
expect 1 0 "${settings[@]}" --window-left 5 --output copy/x.h5
expect 1 0 "${again[@]}" --input copy/x.h5 --resume
rm -f copy/x.h5
expect 1 0 "${settings[@]}" --alibi --output copy/x.h5
expect 1 0 "${again[@]}" --input copy/x.h5 --resume
check "six cases" test "$(column input_digest x.csv | sort -u | wc -l)" -eq 6
check "generated data have none" test -z "$(column input_digest a.csv)"

# NaN in the input makes no case invalid, but it is said once.
expect 1 0 "${settings[@]}" --output nan.h5
put_bytes '\000\000\300\177' nan.h5 k
for ranks in 1 3; do
    expect $ranks 0 run --input nan.h5 --ranks "1,$ranks" --max-time 0.05 --csv nan.csv --output nan.$ranks.h5
    check "a warning" grep -qE '^attnbench: warning: [1-9][0-9]* of (64|128) checked rows are NaN because the input' "$err"
    check "once" test "$(grep -c 'are NaN' "$err")" -eq 1
    check "it is recorded" test "$(column nan_rows nan.csv | grep -cx '[1-9][0-9]*')" -ge 1
    expect $ranks 0 run --input nan.h5 --ranks "1,$ranks" --max-time 0.05 --quiet --output quiet.$ranks.h5
    check "not with --quiet" is_empty "$err"
done

# Report.
expect 1 0 report a.h5
check "the baseline is stated" holds "$out" 'baseline'
check "efficiency" holds "$out" 'efficiency'
expect 3 0 report --cases a.h5 masks.h5
check "rows of both files" test "$(grep -c ' VALID' "$out")" -eq 13
expect 1 0 report --format markdown a.h5
check "markdown" grep -q '^| ' "$out"
expect 1 0 report --cases --csv - a.h5
check "CSV alone on stdout" test "$(lines "$out")" -eq 10
check "the table on stderr" holds "$err" 'VALID: 9 of 9 cases'
# In a folder a file that is no result is named and passed over; a result that is named itself must be one.
mkdir folder && cp a.h5 folder/ && cp nan.h5 folder/input.h5 && echo text >folder/note.h5
expect 1 0 report --cases folder
check "the result is read" holds "$out" 'VALID: 9 of 9 cases'
check "two lines" test "$(grep -c '^attnbench: warning: folder/.*; passed over$' "$err")" -eq 2
check "the text" holds "$err" 'folder/note.h5: not an HDF5 file'
check "the input" holds "$err" 'folder/input.h5: attribute schema is "attn-input"'
expect 1 2 report --cases folder folder/note.h5
check "nothing but the error" test "$(lines "$err")" -eq 1
if command -v gnuplot >/dev/null; then
    expect 1 0 report --plot a.svg --roofline r.svg a.h5
    check "a picture" grep -q "<svg" a.svg
    check "another" grep -q "fma-float32" r.svg
fi
finish
