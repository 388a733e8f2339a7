#!/usr/bin/env bash
# Help, version and list: on stdout alone, from one rank, narrow enough to read.
# shellcheck source=tests/cli/common.sh
. "$(dirname "${BASH_SOURCE[0]}")/common.sh"

# The rows of the table of subcommands: a new one is tested as the others are.
bench 1 --help
subcommands=$(awk '/^Subcommands/ {inside = 1; next} /^ *$/ {inside = 0} inside {print $1}' "$out")
check "there are subcommands" test "$(wc -w <<<"$subcommands")" -ge 5

for ranks in 1 3; do
    expect $ranks 0 --help
    check "nothing on stderr" is_empty "$err"
    check "one rank prints" test "$(grep -c '^usage: ' "$out")" -eq 1
    for name in $subcommands; do
        check "--help names $name" grep -q "^  $name " "$out"
    done
done
expect 3 0 --version
check "one line" test "$(lines "$out")" -eq 1
check "name and version" grep -qE '^attnbench [0-9]+\.[0-9]+\.[0-9]+$' "$out"

for name in $subcommands; do
    expect 2 0 "$name" --help
    check "$name: nothing on stderr" is_empty "$err"
    check "$name: one rank prints" test "$(grep -c "^usage: attnbench $name" "$out")" -eq 1
    check "$name: examples" holds "$out" 'Examples'
    check "$name: at most 100 columns" narrow "$out"
    expect 2 2 "$name" --no-such-option
    check "$name: an unknown option is named, once" test "$(grep -c '^attnbench: .*--no-such-option' "$err")" -eq 1
done
# A help that is asked for among other options is given all the same.
expect 1 0 run --seq 12 --help
check "help wins" holds "$out" 'usage: attnbench run'

bench 1 run --help
for group in 'Problem' 'What to run' 'How to distribute' 'How long to measure' 'Output'; do
    check "run --help has the group $group" grep -qx "$group" "$out"
done
for option in batch heads kv-heads seq kv-seq head-dim v-head-dim dtype causal window-left window-right softcap scale \
    alibi sinks documents dropout input seed pass kernel threads ranks grid exchange layout combine scaling min-reps max-reps \
    max-time ci rel-err warmup output json csv resume quiet; do
    check "run --help names --$option" grep -qE "^  --$option( |\$)" "$out"
done
for default in '--batch LIST .*default: 1)' '--heads LIST .*default: 8)' '--seq LIST .*default: 4096; 1 with --pass decode)' \
    '--head-dim LIST .*default: 128)' '--seed N .*default: 0)' '--min-reps N .*default: 5)' \
    '--max-reps N .*default: 1000)' '--max-time S .*default: 10)' '--ci X .*default: 0.95)' \
    '--rel-err X .*default: 0.02)'; do
    check "run --help has the default $default" grep -qE -e "$default" "$out"
done

# Options that take names of a table say them all.
bench 1 run --help
tr -s ' \n' ' ' <"$out" >"$scratch/help"
for words in "of the elements: $(names_of Types | joined), all (" 'what to compute: forward, backward, decode (default: forward)' \
    ": $(names_of Exchanges | joined), auto, all (default: auto)" \
    ": $(names_of Layouts | joined), auto, all (default: auto)" \
    ": $(names_of Combines | joined), all (default: allgather)"; do
    check "run --help has $words" holds "$scratch/help" "$words"
done

expect 3 0 list
check "list: nothing on stderr" is_empty "$err"
check "one rank prints" test "$(grep -c '^Kernels' "$out")" -eq 1
for heading in Kernels Exchanges Layouts Combines Types Phases Metrics Probes; do
    check "list has rows of $heading" test -n "$(names_of $heading)"
done
# Every kernel that is listed is accepted, and the unknown one is refused with all of them.
bench 1 run --kernel nosuchkernel
for kernel in $(names_of Kernels); do
    check "run --help names $kernel" grep -qE "[ ,]${kernel}[, ]" "$scratch/help"
    check "the message names $kernel" holds "$err" "$kernel"
done
check "no file is left" folder_empty
finish
