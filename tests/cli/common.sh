# Read by every test of the driver: a folder to work in that vanishes at the end, and counted checks.
#   ATTNBENCH       the program
#   ATTN_TEST_DATA  the folder tests/data
#   MPIRUN          starts several ranks
# shellcheck shell=bash
set -u
: "${ATTNBENCH:?}" "${ATTN_TEST_DATA:?}"
MPIRUN=${MPIRUN:-mpirun}
unset OMP_NUM_THREADS

scratch=$(mktemp -d) || exit 1
trap 'rm -rf "$scratch"' EXIT
cd "$scratch" || exit 1
mkdir work && cd work || exit 1

out=$scratch/out err=$scratch/err
checks=0 failures=0 code=0

# bench RANKS ARGUMENT...: runs attnbench, one rank without mpirun; its output in $out and $err, its status in $code.
bench() {
    local ranks=$1
    shift
    if [ "$ranks" -eq 1 ]; then
        timeout -k 5 "${LIMIT:-120}" "$ATTNBENCH" "$@" >"$out" 2>"$err"
    else
        timeout -k 5 "${LIMIT:-120}" "$MPIRUN" -n "$ranks" "$ATTNBENCH" "$@" >"$out" 2>"$err"
    fi
    code=$?
    drop_notices
}

# Open MPI 5 tells of an exit status other than 0 in a framed notice, at times with an error of PMIx or a warning of
# libevent besides, and cannot be told not to.
drop_notices() {
    sed -i -e '/^-\{60,\}$/,/^-\{60,\}$/{/^attnbench/!d}' -e '/^\[[^]]*\] PMIX ERROR/d' -e '/^\[warn\] Epoll/d' "$err"
}

# check WHAT COMMAND...: counts a check, which fails when the command does.
check() {
    local what=$1
    shift
    checks=$((checks + 1))
    "$@" && return
    failures=$((failures + 1))
    printf 'FAILED: %s (%s)\n  status %s\n' "$what" "$*" "$code"
    sed 's/^/  stdout: /' "$out" | tail -n 40
    sed 's/^/  stderr: /' "$err" | tail -n 20
}

# expect RANKS CODE ARGUMENT...: runs attnbench and checks its status.
expect() {
    local ranks=$1 wanted=$2
    shift 2
    bench "$ranks" "$@"
    check "attnbench $* at $ranks ranks exits $wanted" test "$code" -eq "$wanted"
}

# names_of HEADING: the rows of a table of `attnbench list` (Exchanges, Layouts, ...), so that no test counts them by hand.
names_of() {
    "$ATTNBENCH" list | awk -v heading="$1" '
        $1 == heading { line = 1; next }
        line && NF == 0 { exit }
        line && line++ > 2 { print $1 }'
}
joined() { paste -sd, | sed 's/,/, /g'; }

lines() { wc -l <"$1"; }
is_empty() { ! test -s "$1"; }
holds() { grep -qF -e "$2" "$1"; }
lacks() { ! grep -qF -e "$2" "$1"; }
narrow() { ! grep -qE '.{101}' "$1"; }
folder_empty() { test -z "$(ls -A .)"; }

json_good() {
    if command -v python3 >/dev/null; then
        python3 -m json.tool "$1" >/dev/null
    else
        head -c 1 "$1" | grep -q '{' && tail -c 2 "$1" | grep -q '}'
    fi
}
# column NAME FILE.csv: the values of a column, the first line having the names. Texts with commas must stand behind it.
column() {
    awk -F, -v name="$1" 'NR == 1 {for (i = 1; i <= NF; i++) if ($i == name) c = i; next} c {print $c}' "$2"
}
# put_bytes BYTES FILE DATASET: overwrites the beginning of a contiguous dataset; BYTES as for printf.
put_bytes() {
    local offset
    offset=$(h5dump -p -H -d "$3" "$2" | sed -n 's/.*OFFSET *//p' | head -n 1)
    # shellcheck disable=SC2059 # the escapes are the point
    printf "$1" | dd of="$2" bs=1 seek="$offset" conv=notrunc 2>/dev/null
}
# corrupt FILE DATASET: overwrites the last eight bytes of a contiguous dataset with those of 1e30.
corrupt() {
    local offset size
    offset=$(h5dump -p -H -d "$2" "$1" | sed -n 's/.*OFFSET *//p' | head -n 1)
    size=$(h5dump -p -H -d "$2" "$1" | sed -n 's/^ *SIZE *\([0-9]*\).*/\1/p' | head -n 1)
    printf '\352\214\240\071\131\076\051\106' | dd of="$1" bs=1 seek=$((offset + size - 8)) conv=notrunc 2>/dev/null
}
launches_of() { h5dump -A "$1" | grep -A 10 'ATTRIBUTE "launch_id"' | grep '(0)' | sort -u; }
cases_in() { h5dump -n "$1" | grep -cE '^ *group +/cases/[0-9a-f]{16}$'; }

finish() {
    printf '%s checks, %s failed\n' "$checks" "$failures"
    [ "$failures" -eq 0 ] && [ "$checks" -gt 0 ]
    exit
}
