#!/usr/bin/env bash
# A signal ends a sweep after what is finished: status 3, cases kept, --resume goes on.
# shellcheck source=tests/cli/common.sh
. "$(dirname "${BASH_SOURCE[0]}")/common.sh"

# A sweep whose cases would last is signalled while it runs.
sweep=(run --heads 2 --head-dim 8 --ranks 1 --min-reps 2 --max-time 0.01 --output i.h5)
endless=(--seq '16,24,32,40,48' --min-reps 100000000 --max-reps 100000000 --warmup 0)

# stop SIGNAL RANKS: starts the long sweep, waits until it is under way, signals it.
stop() {
    local pid tries=0
    if [ "$2" -eq 1 ]; then
        timeout -k 5 100 "$ATTNBENCH" "${sweep[@]}" "${endless[@]}" --resume >"$out" 2>"$err" &
    else
        timeout -k 5 100 "$MPIRUN" -n "$2" "$ATTNBENCH" "${sweep[@]}" "${endless[@]}" --resume >"$out" 2>"$err" &
    fi
    pid=$!
    until [ -d i.h5.parts ] || [ $tries -ge 600 ]; do
        tries=$((tries + 1))
        sleep 0.1
    done
    sleep 1
    pkill -"$1" -P $pid
    wait $pid
    code=$?
    drop_notices
}

for ranks in 1 3; do
    expect $ranks 0 "${sweep[@]}" --seq 16,20
    # What the file has stays in it while it is resumed; what is new is in parts until that ends.
    stop USR1 $ranks
    check "USR1 at $ranks ranks exits 3" test "$code" -eq 3
    check "one message" test "$(grep -vcE '^attnbench: (warning: |[0-9]+ of [0-9]+ cases? found)' "$err")" -eq 1
    check "it names the signal" holds "$err" 'attnbench: interrupted by SIGUSR1'
    check "it says how to go on" holds "$err" '--resume'
    bench 1 report --cases i.h5 i.h5.parts
    check "the finished cases are kept" test "$(grep -c ' VALID' "$out")" -ge 2
    check "no temporary file is left" test -z "$(find . -name '*.tmp')"
    expect $ranks 2 "${sweep[@]}" --seq 16
    expect $ranks 0 "${sweep[@]}" --seq 16,20,24 --resume
    check "all are there" test "$(grep -c ' VALID' "$out")" -ge 3
    check "one whole file" test -s i.h5
    check "no parts" test ! -e i.h5.parts
    rm -rf ./*
done
for signal in INT TERM; do
    stop $signal 1
    check "$signal exits 3" test "$code" -eq 3
    check "it names the signal" holds "$err" "interrupted by SIG$signal"
    rm -rf ./*
done
finish
