#!/usr/bin/env bash
# bench/peers: results of attn, and of the other systems where build/peers-venv has them, against its own float64
# reference. How fast anything is, is not asserted. Exit 77 (skipped) without numpy.
peers=$(cd "$(dirname "${BASH_SOURCE[0]}")/../../bench/peers" && pwd)
# shellcheck source=tests/cli/common.sh
. "$(dirname "${BASH_SOURCE[0]}")/common.sh"

library=$(dirname "$ATTNBENCH")/attn_peer.so
python=$peers/../../build/peers-venv/bin/python
[ -x "$python" ] || python=python3
export PYTHONDONTWRITEBYTECODE=1

if ! "$python" -c 'import numpy' 2>/dev/null; then
    echo "skipped: needs the Python package numpy"
    exit 77
fi
if ldd "$library" | grep -qE 'lib(a|ub)san'; then
    echo "skipped: Python cannot load a library with sanitizers"
    exit 77
fi

# peers CODE ARGUMENT...: runs peers.py and checks its status.
peers() {
    local wanted=$1
    shift
    timeout -k 5 300 "$python" "$peers/peers.py" --library "$library" --threads 2 "$@" >"$out" 2>"$err"
    code=$?
    check "peers.py $* exits $wanted" test "$code" -eq "$wanted"
}
# rows SYSTEM VERDICT: how many of the table's rows have both.
rows() { grep -cE "(^| )$1 .* $2\$" "$out"; }
# json EXPRESSION: its value, runs being what the systems did with the cases.
json() {
    "$python" -c "import json; cases = json.load(open('peers.json'))['cases']
runs = [run for case in cases for run in case['systems'].values()]; print($1)"
}

# Every case, short; without the compiler that torch-flex starts.
peers 0 --quick --systems attn,onnxruntime,torch --json peers.json --csv peers.csv
total=$(grep -c '^peers: [0-9]* of' "$err")
check "there are cases" test "$total" -ge 25
check "attn runs them all" test "$(rows attn VALID)" -eq "$total"
check "nothing is wrong" lacks "$out" INVALID
check "16 bits have their verdict on exactness" test \
    "$(grep -cE '^[a-z]+ bfloat16 .* 2 x rounded +(yes|NO)$' "$out")" -eq "$(grep -cE '^[a-z]+ bfloat16 .* attn ' "$out")"
check "who is not here has a reason" test "$(json 'all(run["seconds"] or run["skipped"] for run in runs)')" = True
check "JSON has all rounds" test "$(json 'sum(len(run["seconds"]) for run in runs)')" -eq $(($(lines peers.csv) - 1))
check "rounds are complete" test "$(json 'all(len(run["seconds"]) in (0, 7) for run in runs)')" = True

# An interval of 7 ratios is their least and their largest, and covers the median with 1 - 2^-6.
(cd "$peers" && "$python" -c '
from report import median_interval, number, paired_ratios
assert median_interval([3, 1, 2, 7, 5, 4, 6]) == (4, 1, 7, 1 - 2 / 2**7)
assert median_interval(range(1, 22))[1:3] == (6, 16)
assert paired_ratios([2.0, 9.0], [1.0, 3.0]) == [2.0, 3.0]
assert [number(x) for x in (0.1234567, 12.34567, 123456.7)] == ["0.123", "12.35", "123457"]
') >"$out" 2>"$err"
code=$?
check "medians, intervals and numbers" test "$code" -eq 0

# Choices, and what is refused.
peers 0 --quick --systems attn --case 'decode float32' --kernel reference
check "two cases" test "$(rows attn VALID)" -eq 2
check "with that kernel" holds "$out" 'attn: kernel reference'
peers 2 --case 'sideways'
check "no such case" holds "$err" "--case 'sideways'"
peers 2 --systems attn,abacus
check "no such system" holds "$err" 'abacus'
peers 2 --systems attn --kernel abacus --case decode --quick
check "no such kernel" holds "$out" "kernel 'abacus'"
peers 2 --library ./absent.so --systems attn
check "no such library" holds "$err" './absent.so'
finish
