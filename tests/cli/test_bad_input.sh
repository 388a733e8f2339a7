#!/usr/bin/env bash
# Bad files, problems that cannot be, and outputs that cannot be written, at 3 ranks.
here=$(cd "$(dirname "${BASH_SOURCE[0]}")" && pwd)
# shellcheck source=tests/cli/common.sh
. "$here/common.sh"
# shellcheck source=tests/cli/table.sh
. "$here/table.sh"

files=$scratch/files sealed=$scratch/sealed busy=$scratch/busy
mkdir "$files" "$sealed" "$busy" "$scratch/text-alone" "$scratch/empty"
"${WRITE_DEFECTS:?}" "$files" || exit 1
size=$(stat -c %s "$files/good.h5")
head -c $((size / 2)) "$files/good.h5" >"$files/half.h5"
head -c $((size - 1)) "$files/good.h5" >"$files/cut.h5"
head -c 60 "$files/good.h5" >"$files/head.h5"
echo 'not an HDF5 file' | tee "$files/text.h5" >"$scratch/text-alone/text.h5"
: >"$files/empty.h5"
cp "$files/good.h5" "$files/unreadable.h5"
cp "$files/good.h5" "$files/g.h5"
chmod 000 "$files/unreadable.h5"
mkfifo "$files/pipe.h5"
chmod 555 "$sealed"

# Root reads and writes everywhere; without two of its powers it is like others.
ordinary=yes
if [ -r "$files/unreadable.h5" ]; then
    drop='setpriv --bounding-set -dac_override,-dac_read_search'
    if $drop test ! -r "$files/unreadable.h5" 2>/dev/null; then
        printf '#!/bin/sh\nexec %s "%s" "$@"\n' "$drop" "$ATTNBENCH" >"$scratch/ordinary"
        chmod +x "$scratch/ordinary"
        ATTNBENCH=$scratch/ordinary
    else
        ordinary=no
        echo 'skipped: rows of files that cannot be read or written, as this user can'
    fi
fi

# A launch that is stopped while it writes ../busy/x.h5 (and is no child of this shell, which waits for its children).
writer=$("$ATTNBENCH" run --seq 16 --threads 1 --max-reps 1000000 --max-time 1000 --rel-err 1e-12 \
    --output "$busy/x.h5" >/dev/null 2>&1 & echo $!)
# Another one that is stopped while it generates ../busy/g.h5.
generator=$("$ATTNBENCH" generate --heads 16 --seq 16k --output "$busy/g.h5" >/dev/null 2>&1 & echo $!)
trap 'kill -KILL "$writer" "$generator" 2>/dev/null; rm -rf "$scratch"' EXIT
until [ -e "$busy/g.h5.tmp" ] || ! kill -0 "$generator" 2>/dev/null; do sleep 0.01; done
check "there is a generator" kill -STOP "$generator"
for _ in {1..100}; do
    [ -d "$busy/x.h5.parts" ] && break
    sleep 0.1
done
check "there is a writer" kill -STOP "$writer"
# Longer than a path may be, and whole names where it is cut.
# shellcheck disable=SC2034 # a row names it
dots=$(printf './%.0s' {1..2045})

state() { find "$files" "$sealed" "$busy" "$scratch/text-alone" "$scratch/empty" -type d -printf '%p\n' -o -printf '%p %s %T@\n' | sort; }
state >"$scratch/before"

# Files that are none, or are damaged.
bad 3 <<'ROWS'
truncated to half | verify ../files/half.h5              | half.h5: a damaged HDF5 file
a byte short      | run --input ../files/cut.h5          | cut.h5: a damaged HDF5 file
the head alone    | verify ../files/head.h5              | head.h5: a damaged HDF5 file
text              | verify ../files/text.h5              | text.h5: not an HDF5 file; one is needed
text to run       | run --input ../files/text.h5         | text.h5: not an HDF5 file; one is needed
no bytes          | run --input ../files/empty.h5        | empty.h5: not an HDF5 file
a folder          | run --input ../files                 | ../files: not a regular file
a pipe            | verify ../files/pipe.h5              | pipe.h5: not a regular file
missing           | run --input ../files/missing.h5      | missing.h5: No such file
second is missing | verify ../files/good.h5 ../missing.h5 | ../missing.h5: No such file
an empty name     | run --input ''                       | No such file
no file           | verify                               | verify: a file is needed
ROWS

# Layer files with one defect.
bad 3 <<'ROWS'
layer without x      | verify ../files/layer-no-x.h5             | layer-no-x.h5: dataset x is missing; one of [B,S,E] is needed
no number of heads   | verify ../files/layer-no-heads.h5         | attribute num_heads is missing
a missing weight     | verify ../files/layer-no-query.h5         | weights/query.weight, or another name of it, is missing
two names            | verify ../files/layer-two-queries.h5      | weights/q_proj.weight and weights/query.weight are names of one weight
fused and split      | verify ../files/layer-fused-and-split.h5  | weights/in_proj_weight and weights/key.weight are names of one weight
an unknown name      | verify ../files/layer-leftover.h5         | weights/LayerNorm.bias is no name of an attention layer's weight
transposed           | verify ../files/layer-transposed-key.h5   | dataset weights/key.weight: out is 3; 4 is needed
another gradient     | verify ../files/layer-renamed-gradient.h5 | expected/weights/q_proj.weight: there is no weights/q_proj.weight
rotary style         | verify ../files/layer-other-rotary.h5     | attribute rotary_style is "spiral"; half, interleaved or none is accepted
rotary dim           | verify ../files/layer-odd-rotary.h5       | rotary dim 3
after a good one     | verify ../files/layer-good.h5 ../files/layer-other-dy.h5 | dataset dy: width is 6; 5 is needed
ROWS

# Files with one defect.
bad 3 <<'ROWS'
no schema          | verify ../files/no-schema.h5                | schema
another schema     | run --input ../files/other-schema.h5        | attribute schema is "weights-of-mine"; "attn-input" is needed
schema of numbers  | verify ../files/numeric-schema.h5           | attribute schema
no version         | run --input ../files/no-version.h5          | schema_version is missing; 1 is needed
version 2          | verify ../files/later-version.h5            | schema_version is 2; this version of attnbench reads 1
no q               | verify ../files/no-q.h5                     | dataset q is missing
q of 3 dimensions  | verify ../files/flat-q.h5                   | dataset q has 3 dimensions; [B,Hq,Sq,D] is needed
k a group          | run --input ../files/group-k.h5             | k is not a dataset
no rows            | verify ../files/no-rows.h5                  | dataset q: Sq is 0; at least 1 is needed
D of q and k       | run --input ../files/other-width.h5         | dataset k: D is 4; 3 as in q is needed
Skv of k and v     | verify ../files/other-keys.h5               | dataset v: Skv is 9; 4 as in k is needed
B of q and v       | run --input ../files/other-batch.h5         | dataset v: B is 3; 2 as in q is needed
Sq of q and do     | verify ../files/other-gradient.h5           | dataset do: Sq is 5; 4 as in q is needed
3 heads over 2     | verify ../files/uneven-heads.h5             | heads 3 is not a multiple of kv-heads 2
int32              | run --input ../files/integer-q.h5           | dataset q has elements of type int32; float64, float32, float16 or bfloat16
uint16 alone       | verify ../files/bare-bits.h5                | dataset q has elements of type uint16 without
uint16 of fp8      | verify ../files/other-bits.h5               | fp8_e4m3
text as elements   | run --input ../files/text-q.h5              | dataset q has elements of type text
expected data      | verify ../files/expected-is-data.h5         | expected is not a group
lse of 4           | verify ../files/expected-lse-of-4.h5        | dataset expected/lse has 4 dimensions; [B,Hq,Sq] is needed
Hkv of k and dk    | verify ../files/expected-dk-heads.h5        | dataset expected/dk: Hkv is 4; 2 as in k is needed
causal of 2        | run --input ../files/causal-of-2.h5         | attribute causal is 2; 0 or 1 is needed
causal of text     | verify ../files/text-causal.h5              | attribute causal
half a window      | verify ../files/half-window.h5              | window_left
window of -7       | run --input ../files/negative-window.h5     | window-right -7: must be -1 (no limit) or more
scale NaN          | run --input ../files/nan-scale.h5           | scale nan: must be a number
two scales         | verify ../files/two-scales.h5               | attribute scale has 2 values
softcap of -30     | verify ../files/negative-softcap.h5         | softcap -30: must be 0 (off) or
dropout of 1.5     | verify ../files/large-dropout.h5            | dropout 1.5: must be 0 (off) or more
1 slope for 2      | run --input ../files/short-slopes.h5        | dataset alibi_slopes has 1 values; [Hq] = 2 are needed
3 sinks for 2      | verify ../files/long-sinks.h5               | dataset sinks has 3 values; [Hq] = 2 are needed
a sink NaN         | run --input ../files/nan-sink.h5            | sinks[1] = nan: must be a number
integer sinks      | verify ../files/integer-sinks.h5            | dataset sinks has elements of type int32; reals are needed
kv_len beyond Skv  | run --input ../files/long-padding.h5        | kv_len[1] = 6: must be 0 to 4 (kv-seq)
kv_len negative    | verify ../files/negative-padding.h5         | kv_len[1] = -1: must be 0 to 4 (kv-seq)
1 kv_len for 2     | verify ../files/short-padding.h5            | dataset kv_len has 1 values; [B] = 2 are needed
kv_len of reals    | run --input ../files/real-padding.h5        | dataset kv_len has elements of type float32; integers are needed
documents fall     | run --input ../files/falling-documents.h5   | cu_seqlens[2] = 2: must not be below the 3 before it
documents from 1   | verify ../files/late-documents.h5           | cu_seqlens[0] = 1: must be 0
documents to S - 1 | run --input ../files/short-documents.h5     | cu_seqlens[2] = 3: must be 4 (seq)
documents, Skv     | verify ../files/uneven-documents.h5         | documents need seq = kv-seq, but seq is 4 and kv-seq is 5
no document        | verify ../files/no-documents.h5             | dataset cu_seqlens has 1 values
documents squared  | verify ../files/square-documents.h5         | dataset cu_seqlens has 2 dimensions
2^40 documents     | verify ../files/endless-documents.h5        | dataset cu_seqlens has 1099511627776 values; at most
extents overflow   | run --input ../files/endless-batch.h5       | elements: too large; its bytes must fit in 63 bits
2^40 rows to run   | run --input ../files/endless-rows.h5        | nothing can run: needs at least
2^40 rows          | verify ../files/endless-rows.h5             | nothing was checked; endless-rows.h5: needs at least
file and --seq     | run --input ../files/good.h5 --seq 4        | --seq: not accepted with --input, whose file sets it
a layer to run     | run --input "$ATTN_TEST_DATA/golden/gqa_layer.h5" | schema is "attn-layer"; "attn-input" is needed
grid of 4          | verify --grid 2x2 ../files/good.h5          | nothing was checked; good.h5: grid 2x2
ROWS

# Problems that cannot be, and sizes that no machine has.
bad 3 <<'ROWS'
q beyond 2^63       | run --batch 2048M --heads 2048M --seq 2048M --head-dim 128 | elements: too large; its bytes must fit in 63 bits
product of extents  | generate --batch 8796093022208k --output x.h5 | elements: too large; its bytes must fit in 63 bits
beyond memory       | run --seq 8M --batch 64                      | GiB are free
memory, documents   | run --seq 8192M --documents fixed:8k         | GiB are free
documents > rows    | run --seq 64 --documents 2000M               | nothing can run: documents 2097152000: at most 64, one a row, are accepted
many documents      | run --seq 8192M --documents fixed:1          | documents 8589934592: at most 4194304 are accepted
many drawn          | run --seq 8192M --documents lognormal:1:0    | documents 4194305: at most 4194304 are accepted
to generate         | generate --seq 64 --documents 65 --output x.h5 | documents 65: at most 64, one a row, are accepted
documents, kv-seq   | run --documents 4 --seq 16 --kv-seq 32       | documents need seq = kv-seq
6 heads over 4      | run --heads 6 --kv-heads 4                   | heads 6 is not a multiple of kv-heads 4
grid of 4           | run --grid 2x2                               | grid 2x2 has 4 ranks and 3 run
none over 3         | run --exchange none --grid 3x1 --seq 16      | nothing can run: exchange none
8 ranks of 3        | run --ranks 8                                | --ranks 8: this launch has 3 ranks; 1 to 3 is accepted
large scale         | run --scale 1e300                            | scale 1e+300: must be a number up to
ROWS

# Outputs.
bad 3 <<'ROWS'
no such folder       | run --seq 16 --output ../nowhere/x.h5         | folder ../nowhere
a folder             | run --seq 16 --output ../files                | ../files: not a regular file
it exists            | run --seq 16 --output ../files/good.h5        | ../files/good.h5 exists; use --resume to continue it or choose another
not ours to resume   | run --seq 16 --output ../files/text.h5 --resume | text.h5: not an HDF5 file
an input to resume   | run --seq 16 --output ../files/good.h5 --resume | schema is "attn-input"; "attn-results" is needed
two writers          | run --seq 16 --output ../busy/x.h5            | ../busy/x.h5: another attnbench is writing it
two writers, resumed | run --seq 16 --output ../busy/x.h5 --resume   | ../busy/x.h5: another attnbench is writing it
two generators       | generate --seq 16 --output ../busy/g.h5       | ../busy/g.h5: another attnbench is writing it
run and generate     | run --seq 16 --output ../busy/g.h5            | ../busy/g.h5: another attnbench is writing it
generate and run     | generate --seq 16 --output ../busy/x.h5       | ../busy/x.h5: another attnbench is writing it
generate and verify  | verify --write ../busy ../files/g.h5         | ../busy/g.h5: another attnbench is writing it
a long name          | run --seq 16 --output "${dots}x.h5-and-more"  | a shorter name is accepted
an empty name        | run --seq 16 --output ''                      | --output "": the name of a file is accepted
JSON                 | run --seq 16 --json ../nowhere/x.json         | --json ../nowhere/x.json: cannot be written
CSV                  | run --seq 16 --csv ../nowhere/x.csv           | --csv ../nowhere/x.csv: cannot be written
JSON over an input   | run --seq 16 --json ../files/good.h5          | good.h5: is an HDF5 file and would be lost
both on stdout       | run --seq 16 --json - --csv -                 | --json and --csv both write stdout
resume what          | run --seq 16 --resume                         | --resume: name the file
generate             | generate --output ../nowhere/x.h5 --seq 16    | ../nowhere
generate a folder    | generate --output ../files --seq 16           | ../files: not a regular file; the name of a file is needed
generate over        | generate --output ../files/good.h5 --seq 16   | good.h5: exists; a new name is accepted
generate what        | generate                                      | --output: the name of the file to write is needed
generate two         | generate --output x.h5 --seq 1,2              | generate writes one problem
write over           | verify --write ../files ../files/good.h5      | would be overwritten
write two as one     | verify --write x ../files/good.h5 ../files/good.h5 | two files are named good.h5
write three ways     | verify --layout contiguous,zigzag,striped --write x ../files/good.h5 | 3 ways to compute were asked for
write into a file    | verify --write ../files/text.h5 ../files/good.h5 | --write ../files/text.h5
report what          | report                                        | report: a result file is needed
report nothing       | report ../missing.h5                          | ../missing.h5: No such file
report text          | report ../files/text.h5                       | text.h5: not an HDF5 file
report an input      | report ../files/good.h5                       | schema is "attn-input"; "attn-results" is needed
report text alone    | report ../text-alone                          | no result file in it; ../text-alone/text.h5: not an HDF5 file
report an empty one  | report ../empty                               | ../empty: no result file in it; files *.h5
report to nowhere    | report --csv ../nowhere/x.csv ../files/good.h5 | --csv ../nowhere/x.csv: cannot be written
plot to nowhere      | report --plot ../nowhere/x.png ../files/good.h5 | --plot ../nowhere/x.png: cannot be written
ROWS

[ $ordinary = no ] || bad 3 <<'ROWS'
not to be read       | run --input ../files/unreadable.h5            | unreadable.h5: Permission denied
not to be read       | verify ../files/good.h5 ../files/unreadable.h5 | unreadable.h5: Permission denied
read-only folder     | run --seq 16 --output ../sealed/x.h5          | ../sealed
generate there       | generate --seq 16 --output ../sealed/x.h5     | ../sealed
export there         | run --seq 16 --csv ../sealed/x.csv            | --csv ../sealed/x.csv: cannot be written
write there          | verify --write ../sealed/new ../files/good.h5 | --write ../sealed/new: Permission denied
write in there       | verify --write ../sealed ../files/good.h5     | ../sealed
ROWS

state >"$out"
check "every file is as it was" diff "$scratch/before" "$out"

# Unusual, and accepted.
allowed 3 <<'ROWS'
NaN to verify    | verify ../files/nan-q.h5                        | rows are NaN, as the input holds NaN or infinities
NaN to run       | run --max-time 0.01 --input ../files/nan-q.h5   | warning: 1 of 16 checked rows are NaN because the input holds NaN
a scale of 0     | verify ../files/zero-scale.h5                   | 1 PASS
--scale 0        | run --max-time 0.01 --seq 16 --scale 0          | VALID: 1 of 1 cases
--scale 0 to a file | generate --seq 16 --scale 0 --output x.h5    |
no visible key   | verify ../files/no-keys.h5                      | 1 PASS
empty documents  | verify ../files/empty-documents.h5              | 1 PASS
bfloat16         | verify "$ATTN_TEST_DATA/golden/bf16_inputs.h5" --pass forward | 0 FAIL
ROWS
finish_table
