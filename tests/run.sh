#!/usr/bin/env bash
# Installs what is missing, builds with asserts and runs the whole test suite; exits with ctest's status.
#
#   tests/run.sh [CTEST OPTIONS]      for example: tests/run.sh -R io/   or   tests/run.sh -j 8
#
# With CI=true warnings of the compiler are errors. The build is in build/tests.
set -euo pipefail

root=$(cd "$(dirname "${BASH_SOURCE[0]}")/.." && pwd)
"$root/jobs/setup.sh" --tests

werror=OFF
[ "${CI:-}" = true ] && werror=ON
# RelWithDebInfo as cmake has it would switch the asserts off.
"$root/jobs/build.sh" tests -DCMAKE_BUILD_TYPE=RelWithDebInfo '-DCMAKE_C_FLAGS_RELWITHDEBINFO=-O2 -g' \
    -DATTN_WERROR=$werror

# Tests name the ranks they start as their processors, so that few cores are not overrun.
jobs=$(nproc 2>/dev/null || echo 2)
[ "$jobs" -le 8 ] || jobs=8
exec ctest --test-dir "$root/build/tests" --output-on-failure --no-tests=error -j "$jobs" "$@"
