#!/usr/bin/env bash
# Bad usage and bad input: status 2, one line on stderr that names the value, nothing else, at any number of ranks.
# shellcheck source=tests/cli/common.sh
. "$(dirname "${BASH_SOURCE[0]}")/common.sh"
LIMIT=20

golden=$ATTN_TEST_DATA/golden/causal.h5
layer=$ATTN_TEST_DATA/golden/gqa_layer.h5
missing=$scratch/missing.h5
text=$scratch/text.h5
echo 'not an HDF5 file' >"$text"

# bad RANKS WORDS ARGUMENT...: the call is refused with a line that holds the words.
bad() {
    local ranks=$1 words=$2
    shift 2
    expect "$ranks" 2 "$@"
    check "one line on stderr: $*" test "$(lines "$err")" -eq 1
    check "it starts with the name: $*" grep -q '^attnbench: ' "$err"
    check "it says '$words': $*" holds "$err" "$words"
    check "nothing on stdout: $*" is_empty "$out"
    check "no file is left: $*" folder_empty
}

bad 1 'a subcommand is needed'
bad 3 'unknown subcommand "rnu"; did you mean "run"?' rnu
bad 1 'accepted: run, generate, verify, report, list' nosuchcommand
bad 3 'unknown option "--sqe"; did you mean "--seq"?' run --sqe 4
bad 1 'unknown option "--nosuchoption"' run --nosuchoption
bad 1 'unknown option "-seq"' run -seq 4
bad 1 '--seq: a value is needed' run --seq
bad 1 '--causal=1: a switch' run --causal=1
bad 1 'file.h5: run takes options only' run file.h5

# Numbers, lists and ranges.
bad 3 '--seq 12abc: a positive integer such as 4096 or 4k, a list 1024,2048 or a range' run --seq 12abc
bad 1 '--seq ""' run --seq ''
bad 1 '--seq ""' run --seq=
bad 1 '--seq -5' run --seq -5
bad 1 '--seq 0' run --seq 0
bad 1 '--seq 1.5' run --seq 1.5
bad 1 '--seq 0x10' run --seq 0x10
bad 1 '--seq 4K' run --seq 4K
bad 1 '--seq +4' run --seq +4
bad 1 '--seq  4' run --seq ' 4'
bad 1 '--seq 1,,2' run --seq 1,,2
bad 1 '--seq 1,' run --seq 1,
bad 1 '--seq 1:8' run --seq 1:8
bad 1 '--seq 8:1:x2' run --seq 8:1:x2
bad 1 '--seq 1:8:x1' run --seq 1:8:x1
bad 1 '--seq 1:8:+0' run --seq 1:8:+0
bad 1 '--seq 1:1M:+1: at most 10000 values' run --seq 1:1M:+1
bad 1 '--seq 9223372036854775808' run --seq 9223372036854775808
bad 1 '--seq 9007199254740992k' run --seq 9007199254740992k
bad 1 'more than 10000 cases' run --seq 1:200:+1 --heads 1:200:+1
bad 1 '--window-left -2: -1 (no limit)' run --window-left -2
bad 1 '--softcap -1' run --softcap -1
bad 1 '--softcap nan' run --softcap nan
bad 1 '--scale inf' run --scale inf
bad 1 '--scale 0' run --scale 0
bad 1 '--ci 1: a number between 0 and 1' run --ci 1
bad 1 '--rel-err 0' run --rel-err 0
bad 1 '--max-time abc' run --max-time abc
bad 1 '--min-reps 9: at most --max-reps, 3' run --min-reps 9 --max-reps 3
bad 1 '--warmup -1' run --warmup -1
bad 1 '--seed x' run --seed x
bad 1 '--threads 0' run --threads 0
bad 3 '--ranks 4: this launch has 3 ranks' run --ranks 1,4
bad 1 '--grid 2y2: PSxPH' run --grid 2y2
bad 1 '--grid 0x1' run --grid 0x1
bad 1 '--documents uniform:9:3' run --documents uniform:9:3
bad 1 '--documents lognormal:8' run --documents lognormal:8

# Names.
bad 3 'unknown exchange "allgater"; did you mean "allgather"? accepted: none, allgather, auto, all' \
    run --exchange allgater
bad 1 'unknown layout "zigzak"; did you mean "zigzag"?' run --layout zigzak
bad 1 'unknown combine "auto"; accepted: ' run --combine auto
bad 1 'unknown dtype "float23"; did you mean "float32"?' run --dtype float23
bad 1 'unknown kernel ""' run --kernel ''
bad 1 'unknown scaling "week-seq"; did you mean "weak-seq"?' run --scaling week-seq
bad 1 '--pass backward: this version has forward only' run --pass backward
bad 1 '--pass layer: this version has forward only' verify --pass layer "$golden"
bad 1 '--dropout: this version has no dropout' run --dropout 0.1
bad 1 '--hybrid: this version has no' run --hybrid 2x2

# However long a value is, what would be accepted stands behind it.
long=$(printf '1%.0s' {1..600})
bad 1 "${long:0:60}...: a positive integer such as 4096 or 4k, a list 1024,2048 or a range 1k:64k:x2 or 1k:8k:+1k is accepted" \
    run --seq "$long"
bad 1 '...: 0 or a positive integer such as 4096 or 4k is accepted' run --seed "$long"
bad 1 '...: at most 10000 values are accepted' run --seq "$(printf '1,%.0s' {1..11000})1"
bad 1 '...: a finite number such as 0.125 is accepted' run --scale "x$long"
bad 1 '...: 0 or a positive number such as 0.5 or a list of at most 10000 of them is accepted' run --softcap "x$long"
bad 1 '...: PSxPH such as 2x4, a list of them or auto is accepted' run --grid "$long"
bad 1 'lognormal:MEDIAN:SIGMA is accepted' run --documents "x$long"
bad 1 '..."; accepted: none, allgather, auto, all' run --exchange "$long"
bad 1 '..."; accepted: run, generate, verify, report, list' "$long"
bad 1 '...: this version has forward only' run --pass "$long"
bad 1 '...: run takes options only' run "$long"
bad 1 '..."; see attnbench run --help' run "--$long"
bad 1 '...: a switch, it takes no value' run "--causal=$long"
bad 1 ': a name ending in .png, .svg or .pdf is accepted' report --plot "$long" x

# Points that cannot run, when there is no other.
bad 3 'grid 2x2 has 4 ranks and 3 run' run --grid 2x2
bad 2 'heads 6 is not a multiple of kv-heads 4' run --heads 6 --kv-heads 4
bad 1 'documents need seq = kv-seq' run --documents 4 --seq 16 --kv-seq 32
bad 1 'GiB are free' run --seq 8M --batch 64
bad 1 'GiB are free' run --seq 8192M --documents fixed:1
bad 2 'none of 2 cases can run' run --seq 8192M,16384M --causal --documents 0
bad 2 'none of 2 cases can run' run --heads 5,7 --kv-heads 4 --seq 16

# Files.
bad 3 "$missing: No such file" run --input "$missing"
bad 1 "$text: " run --input "$text"
bad 1 "$layer: " run --input "$layer"
bad 1 '--seq: not accepted with --input' run --input "$golden" --seq 4
bad 1 '--causal: not accepted with --input' run --input "$golden" --causal
bad 1 'strong is accepted' run --input "$golden" --scaling weak-seq
bad 3 'folder /nosuchfolder' run --seq 16 --output /nosuchfolder/x.h5
bad 3 '--json /nosuchfolder/x.json: cannot be written' run --seq 16 --json /nosuchfolder/x.json
bad 1 '--json and --csv both write stdout' run --seq 16 --json - --csv -
bad 1 '--resume: name the file' run --seq 16 --resume
bad 3 '--output: the name of the file to write is needed' generate
bad 1 'generate writes one problem' generate --output x.h5 --seq 1,2
bad 3 '/nosuchfolder' generate --output /nosuchfolder/x.h5 --seq 16
bad 1 'exists; a new name is accepted' generate --output "$text" --seq 16
bad 1 'unknown option "--ranks"' generate --output x.h5 --ranks 1
bad 1 'verify: a file is needed' verify
bad 3 "$missing: No such file" verify "$golden" "$missing"
bad 2 "$text: " verify "$golden" "$text"
bad 3 'nothing was checked; gqa_layer.h5: layer files: this version has no layers' verify "$layer"
bad 3 'nothing was checked; causal.h5: grid 2x2' verify --grid 2x2 "$golden"
bad 1 '3 ways to compute were asked for' verify --layout all --write x "$golden"
bad 1 'would be overwritten' verify --write "$ATTN_TEST_DATA/golden" "$golden"
bad 1 'two files are named causal.h5' verify --write x "$golden" "$golden"
bad 1 'report: a result file is needed' report
bad 3 "$missing: No such file" report "$missing"
bad 1 "$golden: " report "$golden"
bad 1 'unknown format "html"; accepted: text, markdown, csv' report --format html "$golden"
bad 1 '--plot x.bmp: a name ending in .png, .svg or .pdf' report --plot x.bmp "$golden"
bad 1 'x: list takes options only' list x
finish
