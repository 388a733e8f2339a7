# Tables of calls that are refused, one row a call, two rows at a time; read after common.sh.
#
#   bad RANKS <<'ROWS'
#   what is wrong | arguments, as the shell reads them | what the line on stderr holds
#   ROWS
#
# Each call works in an empty folder of its own beside $scratch/files, so files/x.h5 is ../files/x.h5 there. It must end
# within 5 s, times ATTN_TEST_SLOWNESS (default 1) on a machine that is busy with other things, with status 2, one line
# on stderr, nothing on stdout, and nothing in its folder. `allowed` has the same rows for calls that succeed, and what
# stdout or stderr holds.
# shellcheck shell=bash
: "${scratch:?}"
LIMIT=$((5 * ${ATTN_TEST_SLOWNESS:-1}))
# Of whatever length a value is, the message shows what would be accepted.
# shellcheck disable=SC2034 # the rows name it
long=$(printf '1%.0s' {1..600})
rows=0 slowest=0 slowest_name=

# trim TEXT: without blanks at both ends.
trim() {
    local text=${1#"${1%%[! ]*}"}
    printf '%s' "${text%"${text##*[! ]}"}"
}

# call NUMBER RANKS ARGUMENTS: runs a row, and leaves what came of it in $scratch/NUMBER.*.
call() {
    local begin number=$1 ranks=$2 arguments=$3
    mkdir "$scratch/$number" && cd "$scratch/$number" || exit 1
    out=$scratch/$number.out err=$scratch/$number.err
    eval "set -- $arguments"
    begin=${EPOCHREALTIME/[.,]/}
    bench "$ranks" "$@"
    echo "$code $(((${EPOCHREALTIME/[.,]/} - begin) / 1000))" >"$scratch/$number.code"
}

# check_row STATUS NAME NUMBER: what every row must fulfil.
check_row() {
    local milliseconds=0 status=$1 name=$2 number=$3
    out=$scratch/$number.out err=$scratch/$number.err
    read -r code milliseconds <"$scratch/$number.code"
    check "$name: it ends within $LIMIT s" test "$milliseconds" -lt $((LIMIT * 1000))
    check "$name: status $status" test "$code" -eq "$status"
    [ -z "${ROW_TIMES-}" ] || echo "$milliseconds $name"
    [ "$milliseconds" -le "$slowest" ] || { slowest=$milliseconds slowest_name=$name; }
}

check_bad() {
    check_row 2 "$1" "$2"
    check "$1: one line on stderr" test "$(lines "$err")" -eq 1
    check "$1: it starts with the name" grep -q '^attnbench: ' "$err"
    check "$1: it says '$3'" holds "$err" "$3"
    check "$1: nothing on stdout" is_empty "$out"
    check "$1: no file is left" test -z "$(ls -A "$scratch/$2")"
}

check_allowed() {
    check_row 0 "$1" "$2"
    [ -z "$3" ] || check "$1: it says '$3'" grep -qF -e "$3" "$out" "$err"
}

# run_table CHECK RANKS: the rows come on stdin.
run_table() {
    local judge=$1 ranks=$2 name arguments words names=() numbers=() wanted=()
    while IFS='|' read -r name arguments words; do
        [ -n "$name" ] || continue
        rows=$((rows + 1))
        names+=("$(trim "$name")") numbers+=("$rows") wanted+=("$(trim "$words")")
        [ "$(jobs -rp | wc -l)" -lt 2 ] || wait -n
        call "$rows" "$ranks" "$arguments" </dev/null &
    done
    wait
    for i in "${!names[@]}"; do
        "$judge" "${names[i]}" "${numbers[i]}" "${wanted[i]}"
    done
}

bad() { run_table check_bad "$1"; }
allowed() { run_table check_allowed "$1"; }

finish_table() {
    printf '%s rows; the slowest took %s ms: %s\n' "$rows" "$slowest" "$slowest_name"
    finish
}
