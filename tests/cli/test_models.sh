#!/usr/bin/env bash
# attnbench report --models and --extrap, on result files with known answers.
# shellcheck source=tests/cli/common.sh
. "$(dirname "${BASH_SOURCE[0]}")/common.sh"

"${WRITE_STUDY:?}" . >"$out" 2>"$err"
code=$?
check "the files are written" test "$code" -eq 0

expect 1 0 report --models scaling.h5
check "nothing on stderr" is_empty "$err"
check "the planted serial fraction" grep -qE '^amdahl +serial fraction +0\.0(49|50)' "$out"
check "the largest P beside its prediction" grep -qE '^amdahl .* 16 +10[0-9]\.[0-9] +\[.*\] +10[0-9]\.[0-9] ' "$out"
check "a model that does not describe it is refused" grep -qE '^analytic .* not fitted: bad fit, off by ' "$out"
check "which points" holds "$out" 'points: P = 1, 2, 4, 8, 16 ranks'
cp "$out" first
expect 2 0 report --models scaling.h5
check "from one rank, the same every time" cmp -s "$out" first
expect 1 0 report --models short.h5
check "too few points" holds "$out" 'not fitted: 3 points; 4 are needed, two more than it has terms'
expect 1 0 report --models --format csv scaling.h5
check "CSV" test "$(column parameter "$out" | grep -c 'serial fraction')" -eq 1
expect 1 0 report --models base.h5
check "no series" holds "$out" 'run at one rank count only: no model'

# Extra-P.
expect 1 0 report --extrap s.jsonl scaling.h5
check "the table as ever" holds "$out" 'efficiency'
check "a line a point" test "$(lines s.jsonl)" -eq 5
while read -r line; do
    printf '%s\n' "$line" >line
    check "JSON" json_good line
done <s.jsonl
expect 1 0 report --models --extrap - scaling.h5
check "lines alone on stdout" cmp -s "$out" s.jsonl
check "the table on stderr" holds "$err" 'amdahl'

# Bad usage: one line.
refused() {
    local words=$1
    shift
    expect 1 2 report "$@"
    check "one line" test "$(lines "$err")" -eq 1
    check "it says $words" holds "$err" "$words"
    check "nothing on stdout" is_empty "$out"
}
refused '--models: not accepted with --cases' --models --cases scaling.h5
refused '--models: not accepted with --metric' --models --metric gflops scaling.h5
refused '--phases: not accepted with --models' --models --phases scaling.h5
refused '--extrap "": the name of a file' --extrap '' scaling.h5
refused '--extrap scaling.h5: is an HDF5 file' --extrap scaling.h5 scaling.h5
refused '--csv and --extrap both write stdout' --extrap - --csv - scaling.h5
refused '--extrap absent/x.jsonl: cannot be written' --extrap absent/x.jsonl scaling.h5
finish
