#!/usr/bin/env bash
# Breaks each rule of the project once, in a scratch copy, and expects its check to say so: a check that finds nothing
# would otherwise look like a project without faults.
set -euo pipefail

root=$(cd "$(dirname "${BASH_SOURCE[0]}")/.." && pwd)
scratch=$(mktemp -d)
trap 'rm -rf "$scratch"' EXIT
copy=$scratch/copy
mkdir -p "$copy/tests"
cp -a "$root/include" "$root/src" "$root/bench" "$copy"
cp -a "$root/tests/data" "$copy/tests"
planted=0 missed=0

# finds CHECK WORDS: the check fails for the copy and says so.
finds() {
    planted=$((planted + 1))
    if bash "$root/tests/check_$1.sh" "$copy" >"$scratch/said" 2>&1; then
        missed=$((missed + 1))
        printf 'MISSED by check_%s: %s\n' "$1" "$2"
    elif ! grep -qF -e "$2" "$scratch/said"; then
        missed=$((missed + 1))
        printf 'check_%s fails for another reason than: %s\n' "$1" "$2"
        sed 's/^/  /' "$scratch/said" | head -n 5
    fi
}
# restore FILE: as it is in the project, or gone where the project has no such file.
restore() {
    rm -f "$copy/$1"
    if [ -e "$root/$1" ]; then
        cp -a "$root/$1" "$copy/$1"
    fi
}
# plant FILE LINE CHECK WORDS: one line at the end of a file of the copy is found.
plant() {
    mkdir -p "$(dirname "$copy/$1")"
    printf '%b\n' "$2" >>"$copy/$1"
    finds "$3" "$4"
    restore "$1"
}
# replace FILE SED CHECK WORDS: the same for an edit.
replace() {
    sed -i "$2" "$copy/$1"
    if cmp -s "$copy/$1" "$root/$1"; then
        missed=$((missed + 1))
        printf 'nothing to replace in %s: %s\n' "$1" "$2"
    fi
    finds "$3" "$4"
    restore "$1"
}

for check in includes headers data; do
    bash "$root/tests/check_$check.sh" "$copy" >"$scratch/said" 2>&1 || {
        printf 'check_%s fails for the project as it is:\n' "$check"
        cat "$scratch/said"
        exit 1
    }
done

# Upwards, by internal and by public headers, and past the public headers of a layer.
plant src/core/mask.c '#include "kernel/kernel.h"' includes 'core may not include from kernel'
plant src/core/mask.c '#include <attn/plan.h>' includes 'core may not include from plan'
plant src/kernel/table.c '#include "plan/part.h"' includes 'kernel may not include from plan'
plant src/plan/plan.c '#include "dist/exchange.h"' includes 'plan may not include from dist'
plant src/measure/sampler.c '#include <attn/comm.h>' includes 'measure may not include from dist'
plant src/dist/comm.c '#include <attn/result.h>' includes 'dist may not include from io'
plant src/io/files.c '#include <attn/study.h>' includes 'io may not include from study'
plant src/study/table.c '#include "io/h5.h"' includes 'study may include public headers of io only'
plant src/plan/plan.c '#include "kernel/kernel.h"' includes 'plan may include public headers of kernel only'
plant include/attn/dtype.h '#include <attn/problem.h>' includes 'a cycle of files'
plant include/attn/shape.h '#include <attn/plan.h>' includes 'core may not include from plan'
plant include/attn/shape.h '#include "core/checked.h"' includes 'a public header includes only'
plant src/core/checked.h '#include "core/checked.h"' includes 'includes itself'
plant src/io/files.h '#include "io/result_file.h"' includes 'a cycle of files'
plant bench/bench.h '#include "sweep.h"' includes 'a cycle of files'
plant src/core/mask.c '#include <attn/attn.h>' includes 'name the headers that are needed'
# MPI and the other libraries outside their folders, however they are spelled.
plant src/core/mask.c '#include <mpi.h>' includes 'MPI only in'
plant src/kernel/table.c '# include  <openmpi/mpi.h> /* x */' includes 'MPI only in'
plant src/study/csv.c '%:include <mpi-ext.h>' includes 'MPI only in'
plant src/plan/plan.c '#import <mpi.h>' includes 'MPI only in'
plant bench/sweep.c '#include <mpi.h>' includes 'MPI only in'
plant bench/sweep.c '#include "mpi.h"' includes 'bench includes only public headers and its own'
plant include/attn/plan.h '#include <mpi.h>' includes 'MPI only in'
plant src/core/mask.c '#include "mpi.h"' includes 'an internal header is named'
plant src/study/csv.c '#include <hdf5.h>' includes 'HDF5 only in'
plant src/dist/comm.c '#include <hdf5/openmpi/H5public.h>' includes 'HDF5 only in'
plant bench/sweep.c '#include "hdf5.h"' includes 'bench includes only public headers and its own'
plant include/attn/input.h '#include <hdf5.h>' includes 'HDF5 only in'
plant src/io/files.c '#include <popt.h>' includes 'popt only in'
plant src/io/files.c '#include <cjson/cJSON.h>' includes 'cJSON only in'
plant src/dist/comm.c '#include <oneapi/dnnl/dnnl.h>' includes 'oneDNN only in'
plant src/kernel/table.c '#include <hwloc.h>' includes 'hwloc only in'
# Internal headers in the driver, and ways around the spelling.
plant bench/sweep.c '#include "core/checked.h"' includes 'bench includes only public headers and its own'
plant bench/sweep.c '#include "../src/core/checked.h"' includes 'bench includes only public headers and its own'
plant bench/sweep.c '#include <core/checked.h>' includes 'included with quotes'
plant src/core/mask.c '#include <kernel/kernel.h>' includes 'included with quotes'
plant src/core/mask.c '#include "../kernel/kernel.h"' includes 'an internal header is named'
plant src/core/mask.c '#include "attn/plan.h"' includes 'public headers are included as'
plant src/core/mask.c '#include <attn/../attn/plan.h>' includes 'public headers are included as'
plant src/core/mask.c '#define HEADER <mpi.h>\n#include HEADER' includes 'cannot be read'
plant src/core/mask.c '#include \\\\\n<mpi.h>' includes 'cannot be read'
plant src/core/mask.c '/* a comment\n*/ #include <mpi.h>' includes 'MPI only in'
# What nobody has given a place.
plant src/extra/new.c '#include <stdio.h>' includes 'unknown folder'
plant include/attn/new.h '#include <stdint.h>' includes 'unknown public header'
plant src/core/rows.inc '#include <mpi.h>' includes 'neither .c, .h'
rmdir "$copy/src/extra"

# Comments of public headers.
plant include/attn/mask.h '\nATTN_API int attn_mask_bare(void);' headers 'attn_mask_bare: no comment'
plant include/attn/mask.h '/* One. */\n\nATTN_API int attn_mask_apart(void);' headers 'attn_mask_apart: no comment'
plant include/attn/comm.h '/* Counts. */\nATTN_API int attn_comm_count(MPI_Comm comm);' headers \
    'attn_comm_count: neither "Collective" nor "Not collective"'
plant include/attn/comm.h 'int attn_comm_bare(void);' headers 'attn_comm_bare: not ATTN_API'
replace include/attn/dist.h 's/Not collective/Somehow/' headers 'neither "Collective" nor "Not collective"'
replace include/attn/attn.h '/random.h/d' headers 'attn/attn.h does not include attn/random.h'

# Data without an origin, and data that have changed.
plant tests/data/golden/new.h5 'x' data 'golden/new.h5: not named'
plant tests/data/golden/causal.h5 'x' data 'golden/causal.h5'
plant tests/data/stray.h5 'x' data 'stray.h5'
rm "$copy/tests/data/golden/causal.h5"
finds data 'golden/causal.h5'
restore tests/data/golden/causal.h5

printf 'rules: %d faults planted, %d missed\n' "$planted" "$missed"
[ "$missed" -eq 0 ]
