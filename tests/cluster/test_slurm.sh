#!/usr/bin/env bash
# Runs jobs/strong-scaling.sbatch under a private SLURM of two nodes on this machine (slurm-up.sh) and checks what it leaves.
#
#   tests/cluster/test_slurm.sh
#
# ATTNBENCH   the program (default: the first of build/release/attnbench and build/tests/attnbench)
# Exit 0: all well; 1: a check failed, and the job's output was printed; 77: SLURM cannot run here, for the reason printed.
set -euo pipefail

here=$(cd "$(dirname "${BASH_SOURCE[0]}")" && pwd)
root=$(cd "$here/../.." && pwd)
attnbench=${ATTNBENCH:-$root/build/release/attnbench}
[ -x "$attnbench" ] || attnbench=$root/build/tests/attnbench
[ -x "$attnbench" ] || {
    printf 'test_slurm: no attnbench in build/release or build/tests; build it or set ATTNBENCH\n' >&2
    exit 1
}
export ATTNBENCH=$attnbench

# Two such tests at once must not meet.
work=$(mktemp -d /tmp/attn-job-XXXXXX)
export ATTN_SLURM_DIR=$work/slurm ATTN_SLURM_NODES=2 ATTN_SLURM_CPUS=4 ATTN_SLURM_PORT=$((17300 + $$ % 500 * 10))
chmod 755 "$work"
log=
clean() {
    "$here/slurm-down.sh"
    rm -rf "$work"
}
trap clean EXIT

fail() {
    printf 'test_slurm: FAILED: %s\n' "$*"
    [ -z "$log" ] || cat "$log"
    exit 1
}

show_job() { # ID FIELD
    scontrol -o show job "$1" | tr ' ' '\n' | sed -n "s/^$2=//p" | head -n 1
}

submit() { # NAME SBATCH-OPTIONS...; sets job, log and OUT
    OUT=$work/$1
    log=$work/$1.out
    export OUT
    job=$(sbatch --parsable -o "$log" "${@:2}" "$root/jobs/strong-scaling.sbatch")
}

# wait_for SECONDS COMMAND...
wait_for() {
    local end=$((SECONDS + $1))
    until "${@:2}"; do
        [ $SECONDS -lt $end ] || return 1
        sleep 0.2
    done
}

has_ended() { [[ $(show_job "$1" JobState) =~ ^(COMPLETED|FAILED|CANCELLED|TIMEOUT|NODE_FAIL)$ ]]; }
has_part() { compgen -G "$1/*.parts/*.h5" >/dev/null; }
# The job's first step is gone from both nodes; before that, the restarted job could not start a step of the same number.
has_left() {
    [ "$(grep -l "\[$1\.0\] done with job" "$ATTN_SLURM_DIR"/log/slurmd-*.log | wc -l)" = 2 ]
}
has_requeued() { [ "$(show_job "$1" Restarts)" = 1 ] && [ "$(show_job "$1" JobState)" = PENDING ]; }

expect_exit() { # CODE
    wait_for 120 has_ended "$job" || fail "job $job has not ended"
    [ "$(show_job "$job" ExitCode)" = "$1:0" ] || fail "exit code $(show_job "$job" ExitCode), not $1:0"
}

expect_results() { # RANKS...
    local ranks
    for ranks; do
        [ -s "$OUT/$(printf 'ranks-%05d.h5' "$ranks")" ] || fail "no result file of $ranks ranks"
    done
    [ "$(head -c 8 "$OUT/strong-scaling.png" | od -An -tx1 | tr -d ' ')" = 89504e470d0a1a0a ] || fail "no picture (PNG)"
    grep -q '<svg' "$OUT/strong-scaling.svg" || fail "no picture (SVG)"
    ! compgen -G "$OUT/*.parts" >/dev/null || fail "parts were left behind"
}

passed=0
pass() {
    passed=$((passed + 1))
    printf 'test_slurm: ok: %s\n' "$*"
}

status=0
"$here/slurm-up.sh" || status=$?
[ $status -eq 0 ] || exit $status
export SLURM_CONF=$ATTN_SLURM_DIR/slurm.conf
# The nodes share this machine's few cores.
# shellcheck source=jobs/mpi-env.sh
. "$root/jobs/mpi-env.sh"
attn_mpi_one_machine 8
cd "$work" # the job has to find the project by itself

small='--heads 4 --seq 256 --head-dim 32 --causal --min-reps 3 --max-reps 10 --max-time 1'
export ARGS=$small
submit srun -N 2 -n 4 -c 1
expect_exit 0
expect_results 1 2 4
pass "1, 2 and 4 ranks on two nodes by srun"

export LAUNCHER=mpirun RANKS=1,3
submit mpirun -N 2 -n 4 -c 1
expect_exit 0
expect_results 1 3
pass "1 and 3 ranks by mpirun"

unset LAUNCHER
export RANKS=2 MAX_RESTARTS=1
export ARGS='--heads 4 --seq 256,257,258,259 --head-dim 32 --min-reps 3 --max-reps 1000000 --rel-err 1e-9 --max-time 2'
submit requeue -N 2 -n 2 -c 1
wait_for 60 has_part "$OUT" || fail "no case was finished within a minute"
scancel --batch --signal=USR1 "$job"
wait_for 60 has_requeued "$job" || fail "not requeued after USR1"
grep -q 'requeued to finish the rest' "$log" || fail "USR1 did not stop the job in good order"
wait_for 30 has_left "$job" || fail "the stopped step did not end"
scontrol update JobId="$job" StartTime=now
expect_exit 0
expect_results 2
grep -q '(restart 1)' "$log" || fail "the first run's output was lost"
pass "stopped by USR1, requeued, resumed and finished"

printf '%s passed, 0 failed\n' "$passed"
