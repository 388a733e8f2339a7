#!/usr/bin/env bash
# attnbench explain: the numbers printed in a book, sums, views, pictures, and what is refused.
# shellcheck source=tests/cli/common.sh
. "$(dirname "${BASH_SOURCE[0]}")/common.sh"

golden=$ATTN_TEST_DATA/golden
v1=$golden/book_self_attention_v1.h5 v2=$golden/book_self_attention_v2.h5 multi=$golden/book_multihead.h5

# row TITLE N: the numbers of row N of the first table whose title begins so, the blanks squeezed.
row() {
    awk -v title="$1" -v n="$2" 'index($0, title) == 1 {inside = 1; next} inside && NF == 0 {exit} inside && /^-/ {inside = 2}
        inside > 1 && $1 == n {$1 = ""; sub(/^ /, ""); print; exit}' "$out"
}
is() { test "$(row "$1" "$2")" = "$3"; }

# Raschka 2024, chapter 3, as printed there. 3.3.1 and 3.3.2: attention without weights.
expect 1 0 explain --no-weights "$v1"
check "nothing on stderr" is_empty "$err"
check "scores" is 'Dot products' 0 '0.9995 0.9544 0.9422 0.4753 0.4576 0.6310'
check "weights of the first word" is 'Attention weights' 0 '0.2098 0.2006 0.1981 0.1242 0.1220 0.1452 1.0000'
check "weights of the second" is 'Attention weights' 1 '0.1385 0.2379 0.2333 0.1240 0.1082 0.1581 1.0000'
check "its context vector" is 'Context vectors' 1 '0.4419 0.6515 0.5683'
check "that of the last" is 'Context vectors' 5 '0.4177 0.6503 0.5645'
expect 1 0 explain --no-weights --row 1 "$v1"
check "a product" holds "$out" 'q . k = 0.5500 * 0.4300 + 0.8700 * 0.1500 + 0.6600 * 0.8900 = 0.9544'
check "a term and its weight" test "$(grep -cE '^  key 0: exp\(0.9544 - 1.4950\) = 0.5824$|^  p\[0\] = 0.5824 / 4.2036 = 0.1385$' "$out")" -eq 2
check "the context vector" grep -q '^  o\[2\] = .* = 0.5683$' "$out"
# 3.4: trainable weights.
expect 1 0 explain "$v1"
check "query" is 'Queries' 1 '0.4306 1.4551'
check "scores" is 'Dot products' 1 '1.2705 1.8524 1.8111 1.0795 0.5577 1.5440'
check "weights" is 'Attention weights' 1 '0.1500 0.2264 0.2199 0.1311 0.0906 0.1820 1.0000'
check "context vectors" is 'Context vectors' 1 '0.3061 0.8210'
check "the scale" holds "$out" 'scale 0.7071 = 1 / sqrt(2)'
expect 1 0 explain "$v2"
check "weights" is 'Attention weights' 0 '0.1921 0.1646 0.1652 0.1550 0.1721 0.1510 1.0000'
check "context vectors" is 'Context vectors' 0 '-0.0739 0.0713'
# 3.5: the causal mask.
expect 1 0 explain --causal "$v2"
check "masked scores" is 'Scores' 1 '0.3293 0.1218 . . . .'
check "weights" is 'Attention weights' 2 '0.3800 0.3097 0.3103 . . . 1.0000'
check "the last row as without" is 'Attention weights' 5 '0.1935 0.1663 0.1666 0.1542 0.1666 0.1529 1.0000'
expect 1 0 explain --causal --row 2 "$v2"
check "renormalised to the same" test "$(grep -c '^  p\[1\] = .* = 0.3097$' "$out")" -eq 2
# 3.6: two heads and an output projection.
expect 1 0 explain "$multi"
check "output" is 'Output y' 0 '0.3190 0.4858'
check "output" is 'Output y' 5 '0.2575 0.4028'
check "two heads" test "$(grep -c '^Attention weights' "$out")" -eq 2
check "which sequence" holds "$out" 'sequence 0 of the batch'
expect 1 0 explain --batch-index 1 --row 5 --head 1 "$multi"
check "output of the second sequence" grep -q '^  y\[1\] = .* = 0.4028$' "$out"

# Every row of every table of weights of every file sums to 1, to less with a sink, to 0 where no key is visible.
for file in "$golden"/*.h5; do
    expect 1 0 explain --head 0 --rows 0:1 --keys 0:1 --digits 6 "$file"
    sum=$(row 'Attention weights' 0)
    sum=${sum##* }
    case $(basename "$file") in
        sinks.h5) check "a sink takes its share" grep -q '^0\.' <<<"$sum" ;;
        *) check "$(basename "$file"): sums to 1" test "$sum" = 1.000000 ;;
    esac
done
expect 1 0 explain --batch-index 2 --head 0 --row 3 "$golden/padding.h5"
check "a row that sees nothing" holds "$out" 'no key is visible: all weights are 0'

# The same result online, on ranks, and with another number of both; named rows; digits.
expect 1 0 explain --no-weights --row 1 --block 1 --parts 2 --tokens Your,journey,starts,with,one,step "$v1"
check "rescaled" grep -qE '^journey +1.4950 +0.5824 +1.5824 ' "$out"
check "three times the same" test "$(grep -c '(0.4419, 0.6515, 0.5683)' "$out")" -eq 2
check "named" holds "$out" '  p[starts] = 0.9806 / 4.2036 = 0.2333'
check "shares of the ranks" grep -qE '^ +0  Your to starts .* 0.6097$' "$out"
expect 1 0 explain --row 3 --block 5 --parts 9 --head 2 "$golden/sinks.h5"
context=$(sed -n 's/^  o = w \/ sum = \(.*\); lse.*/\1/p' "$out")
check "with a sink" holds "$out" "o = the sum of exp(lse - all) times o = $context"
expect 1 0 explain --no-weights --digits 2 "$v1"
check "two digits" is 'Attention weights' 1 '0.14 0.24 0.23 0.12 0.11 0.16 1.00'

# Settings of the file replaced.
expect 1 0 explain --scale 0 "$v2"
check "scale 0: all alike" is 'Attention weights' 3 '0.1667 0.1667 0.1667 0.1667 0.1667 0.1667 1.0000'
expect 1 0 explain --dropout 0.5 --seed 3 "$v2"
check "dropout doubles what it leaves" grep -q '^Weights after dropout 0.5: dropped, or times 2.0000$' "$out"
check "some are 0" grep -qE '^[0-5] .* 0\.0000 .*[0-9]$' <(sed -n '/^Weights after dropout/,/^$/p' "$out")
expect 1 0 explain --rotary interleaved --row 0 "$v2"
check "turned by nothing at position 0" grep -q '^  q = (0.6600, -0.2047)$' "$out"
expect 1 0 explain --head 5 --row 2 --keys 0:4 "$golden/gqa_layer.h5"
check "grouped heads" holds "$out" 'Row 2, head 5, which has key-value head 1'

# Several ranks: one prints.
expect 3 0 explain "$multi"
check "nothing on stderr" is_empty "$err"
check "one rank prints" test "$(grep -c '^Output y' "$out")" -eq 1

if command -v gnuplot >/dev/null; then
    for kind in png svg pdf; do
        expect 2 0 explain --causal --plot weights.$kind "$v2"
        check "a picture" test -s weights.$kind
    done
    check "the numbers of the cells" test "$(grep -c '0\.55\|0\.45' weights.svg)" -ge 2
    expect 1 0 explain --plot heads.svg --rows 0:33 "$golden/causal_multihead.h5"
    check "a panel a head" test "$(grep -cE 'head [0-5]' heads.svg)" -eq 6
fi

refused() {
    local words=$1
    shift
    expect "${ranks:-1}" 2 explain "$@"
    check "one line" test "$(lines "$err")" -eq 1
    check "it is attnbench's" grep -q '^attnbench: ' "$err"
    check "it says $words" holds "$err" "$words"
    check "nothing on stdout" is_empty "$out"
}
refused 'explain: 0 files; one is needed'
refused 'explain: 2 files; one is needed' "$v1" "$v2"
ranks=2 refused 'absent.h5' absent.h5
refused 'README.md' "$golden/README.md"
refused '--batch-index 2: the file has 2; 0 to 1 are accepted' --batch-index 2 "$multi"
refused '--head 2: the file has 2; 0 to 1 are accepted' --head 2 "$multi"
ranks=2 refused '--row 6: the file has 6; 0 to 5 are accepted' --row 6 "$multi"
refused '--row -1' --row -1 "$multi"
refused '--rows 3:3: A:B with 0 <= A < B <= 6 is accepted' --rows 3:3 "$multi"
refused '--rows 3: A:B' --rows 3 "$multi"
refused '--keys 2:7: A:B with 0 <= A < B <= 6 is accepted' --keys 2:7 "$multi"
refused '--rows' --rows x:2 "$multi"
ranks=3 refused '65 rows: at most 64 are shown; --rows A:B limits them' "$golden/causal.h5"
refused '80 keys: at most 64 are shown; --keys A:B limits them' "$golden/causal_longer_keys.h5"
refused '--digits 16: 1 to 15 are accepted' --digits 16 "$multi"
refused '--digits' --digits 0 "$multi"
refused '--block: accepted with --row' --block 2 "$multi"
refused '--parts: accepted with --row' --parts 2 "$multi"
refused '--parts 65: 1 to 64 are accepted' --row 0 --parts 65 "$multi"
refused '--rows: not accepted with --row' --row 0 --rows 0:2 "$multi"
refused '--block 1: blocks of 3 or more are accepted for 150 keys' --row 0 --keys 0:9 --block 1 "$golden/decode.h5"
ranks=2 refused '--tokens: 2 names; 6 are needed' --tokens a,b "$multi"
refused '--tokens: name 1 has 0 bytes' --tokens a,,b "$multi"
refused '--no-weights is accepted with attn-layer files' --no-weights "$golden/full.h5"
refused '--rotary is accepted with attn-layer files' --rotary half "$golden/full.h5"
refused '--rotary both: none, half and interleaved are accepted' --rotary both "$v2"
refused 'dropout 1' --dropout 1 "$v2"
refused '--scale x' --scale x "$v2"
refused '--plot weights.jpg: a name ending in .png, .svg or .pdf is accepted' --plot weights.jpg "$v2"
refused '--plot none/weights.png: cannot be written' --plot none/weights.png "$v2"
refused 'unknown option "--rank"' --rank 1 "$v2"
# Refused before anything is read.
bench 2 generate --seq 8k --heads 2 --head-dim 2 --quiet --output large.h5
refused 'weights of 1 x 2 x 8192 x 8192 elements: at most 16777216 are explained' --row 0 --keys 0:9 large.h5
finish
