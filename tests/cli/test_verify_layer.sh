#!/usr/bin/env bash
# Layers pass however they are distributed; a wrong value is found, in each array; what was computed can be written.
# shellcheck source=tests/cli/common.sh
. "$(dirname "${BASH_SOURCE[0]}")/common.sh"

layers=()
for file in "$ATTN_TEST_DATA"/golden/*.h5; do
    h5dump -a /schema "$file" | grep -q '"attn-layer"' && layers+=("$file")
done
count=${#layers[@]}
check "there are reference layers" test "$count" -ge 7

# results FILE...: how many arrays the files expect.
results() {
    local file
    for file in "$@"; do h5dump -n "$file"; done | grep -cE '^ *dataset +/expected/'
}
passes() { check "$1 PASS" holds "$out" "$1 checked: $1 PASS, 0 FAIL; 0 not checked"; }
all=$(results "${layers[@]}")
check "with gradients" test "$all" -ge 49

# Every grid, with the outputs gathered and with each rank projecting its own heads.
for ranks in 1 2 3 4 6; do
    grids=1x1
    [ "$ranks" -eq 1 ] || grids=${ranks}x1,1x$ranks
    [ "$ranks" -ne 4 ] || grids=$grids,2x2
    [ "$ranks" -ne 6 ] || grids=$grids,2x3,3x2
    number=$(tr ',' '\n' <<<"$grids" | wc -l)
    expect "$ranks" 0 verify --grid "$grids" --combine allgather,none "${layers[@]}"
    passes $((2 * number * all))
done
check "both ways were taken" holds "$out" ', reduce-scatter '
expect 4 0 verify --pass forward --layout all "${layers[@]}"
passes $((count * $(names_of Layouts | wc -l)))
check "no gradient" lacks "$out" expected/dx
expect 3 0 verify --exchange all --layout contiguous "${layers[@]:3:2}"
check "nothing fails" holds "$out" ' 0 FAIL'
check "ring gives gradients" grep -qE 'expected/dx .*, ring, .*PASS$' "$out"
expect 3 0 verify --exchange ring-q "${layers[4]}"
check "without backward pass: y alone" grep -qE 'expected/y .*, ring-q, .*PASS$' "$out"
check "and why" grep -qE 'expected/dx .*, ring-q, .*not checked: exchange ring-q: it has no backward pass' "$out"
expect 3 0 verify --ranks 1,2,3 --kernel all "${layers[4]}"
check "nothing fails" holds "$out" ' 0 FAIL'
expect 2 0 verify --dtype float64 --kernel portable "${layers[@]}"
passes "$all"
expect 2 0 verify --pass forward --dtype bfloat16 "${layers[@]}"
passes "$count"

# Each array is looked at.
for array in expected/y expected/dx; do
    cp "$ATTN_TEST_DATA/golden/causal_multihead.h5" bad.h5 && chmod u+w bad.h5
    corrupt bad.h5 $array
    expect 4 1 verify bad.h5
    check "$array is wrong" grep -qE "$array .*FAIL at b 1, row 32, column 47: got .*, want 1e\+30" "$out"
    check "only that" holds "$out" '10 checked: 9 PASS, 1 FAIL'
done
for name in query.weight key.bias value.weight out_proj.weight out_proj.bias; do
    cp "$ATTN_TEST_DATA/golden/causal_multihead.h5" bad.h5 && chmod u+w bad.h5
    corrupt bad.h5 "expected/weights/$name"
    expect 2 1 verify bad.h5
    check "$name is wrong" grep -qE "expected/weights/$name .*FAIL at row 4[67], column (0|4[67])" "$out"
    check "only that" holds "$out" '10 checked: 9 PASS, 1 FAIL'
done

# What is written can be verified, keeps inputs and names, and is the same at any number of ranks within the tolerance.
for way in "1 1x1 allgather" "4 2x2 none" "4 1x4 allgather" "6 2x3 none"; do
    read -r ranks grid combine <<<"$way"
    rm -rf written
    expect "$ranks" 0 verify --grid "$grid" --combine "$combine" --write written/new "${layers[@]}"
    check "a file each" test "$(find written/new -type f | wc -l)" -eq "$count"
    expect 3 0 verify written/new/*.h5
    passes "$all"
done
for dataset in x dy weights/W_query.weight weights/out_proj.bias; do
    h5dump -d $dataset -b FILE -o given "$ATTN_TEST_DATA/golden/book_multihead.h5" >/dev/null
    h5dump -d $dataset -b FILE -o kept written/new/book_multihead.h5 >/dev/null
    check "$dataset is kept" cmp given kept
done
expect 2 0 verify --pass forward --write forward "${layers[@]}"
check "y alone was written" test "$(results forward/*.h5)" -eq "$count"

# Where nothing is expected, float64 decides.
"${WRITE_DEFECTS:?}" . || exit 1
for file in layer-plain.h5 layer-nested-names.h5 layer-strangers.h5; do
    expect 3 0 verify $file
    check "$file passes" holds "$out" ' 0 FAIL; 0 not checked'
done
expect 2 0 verify layer-nested-names.h5
check "against float64" grep -qE ' y .*PASS \(against float64\)' "$out"
check "gradients too" grep -qE ' weights/self/query/weight .*PASS \(against float64\)' "$out"
finish
