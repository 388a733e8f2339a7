#!/usr/bin/env bash
# Checks that the C sources are as clang-format leaves them, and that no line is wider than 120 columns: comments, which
# may hold tables, are wrapped by hand. Exit 77 (skipped) without clang-format 14: others differ.
set -euo pipefail

cd "$(dirname "${BASH_SOURCE[0]}")/.."
mapfile -d '' files < <(find include src bench tests examples -type f -name '*.[ch]' -print0)
if LC_ALL=C.UTF-8 grep -nE '^.{121}' "${files[@]}"; then
    echo 'check_format: lines of more than 120 columns'
    exit 1
fi
formatter=$(command -v clang-format-14 || command -v clang-format || true)
if [ -z "$formatter" ] || [[ $("$formatter" --version) != *'version 14.'* ]]; then
    echo "skipped: needs clang-format 14"
    exit 77
fi
"$formatter" --dry-run -Werror --ferror-limit=3 "${files[@]}"
