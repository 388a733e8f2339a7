#!/usr/bin/env bash
# Generated files hold the same data at any number of ranks, keep the settings, and compute right.
# shellcheck source=tests/cli/common.sh
. "$(dirname "${BASH_SOURCE[0]}")/common.sh"

settings=(--batch 2 --heads 6 --kv-heads 3 --seq 37 --head-dim 5 --v-head-dim 7 --causal --alibi --sinks --softcap 20
    --window-left 20 --documents uniform:3:9 --dropout 0.3 --seed 5)

# Raw bytes of a data set.
raw() { h5dump -d "$2" -b FILE -o "$3" "$1" >/dev/null; }

for dtype in float64 float32 float16 bfloat16; do
    for ranks in 1 3 4; do
        expect $ranks 0 generate "${settings[@]}" --dtype $dtype --output $dtype.$ranks.h5
        check "nothing is printed" is_empty "$out"
        check "one line says how much was written" grep -qE \
            "^attnbench: $dtype.$ranks.h5: [0-9]+ bytes of q, k and v in [0-9.e-]+ s, [0-9.e+-]+ GB/s$" "$err"
        check "and no more" test "$(lines "$err")" -eq 1
        for array in q k v alibi_slopes sinks cu_seqlens; do
            raw $dtype.$ranks.h5 $array $array.$ranks
            check "$array is there" test -s $array.$ranks
            check "$array at $ranks ranks as at 1" cmp $array.1 $array.$ranks
        done
    done
    expect 3 0 verify $dtype.4.h5
    check "all rows were checked" holds "$out" 'all rows against float64'
done

h5dump -a dropout float64.1.h5 >"$scratch/dropout"
check "dropout is in the file" holds "$scratch/dropout" '(0): 0.3'
h5dump -a dropout_seed float64.1.h5 >"$scratch/dropout"
check "with its seed" holds "$scratch/dropout" '(0): 5'
expect 3 0 generate --seq 3 --heads 2 --head-dim 5 --quiet --output quiet.h5
check "no message with --quiet" is_empty "$err"

# Data beyond one chunk: pieces of a head, heads one by one, and chunks that some ranks no longer have rows for.
for extents in '--heads 2 --seq 9000' '--heads 3 --seq 5000' '--heads 1 --seq 16385'; do
    for ranks in 1 2 3; do
        rm -f chunks.h5
        # shellcheck disable=SC2086 # several words
        LIMIT=30 expect $ranks 0 generate $extents --kv-heads 1 --kv-seq 1 --head-dim 512 --output chunks.h5
        raw chunks.h5 q chunks.$ranks
        check "$extents at $ranks ranks as at 1" cmp chunks.1 chunks.$ranks
    done
done
check "as much data as asked for" test "$(stat -c %s chunks.1)" -eq $((16385 * 512 * 4))

# More ranks than rows; another seed gives other data; no file is replaced.
expect 4 0 generate --seq 2 --heads 1 --head-dim 3 --output tiny.h5
expect 1 0 verify tiny.h5
raw float32.1.h5 q q.first
expect 1 0 generate "${settings[@]}" --seed 6 --output other-seed.h5
raw other-seed.h5 q q.second
expect 2 2 generate "${settings[@]}" --seed 7 --output other-seed.h5
check "an existing file is refused" holds "$err" 'other-seed.h5: exists; a new name is accepted'
raw other-seed.h5 q q.third
check "and left as it is" cmp q.second q.third
check "another seed, other data" test "$(cmp q.first q.second >/dev/null && echo same)" != same
expect 3 0 generate --seq 24 --documents 5 --heads 2 --head-dim 4 --output count.h5
h5dump -d cu_seqlens count.h5 >"$out"
check "five documents" holds "$out" '(0): 0, 4, 9, 14, 19, 24'
expect 2 0 generate --seq 64 --documents lognormal:8:0.5 --heads 2 --head-dim 4 --output lognormal.h5
expect 2 0 verify lognormal.h5

# Two writers of one name at the same time: one of them writes all of the file, the other is told, whoever is first.
many=(generate --heads 4 --seq 4k --quiet)
for seed in 1 2; do
    expect 2 0 "${many[@]}" --seed $seed --output seed.$seed.h5
    raw seed.$seed.h5 q q.seed.$seed
done
for round in 1 2 3; do
    rm -f both.h5
    pids=() codes=()
    for seed in 1 2; do
        "$MPIRUN" -n 2 "$ATTNBENCH" "${many[@]}" --seed $seed --output both.h5 >"$out" 2>"$err.$seed" &
        pids+=($!)
    done
    for pid in "${pids[@]}"; do
        wait "$pid"
        codes+=($?)
    done
    check "round $round: one writes, one is refused, ${codes[*]}" test "$((codes[0] + codes[1]))" -eq 2
    won=$((codes[0] == 0 ? 1 : 2)) lost=$((codes[0] == 0 ? 2 : 1))
    raw both.h5 q q.both
    check "the file is that of the one that succeeded" cmp q.both q.seed.$won
    cp "$err.$lost" "$err"
    drop_notices
    check "the other is told in one line" test "$(lines "$err")" -eq 1
    check "and why" grep -qE '^attnbench: both.h5: (another attnbench is writing it|exists; a new name)' "$err"
done
# Computed copies: one after the other replaces, at the same time the second is refused.
expect 2 0 verify --write copies seed.1.h5
expect 2 0 verify --write copies seed.1.h5
check "no temporary file is left" test -z "$(find . -name '*.tmp*' -o -name '*.lock')"
finish
