#!/usr/bin/env bash
# An MPI call that fails on one rank ends the launch: status 4, a message, and no further call by that rank, whose
# partners wait elsewhere.
#   ATTN_MPI_FAILURES  failures of each command, spread over its calls (4)
here=$(cd "$(dirname "${BASH_SOURCE[0]}")" && pwd)
# shellcheck source=tests/cli/common.sh
. "$here/common.sh"
LIMIT=20
failing=${ATTN_MPI_FAILURES:-4}

# Which calls fail is told by FAIL_RANK and FAIL_AT; see failing_mpi.c.
library=$scratch/failing_mpi.so
if ! mpicc -shared -fPIC -o "$library" "$here/failing_mpi.c" -ldl; then
    echo 'skipped: mpicc does not work'
    exit 0
fi
expect 1 0 generate --seq 16 --heads 2 --head-dim 4 --quiet --output in.h5
real=$ATTNBENCH
printf '#!/bin/sh\nLD_PRELOAD="%s" exec "%s" "$@"\n' "$library" "$real" >"$scratch/failing"
chmod +x "$scratch/failing"
ATTNBENCH=$scratch/failing
export FAIL_RANK FAIL_AT FAIL_COUNTS=$scratch/calls
export ASAN_OPTIONS=${ASAN_OPTIONS:+$ASAN_OPTIONS:}verify_asan_link_order=0

# fail_at CALL RANK ARGUMENT...
fail_at() {
    FAIL_AT=$1 FAIL_RANK=$2
    shift 2
    # How often a case is repeated depends on the clock: where fewer calls were made than when they were counted, an
    # earlier one fails.
    for _ in 1 2 3 4 5; do
        rm -rf made* "$FAIL_COUNTS".*
        bench 3 "$@"
        if [ "$code" -ne 0 ] || [ "$(cat "$FAIL_COUNTS.$FAIL_RANK")" -ge "$FAIL_AT" ]; then
            break
        fi
        FAIL_AT=$(($(cat "$FAIL_COUNTS.$FAIL_RANK") * 7 / 8))
    done
    check "attnbench $* at 3 ranks exits 4" test "$code" -eq 4
    check "a call failed" holds "$err" ' fails'
    check "no call after it" lacks "$err" 'after a failure'
    check "a message" grep -qE '^attnbench: .*MPI_[A-Za-z_]+ failed' "$err"
}

# spread ARGUMENT...: counts the calls of a command, and lets some of them fail, on rank 1 and on rank 0 in turn.
spread() {
    local n rank calls=()
    FAIL_RANK=-1 FAIL_AT=1000000
    rm -rf made* "$FAIL_COUNTS".*
    expect 3 0 "$@"
    calls=("$(cat "$FAIL_COUNTS.0")" "$(cat "$FAIL_COUNTS.1")")
    for ((n = 0; n < failing; n++)); do
        rank=$(((n + 1) % 2))
        check "rank $rank calls something" test "${calls[rank]:-0}" -gt "$failing"
        fail_at $((1 + (2 * n + 1) * (calls[rank] - 1) / (2 * failing))) $rank "$@"
    done
}

spread run --seq 16 --heads 2 --head-dim 4 --ranks '2,3' --min-reps 2 --max-reps 2 --max-time 0.01 --output made.h5
spread run --input in.h5 --min-reps 2 --max-reps 2 --max-time 0.01 --output made.h5
spread generate --seq 16 --heads 2 --head-dim 4 --output made.h5
spread verify in.h5
spread verify --write made in.h5
spread probe --probe fma-float32 --max-time 0.01

# Opening and creating a file: each call until all ranks have it.
for call in 6 7 8; do fail_at $call 1 verify in.h5; done
fail_at 14 1 generate --seq 16 --heads 2 --head-dim 4 --output made.h5
# What is left of it keeps nobody out.
FAIL_AT=1000000
expect 3 0 generate --seq 16 --heads 2 --head-dim 4 --output made.h5
check "one whole file" test "$(find . -name 'made*')" = ./made.h5
finish
