#!/usr/bin/env bash
# Checks that the C sources are as clang-format leaves them. Exit 77 (skipped) without clang-format 14: others differ.
set -euo pipefail

cd "$(dirname "${BASH_SOURCE[0]}")/.."
formatter=$(command -v clang-format-14 || command -v clang-format || true)
if [ -z "$formatter" ] || [[ $("$formatter" --version) != *'version 14.'* ]]; then
    echo "skipped: needs clang-format 14"
    exit 77
fi
find include src bench tests examples -type f -name '*.[ch]' -print0 | xargs -0 "$formatter" --dry-run -Werror --ferror-limit=3
