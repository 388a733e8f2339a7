#!/usr/bin/env bash
# Stops the private SLURM of slurm-up.sh and removes its folder. Ends only processes whose ids that SLURM wrote down,
# and only while they still are what they were.
#
#   tests/cluster/slurm-down.sh
#
# ATTN_SLURM_DIR    as for slurm-up.sh (default /tmp/attn-slurm)
set -euo pipefail

dir=${ATTN_SLURM_DIR:-/tmp/attn-slurm}
grep -q '^# Written by tests/cluster/slurm-up.sh' "$dir/slurm.conf" 2>/dev/null || exit 0
export SLURM_CONF=$dir/slurm.conf

is_running() { # PID NAME
    [ "$(cat "/proc/$1/comm" 2>/dev/null)" = "$2" ] && ! grep -q '^State:.Z' "/proc/$1/status" 2>/dev/null
}

stop() { # PIDFILE NAME
    local pid
    pid=$(cat "$1" 2>/dev/null) || return 0
    is_running "$pid" "$2" || return 0
    kill "$pid"
    for _ in $(seq 100); do
        is_running "$pid" "$2" || return 0
        sleep 0.05
    done
    kill -9 "$pid"
}

# Jobs first, so that no step outlives its node.
if timeout 5 scancel --user="$(id -un)" 2>/dev/null; then
    for _ in $(seq 50); do
        [ -n "$(timeout 3 squeue -h 2>/dev/null)" ] || break
        sleep 0.2
    done
fi
for file in "$dir"/run/slurmd-*.pid; do
    stop "$file" slurmd
done
stop "$dir/run/slurmctld.pid" slurmctld
stop "$dir/run/munged.pid" munged
rm -rf "$dir"
