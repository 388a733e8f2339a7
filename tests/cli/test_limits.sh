#!/usr/bin/env bash
# What does not fit is told before time is spent on it, and is a skipped row that --resume looks at again.
# shellcheck source=tests/cli/common.sh
. "$(dirname "${BASH_SOURCE[0]}")/common.sh"
LIMIT=20

tiny=(run --heads 2 --head-dim 8 --max-time 0.05 --max-reps 9)
identities() { column id "$1" | sort; }

# Far too large for any memory: found from the extents alone.
for ranks in 1 3; do
    expect $ranks 0 "${tiny[@]}" --seq 64,16384M --causal --output "causal.$ranks.h5"
    check "the reason" grep -qE '17179869184 .*skipped: needs at least .* GiB on a node, .* GiB are free' "$out"
    check "the other one is valid" holds "$out" 'VALID: 1 of 2 cases'
    expect $ranks 0 "${tiny[@]}" --seq 64,8192M --documents fixed:8k --output "fixed.$ranks.h5"
    check "the reason" grep -qE 'documents 1048576 .*skipped: needs at least' "$out"
    check "the other one is valid" holds "$out" 'VALID: 1 of 2 cases'
done
# More documents than rows.
expect 2 0 "${tiny[@]}" --heads 1 --head-dim 1 --seq 64 --dtype float16 --documents 4,2000M --output starts.h5
check "the reason" grep -qF 'skipped: documents 2097152000: at most 64, one a row, are accepted' "$out"

# Skipped cases keep apart what was asked, and are looked at again: the set of cases stays the same.
skipped=("${tiny[@]}" --seq '64,16384M' --documents '0,5,lognormal:8:1' --sinks --output many.h5)
expect 2 0 "${skipped[@]}" --csv many.csv
check "six cases" test "$(column id many.csv | sort -u | wc -l)" -eq 6
expect 2 0 "${skipped[@]}" --csv again.csv --resume
check "it says what is left" holds "$err" 'attnbench: 3 of 6 cases found, 3 to run'
check "the same cases" test "$(identities many.csv)" = "$(identities again.csv)"
check "all with sinks, as was asked" test "$(column sinks many.csv | sort -u)" = 1
check "three valid and three skipped" holds "$out" 'VALID: 3 of 6 cases; 3 skipped'
first=$(column launch_id many.csv | sort -u)
check "the valid ones were not run again" test "$(awk -F, -v id="$first" '$2 == id' again.csv | wc -l)" -eq 3
check "the skipped ones were looked at" test "$(grep -c ',skipped,' again.csv)" -eq 3

# Drawn documents are counted before memory is looked at, so that a case which finds some later is the same one.
drawn=("${tiny[@]}" --seq 200 --documents uniform:3:9 --output drawn.h5)
expect 2 0 "${drawn[@]}" --batch 1,8M --csv drawn.csv
check "one did not fit" test "$(grep -c ',skipped,' drawn.csv)" -eq 1
check "both have as many documents" test "$(column documents drawn.csv | sort -u | wc -l)" -eq 1
check "and not none" test "$(column documents drawn.csv | head -n 1)" -gt 10

# A launch that is granted fewer threads; then one that is not.
export OMP_THREAD_LIMIT=1
for ranks in 1 2; do
    expect $ranks 0 "${tiny[@]}" --seq 64 --threads 1,2 --output threads.$ranks.h5 --csv one.$ranks.csv
    check "the reason" holds "$out" 'skipped: threads 2'
    expect $ranks 2 "${tiny[@]}" --seq 64 --threads 2 --output none.$ranks.h5
    check "nothing could run" grep -q '^attnbench: nothing could run: threads 2' "$err"
    expect $ranks 2 verify --threads 2 "$ATTN_TEST_DATA/golden/causal.h5"
    check "nothing was checked" holds "$err" 'nothing was checked; causal.h5: threads 2'
done
unset OMP_THREAD_LIMIT
for ranks in 1 2; do
    expect $ranks 0 "${tiny[@]}" --seq 64 --threads 1,2 --output threads.$ranks.h5 --resume --csv two.$ranks.csv
    check "now it runs" holds "$out" 'VALID: 2 of 2 cases'
    check "as the same case" test "$(identities one.$ranks.csv)" = "$(identities two.$ranks.csv)"
done
# Teams do not shrink with the load.
OMP_DYNAMIC=true expect 1 0 "${tiny[@]}" --seq 64 --threads $(($(nproc) + 3)) --output dynamic.h5
check "all threads were granted" holds "$out" 'VALID: 1 of 1 cases'

# Memory that the system refuses.
if (ulimit -v 3000000 && "$ATTNBENCH" --version) >/dev/null 2>&1; then
    for ranks in 1 2; do
        ulimit -S -v 3000000
        expect $ranks 0 "${tiny[@]}" --seq 64,64M --output refused.$ranks.h5
        ulimit -S -v unlimited
        check "the reason" grep -qE '67108864 .*skipped: (no memory|needs at least)' "$out"
        check "the other one is valid" holds "$out" 'VALID: 1 of 2 cases'
    done
fi

# Control groups: made up ones are put in the place of this machine's, where that is allowed.
groups=$scratch/groups
mkdir -p "$groups"
unshare=unshare\ -m
$unshare true 2>/dev/null || unshare=unshare\ -rm
if $unshare mount --bind "$groups" /sys/fs/cgroup 2>/dev/null; then
    real=$ATTNBENCH
    # shellcheck disable=SC2016 # for the inner shell
    printf '#!/bin/sh\nexec %s sh -c '\''mount --bind "$0" /sys/fs/cgroup && exec "$@"'\'' "%s" "%s" "$@"\n' \
        "$unshare" "$groups" "$real" >"$scratch/grouped"
    chmod +x "$scratch/grouped"
    ATTNBENCH=$scratch/grouped
    # 64 MiB for q, k, v and o.
    fits() { expect 1 0 run --seq 4096 --heads 8 --head-dim 128 --max-time 0.01 --warmup 0 --min-reps 1 --max-reps 1 --output "$1"; }
    exceeds() {
        expect 1 2 run --seq 4096 --heads 8 --head-dim 128
        check "$1 are free" holds "$err" "$1 GiB are free"
    }
    # set_group FOLDER FILE VALUE ...
    set_group() {
        local folder=$groups/$1
        shift
        mkdir -p "$folder"
        while [ $# -gt 0 ]; do
            printf '%s\n' "$2" >"$folder/$1"
            shift 2
        done
    }
    fits none.h5
    set_group . memory.max max memory.current 1000000000
    fits max.h5
    set_group . memory.max $((96 << 20)) memory.current $((64 << 20)) memory.stat 'anon 7'
    exceeds 0.0312
    set_group . memory.stat "$(printf 'anon 7\ninactive_file %s' $((16 << 20)))"
    exceeds 0.0469
    set_group . memory.current $((1 << 20))
    fits enough.h5
    set_group . memory.max $((64 << 20)) memory.current $((65 << 20)) memory.stat 'inactive_file 0'
    exceeds 0
    rm -r "${groups:?}"/*
    # Version 1, where this process has a group of it: the limit of a group above counts too.
    own=$(sed -n 's/^[0-9]*:memory:\(.*\)$/\1/p' /proc/self/cgroup)
    if [ -n "$own" ]; then
        set_group "memory$own" memory.limit_in_bytes 9223372036854771712 memory.usage_in_bytes 0
        fits unlimited.h5
        set_group memory memory.limit_in_bytes $((40 << 20)) memory.usage_in_bytes $((8 << 20))
        exceeds 0.0312
        set_group "memory$own" memory.limit_in_bytes $((16 << 20)) memory.usage_in_bytes 0
        exceeds 0.0156
    fi
fi
finish
