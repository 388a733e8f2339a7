#!/usr/bin/env bash
# Checks the documentation of the public headers, which is the reference of the library.
#
#   tests/check_headers.sh [ROOT]      ROOT: the project (default: the one that this script is in)
#
# Every function of include/attn/*.h is ATTN_API and has a comment directly above it, or follows, without a blank line, on one
# that has (a group: create and destroy, or a setter a type). Where a header brings in MPI, each of these comments says
# "Collective" or "Not collective", beside or above the declaration. attn.h includes every other header. Prints what is wrong and exits 1.
set -euo pipefail

root=${1:-$(cd "$(dirname "${BASH_SOURCE[0]}")/.." && pwd)}
cd "$root/include"
export LC_ALL=C
bad=0

for header in attn/*.h; do
    [ "$header" = attn/attn.h ] && continue
    grep -qxF "#include <$header>" attn/attn.h || {
        printf 'include/attn/attn.h does not include %s\n' "$header"
        bad=1
    }
done

# shellcheck disable=SC2016 # the dollars are awk's
awk '
function wrong(text) {
    printf "include/%s:%d: %s\n", FILENAME, at, text
    bad++
}
# The name before the first parenthesis.
function name_of(text, before) {
    before = substr(text, 1, index(text, "(") - 1)
    sub(/[ \t]+$/, "", before)
    sub(/.*[^A-Za-z0-9_]/, "", before)
    return before
}
function check(text) {
    functions++
    if (text !~ /^ATTN_API /) wrong(name_of(text) ": not ATTN_API, so it is not exported")
    if (comment == "") wrong(name_of(text) ": no comment directly above it")
    else if (mpi && (comment beside) !~ /(^|[^A-Za-z])([Nn]ot c|C)ollective/)
        wrong(name_of(text) ": neither \"Collective\" nor \"Not collective\"")
}
FNR == 1 {
    comment = statement = beside = ""
    in_comment = depth = 0
    mpi = 0
    while ((getline line < FILENAME) > 0) mpi = mpi || line ~ /^#include <(mpi|attn\/(comm|dist|input))\.h>/
    close(FILENAME)
}
in_comment {
    comment = comment " " $0
    if ($0 ~ /\*\//) in_comment = 0
    next
}
/^\/\*/ {
    comment = $0
    in_comment = $0 !~ /\*\//
    next
}
# A blank line ends a group; preprocessor lines and their continuations are no declarations.
/^[ \t]*$/ { comment = ""; next }
/^extern "C"/ { next }
continued || /^#/ { continued = $0 ~ /\\$/; next }
depth > 0 || /\{/ {
    depth += gsub(/\{/, "{") - gsub(/\}/, "}")
    if (depth == 0) comment = statement = ""
    next
}
/^}/ { next }
{
    beside = match($0, /\/\*.*\*\//) ? substr($0, RSTART, RLENGTH) : ""
    sub(/[ \t]*\/\*.*\*\//, "")
    if (statement == "") at = FNR
    statement = statement == "" ? $0 : statement " " $0
    if (statement !~ /;[ \t]*$/) next
    if (statement !~ /^typedef/ && index(statement, "(")) check(statement)
    statement = ""
}
END {
    printf "check_headers: %d functions, %d faults\n", functions, bad
    exit bad > 0
}' attn/*.h || bad=1
[ "$bad" -eq 0 ]
