#!/usr/bin/env bash
# Finds what attnbench needs and lacks on this machine (jobs/packages.txt) and, on Debian and Ubuntu, installs it.
#
#   jobs/setup.sh [--tests]      --tests: also what the test suite needs
#
# What is there already is not touched, and with everything there the network is not used. On a terminal it asks first;
# without one it installs as root, or through sudo where that asks for no password. Exit 0: all there; 2: something is
# missing and was not installed, and what it is has been printed.
set -euo pipefail

here=$(cd "$(dirname "${BASH_SOURCE[0]}")" && pwd)
say() { printf 'setup: %s\n' "$*"; }

groups=build
case ${1:-} in
'') ;;
--tests) groups='build tests extra' ;;
-h | --help)
    sed -n '2,/^[^#]/s/^# \{0,1\}//p' "${BASH_SOURCE[0]}"
    exit 0
    ;;
*)
    say "unknown option '$1'; only --tests is known" >&2
    exit 2
    ;;
esac

is_debian() { command -v dpkg-query >/dev/null && command -v apt-get >/dev/null; }

has_header() {
    local folder
    printf '#include <%s>\n' "$1" | cc -E -x c - >/dev/null 2>&1 && return
    while IFS= read -r -d : folder; do
        [ -n "$folder" ] && [ -e "$folder/include/$1" ] && return
    done <<<"${CMAKE_PREFIX_PATH:-}:"
    return 1
}

has_font() {
    local folder
    for folder in /usr/share/fonts /usr/local/share/fonts "${HOME:-/nonexistent}/.local/share/fonts"; do
        [ -d "$folder" ] && [ -n "$(find "$folder" -name '*.[ot]tf' -print -quit)" ] && return
    done
    return 1
}

# probe KIND:NAME: is it here, whoever installed it?
probe() {
    local name=${1#*:} program
    case $1 in
    program:*) for program in ${name//|/ }; do command -v "$program" >/dev/null && return; done && return 1 ;;
    module:*) pkg-config --exists "$name" 2>/dev/null ;;
    header:*) has_header "$name" ;;
    python:*) python3 -c "import $name" 2>/dev/null ;;
    font) has_font ;;
    clang-openmp) printf '#include <omp.h>\nint main(void) { return omp_in_parallel(); }\n' |
        clang -fopenmp -x c -o /dev/null - >/dev/null 2>&1 ;;
    esac
}

# Sets the arrays debian, fedora, spack (all that is missing) and needed (what is missing and not an extra).
find_missing() {
    local group package how fedora_name spack_name installed=' ' rows
    debian=() fedora=() spack=() needed=()
    rows=$(grep -v '^#' "$here/packages.txt")
    if is_debian; then
        # shellcheck disable=SC2016 # the braces are dpkg-query's
        installed=" $(awk '{ print $2 }' <<<"$rows" |
            xargs dpkg-query -W -f='${Package} ${db:Status-Status}\n' 2>/dev/null |
            awk '$2 == "installed" { printf "%s ", $1 }' || true)"
    fi
    while read -r group package how fedora_name spack_name; do
        [[ " $groups " == *" $group "* && $installed != *" $package "* ]] || continue
        probe "$how" && continue
        debian+=("$package")
        [ "$group" = extra ] || needed+=("$package")
        [[ $fedora_name = - || " ${fedora[*]} " == *" $fedora_name "* ]] || fedora+=("$fedora_name")
        [[ $spack_name = - || " ${spack[*]} " == *" $spack_name "* ]] || spack+=("$spack_name")
    done <<<"$rows"
}

# Ends the script where the missing things stay missing: an error unless only extras are.
not_installed() {
    [ ${#needed[@]} -gt 0 ] && exit 2
    say "going on without ${debian[*]}: what uses it is skipped"
    exit 0
}

print_elsewhere() {
    {
        say "missing here, and this is neither Debian nor Ubuntu. Install these and run the command again:"
        say "  Fedora: sudo dnf install ${fedora[*]}"
        say "          (then: module load mpi/openmpi-$(uname -m))"
        say "  Spack:  spack install ${spack[*]}"
        say "          (then: spack load ${spack[*]})"
    } >&2
}

# apt COMMAND...: quietly; what it printed is shown only when it failed.
apt() {
    local log status=0
    log=$(mktemp)
    "${as_root[@]}" env DEBIAN_FRONTEND=noninteractive apt-get -q -o DPkg::Lock::Timeout=300 "$@" \
        >"$log" 2>&1 </dev/null || status=$?
    [ $status -eq 0 ] || tail -n 15 "$log" >&2
    rm -f "$log"
    return $status
}

find_missing
if [ ${#debian[@]} -eq 0 ]; then
    say "everything needed is installed"
    exit 0
fi
if ! is_debian; then
    print_elsewhere
    not_installed
fi

command_line="apt-get install -y --no-install-recommends ${debian[*]}"
as_root=()
if [ "$(id -u)" != 0 ]; then
    as_root=(sudo)
    command_line="sudo $command_line"
fi
no_rights() {
    say "missing: ${debian[*]}" >&2
    say "$1. Have this run, then try again: $command_line" >&2
    not_installed
}
if [ ${#as_root[@]} -gt 0 ] && ! command -v sudo >/dev/null; then
    no_rights "not root here, and there is no sudo"
elif [ -t 0 ]; then
    say "missing: ${debian[*]}"
    read -r -p "setup: install them with apt-get${as_root[0]:+, through sudo}? [Y/n] " answer || answer=n
    if [[ ! $answer =~ ^([yY]|[yY][eE][sS]|)$ ]]; then
        say "not installed. The command is: $command_line" >&2
        not_installed
    fi
    [ ${#as_root[@]} -eq 0 ] || sudo -v || no_rights "no administrator rights"
elif [ ${#as_root[@]} -gt 0 ]; then
    as_root=(sudo -n)
    sudo -n true 2>/dev/null || no_rights "not root here, and nobody to ask for a password"
fi

say "installing ${debian[*]}"
apt update || say "the package lists could not be refreshed; trying with those that are here" >&2
if ! apt install -y --no-install-recommends "${debian[@]}"; then
    say "could not install them. The command was: $command_line" >&2
    not_installed
fi
say "installed"
