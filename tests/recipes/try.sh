#!/usr/bin/env bash
# Tries the recipes of CONTRIBUTING.md, as they stand there: in a copy of the project each alone adds one file and one line. The
# new row must be listed, and the tests that go through its table must pass with it, and fail when the file has a fault.
#
#   ATTN_BUILD=build/tests tests/recipes/try.sh [RECIPE...]      all, when none is named
# shellcheck source=tests/recipes/common.sh
. "$(dirname "${BASH_SOURCE[0]}")/common.sh"

try_kernel() {
    recipe kernel
    add_file kernel_naive.c src/kernel/naive.c
    add_line src/kernel/table.c KERNEL_LIST 'X(naive)'
    compile attnbench test_kernel_forward test_dist_forward
    listed naive
    passes run_test 0 test_kernel_forward
    passes run_test 3 test_dist_forward
    break_file src/kernel/naive.c 's/attn_segments_below(rows, keys.hi)/rows->rows/' 'the mask is forgotten'
    compile test_kernel_forward
    fails run_test 0 test_kernel_forward
    done_with 'a forgotten mask is found'
}

try_exchange() {
    recipe exchange
    add_file exchange_broadcast.c src/dist/exchange_broadcast.c
    add_line src/plan/tables.c EXCHANGE_LIST 'X(broadcast)'
    compile attnbench test_dist_forward test_dist_volumes
    listed broadcast
    passes run_test 3 test_dist_forward
    passes run_test 4 test_dist_volumes
    break_file src/dist/exchange_broadcast.c 's/^        status = attn_comm_broadcast_limited($/        status = r == 0 ? ATTN_OK : attn_comm_broadcast_limited(/' \
        'the keys of rank 0 are not sent'
    compile test_dist_forward test_dist_volumes
    fails run_test 3 test_dist_forward
    fails run_test 4 test_dist_volumes
    done_with 'a part that is not sent is found'
}

try_combine() {
    recipe combine
    add_file combine_turns.c src/dist/combine_turns.c
    add_line src/plan/tables.c COMBINE_LIST 'X(turns)'
    compile attnbench test_dist_forward test_dist_volumes
    listed turns
    passes run_test 3 test_dist_forward
    passes run_test 4 test_dist_volumes
    break_file src/dist/combine_turns.c 's/(b \* shape->heads + begin)/(b * shape->heads)/' 'heads go to the place of the first'
    compile test_dist_forward
    fails run_test 3 test_dist_forward
    mend_file
    break_file src/dist/combine_turns.c 's/out->combine_bytes += .*/out->combine_bytes += (double)bytes * others;/' \
        'it predicts the bytes of one batch'
    compile test_dist_volumes
    fails run_test 4 test_dist_volumes
    done_with 'a wrong place and a wrong prediction are found'
}

try_metric() {
    recipe metric
    add_file metric_requests.c src/measure/metric_requests.c
    add_line src/measure/metric_table.c METRIC_LIST 'X(requests)'
    compile attnbench test_measure_metric
    listed requests
    passes run_test 0 test_measure_metric
    break_file src/measure/metric_requests.c 's|NAN) / seconds|NAN) * seconds|' 'a rate that grows with time'
    compile test_measure_metric
    fails run_test 0 test_measure_metric
    done_with 'a rate that is none is found'
}

try_probe() {
    recipe probe
    add_file probe_clock.c src/measure/probe_clock.c
    add_line src/measure/probe_table.c PROBE_LIST 'X(clock)'
    compile attnbench test_measure_probe
    listed clock
    passes run_test 0 test_measure_probe
    break_file src/measure/probe_clock.c 's/read_clock, 1}/read_clock, 0}/' 'a pass that counts as nothing'
    compile test_measure_probe
    fails run_test 0 test_measure_probe
    done_with 'work that counts as nothing is found'
}

test_help() {
    bash "$root/tests/cli/test_help.sh" >"$scratch/log" 2>&1
}
try_subcommand() {
    recipe subcommand
    add_file cmd_machine.c bench/cmd_machine.c
    add_line bench/bench.h SUBCOMMAND_LIST 'X(machine, "what a result file records of this machine and build")'
    compile attnbench
    "$ATTNBENCH" --help | grep -q '^  machine ' || fault 'attnbench --help does not have machine'
    "$ATTNBENCH" machine | grep -q '^compiler' || fault 'attnbench machine does not name the compiler'
    passes test_help
    break_file bench/cmd_machine.c 's/launch->rank == 0/launch->rank >= 0/' 'every rank prints'
    compile attnbench
    fails test_help
    done_with 'ranks that all print are found'
}

begin
[ $# -gt 0 ] || set -- kernel exchange combine metric probe subcommand
for name; do
    "try_$name"
done
finish
