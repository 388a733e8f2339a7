#!/usr/bin/env bash
# Whatever is killed, and when: finished cases survive whole, --resume completes the sweep and measures none of them again.
#   ATTN_CRASH_ROUNDS  kills at random moments (5)
#   ATTN_CRASH_STEPS   kills at chosen steps of rank 0, spread over all of them (9)
#   ATTN_CRASH_SEED    of the random moments (1)
here=$(cd "$(dirname "${BASH_SOURCE[0]}")" && pwd)
# shellcheck source=tests/cli/common.sh
. "$here/common.sh"
LIMIT=60
rounds=${ATTN_CRASH_ROUNDS:-5} steps=${ATTN_CRASH_STEPS:-9}
RANDOM=${ATTN_CRASH_SEED:-1}

many=(run --heads 2 --head-dim 8 --seq 16:128:+16 --ranks '1,2' --warmup 0 --min-reps 2 --max-reps 2 --max-time 0.01)
few=(run --heads 2 --head-dim 8 --seq '16,32,48' --warmup 0 --min-reps 2 --max-reps 2 --max-time 0.01)

# ---- What is on disk ----

# cases FILE: "ID LAUNCH STATUS" of all that is published in FILE.h5 and its parts, sorted.
cases() {
    local found=() path
    for path in "$1" "$1.parts"; do
        if [ -f "$path" ] || compgen -G "$path/*.h5" >/dev/null; then found+=("$path"); fi
    done
    [ ${#found[@]} -gt 0 ] || return 0
    "$ATTNBENCH" report --cases --csv - "${found[@]}" 2>"$err" >"$out" || return 1
    awk -F, 'NR == 1 {for (i = 1; i <= NF; i++) c[$i] = i; next} {print $c["id"], $c["launch_id"], $c["status"]}' "$out" |
        sort
}
identities() { awk '{print $1}' "$1" | sort -u; }

# check_published FILE: each file with a final name is whole.
check_published() {
    local path
    for path in "$1" "$1.parts"/*.h5; do
        [ -e "$path" ] || continue
        check "h5dump reads $path" h5dump -o "$scratch/dumped" "$path" >/dev/null
    done
    check "report reads them" cases "$1" >now
    check "all are valid" test -z "$(grep -v ' valid$' now)"
    check "no case that was finished is lost or was measured again" test -z "$(comm -23 kept now)"
    cp now kept
}

# check_complete FILE: as if nothing had happened.
check_complete() {
    check_published "$1"
    check "the same cases as without a kill" test "$(identities now)" = "$(identities "undisturbed.${1%%.*}")"
    check "one whole file" test "$(find . -name "$1*")" = "./$1"
}

# ---- Kills at random moments ----

descendants() {
    local child
    for child in $(pgrep -P "$1"); do
        printf '%s\n' "$child"
        descendants "$child"
    done
}
# rank_of PID
rank_of() { tr '\0' '\n' <"/proc/$1/environ" | sed -n 's/^\(OMPI_COMM_WORLD\|PMIX\)_RANK=//p' | head -n 1; } 2>/dev/null
# A process that has ended and only waits to be asked about it has no program.
lives() { [ -n "$(readlink "/proc/$1/exe")" ]; }

# strike LAUNCHER VICTIM: kills rank 0, rank 1 or everything, and returns when all have gone.
strike() {
    local all pid tries=0
    mapfile -t all < <(descendants "$1")
    if [ "$2" = all ]; then
        kill -9 "$1" "${all[@]}" 2>/dev/null
    else
        for pid in "${all[@]}"; do
            [ "$(rank_of "$pid")" = "$2" ] && kill -9 "$pid" 2>/dev/null
        done
    fi
    wait "$1" 2>/dev/null
    code=$?
    for pid in "${all[@]}"; do
        while lives "$pid" && [ $tries -lt 300 ]; do
            tries=$((tries + 1))
            sleep 0.1
        done
    done
    check "nothing of it runs any more" test $tries -lt 300
}

now_ms() { date +%s%3N; }

begun=$(now_ms)
expect 2 0 "${many[@]}" --output many.h5
lasts=$(($(now_ms) - begun))
cases many.h5 >undisturbed.many
check "16 cases" test "$(lines undisturbed.many)" -eq 16
rm many.h5

victims=(0 1 all) completed=0 struck=0
: >kept
for ((round = 0; round < rounds; round++)); do
    "$MPIRUN" -n 2 "$ATTNBENCH" "${many[@]}" --output many.h5 --resume >"$out" 2>"$err" &
    launcher=$!
    sleep "$(awk -v ms=$((RANDOM % lasts)) 'BEGIN {print ms / 1000}')"
    strike $launcher "${victims[round % 3]}"
    struck=$((struck + (code != 0)))
    check "killed or done, status $code" test "$code" -eq 0 -o "$code" -ge 3
    if [ -e many.h5 ] && [ ! -e many.h5.parts ]; then
        expect 2 0 "${many[@]}" --output many.h5 --resume
        check_complete many.h5
        rm many.h5
        : >kept
        completed=$((completed + 1))
    else
        check_published many.h5
    fi
done
expect 2 0 "${many[@]}" --output many.h5 --resume
check_complete many.h5
check "kills met running sweeps" test $struck -gt 0
printf '%s kills, %s met a running sweep, %s sweeps completed on the way\n' "$rounds" "$struck" "$completed"

# ---- A second writer ----

long=("${few[@]}" --min-reps 100000000 --max-reps 100000000 --max-time 100 --output long.h5)
"$MPIRUN" -n 2 "$ATTNBENCH" "${long[@]}" >"$out" 2>"$err" &
launcher=$!
until [ -d long.h5.parts ] || ! lives $launcher; do sleep 0.05; done
for ranks in 1 2; do
    expect $ranks 2 "${few[@]}" --output long.h5 --resume
    check "it is told why" holds "$err" 'another attnbench is writing it'
    check "in one line" test "$(lines "$err")" -eq 1
done
strike $launcher all
check "the lock is left" test -e long.h5.lock
expect 2 0 "${few[@]}" --output long.h5 --resume
check "and keeps nobody out" test "$(find . -name 'long.h5*')" = ./long.h5

# ---- Kills at each step of writing, joining included ----

library=$scratch/crash_at.so
if ${CC:-cc} -shared -fPIC -o "$library" "$here/crash_at.c" -ldl; then
    real=$ATTNBENCH
    printf '#!/bin/sh\nLD_PRELOAD="%s" exec "%s" "$@"\n' "$library" "$real" >"$scratch/crashing"
    chmod +x "$scratch/crashing"
    export CRASH_PATH=few.h5 ASAN_OPTIONS=${ASAN_OPTIONS:+$ASAN_OPTIONS:}verify_asan_link_order=0
    CRASH_COUNT=$scratch/count "$scratch/crashing" "${few[@]}" --output few.h5 >"$out" 2>"$err"
    total=$(cat "$scratch/count")
    cases few.h5 >undisturbed.few
    check "steps were counted" test "$total" -gt 20
    [ "$steps" -lt "$total" ] || steps=$total
    published=0
    for ((n = 1; n <= steps; n++)); do
        rm -rf few.h5*
        : >kept
        # The last ones are those of the joining.
        CRASH_AT=$((n * total / steps)) "$scratch/crashing" "${few[@]}" --output few.h5 >"$out" 2>"$err" &
        wait $! 2>/dev/null
        code=$?
        check "killed at step $((n * total / steps)) of $total" test "$code" -eq 137
        check_published few.h5
        check "no fewer cases than at the step before" test "$(lines now)" -ge "$published"
        published=$(lines now)
        expect 1 0 "${few[@]}" --output few.h5 --resume
        check_complete few.h5
    done
    printf '%s of %s steps\n' "$steps" "$total"
fi

# ---- A disk that is full ----

# fills CASES: status 4, so many cases are published, and nothing else is left.
fills() {
    check "status 4" test "$code" -eq 4
    check "a message" grep -q '^attnbench: .*No space left' "$err"
    check "and no other" test "$(grep '^attnbench: ' "$err" | grep -vcE "[0-9]+ of [0-9]+ cases? found")" -eq 1
    check "nothing half written" test -z "$(find small -name '*.tmp')"
    : >kept
    check_published small/s.h5
    check "$1 cases or more are kept" test "$(lines now)" -ge "$1"
}
mkdir small
if mount -t tmpfs -o size=160k tmpfs small 2>/dev/null; then
    trap 'cd /; umount "$scratch/work/small"; rm -rf "$scratch"' EXIT
    for ranks in 1 2; do
        # Not all parts find room.
        bench $ranks "${few[@]}" --seq 16:160:+16 --output small/s.h5
        fills 1
        # All parts do, but not the joined file beside them.
        mount -o remount,size=600k small
        bench $ranks "${few[@]}" --seq 16:160:+16 --output small/s.h5 --resume
        fills 10
        mount -o remount,size=4m small
        expect $ranks 0 "${few[@]}" --seq 16:160:+16 --output small/s.h5 --resume
        check_published small/s.h5
        check "ten cases" test "$(lines now)" -eq 10
        check "one whole file" test "$(find small -name 's.h5*')" = small/s.h5
        rm -rf small/*
        mount -o remount,size=160k small
    done
else
    echo 'no small disk: this user cannot mount one'
fi
# A limit on the length of files; below it MPI itself cannot start.
ulimit -S -f 20000
expect 1 4 generate --seq 16k --output limited.h5
ulimit -S -f unlimited
check "the reason" grep -q '^attnbench: limited.h5.*: cannot get the .* bytes that it needs: File too large' "$err"
check "nothing is left" test -z "$(find . -name 'limited.h5*')"
finish
