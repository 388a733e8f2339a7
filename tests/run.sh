#!/usr/bin/env bash
# Installs what is missing, then builds and checks in five stages; docs/testing.md says what each is for.
#
#   tests/run.sh [--stage NAME]... [CTEST OPTIONS]
#
#   tests        the whole test suite, on a build with asserts
#   sanitizers   the short suite under the address, leak and undefined-behaviour sanitizers
#   valgrind     some tests under memcheck
#   lint         clang without a warning, clang-tidy, cppcheck
#   coverage     the short suite once more, counting the lines that it reaches
#
# Without options all stages run, each also when one before it failed. CTEST OPTIONS go to the stage tests and mean that
# stage alone: tests/run.sh -R io/   tests/run.sh -j 8
# What a stage prints is also in build/ci/NAME.log. A stage whose tool is not installed is skipped; with CI=true it fails,
# and warnings of the compiler are errors in every stage. Exit 0: no stage failed.
#
# ATTN_CI_SECONDS in the environment: what has gone before, counted in the total time.
set -uo pipefail

root=$(cd "$(dirname "${BASH_SOURCE[0]}")/.." && pwd)
logs=$root/build/ci
all_stages='tests sanitizers valgrind lint coverage'
# Tests name the ranks they start as their processors, so that few cores are not overrun.
jobs=$(nproc 2>/dev/null || echo 2)
[ "$jobs" -le 8 ] || jobs=8

# Every folder's unit tests, those that communicate at 1 and 3 ranks; the golden data go through everything, and long,
# as do the gradients of every kernel (those of dist stay). Plans for several ranks have each choice once.
short='^(core|kernel|plan|measure|study)/|^layer/[a-z]*$|^(dist|io|layer)/.*\.np[13]$'
long='^dist/golden|^kernel/backward'
no_tool=77
ci_seconds=900

usage() {
    printf 'run: %s; the stages are: %s\n' "$1" "$all_stages" >&2
    exit 2
}

stages=
ctest_options=()
while [ $# -gt 0 ]; do
    case $1 in
    -h | --help)
        sed -n '2,/^[^#]/s/^# \{0,1\}//p' "${BASH_SOURCE[0]}"
        exit 0
        ;;
    --stage | --stage=*)
        if [ "$1" = --stage ]; then
            [ $# -gt 1 ] || usage "--stage lacks a name"
            shift
        fi
        name=${1#--stage=}
        [[ " $all_stages " == *" $name "* ]] || usage "unknown stage '$name'"
        stages+=" $name"
        ;;
    *) ctest_options+=("$1") ;;
    esac
    shift
done
if [ -z "$stages" ]; then
    stages=$all_stages
    [ ${#ctest_options[@]} -eq 0 ] || stages=tests
fi

# needs PROGRAM...: stops the stage with $no_tool when one is not installed.
needs() {
    local program
    for program; do
        command -v "$program" >/dev/null && continue
        printf 'run: %s is not installed (jobs/packages.txt)\n' "$program"
        exit "$no_tool"
    done
}

# suite BUILD CTEST_OPTIONS...: quietly but for what fails.
suite() {
    local build=$1
    shift
    ctest --test-dir "$root/build/$build" --output-on-failure --no-tests=error -j "$jobs" "$@"
}

stage_tests() {
    # RelWithDebInfo as cmake has it would switch the asserts off.
    "$root/jobs/build.sh" tests -DCMAKE_BUILD_TYPE=RelWithDebInfo '-DCMAKE_C_FLAGS_RELWITHDEBINFO=-O2 -g' \
        -DATTN_WERROR="$werror" || exit
    suite tests "$@"
}

stage_sanitizers() {
    "$root/jobs/build.sh" asan-ubsan --preset asan-ubsan || exit
    # Open MPI has no frame pointers: without the slow unwinder a leak does not tell who caused it.
    export ASAN_OPTIONS=detect_leaks=1:fast_unwind_on_malloc=0:detect_stack_use_after_return=1
    export LSAN_OPTIONS=suppressions=$root/tests/suppressions/lsan.supp:print_suppressions=0
    export UBSAN_OPTIONS=print_stacktrace=1
    export ATTN_TEST_PLANS=each
    suite asan-ubsan -R "$short|^cli/short$" -E "$long" | tee "$logs/asan.log"
    [ "${PIPESTATUS[0]}" -eq 0 ] && return
    # At times the leak sanitizer itself falls over a thread that ends while it looks: not the program's fault, once more.
    grep -q 'LeakSanitizer has encountered a fatal error' "$logs/asan.log" && suite asan-ubsan --rerun-failed
}

# One process each: what starts MPI, reads and writes files, and the kernels that valgrind lets the CPU have.
stage_valgrind() {
    local status=0 test start
    needs valgrind
    "$root/jobs/build.sh" tests -DCMAKE_BUILD_TYPE=RelWithDebInfo '-DCMAKE_C_FLAGS_RELWITHDEBINFO=-O2 -g' \
        -DATTN_WERROR="$werror" || exit
    # shellcheck source=jobs/mpi-env.sh
    . "$root/jobs/mpi-env.sh"
    attn_mpi_one_machine 1
    export OMP_WAIT_POLICY=passive OMP_NUM_THREADS=2 ATTN_TEST_PLANS=each
    for test in core_attributes core_mask core_segments plan_plan study_export study_scaling io_result dist_forward; do
        start=$SECONDS
        # Leaks are the sanitizers' business; memcheck is here for values that were never set.
        if valgrind --quiet --error-exitcode=99 --leak-check=no --suppressions="$root/tests/suppressions/valgrind.supp" \
            "$root/build/tests/tests/test_$test" >"$logs/valgrind-$test.log" 2>&1; then
            printf 'valgrind: %-16s %3d s  %s\n' "$test" $((SECONDS - start)) \
                "$(grep assertions "$logs/valgrind-$test.log")"
        else
            status=1
            printf 'valgrind: %-16s failed\n' "$test"
            tail -n 60 "$logs/valgrind-$test.log"
        fi
    done
    return "$status"
}

stage_lint() {
    needs clang clang-tidy cppcheck
    "$root/jobs/build.sh" lint --preset lint && return
    # The build stopped at the first file; this goes on and shows what was found in all of them.
    cmake --build "$root/build/lint" -- -k 0 2>&1 | grep -E '(warning|error|performance|portability): ' | sort -u
    return 1
}

stage_coverage() {
    needs gcovr
    "$root/jobs/build.sh" coverage --preset coverage || exit
    find "$root/build/coverage" -name '*.gcda' -delete
    export ATTN_TEST_PLANS=each
    suite coverage -R "$short|^cli/(run|short)$" -E "$long" || exit
    gcovr --root "$root" --object-directory "$root/build/coverage" --filter "$root/src/" --filter "$root/bench/" \
        --csv "$logs/coverage.csv" || exit
    awk -F, 'NR > 1 && $2 > 0 { sub(/\/[^\/]*$/, "", $1); lines[$1] += $2; hit[$1] += $3 }
        END { for (folder in lines) print folder, hit[folder], lines[folder] }' "$logs/coverage.csv" | LC_ALL=C sort |
        awk '{ hit += $2; lines += $3; row($1, $2, $3) }
            END { if (!lines) exit 1; row("total", hit, lines) }
            function row(name, hit, lines) {
                printf "coverage: %-12s %5d of %5d lines  %5.1f %%\n", name, hit, lines, 100 * hit / lines
            }'
}

werror=OFF
[ "${CI:-}" = true ] && werror=ON
"$root/jobs/setup.sh" --tests || exit
mkdir -p "$logs"

summary=
failed=0
for stage in $stages; do
    printf '\n== %s\n' "$stage"
    start=$SECONDS
    (stage_"$stage" "${ctest_options[@]}") 2>&1 | tee "$logs/$stage.log"
    status=${PIPESTATUS[0]}
    if [ "$status" -eq 0 ]; then
        verdict=passed
    elif [ "$status" -eq $no_tool ] && [ "${CI:-}" != true ]; then
        verdict=skipped
    else
        verdict=FAILED
        failed=1
    fi
    printf -v line '%-12s %-8s %4d s   build/ci/%s.log\n' "$stage" $verdict $((SECONDS - start)) "$stage"
    summary+=$line
done

total=$((SECONDS + ${ATTN_CI_SECONDS:-0}))
printf '\n%s%-21s %4d s\n' "$summary" total $total
# A time fails nothing: it is the machine's as much as the project's.
[ "${CI:-}" != true ] || [ $total -le $ci_seconds ] ||
    printf 'run: warning: %d s in all; continuous integration is meant to stay below %d s on two cores\n' $total $ci_seconds
# The counts of the whole suite last, as ctest has them.
if [[ " $stages " == *' tests '* ]]; then
    printf '\n'
    grep -A 1000 'tests passed' "$logs/tests.log"
fi
exit $failed
