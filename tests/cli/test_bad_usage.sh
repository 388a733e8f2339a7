#!/usr/bin/env bash
# Command lines that are refused: numbers, lists, ranges, names. What files and problems make impossible is in
# test_bad_input.sh.
here=$(cd "$(dirname "${BASH_SOURCE[0]}")" && pwd)
# shellcheck source=tests/cli/common.sh
. "$here/common.sh"
# shellcheck source=tests/cli/table.sh
. "$here/table.sh"

bad 3 <<'ROWS'
no subcommand        |                                   | a subcommand is needed:
unknown subcommand   | rnu                               | unknown subcommand "rnu"; did you mean "run"? accepted:
unknown option       | run --sqe 4                       | unknown option "--sqe"; did you mean "--seq"?
one dash             | run -seq 4                        | unknown option "-seq"; did you mean "--seq"?
unknown to generate  | generate --output x.h5 --ranks 1  | unknown option "--ranks"
unknown kernel       | run --kernel portabel             | unknown kernel "portabel"; did you mean "portable"?
unknown exchange     | run --exchange allgater           | unknown exchange "allgater"; did you mean "allgather"? accepted:
unknown layout       | run --layout zigzak               | unknown layout "zigzak"; did you mean "zigzag"?
unknown combine      | verify --combine allgahter x      | unknown combine "allgahter"; did you mean "allgather"?
unknown dtype        | run --dtype float23               | unknown dtype "float23"; did you mean "float32"? accepted: float64, float32, float16, bfloat16, all
abbreviated dtype    | run --dtype bf16                  | unknown dtype "bf16"; did you mean "bfloat16"?
unknown pass         | run --pass forwrad                | unknown pass "forwrad"; did you mean "forward"? accepted: forward
unknown scaling      | run --scaling week-seq            | unknown scaling "week-seq"; did you mean "weak-seq"?
unknown format       | report --format md x              | unknown format "md"; did you mean "markdown"? accepted: text, markdown, csv
training             | run --pass train                  | --pass train: this version has forward, backward and decode
value missing        | run --seq                         | --seq: a value is needed; see attnbench run --help
value for a switch   | run --causal=1                    | --causal=1: a switch, it takes no value
letters              | run --seq 12abc                   | --seq 12abc: a positive integer such as 4096 or 4k, a list 1024,2048 or a range
zero                 | run --seq 0                       | --seq 0: a positive integer
negative             | run --seq -5                      | --seq -5: a positive integer
empty                | run --seq ''                      | --seq "": a positive integer
a suffix inside      | run --seq 1k5                     | --seq 1k5: a positive integer
2^63                 | run --seq 9223372036854775808     | --seq 9223372036854775808: a positive integer
2^63 by a suffix     | run --seq 9007199254740992k       | --seq 9007199254740992k: a positive integer
a falling range      | run --seq 8:1:x2                  | --seq 8:1:x2: a range that rises, such as 1k:64k:x2, is accepted
a range by x1        | run --seq 1:8:x1                  | --seq 1:8:x1: a range with a factor of x2 or more is accepted
a range by x0        | run --seq 1:8:x0                  | --seq 1:8:x0: a range with a factor of x2 or more is accepted
a range by +0        | run --seq 1:8:+0                  | --seq 1:8:+0: a range with a step of +1 or more is accepted
a window below -1    | run --window-left -2              | --window-left -2: -1 (no limit), 0 or a positive integer
a negative softcap   | run --softcap -1                  | --softcap -1: 0 or a positive number
a negative dropout   | run --dropout -1                  | --dropout -1: 0 or a positive number
all dropped          | run --dropout 1                   | dropout 1: must be 0 (off) or more, and less than 1
dropout of a file    | run --input x.h5 --dropout 0.1    | --dropout: not accepted with --input, whose file sets it
scale NaN            | run --scale nan                   | --scale nan: a finite number such as 0.125 is accepted
no time              | run --max-time 0                  | --max-time 0: a positive number
ci 2                 | run --ci 2                        | --ci 2: a number between 0 and 1
negative error       | run --rel-err -1                  | --rel-err -1: a positive number
9 of 3 repetitions   | run --min-reps 9 --max-reps 3     | --min-reps 9: at most --max-reps, 3, is accepted
0 threads            | run --threads 0                   | --threads 0: a positive integer
too many threads     | run --threads 100000              | --threads 100000: 1 to 32767 is accepted
ranks beyond         | run --ranks 1,4                   | --ranks 4: this launch has 3 ranks; 1 to 3 is accepted
a grid of letters    | run --grid 2y2                    | --grid 2y2: PSxPH such as 2x4, a list of them or auto is accepted
a file for run       | run file.h5                       | file.h5: run takes options only; see attnbench run --help
a file for list      | list x                            | x: list takes options only
no such transfer     | run --exchange tree --transfer persistent --seq 8 | nothing can run: exchange tree: no transfer persistent; it has nonblocking
ROWS

# The same without mpirun.
bad 1 <<'ROWS'
no near subcommand   | nosuchcommand                     | unknown subcommand "nosuchcommand"; accepted:
no near option       | run --nosuchoption                | unknown option "--nosuchoption"; see attnbench run --help
letters behind -h    | run -heads                        | unknown option "-heads"
an empty value       | run --seq=                        | --seq ""
a fraction           | run --seq 1.5                     | --seq 1.5
hexadecimal          | run --seq 0x10                    | --seq 0x10
a large K            | run --seq 4K                      | --seq 4K
a plus               | run --seq +4                      | --seq +4
a blank              | run --seq ' 4'                    | --seq  4
a hole in a list     | run --seq 1,,2                    | --seq 1,,2
an open list         | run --seq 1,                      | --seq 1,
half a range         | run --seq 1:8                     | --seq 1:8
a range from 0       | run --seq 0:8:x2                  | --seq 0:8:x2: a positive integer
a long range         | run --seq 1:1M:+1                 | --seq 1:1M:+1: at most 10000 values
a long sweep         | run --seq 1:200:+1 --heads 1:200:+1 | more than 10000 cases
softcap NaN          | run --softcap nan                 | --softcap nan
scale infinite       | run --scale inf                   | --scale inf
ci 1                 | run --ci 1                        | --ci 1: a number between 0 and 1
no error             | run --rel-err 0                   | --rel-err 0
time of letters      | run --max-time abc                | --max-time abc
negative warm-up     | run --warmup -1                   | --warmup -1
seed of letters      | run --seed x                      | --seed x
a grid of 0          | run --grid 0x1                    | --grid 0x1
lengths that fall    | run --documents uniform:9:3       | --documents uniform:9:3
half a law           | run --documents lognormal:8       | --documents lognormal:8
auto combine         | run --combine auto                | unknown combine "auto"; accepted:
an empty name        | run --kernel ''                   | unknown kernel ""
two passes           | run --pass forward,forward        | --pass forward,forward: one name is accepted
layer to verify      | verify --pass layer x             | --pass layer: this version has
hybrid               | run --hybrid 3                    | --hybrid 3: PUxPR such as 2x4, a list of them or auto
no ranks of a node   | run --node-ranks 0                | --node-ranks 0: a positive integer
unknown transfer     | run --transfer fast               | unknown transfer "fast"; accepted: blocking, nonblocking, persistent, onesided, auto, all
unknown inner        | run --inner left                  | unknown inner "left"; accepted: alltoall, ring
file and --causal    | run --input x --causal            | --causal: not accepted with --input
file and scaling     | run --input x --scaling weak-seq  | strong is accepted
report in HTML       | report --format html x            | unknown format "html"; accepted: text, markdown, csv
a picture of kind    | report --plot x.bmp x             | --plot x.bmp: a name ending in .png, .svg or .pdf
ROWS

# However long a value is, what would be accepted stands behind it.
bad 1 <<'ROWS'
long number      | run --seq "$long"       | --seq 111111111111111111111111111111111111111111111111111111111111...: a positive integer such as 4096 or 4k, a list 1024,2048 or a range 1k:64k:x2 or 1k:8k:+1k is accepted
long seed        | run --seed "$long"      | ...: 0 or a positive integer such as 4096 or 4k is accepted
long list        | run --seq "$(printf '1,%.0s' {1..11000})1" | ...: at most 10000 values are accepted
long real        | run --scale "x$long"    | ...: a finite number such as 0.125 is accepted
long reals       | run --softcap "x$long"  | ...: 0 or a positive number such as 0.5 or a list of at most 10000 of them is accepted
long grid        | run --grid "$long"      | ...: PSxPH such as 2x4, a list of them or auto is accepted
long law         | run --documents "x$long" | lognormal:MEDIAN:SIGMA is accepted
long name        | run --exchange "$long"  | ..."; accepted:
long subcommand  | "$long"                 | ..."; accepted:
long pass        | run --pass "$long"      | ..."; accepted: forward
long argument    | run "$long"             | ...: run takes options only
long option      | run "--$long"           | ..."; see attnbench run --help
long for switch  | run "--causal=$long"    | ...: a switch, it takes no value
long picture     | report --plot "$long" x | : a name ending in .png, .svg or .pdf is accepted
ROWS

# Points that cannot run, when there is no other.
bad 2 <<'ROWS'
two too large    | run --seq 8192M,16384M --causal --documents 0 | none of 2 cases can run; the first: needs at least
heads 5 and 7    | run --heads 5,7 --kv-heads 4 --seq 16 | none of 2 cases can run
ROWS
finish_table
