#!/usr/bin/env bash
# Measures exchanges on an emulated network of four hosts on this machine, beside a model: how much of ring's transfers
# is exposed, and where ring, alltoall and hybrid overtake each other. docs/network.md says what is measured and what
# the numbers mean.
#
#   bench/network/run.sh            under 8 minutes on a quiet machine with 2 cores
#   bench/network/run.sh --quick    under a minute: whether all works; its numbers are rough
#
# Needs root and Linux namespaces (tests/cluster/netns-up.sh), gnuplot and python3. Leaves in results/network/: a result
# file (HDF5) for each exchange, transfer and mask, messages.txt, report.txt, and exposed and crossover as .png and
# .svg. A later run replaces these. The network is taken down at the end, whatever happened.
#
#   ATTNBENCH    the program (default: build/release/attnbench)
#   OUT          folder of the results (default: results/network)
#   RATE, DELAY  of each link (default: 1gbit 0.1ms)
# Exit 0: measured; 1: a wrong result; 2: something is missing; 4: a launch failed; 77: no such network here, for the
# reason printed.
set -euo pipefail

here=$(cd "$(dirname "${BASH_SOURCE[0]}")" && pwd)
root=$(cd "$here/../.." && pwd)
cluster=$root/tests/cluster
attnbench=$(realpath -m "${ATTNBENCH:-$root/build/release/attnbench}")
out=${OUT:-$root/results/network}
export ATTN_NETNS_DIR=${ATTN_NETNS_DIR:-/tmp/attn-netns}
hosts=4

fail() {
    printf 'network: %s\n' "${@:2}" >&2
    exit "$1"
}

# measure HOSTS NAME OPTIONS-OF-RUN...: one rank with one thread on each host, into NAME.h5.
measure() {
    local status=0 name=h$1-$2
    printf 'network: %s\n' "$name"
    timeout -k 5 "$limit" "$cluster/netns-mpirun.sh" "$1" 1 "$attnbench" run --heads "$heads" --head-dim 128 \
        --threads 1 --combine none --max-time "$seconds" --min-reps "$reps" --rel-err 0.05 --quiet \
        --output "$out/$name.h5" "${@:3}" >"$out/log.txt" 2>&1 || status=$?
    if [ $status -ne 0 ]; then
        cat "$out/log.txt" >&2
        [ $status -eq 1 ] && fail 1 "$name has a wrong result"
        fail 4 "$name ended with exit code $status (124: after $limit s)"
    fi
}

# ring_study HOSTS MASK SEQ OPTIONS...: computing alone, and both transfers of the ring.
ring_study() {
    measure "$1" "$2-none" --exchange none --grid "1x$1" --seq "$3" "${@:4}"
    measure "$1" "$2-ring-blocking" --exchange ring --transfer blocking --seq "$3" "${@:4}"
    measure "$1" "$2-ring-nonblocking" --exchange ring --transfer nonblocking --seq "$3" "${@:4}"
}

heads=4 seconds=1.5 reps=5 limit=180
lengths=512,768,1024,1536,2048,3072,4096,6144,8192
few=1024,2048,4096,8192
case "${1:-}" in
--quick) seconds=0.1 reps=3 lengths=512,1024,2048 few=512,2048 ;;
'') ;;
*) fail 2 "unknown argument $1; there is --quick" ;;
esac
for program in mpicc gnuplot python3; do
    command -v $program >/dev/null || fail 2 "no $program"
done
[ -x "$attnbench" ] || fail 2 "no program $attnbench; build it (jobs/build.sh release) or set ATTNBENCH"

mkdir -p "$out"
out=$(cd "$out" && pwd)
rm -rf "$out"/h[24]-*.h5 "$out"/h[24]-*.h5.parts "$out"/h[24]-*.h5.lock
"$cluster/netns-up.sh" $hosts "${RATE:-1gbit}" "${DELAY:-0.1ms}" || exit $?
work=$(mktemp -d /tmp/attn-network-XXXXXX)
trap '"$cluster/netns-down.sh"; rm -rf "$work"' EXIT
trap 'exit 3' INT TERM

mpicc -O2 -o "$work/messages" "$cluster/messages.c"
for n in 2 $hosts; do
    timeout -k 5 60 "$cluster/netns-mpirun.sh" "$n" 1 "$work/messages" 2>"$work/log" || {
        cat "$work/log" >&2
        fail 4 "no messages between the hosts"
    }
done >"$out/messages.txt"

ring_study $hosts full "$lengths"
measure $hosts full-alltoall --exchange alltoall --seq "$lengths"
measure $hosts full-hybrid --exchange hybrid --hybrid 2x2 --seq "$lengths"
measure $hosts kv1-ring --exchange ring --transfer nonblocking --kv-heads 1 --seq "$few"
measure $hosts kv1-alltoall --exchange alltoall --kv-heads 1 --seq "$few"
measure $hosts kv1-hybrid --exchange hybrid --hybrid 2x2 --kv-heads 1 --seq "$few"
ring_study $hosts causal "$few" --causal
ring_study 2 full "$few"
"$cluster/netns-down.sh"

rm -f "$out/log.txt"
# shellcheck source=jobs/mpi-env.sh
. "$root/jobs/mpi-env.sh"
attn_mpi_one_machine 1
PYTHONDONTWRITEBYTECODE=1 python3 "$here/report.py" --attnbench "$attnbench" "$out" >"$work/report.txt" ||
    fail 4 "the results could not be read"
mv "$work/report.txt" "$out/report.txt"
cat "$out/report.txt"
printf '\nnetwork: tables and pictures are in %s\n' "$out"
