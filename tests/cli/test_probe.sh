#!/usr/bin/env bash
# attnbench probe, the peak beside a case, metrics and phases. How fast anything is, is not asserted.
# shellcheck source=tests/cli/common.sh
. "$(dirname "${BASH_SOURCE[0]}")/common.sh"

bench 1 list
probes=$(awk '/^Probes/ {on = NR} on && NR > on + 2 && NF {print $1}' "$out")
metrics=$(awk '/^Metrics/ {on = NR} /^Probes/ {exit} on && NR > on + 2 && NF {print $1}' "$out")
check "there are probes" test "$(wc -w <<<"$probes")" -ge 7
check "there are metrics" test "$(wc -w <<<"$metrics")" -ge 4

# Every probe is a row, at one rank and at three; what a CPU lacks has its reason.
positive() { awk -v row="$1" '$1 == row {ok = $3 > 0 && $4 > 0 && $5 >= $4 || /lacks/} END {exit !ok}' "$out"; }
for ranks in 1 3; do
    expect $ranks 0 probe --threads 1 --max-time 0.01
    check "nothing on stderr" is_empty "$err"
    check "the machine" grep -qE "$ranks ranks? on [0-9]+ cores? of 1 node" "$out"
    check "one rank prints" test "$(grep -c '^widest vectors: ' "$out")" -eq 1
    for probe in $probes; do
        check "$probe has numbers or a reason" positive "$probe"
    done
    check "it says how the buffers stand to the caches" grep -qE 'read-bandwidth .*buffers .*caches' "$out"
done

# A choice of probes and threads; CSV.
expect 2 0 probe --probe fma-float64,fma-float32 --threads 1,3 --max-time 0.01 --format csv
check "a row for each" test "$(lines "$out")" -eq 5
check "in the order that was asked for" test "$(column probe "$out" | tr '\n' ' ')" = \
    'fma-float64 fma-float64 fma-float32 fma-float32 '
check "threads" test "$(column threads "$out" | tr '\n' ' ')" = '1 3 1 3 '
check "the units" test "$(column unit "$out" | sort -u)" = GFLOP/s
expect 1 2 probe --probe nosuchprobe
for probe in $probes; do
    check "the message names $probe" holds "$err" "$probe"
done
expect 2 2 probe --max-time 0
expect 2 2 probe --threads 0
check "one line" test "$(lines "$err")" -eq 1
OMP_THREAD_LIMIT=1 expect 1 0 probe --probe fma-float32 --threads 2 --max-time 0.01
check "threads that are not granted are a reason" holds "$out" 'OpenMP grants 1 here'

# The peak stands beside each case, and with it the share of it.
short=(--heads 4 --head-dim 16 --max-time 0.05 --max-reps 20)
expect 3 0 run "${short[@]}" --seq 64 --ranks 1,3 --dtype float32,float64 --output peak.h5 --csv peak.csv --json peak.json
check "a column" grep -q ' % bound  bound ' "$out"
# A case that shares cores has none: there the sum of what each rank measures is more than the machine has.
alone=$(column oversubscribed peak.csv | grep -cx 0)
check "one of each type at least has cores of its own" test "$alone" -ge 2
check "its level is recorded" test "$(column fma_level peak.csv | grep -v '^$' | cut -d- -f1,2 | sort | uniq -c | tr -s ' \n' ' ')" = \
    " $((alone / 2)) fma-float32 $((alone / 2)) fma-float64 "
check "peaks are positive" test "$(column fma_peak peak.csv | awk '$1 > 0' | wc -l)" -eq "$alone"
check "their spread is a share" test "$(column fma_peak_spread peak.csv | awk '$1 != "" && $1 >= 0 && $1 < 1' | wc -l)" -eq "$alone"
share=$(awk -F, 'NR == 1 {for (i = 1; i <= NF; i++) at[$i] = i; next}
    {want = 100 * $at["flops"] / $at["median_s"] / $at["fma_peak"]; got = $at["fma-percent"]
     if (got > 0.999 * want && got < 1.001 * want) good++} END {print good}' peak.csv)
check "the share is of that peak" test "$share" -eq "$alone"
check "JSON has it" holds peak.json '"% peak"'

# Metrics and phases of a result file.
for metric in $metrics; do
    check "CSV has $metric" grep -qE "(^|,)$metric(,|\$)" peak.csv
    expect 1 0 report --metric "$metric" peak.h5
    check "four rows of $metric" test "$(grep -c ' VALID$' "$out")" -eq 4
done
expect 1 0 report --metric all --format csv peak.h5
check "all of them" holds "$out" 'GFLOP/s,% bound,% peak,memory GB/s,tokens/s'
expect 1 2 report --metric nosuchmetric peak.h5
check "the message names all" holds "$err" 'gflops, bound-percent, fma-percent'
expect 1 0 report --phases peak.h5
check "a line of total for each case" test "$(grep -c ' total .* 100.0  VALID$' "$out")" -eq 4
check "input-read has its bandwidth" test "$(grep -cE ' input-read .* once, [0-9.]+ GB/s$' "$out")" -eq 4
check "compute has a share" test "$(grep -cE ' compute +[0-9.]+ +[0-9.]+$' "$out")" -eq 4
expect 1 2 report --phases --cases peak.h5
check "one table at a time" holds "$err" '--phases: not accepted with --cases'

# The columns of the CSV are the same in every launch.
for i in 1 2; do
    expect 3 0 run "${short[@]}" --seq 16,24,32 --grid 3x1,2x2 --seed $i --output "order$i.h5" --csv "order$i.csv"
done
check "the same first line" test "$(head -n 1 order1.csv)" = "$(head -n 1 order2.csv)"
finish
