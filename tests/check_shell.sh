#!/usr/bin/env bash
# Checks the shell scripts with shellcheck, but for SC2317, which takes functions called by traps for unreachable.
# Exit 77 (skipped) without shellcheck.
set -euo pipefail

cd "$(dirname "${BASH_SOURCE[0]}")/.."
if ! command -v shellcheck >/dev/null; then
    echo "skipped: needs shellcheck"
    exit 77
fi
find jobs tests bench .ci -type f \( -name '*.sh' -o -name '*.sbatch' -o -path .ci/run \) -print0 | xargs -0 shellcheck -x -e SC2317
