#!/usr/bin/env bash
# Some commands at 1 and 3 ranks, good and bad: also run under the sanitizers, where the other scripts would take too long.
# shellcheck source=tests/cli/common.sh
. "$(dirname "${BASH_SOURCE[0]}")/common.sh"

expect 1 0 list
for ranks in 1 3; do
    expect $ranks 0 generate --seq 96 --heads 6 --kv-heads 2 --head-dim 16 --documents 2 --output input.h5
    expect $ranks 0 verify --pass forward --layout all --exchange all input.h5 "$ATTN_TEST_DATA/golden/gqa.h5"
    expect $ranks 0 run --seq 64,128 --heads 6 --head-dim 16 --causal --exchange allgather --min-reps 3 --max-reps 5 \
        --threads 2 --output run.h5 --json run.json
    expect $ranks 0 run --seq 64,128,192 --heads 6 --head-dim 16 --causal --exchange allgather --min-reps 3 --max-reps 5 \
        --threads 2 --output run.h5 --resume
    expect $ranks 2 run --seq 12abc
    expect $ranks 2 run --input "$ATTN_TEST_DATA/golden/README.md"
    expect 1 0 report run.h5 --plot run.svg --csv run.csv
    rm -rf -- *
done
expect 1 2 report absent.h5
finish
