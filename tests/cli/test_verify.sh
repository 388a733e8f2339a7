#!/usr/bin/env bash
# The reference cases pass however they are distributed; a wrong value is found; what was computed can be written.
# shellcheck source=tests/cli/common.sh
. "$(dirname "${BASH_SOURCE[0]}")/common.sh"

golden=$ATTN_TEST_DATA/golden
inputs=()
for file in "$golden"/*.h5; do
    h5dump -a /schema "$file" | grep -q '"attn-input"' && inputs+=("$file")
done
count=${#inputs[@]}
check "there are reference cases" test "$count" -ge 15

# o and lse of each file in each way: none may be left out.
passes() { check "$1 PASS" holds "$out" "$1 checked: $1 PASS, 0 FAIL; 0 not checked"; }

expect 1 0 verify --pass forward "${inputs[@]}"
passes $((2 * count))
expect 4 0 verify --pass forward --layout all --grid 4x1,2x2,1x4 --combine all "${inputs[@]}"
passes $((2 * count * 3 * $(names_of Layouts | wc -l) * $(names_of Combines | wc -l)))
# Every kernel, and every exchange and layout; which of them go with each other is for dist/golden.
expect 3 0 verify --pass forward --exchange all --layout all "${inputs[@]:0:5}"
check "nothing fails" holds "$out" ' 0 FAIL'
exchanges=$(names_of Exchanges | wc -l)
check "every exchange was tried on every layout" test "$(grep -c 'PASS$' "$out")" -ge $((2 * 5 * 3 * exchanges))
expect 3 0 verify --pass forward --kernel all --exchange ring --ranks 2,3 "${inputs[@]}"
check "nothing fails" holds "$out" ' 0 FAIL'
# The files are float32, which some kernels lack.
kernels=$("$ATTNBENCH" list | awk '/^Exchanges/ {exit} NR > 3 && $3 == "yes"' | wc -l)
check "there are kernels" test "$kernels" -ge 2
check "every kernel that runs here was tried" test "$(grep -c 'PASS$' "$out")" -ge $((2 * count * 2 * kernels))

# All files, gradients and layers among them.
expect 2 0 verify "$golden"/*.h5
check "all of it is checked" holds "$out" ' 0 FAIL; 0 not checked'
expect 2 0 verify --exchange none "$golden"/gqa.h5 "$golden/causal.h5"
check "gradients are checked" holds "$out" '10 checked: 10 PASS, 0 FAIL; 0 not checked'
expect 2 0 verify --exchange allgather "$golden/causal.h5"
check "gradients are checked over an exchange" holds "$out" '5 checked: 5 PASS, 0 FAIL; 0 not checked'
expect 2 0 verify --exchange ring-q "$golden/causal.h5"
check "gradients are listed" grep -q 'expected/dq .*not checked: exchange ring-q: it has no backward pass' "$out"
for array in dq dk dv; do
    cp "$golden/gqa.h5" bad.h5 && chmod u+w bad.h5
    corrupt bad.h5 expected/$array
    expect 2 1 verify --exchange none bad.h5
    check "$array is wrong" grep -qE "expected/$array .*FAIL at b [0-9]+, head [0-9]+, row [0-9]+" "$out"
    check "only that" holds "$out" '5 checked: 4 PASS, 1 FAIL'
done
bench 2 verify --pass forward "$golden/causal.h5"
check "not with --pass forward" lacks "$out" 'expected/dq'
expect 2 0 verify "$ATTN_TEST_DATA"/real/*.h5
expect 2 0 verify --dtype float64 --kernel portable "$golden/causal.h5"
expect 2 0 verify --dtype bfloat16 "$golden/causal.h5"

for array in expected/o expected/lse; do
    cp "$golden/gqa.h5" bad.h5 && chmod u+w bad.h5
    corrupt bad.h5 $array
    for ranks in 1 4; do
        expect $ranks 1 verify --pass forward bad.h5 "$golden/causal.h5"
        check "$array is wrong" grep -qE "$array .*FAIL at b [0-9]+, head [0-9]+, row [0-9]+.*want 1e\+30" "$out"
        check "only that" holds "$out" '4 checked: 3 PASS, 1 FAIL'
        check "no message" is_empty "$err"
    done
done

# What is written can be verified, is the same at any number of ranks within the tolerance, and keeps the inputs.
for way in "1 1x1 allgather" "4 4x1 allgather" "4 2x2 allgather" "4 1x4 allgather" "4 2x2 none" "4 1x4 none"; do
    read -r ranks grid combine <<<"$way"
    rm -rf written
    expect "$ranks" 0 verify --pass forward --grid "$grid" --combine "$combine" --write written/new "${inputs[@]}"
    check "a file each" test "$(find written/new -type f | wc -l)" -eq "$count"
    expect 3 0 verify --pass forward written/new/*.h5
    passes $((2 * count))
done
for array in q k v "do" kv_len; do
    h5dump -d $array -b FILE -o given "$golden/padding.h5" >/dev/null
    h5dump -d $array -b FILE -o kept written/new/padding.h5 >/dev/null
    check "$array is kept" cmp given kept
done

# NaN in the input is allowed, and said.
cp "$golden/full.h5" nan.h5 && chmod u+w nan.h5
put_bytes '\000\000\300\177' nan.h5 q
for ranks in 1 4; do
    expect $ranks 1 verify --pass forward --write nan.$ranks nan.h5
    check "NaN where a number is expected fails" grep -q 'expected/o .* inf .*FAIL at b 0, head 0, row 0' "$out"
    expect $ranks 0 verify nan.$ranks/nan.h5
    check "NaN where NaN is expected passes, and is said" grep -qE 'PASS \(1 of [0-9]+ rows are NaN, as the input' "$out"
    expect $ranks 0 verify "$golden/full.h5"
    check "and not said of others" lacks "$out" 'NaN'
done

# The list of all rows is bounded, however little each of them costs.
expect 2 0 generate --heads 1 --seq 5M --kv-seq 1 --head-dim 1 --output rows.h5
expect 2 0 verify rows.h5
check "sampled rows" holds "$out" 'PASS (256 sampled rows against float64)'
finish
