#!/usr/bin/env bash
# Exports to what is no file: a named pipe, the shell's >(...), standard output.
# shellcheck source=tests/cli/common.sh
. "$(dirname "${BASH_SOURCE[0]}")/common.sh"

short=(run --heads 2 --head-dim 8 --seq 16 --max-time 0.01 --min-reps 2 --max-reps 4)
LIMIT=$((10 * ${ATTN_TEST_SLOWNESS:-1}))

# A reader that has come first, as the shell's >(...) does.
mkfifo pipe pipe.svg
# reads PIPE FILE
reads() {
    timeout "$LIMIT" cat "$1" >"$2" &
    reader=$!
}
reads pipe json
expect 1 0 "${short[@]}" --output a.h5 --json pipe
wait "$reader"
check "JSON through a pipe" json_good json
check "the pipe is still one" test -p pipe
check "the table is on stdout" holds "$out" 'VALID: 1 of 1 cases'
reads pipe csv
expect 2 0 report a.h5 --csv pipe
wait "$reader"
check "CSV through a pipe" test "$(lines csv)" -eq 2
if command -v gnuplot >/dev/null; then
    reads pipe.svg picture
    expect 1 0 report a.h5 --plot pipe.svg
    wait "$reader"
    check "a picture through a pipe" holds picture '</svg>'
    check "the pipe is still one" test -p pipe.svg
    check "no temporary file is left" test -z "$(find . -name '*.tmp')"
fi

# The timeline of every case: as a trace, as a picture, and refused where there is none.
expect 4 0 "${short[@]}" --heads 4 --seq 64 --exchange ring,allgather --output lines.h5 --quiet
expect 1 0 report lines.h5 --trace trace.json
check "the trace is JSON" json_good trace.json
check "every rank of both cases is in it" test "$(grep -o '"tid":[0-9]*,"cat"' trace.json | sort -u | wc -l)" -eq 4
check "both cases" test "$(grep -o '"ph":"X","pid":[0-9]*' trace.json | sort -u | wc -l)" -eq 2
for phase in compute imbalance-wait; do
    check "$phase is in it" holds trace.json "\"name\":\"$phase\""
done
expect 1 0 report lines.h5 --trace -
check "the trace alone on stdout" json_good "$out"
check "its table is on stderr" holds "$err" 'efficiency'
if command -v gnuplot >/dev/null; then
    expect 1 0 report lines.h5 --timeline lines.svg
    check "a picture" holds lines.svg 'exchange-wait'
fi
expect 1 2 report lines.h5 --timeline lines.gif
check "what ending" holds "$err" '--timeline lines.gif: a name ending in .png, .svg or .pdf'
expect 1 2 report lines.h5 --timeline lines.png --plot lines.png
check "one name, two pictures" holds "$err" '--plot and --timeline both write lines.png'
"${WRITE_STUDY:?}" . >"$out" 2>"$err"
expect 1 2 report base.h5 --trace none.json
check "the reason" holds "$err" 'none of the cases has a timeline'
check "one line" test "$(lines "$err")" -eq 1
check "nothing is printed" is_empty "$out"
check "no file is left" test ! -e none.json
expect 1 2 report base.h5 --timeline none.png
check "no picture either" test ! -e none.png

# The other name of standard output.
expect 1 0 report a.h5 --csv /dev/stdout
check "CSV alone on stdout" test "$(lines "$out")" -eq 2
check "the table is on stderr" holds "$err" 'efficiency'
expect 1 2 report a.h5 --csv /dev/stdout --json -
check "one of them" holds "$err" 'both write stdout'
"$ATTNBENCH" report a.h5 --csv /dev/fd/1 2>"$err" | cat >"$out"
check "stdout as a pipe under yet another name" holds "$out" 'batch,heads'

# Nobody reads: the results are kept, and a signal ends it.
"$ATTNBENCH" "${short[@]}" --output b.h5 --json pipe >"$out" 2>"$err" &
writer=$!
tries=0
until [ -s b.h5 ] || [ $tries -ge 100 ]; do
    tries=$((tries + 1))
    sleep 0.1
done
sleep 0.5
check "it waits for a reader" kill -0 "$writer"
kill -TERM "$writer"
tries=0
while kill -0 "$writer" 2>/dev/null && [ $tries -lt 50 ]; do
    tries=$((tries + 1))
    sleep 0.1
done
check "SIGTERM ends it" test "$tries" -lt 50
kill -KILL "$writer" 2>/dev/null
wait "$writer" 2>/dev/null
check "the results are kept" test "$(cases_in b.h5)" -eq 1
finish
