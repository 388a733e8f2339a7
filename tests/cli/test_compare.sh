#!/usr/bin/env bash
# attnbench compare, on result files with known answers.
# shellcheck source=tests/cli/common.sh
. "$(dirname "${BASH_SOURCE[0]}")/common.sh"

"${WRITE_STUDY:?}" . >"$out" 2>"$err"
code=$?
check "the files are written" test "$code" -eq 0

# Exit codes: 1 for what is significant and above the threshold, and nothing else.
expect 1 0 compare base.h5 same.h5
check "nothing on stderr" is_empty "$err"
check "it says so" holds "$out" 'NOT SLOWER: none of 2 cases by more than 2 %; 1 not compared'
check "what was skipped has its reason" holds "$out" 'not compared: in base skipped: does not fit in memory'
check "commits" grep -q '^base: 1 launch, commit base, ' "$out"
expect 1 0 compare base.h5 base.h5
expect 1 1 compare base.h5 slower.h5
check "nothing on stderr" is_empty "$err"
check "the slower case" grep -qE '^2 .* \+[45]\.[0-9]+ .* SLOWER$|2x1 .* SLOWER$' "$out"
check "one of them" holds "$out" 'SLOWER: 1 of 2 cases by more than 2 %'
expect 2 1 compare base.h5 slower.h5
check "one rank prints" test "$(grep -c '^SLOWER' "$out")" -eq 1
expect 1 0 compare --threshold 10 base.h5 slower.h5
check "within the threshold" holds "$out" 'within the threshold'
expect 1 0 compare base.h5 faster.h5
check "faster is no failure" holds "$out" 'NOT SLOWER: none of 2 cases by more than 2 %; 1 faster; 1 not compared'
expect 1 0 compare --ci 0.9999999999999 base.h5 slower.h5
check "a level that so few values cannot reach" holds "$out" 'undecided: too few repetitions'

# What is on one side alone, and what differs, is told.
expect 1 0 compare base.h5 other.h5
check "only in base" holds "$out" 'not compared: only in base'
check "only in new" holds "$out" 'not compared: only in new'
check "another processor" holds "$err" 'attnbench: warning: the machines differ: cpu_model one in base, another in new'
check "one line" test "$(lines "$err")" -eq 1
expect 1 0 compare --quiet base.h5 other.h5
check "--quiet has no warnings" is_empty "$err"

# Folders; formats.
mkdir old new
cp base.h5 same.h5 old
cp slower.h5 faster.h5 new
expect 1 0 compare old new
check "medians of launches" holds "$out" '2 + 2 launches'
check "too few" holds "$out" 'undecided: too few launches'
expect 1 1 compare --format csv base.h5 slower.h5
check "a line a case" test "$(lines "$out")" -eq 4
check "verdicts" test "$(column verdict "$out" | sort | tr '\n' '/')" = 'SLOWER/no difference shown/not compared/'
# shellcheck disable=SC2016 # the dollars are awk's
check "p after Holm is at least p" awk -F, 'NR == 1 {for (i = 1; i <= NF; i++) at[$i] = i; next}
    $at["p"] != "" && $at["p_holm"] < $at["p"] {bad = 1} END {exit bad}' "$out"
expect 1 1 compare --format markdown base.h5 slower.h5
check "Markdown" grep -q '^| case | base ms |' "$out"

# Bad usage: one line that names the value.
refused() {
    local words=$1
    shift
    expect 1 2 compare "$@"
    check "one line" test "$(lines "$err")" -eq 1
    check "it is attnbench's" grep -q '^attnbench: ' "$err"
    check "it says $words" holds "$err" "$words"
    check "nothing on stdout" is_empty "$out"
}
refused 'compare: 0 paths; two are needed'
refused 'compare: 1 path; two are needed' base.h5
refused 'compare: 3 paths; two are needed' base.h5 same.h5 other.h5
refused '--threshold -1' --threshold -1 base.h5 same.h5
refused '--threshold x' --threshold x base.h5 same.h5
refused '--ci 1' --ci 1 base.h5 same.h5
refused 'unknown format' --format html base.h5 same.h5
refused 'unknown option "--metric"' --metric gflops base.h5 same.h5
refused 'absent.h5' base.h5 absent.h5
mkdir empty
refused 'empty: no result file' empty base.h5
finish
