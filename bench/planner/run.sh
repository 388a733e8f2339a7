#!/usr/bin/env bash
# The regret of the planner's cost model: problems of many kinds, each with its best candidates measured (`run --plan
# measure`), and how much slower the model's choice was than the fastest of them. docs/planner.md tells what was found.
#
#   bench/planner/run.sh            54 problems at 2 ranks with a thread each; 10 minutes on a quiet machine
#   bench/planner/run.sh --quick    9 of them; whether all works
#
#   ATTNBENCH    the program (default: build/release/attnbench)
#   RANKS        of each launch (2)
#   OUT          folder of the result files (default: results/planner; those of an earlier run are replaced)
# Exit 0: measured; 1: a wrong result; 2: something is missing; 4: a launch failed.
set -euo pipefail

root=$(cd "$(dirname "${BASH_SOURCE[0]}")/../.." && pwd)
attnbench=$(realpath -m "${ATTNBENCH:-$root/build/release/attnbench}")
ranks=${RANKS:-2}
out=${OUT:-$root/results/planner}
lengths=512,1024,2048 widths=64,128 groups=8,2,1
case "${1:-}" in
--quick) lengths=512 widths=64 groups=8 ;;
'') ;;
*)
    printf 'planner: unknown argument %s; there is --quick\n' "$1" >&2
    exit 2
    ;;
esac
[ -x "$attnbench" ] || {
    printf 'planner: no program %s; build it (jobs/build.sh release) or set ATTNBENCH\n' "$attnbench" >&2
    exit 2
}
# shellcheck source=jobs/mpi-env.sh
. "$root/jobs/mpi-env.sh"
attn_mpi_one_machine "$ranks"
mkdir -p "$out"
rm -rf "$out"/*.h5 "$out"/*.h5.parts

# measure NAME OPTIONS...
measure() {
    local status=0
    printf 'planner: %s\n' "$1"
    mpirun -n "$ranks" "$attnbench" run --plan measure --threads 1 --max-time 0.5 --quiet --output "$out/$1.h5" "${@:2}" ||
        status=$?
    [ "$status" -eq 0 ] || exit "$status"
}

measure full --seq "$lengths" --head-dim "$widths" --kv-heads "$groups"
measure causal --causal --seq "$lengths" --head-dim "$widths" --kv-heads "$groups"
measure window --causal --window-left 255 --seq "$lengths" --kv-heads 8
measure backward --pass backward --causal --seq "$lengths" --head-dim "$widths" --kv-heads 8
measure decode --pass decode --kv-seq 4096,16384 --kv-heads "$groups"
measure documents --documents 7 --causal --seq "$lengths" --kv-heads 8

"$attnbench" report --cases --csv "$out/cases.csv" "$out"/*.h5 >"$out/cases.txt"
# Regrets from the smallest up; fields are found by their names in the first line.
awk -F, '
    NR == 1 { for (n = 1; n <= NF; n++) field[$n] = n; next }
    $field["status"] == "valid" { print 100 * $field["regret"], $field["pass"], $field["seq"], $field["kv_heads"], $field["head_dim"],
        $field["causal"], $field["exchange"], $field["layout"] }' "$out/cases.csv" | sort -n >"$out/regret.txt"
awk '
    { regret[NR] = $1; within5 += $1 <= 5; within10 += $1 <= 10 }
    END {
        printf "%d problems: the choice of the model is within 5 %% of the fastest candidate in %d, within 10 %% in %d\n", NR, within5, within10
        printf "regret: median %.1f %%, 90 %% of them at most %.1f %%, largest %.1f %%\n", regret[int((NR + 1) / 2)], regret[int(0.9 * NR + 0.5)], regret[NR]
    }' "$out/regret.txt"
