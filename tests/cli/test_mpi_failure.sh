#!/usr/bin/env bash
# An MPI call that fails on one rank ends the launch: status 4, a message, and no further call by that rank, whose
# partners wait elsewhere.
here=$(cd "$(dirname "${BASH_SOURCE[0]}")" && pwd)
# shellcheck source=tests/cli/common.sh
. "$here/common.sh"
LIMIT=20

# Which calls fail is told by FAIL_RANK and FAIL_AT; see failing_mpi.c.
library=$scratch/failing_mpi.so
if ! mpicc -shared -fPIC -o "$library" "$here/failing_mpi.c"; then
    echo 'skipped: mpicc does not work'
    exit 0
fi
real=$ATTNBENCH
printf '#!/bin/sh\nLD_PRELOAD="%s" exec "%s" "$@"\n' "$library" "$real" >"$scratch/failing"
chmod +x "$scratch/failing"
ATTNBENCH=$scratch/failing
export FAIL_RANK FAIL_AT ASAN_OPTIONS=verify_asan_link_order=0

short=(run --seq 16 --heads 2 --head-dim 4 --ranks '2,3' --min-reps 2 --max-reps 2 --output f.h5)
FAIL_RANK=1 FAIL_AT=1000000
expect 3 0 "${short[@]}"
check "nothing failed" lacks "$err" ' fails'
for FAIL_AT in 2 5 16 23 59 60 66 75 88 95 110 119; do
    rm -rf f.h5*
    FAIL_RANK=$((FAIL_AT % 2))
    expect 3 4 "${short[@]}"
    check "a call failed" holds "$err" ' fails'
    check "no call after it" lacks "$err" 'after a failure'
    check "a message" grep -qE '^attnbench: MPI_[A-Za-z_]+ failed' "$err"
done
finish
