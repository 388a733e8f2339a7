# Read by try.sh: a copy of the project in which the recipes of CONTRIBUTING.md are tried, each alone.
#   ATTN_BUILD   the folder of a complete build by ninja; its objects are used for all that a recipe does not change
#   MPIRUN       starts several ranks
# shellcheck shell=bash
set -euo pipefail

root=$(cd "$(dirname "${BASH_SOURCE[0]}")/../.." && pwd)
files=$root/tests/recipes/files
: "${ATTN_BUILD:?}"
MPIRUN=${MPIRUN:-mpirun}
if [ ! -e "$ATTN_BUILD/build.ninja" ]; then
    echo 'skipped: needs a build by ninja'
    exit 77
fi

scratch=$(mktemp -d)
trap 'rm -rf "$scratch"' EXIT
copy=$scratch/copy build=$scratch/build failures=0
export RECIPE_ROOT=$root RECIPE_BUILD=$ATTN_BUILD RECIPE_COPY=$copy
export RECIPE_CHANGED=$scratch/changed RECIPE_DEPENDS=$scratch/depends
export ATTNBENCH=$build/attnbench ATTN_TEST_DATA=$root/tests/data MPIRUN

# The copy, its build folder as that of the project was configured, and what each object of that depends on.
begin() {
    mkdir -p "$copy" "$build" "$RECIPE_DEPENDS"
    (cd "$root" && tar -cf - --exclude=./build --exclude=./.git --exclude=./results --exclude=./tests/data .) |
        tar -xf - -C "$copy"
    : >"$copy/compiled"
    restore
    sed -e "s|$ATTN_BUILD|$build|g" -e "s|$root|$copy|g" -e '/^CMAKE_CACHEFILE_DIR/d' "$ATTN_BUILD/CMakeCache.txt" \
        >"$build/CMakeCache.txt"
    ninja -C "$ATTN_BUILD" -t deps | awk -v folder="$RECIPE_DEPENDS" -v root="$root/" -v copy="$copy/" '
        /^[^ ].*: #deps/ {
            object = $1
            sub(/:$/, "", object)
            name = object
            gsub("/", "@", name)
            file = folder "/" name
            printf "%s:", object >file
            next
        }
        /^ / { sub(/^ +/, ""); if (index($0, root) == 1) $0 = copy substr($0, length(root) + 1); printf " \\\n  %s", $0 >file; next }
        /^$/ && file != "" { print "" >file; close(file); file = "" }'
    quietly cmake -S "$copy" -B "$build" -G Ninja -DCMAKE_C_COMPILER_LAUNCHER="$copy/tests/recipes/launcher.sh"
}

quietly() {
    "$@" >"$scratch/log" 2>&1 </dev/null || {
        tail -n 40 "$scratch/log"
        echo "FAILED: $*"
        exit 1
    }
}

# restore: takes back what the last recipe did to the copy.
added='' edited=''
restore() {
    [ -z "$added" ] || rm "$copy/$added"
    [ -z "$edited" ] || cp "$scratch/before" "$copy/$edited"
    added='' edited=''
    echo 'nothing yet' >"$RECIPE_CHANGED"
}

# recipe NAME
recipe() {
    restore
    printf '%-12s' "$1:"
    began=$SECONDS
}

# add_file FILE PATH: the recipe's one new file.
add_file() {
    [ ! -e "$copy/$2" ] || {
        echo "$2 exists"
        exit 1
    }
    cp "$files/$1" "$copy/$2"
    added=$2
    echo "$copy/$2" >>"$RECIPE_CHANGED"
}

# add_line PATH LIST ROW: the recipe's one line, first in a list.
add_line() {
    cp "$copy/$1" "$scratch/before"
    edited=$1
    sed -i "/^#define $2(X)/a\\    $3 \\\\" "$copy/$1"
    [ "$(diff "$scratch/before" "$copy/$1" | grep -c '^[<>]')" -eq 1 ] || {
        echo "$1: not one line more"
        exit 1
    }
    echo "$copy/$1" >>"$RECIPE_CHANGED"
}

compile() { quietly nice ninja -j 2 -C "$build" "$@"; }

# listed NAME: attnbench list has the row.
listed() {
    "$ATTNBENCH" list >"$scratch/log"
    grep -q "^$1 " "$scratch/log" || fault "attnbench list does not have $1"
}

fault() {
    printf 'FAILED: %s\n' "$1"
    failures=$((failures + 1))
}

# run_test RANKS TEST: 0 ranks: alone.
run_test() {
    if [ "$1" -eq 0 ]; then
        OMP_NUM_THREADS=2 timeout 120 "$build/tests/$2"
    else
        OMP_NUM_THREADS=2 timeout 120 "$MPIRUN" -n "$1" "$build/tests/$2"
    fi >"$scratch/log" 2>&1 </dev/null
}

# passes COMMAND..., fails COMMAND...: of a test with the row in the table.
passes() {
    "$@" || {
        grep -E '^(FAILED|rank)|error' "$scratch/log" || tail -n 20 "$scratch/log"
        fault "$* with the new row"
    }
}
# A crash, a time that ran out or ranks that did not start are no findings: checks must have failed, and been printed.
fails() {
    local code=0
    "$@" || code=$?
    if [ "$code" -eq 0 ]; then
        fault "$* does not notice: $wrong"
    elif [ "$code" -ne 1 ] || ! grep -qE '^(rank [0-9]+: .*\.c:[0-9]+: |FAILED: )' "$scratch/log" ||
        ! grep -qE '[ ,][1-9][0-9]* failed( on all ranks|$)' "$scratch/log"; then
        tail -n 20 "$scratch/log"
        fault "$* ends with status $code and no failed check, with the fault: $wrong"
    fi
}

# break_file PATH SED WHAT: the same file with a fault.
break_file() {
    cp "$copy/$1" "$scratch/right"
    broken=$1 wrong=$3
    sed -i "$2" "$copy/$1"
    if cmp -s "$copy/$1" "$scratch/right"; then
        fault "nothing to break in $1: $2"
    fi
}
mend_file() {
    cp "$scratch/right" "$copy/$broken"
}

done_with() {
    printf 'tried, %s; %d s\n' "$1" $((SECONDS - began))
}

finish() {
    printf '%d objects compiled, the others taken; %d faults\n' "$(wc -l <"$copy/compiled")" "$failures"
    [ "$failures" -eq 0 ]
    exit
}
