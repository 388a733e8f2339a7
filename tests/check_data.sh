#!/usr/bin/env bash
# Checks the reference data: every file of tests/data stands in its folder's README.md, which tells where it comes from,
# and has the content of which tests/data/SHA256SUMS has the checksum.
#
#   tests/check_data.sh [ROOT]      ROOT: the project (default: the one that this script is in)
#
# Prints what is wrong and exits 1. A file that was added or made anew gets its line with
#   (cd tests/data && find . -name '*.h5' | sort | xargs sha256sum >SHA256SUMS)
set -euo pipefail

root=${1:-$(cd "$(dirname "${BASH_SOURCE[0]}")/.." && pwd)}
cd "$root/tests/data"
export LC_ALL=C
bad=0 count=0

wrong() {
    printf 'tests/data/%s\n' "$1"
    bad=$((bad + 1))
}

while read -r file; do
    count=$((count + 1))
    folder=$(dirname "$file") name=$(basename "$file")
    if [ ! -s "$folder/README.md" ]; then
        wrong "$file: no README.md beside it tells where it comes from"
    elif ! grep -qF "\`$name\`" "$folder/README.md"; then
        wrong "$file: not named in $folder/README.md, which tells where files come from"
    fi
    grep -qF "  ./$file" SHA256SUMS || wrong "$file: not in SHA256SUMS"
done < <(find . -type f ! -name README.md ! -name SHA256SUMS | sed 's|^\./||' | sort)
sha256sum --quiet --strict -c SHA256SUMS 2>&1 || wrong 'SHA256SUMS: a file has changed or is missing'
printf 'check_data: %d files, %d faults\n' "$count" "$bad"
[ "$bad" -eq 0 ] && [ "$count" -gt 0 ]
