#!/usr/bin/env bash
# Checks who includes whom (docs/design.md): every #include line of include/, src/ and bench/ against the tables below,
# and that what they include together has no cycle, of files nor of folders.
#
#   tests/check_includes.sh [ROOT]      ROOT: the project (default: the one that this script is in)
#
# Prints each line that breaks a rule and exits 1; exits 0 when none does. tests/test_rules.sh breaks each rule once.
set -euo pipefail

root=${1:-$(cd "$(dirname "${BASH_SOURCE[0]}")/.." && pwd)}
cd "$root"
export LC_ALL=C
files=$(find include src bench -type f -name '*.[ch]' | sort)
[ -n "$files" ] || {
    printf 'check_includes: no sources below %s\n' "$root" >&2
    exit 1
}
# What is not read here could hide an include. bench/peers, bench/network and bench/planner hold scripts.
others=$(find include src bench ! -type d ! -name '*.[ch]' ! -name '*.h.in' ! -name '*.cmake' ! -name '*.map' ! -name CMakeLists.txt |
    grep -vE '^bench/(peers|network|planner)/(__pycache__/.*|[a-z]+\.(py|sh|md|txt)|README\.md)$' || true)
[ -z "$others" ] || {
    printf '%s: neither .c, .h nor a file of the build\n' "$others"
    exit 1
}
edges=$(mktemp -d)
trap 'rm -rf "$edges"' EXIT

# shellcheck disable=SC2016 # the dollars are awk's
tr '\n' '\0' <<<"$files" | xargs -0 awk -v edges="$edges" '
BEGIN {
    # Which folders of src a folder may include from: (1) anything, (2) their public headers only.
    allow("core", "core", "")
    allow("kernel", "core kernel", "")
    allow("plan", "core plan", "kernel")
    allow("dist", "core kernel plan dist", "")
    allow("layer", "core plan dist layer", "kernel")
    allow("measure", "core measure", "")
    allow("io", "core measure io", "plan dist layer")
    allow("study", "core measure study", "plan io")
    # The folder that implements a public header. One that brings MPI with it is marked so.
    owner("core", "status version dtype shape memory mask problem random segments pass phase attributes")
    owner("kernel", "kernel")
    owner("plan", "partition plan machine planner")
    owner("dist", "cache comm dist tuning")
    owner("layer", "explain layer optimiser train")
    owner("measure", "sampler statistics probe metric")
    owner("io", "input layer_file result training_file")
    owner("study", "study")
    owner("all", "attn")
    mark(with_mpi, "attn cache comm dist explain input layer layer_file train training_file tuning")
    mark(mpi_folder, "dist layer io")
    # Libraries, and the only folders that may use each.
    library("^(hdf5|hdf5_hl|H5[A-Za-z]+)\\.h$", "HDF5", "io")
    library("^popt\\.h$", "popt", "bench")
    library("^cJSON\\.h$", "cJSON", "plan study")
    library("^hwloc\\.h$", "hwloc", "dist io measure")
    library("^dnnl[a-z_]*\\.h$", "oneDNN", "layer")
    library("^philox\\.h$", "Random123", "core")
}
function allow(folder, others, published, list, n, i) {
    known[folder] = 1
    n = split(others, list, " ")
    for (i = 1; i <= n; i++) may[folder, list[i]] = may_inside[folder, list[i]] = 1
    n = split(published, list, " ")
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
function library(pattern, name, folders) {
    libraries++
    library_pattern[libraries] = pattern
    library_name[libraries] = name
    library_folders[libraries] = folders
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
function exists(path, line) {
    if ((getline line < path) < 0) return 0
    close(path)
    return 1
}
# An include for the search for cycles.
function edge(from_folder, to_folder, to_file) {
    if (FILENAME == to_file) wrong("includes itself")
    if (FILENAME ~ /\.h$/) print FILENAME, to_file > (edges "/files")
    if (from_folder != to_folder && from_folder != "all" && from_folder != "bench")
        print from_folder, to_folder > (edges "/folders")
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
    edge(self, folder, "include/attn/" name ".h")
    if (place == "bench" || FILENAME == "include/attn/attn.h") return
    if (folder == "all") wrong("only bench and users include attn/attn.h; name the headers that are needed")
    else if (!((self, folder) in may)) wrong(self " may not include from " folder)
    else if ((name in with_mpi) && !may_use_mpi()) wrong("brings in MPI")
}
function check_internal(name, part, n) {
    n = split(name, part, "/")
    if (place == "public") wrong("a public header includes only <attn/...> and the system")
    else if (place == "bench") {
        if (!exists("bench/" name) || name ~ /\.\./) wrong("bench includes only public headers and its own")
        else edge("bench", "bench", "bench/" name)
    } else if (name == "build_info.h" || name == "build_commit.h") return
    else if (n != 2 || !exists("src/" name)) wrong("an internal header is named FOLDER/NAME.h")
    else {
        edge(place, part[1], "src/" name)
        if (!((place, part[1]) in may)) wrong(place " may not include from " part[1])
        else if (!((place, part[1]) in may_inside)) wrong(place " may include public headers of " part[1] " only")
    }
}
function check_library(name, last, i) {
    last = name
    sub(/.*\//, "", last)
    if (exists("src/" name) || exists("bench/" name) || name ~ /\.\./)
        wrong("the headers of the project are included with quotes")
    else if (last ~ /^mpi[a-z_-]*\.h$/ && !may_use_mpi())
        wrong("MPI only in src/dist, src/layer, src/io and bench/main.c")
    for (i = 1; i <= libraries; i++)
        if (last ~ library_pattern[i] && index(" " library_folders[i] " ", " " place " ") == 0)
            wrong(library_name[i] " only in: " library_folders[i])
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
    line = in_comment || index($0, "/") || index($0, "#") || index($0, "%:") ? code($0) : ""
    if (line !~ /^[ \t]*(#|%:)[ \t]*(include|import)/) next
    seen++
    sub(/^[ \t]*(#|%:)[ \t]*(include|import)[ \t]*/, "", line)
    sub(/[ \t]+$/, "", line)
    name = substr(line, 2, length(line) - 2)
    if (line ~ /^<attn\/[a-z0-9_]+\.h>$/) check_public(base(name))
    else if (line ~ /^"[^"]+"$/) {
        if (name ~ /^attn\//) wrong("public headers are included as <attn/NAME.h>")
        else check_internal(name)
    } else if (line !~ /^<[^>]+>$/) wrong("cannot be read")
    else if (name ~ /^attn\//) wrong("public headers are included as <attn/NAME.h>")
    else check_library(name)
}
END {
    printf "check_includes: %d include lines, %d against the rules\n", seen, bad
    exit bad > 0
}' || exit 1

for kind in files folders; do
    [ -e "$edges/$kind" ] || continue
    if ! cycle=$(tsort "$edges/$kind" 2>&1 >/dev/null); then
        printf '%s\n' "$cycle" | sed -e "s|^tsort: $edges/$kind: .*|a cycle of $kind:|" -e 's|^tsort: |  |'
        exit 1
    fi
done
