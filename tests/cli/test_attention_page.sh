#!/usr/bin/env bash
# docs/attention.md: its commands print what it shows, and no number in its text comes from elsewhere. In what it shows,
# a line of three dots stands for lines that are left out.
# shellcheck source=tests/cli/common.sh
. "$(dirname "${BASH_SOURCE[0]}")/common.sh"

page=$ATTN_TEST_DATA/../../docs/attention.md
mkdir tests
ln -s "$ATTN_TEST_DATA" tests/data
attnbench() { timeout -k 5 120 "$ATTNBENCH" "$@"; }

# matches WANTED GOT: whether the pieces between the lines of three dots stand in GOT in their order, whole lines each.
matches() {
    local piece rest=$'\n'$2$'\n' first=1
    while IFS= read -r -d $'\x01' piece || [ -n "$piece" ]; do
        [ -n "$piece" ] || { first=0; continue; }
        piece=$'\n'$piece$'\n'
        if [ "$first" = 1 ]; then
            [ "${rest:0:${#piece}}" = "$piece" ] || return 1
        else
            case $rest in *"$piece"*) ;; *) return 1 ;; esac
        fi
        rest=$'\n'${rest#*"$piece"}
        first=0
    done < <(printf '%s' "$1" | awk 'BEGIN {ORS = ""} $0 == "..." {print "\001"; begun = 0; next} {print (begun ? "\n" : "") $0; begun = 1}')
    case $1 in *$'\n...') ;; *) [ "$rest" = $'\n' ] ;; esac
}

# Blocks of ```console: lines "$ COMMAND", each followed by what it prints.
run=0 command='' shown=''
compare() {
    [ -n "$command" ] || return 0
    if [[ $command == *--plot* ]] && ! command -v gnuplot >/dev/null; then
        command=${command/--plot */}
    fi
    eval "$command" >"$out" 2>"$err"
    code=$?
    run=$((run + 1))
    check "$command: exits 0" test "$code" -eq 0
    [ -z "$shown" ] || check "$command: prints what the page shows" matches "${shown%$'\n'}" "$(cat "$out")"
    command='' shown=''
}
while IFS= read -r line <&3; do
    case $line in
        '```console') inside=1 ;;
        '```')
            compare
            inside=0
            ;;
        '$ '*)
            compare
            [ "${inside:-0}" = 1 ] && command=${line#\$ }
            ;;
        *) [ "${inside:-0}" = 1 ] && shown+=$line$'\n' ;;
    esac
done 3<"$page"
check "the page has commands" test "$run" -ge 8

# Numbers of four digits in the text stand in what a command printed.
awk '/^```/ {inside = !inside; next} inside' "$page" >"$scratch/shown"
awk '/^```/ {inside = !inside; next} !inside' "$page" | grep -oE '[0-9]+\.[0-9]{4}' | sort -u >"$scratch/said"
while read -r number; do
    check "$number stands in a block" grep -qF -e "$number" "$scratch/shown"
done <"$scratch/said"

# Every picture that a command draws is in the page, and the other way round.
while read -r picture; do
    if command -v gnuplot >/dev/null; then
        check "$picture: drawn" test -s "$picture"
    fi
    check "$picture: is in the page" holds "$page" "(images/$picture)"
done < <(sed -n 's/^\$ .*--plot \([^ ]*\).*/\1/p' "$page")
while read -r picture; do
    check "$picture: is there" test -s "$(dirname "$page")/images/$picture"
    check "$picture: drawn by a command" grep -q "^\$ .*--plot $picture " "$page"
done < <(sed -n 's/.*(images\/\([^)]*\)).*/\1/p' "$page")
finish
