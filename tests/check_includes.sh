#!/usr/bin/env bash
# Checks who includes whom (docs/design.md): every #include line of include/, src/ and bench/ against the tables below.
#
#   tests/check_includes.sh [ROOT]      ROOT: the project (default: the one that this script is in)
#
# Prints each line that breaks a rule and exits 1; exits 0 when none does.
set -euo pipefail

root=${1:-$(cd "$(dirname "${BASH_SOURCE[0]}")/.." && pwd)}
cd "$root"
export LC_ALL=C
files=$(find include src bench -type f -name '*.[ch]' | sort)
[ -n "$files" ] || {
    printf 'check_includes: no sources below %s\n' "$root" >&2
    exit 1
}

# shellcheck disable=SC2016 # the dollars are awk's
tr '\n' '\0' <<<"$files" | xargs -0 awk '
BEGIN {
    # Which folders of src a folder may include from.
    allow("core", "core")
    allow("kernel", "core kernel")
    allow("plan", "core kernel plan")
    allow("dist", "core kernel plan dist")
    allow("layer", "core kernel plan dist layer")
    allow("measure", "core measure")
    allow("io", "core plan dist measure io")
    allow("study", "core plan measure io study")
    # The folder that implements a public header. One that brings MPI with it is marked so.
    owner("core", "status version dtype shape mask problem random segments phase attributes")
    owner("kernel", "kernel")
    owner("plan", "partition plan")
    owner("dist", "comm dist")
    owner("measure", "sampler statistics probe metric")
    owner("io", "input result")
    owner("study", "study")
    owner("all", "attn")
    mark(with_mpi, "attn comm dist input")
    mark(mpi_folder, "dist layer io")
}
function allow(folder, others, list, n, i) {
    known[folder] = 1
    n = split(others, list, " ")
    for (i = 1; i <= n; i++) may[folder, list[i]] = 1
}
function owner(folder, headers, list, n, i) {
    n = split(headers, list, " ")
    for (i = 1; i <= n; i++) owner_of[list[i]] = folder
}
function mark(set, names, list, n, i) {
    n = split(names, list, " ")
    for (i = 1; i <= n; i++) set[list[i]] = 1
}
function wrong(text) {
    printf "%s:%d: %s (%s)\n", FILENAME, FNR, text, $0
    bad++
}
function base(path) {
    sub(/.*\//, "", path)
    sub(/\.h$/, "", path)
    return path
}
# Where the current file stands: "public", a folder of src, or "bench".
function place_of(path, part) {
    split(path, part, "/")
    if (part[1] == "include") return "public"
    if (part[1] == "bench") return "bench"
    return part[2]
}
function may_use_mpi() {
    if (place == "public") return base(FILENAME) in with_mpi
    return place in mpi_folder || FILENAME == "bench/main.c"
}
# The line without comments; in_comment lasts from line to line.
function code(line, out, at, quoted) {
    out = ""
    while (line != "") {
        if (in_comment) {
            at = index(line, "*/")
            if (!at) return out
            line = substr(line, at + 2)
            in_comment = 0
        } else if (match(line, /^("([^"\\]|\\.)*"|\047([^\047\\]|\\.)*\047)/)) {
            out = out substr(line, 1, RLENGTH)
            line = substr(line, RLENGTH + 1)
        } else if (substr(line, 1, 2) == "//") {
            return out
        } else if (substr(line, 1, 2) == "/*") {
            in_comment = 1
            line = substr(line, 3)
        } else {
            out = out substr(line, 1, 1)
            line = substr(line, 2)
        }
    }
    return out
}
function check_public(name, folder) {
    if (!(name in owner_of)) {
        wrong("unknown public header; name its folder in tests/check_includes.sh")
        return
    }
    folder = owner_of[name]
    if (place == "bench" || FILENAME == "include/attn/attn.h") return
    if (folder == "all") wrong("only bench and users include attn/attn.h; name the headers that are needed")
    else if (!((self, folder) in may)) wrong(self " may not include from " folder)
    else if ((name in with_mpi) && !may_use_mpi()) wrong("brings in MPI")
}
function check_internal(name, part, n) {
    n = split(name, part, "/")
    if (place == "public") wrong("a public header includes only <attn/...> and the system")
    else if (place == "bench") {
        if (n > 1 && part[1] != "bench" && part[1] != "peers") wrong("bench includes only public headers and its own")
    } else if (name == "build_info.h" || name == "build_commit.h") return
    else if (n != 2) wrong("an internal header is named FOLDER/NAME.h")
    else if (!((place, part[1]) in may)) wrong(place " may not include from " part[1])
}
FNR == 1 {
    in_comment = 0
    place = place_of(FILENAME)
    self = place == "public" ? owner_of[base(FILENAME)] : place
    if (place != "public" && place != "bench" && !(place in known)) {
        printf "%s: unknown folder; give it a row in tests/check_includes.sh\n", FILENAME
        bad++
    }
    if (place == "public" && self == "") {
        printf "%s: unknown public header; name its folder in tests/check_includes.sh\n", FILENAME
        bad++
    }
}
{
    line = in_comment || index($0, "/") || index($0, "#") ? code($0) : ""
    if (line !~ /^[ \t]*#[ \t]*include/) next
    seen++
    sub(/^[ \t]*#[ \t]*include[ \t]*/, "", line)
    sub(/[ \t]+$/, "", line)
    name = substr(line, 2, length(line) - 2)
    if (line ~ /^<attn\/[a-z0-9_]+\.h>$/) check_public(base(name))
    else if (line ~ /^"[^"]+"$/) {
        if (name ~ /^attn\//) wrong("public headers are included as <attn/NAME.h>")
        else check_internal(name)
    } else if (line !~ /^<[^>]+>$/) wrong("cannot be read")
    else if (name == "mpi.h" && !may_use_mpi()) wrong("MPI only in src/dist, src/layer, src/io and bench/main.c")
    else if (name ~ /^(hdf5|H5[A-Za-z]+)(_hl)?\.h$/ && place != "io") wrong("HDF5 only in src/io")
    else if (name == "popt.h" && place != "bench") wrong("options are read only in bench")
}
END {
    printf "check_includes: %d include lines, %d against the rules\n", seen, bad
    exit bad > 0
}' || exit 1
