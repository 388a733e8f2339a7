#!/usr/bin/env bash
# Configures and builds quietly in a folder of build/.
#
#   jobs/build.sh NAME [CMAKE OPTIONS]      into build/NAME; the options count when the folder is new
#
# What cmake and the compiler print goes to build/NAME/build.log and is shown when they fail.
set -euo pipefail

name=$1
shift
root=$(cd "$(dirname "${BASH_SOURCE[0]}")/.." && pwd)
folder=$root/build/$name
log=$folder/build.log
mkdir -p "$folder"

options=()
if [ ! -e "$folder/CMakeCache.txt" ]; then
    options=("$@")
    if command -v ninja >/dev/null; then
        options+=(-G Ninja)
    fi
fi
# A login node is shared with others: few processes, and those last in line.
jobs=$(nproc 2>/dev/null || echo 2)
[ "$jobs" -le 4 ] || jobs=4

printf 'build: %s (%s at a time, log in build/%s/build.log)\n' "build/$name" "$jobs" "$name"
start=$SECONDS
if ! { nice cmake -S "$root" -B "$folder" "${options[@]}" &&
    nice cmake --build "$folder" --parallel "$jobs"; } >"$log" 2>&1 </dev/null; then
    grep -m 5 -E 'error:|CMake Error' "$log" >&2 || true
    tail -n 30 "$log" >&2
    printf 'build: failed; all of it is in %s (after moving the project or changing compilers: delete that folder)\n' \
        "build/$name/build.log" >&2
    exit 1
fi
printf 'build: done in %d s\n' $((SECONDS - start))
