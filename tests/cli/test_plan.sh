#!/usr/bin/env bash
# --plan: choices by rule, by the cost model and by measuring; the prediction beside each case. What is chosen is not
# asserted, as it depends on the machine.
# shellcheck source=tests/cli/common.sh
. "$(dirname "${BASH_SOURCE[0]}")/common.sh"

short=(--seq 64 --heads 6 --kv-heads 3 --head-dim 16 --causal --min-reps 3 --max-reps 3 --max-time 0.1)
positive() { awk -v row="$1" 'BEGIN {exit !(row > 0)}'; }
not_negative() { awk -v row="$1" 'BEGIN {exit !(row != "" && row >= 0)}'; }

for mode in rule estimate measure; do
    expect 3 0 run "${short[@]}" --plan $mode --output $mode.h5
    expect 1 0 report --cases --format csv --metric predicted,model-choice $mode.h5
    check "a case" test "$(lines "$out")" -eq 2
    check "columns beside what was measured" holds "$out" ',% predicted,% model,'
    expect 1 0 report --csv - $mode.h5
    check "$mode: a prediction" positive "$(column predicted_seconds "$out")"
    check "$mode: how it was planned" test "$(column plan "$out")" = $mode
    check "$mode: parts of the prediction" positive "$(column predicted_compute "$out")"
done
check "a regret" not_negative "$(column regret "$out")"
check "candidates" positive "$(column candidates_tried "$out")"

# Nothing is left open with one rank, or where all is named.
expect 1 0 run "${short[@]}" --plan measure --output one.h5
expect 1 0 report --csv - one.h5
check "one rank: by rule" test "$(column plan "$out")" = rule
check "one rank: a prediction" positive "$(column predicted_seconds "$out")"
expect 2 0 run "${short[@]}" --plan estimate --exchange ring --layout striped --output fixed.h5
expect 1 0 report --csv - fixed.h5
check "named: by rule" test "$(column plan "$out")" = rule
check "named: the exchange" test "$(column exchange "$out")" = ring
expect 2 0 run "${short[@]}" --plan estimate --exchange ring --output named.h5
expect 1 0 report --csv - named.h5
check "the exchange stays" test "$(column exchange "$out")" = ring
check "the layout is chosen" test "$(column plan "$out")" = estimate

# A case is found again, whatever would be chosen now.
for mode in estimate measure; do
    expect 3 0 run "${short[@]}" --plan $mode --resume --output $mode.h5
    check "$mode: the case is found" holds "$err" '1 of 1 case found, 0 to run'
done
expect 2 0 run "${short[@]}" --ranks 1,2 --plan estimate --output ranks.h5

expect 2 2 run "${short[@]}" --plan guess
check "the message names the modes" holds "$err" 'rule, estimate, measure'
expect 2 2 run "${short[@]}" --plan rule,measure
check "one mode" holds "$err" '--plan rule,measure: one name is accepted'

# Messages between ranks are probed with all else.
expect 2 0 probe --threads 1 --max-time 0.01
check "links" grep -qE '^messages-in-node +1 .*GB/s .*us a message' "$out"
expect 1 0 probe --threads 1 --max-time 0.01
check "no links at one rank" test "$(grep -c '^messages' "$out")" -eq 0

finish
