#!/usr/bin/env bash
# From a fresh clone to measured numbers: installs what is missing, builds, checks and times attention on the real input in
# tests/data/real, then measures strong scaling at 1, 2 and 4 ranks. About three minutes the first time.
#
#   jobs/quickstart.sh
#
# Leaves in results/quickstart/: minilm.h5, strong-scaling.h5, strong-scaling.png and .svg. A later run replaces these.
set -euo pipefail

root=$(cd "$(dirname "${BASH_SOURCE[0]}")/.." && pwd)
cd "$root"
# shellcheck source=jobs/mpi-env.sh
. jobs/mpi-env.sh

say() { printf '\n== %s\n' "$*"; }
show() {
    printf '$ %s\n' "$*"
    "$@"
}

say "1. What is needed"
jobs/setup.sh

say "2. Build"
jobs/build.sh release -DCMAKE_BUILD_TYPE=Release -DATTN_BUILD_TESTS=OFF

PATH=$root/build/release:$PATH
out=results/quickstart
input=tests/data/real/minilm_layer3.h5
ranks=4
cores=$(attn_cores)
attn_mpi_one_machine "$ranks"
mkdir -p "$out"
for file in minilm.h5 strong-scaling.h5 strong-scaling.png strong-scaling.svg; do
    rm -rf "${out:?}/$file" "$out/$file.parts" "$out/$file.lock"
done

say "3. Real input: one attention layer of a trained language model, against its stored result"
show mpirun -n 2 attnbench verify --pass forward "$input"

say "4. The same input, timed at 1, 2 and $ranks ranks"
show mpirun -n "$ranks" attnbench run --input "$input" --ranks 1,2,4 --threads 1 --max-time 2 --output "$out/minilm.h5"

say "5. Strong scaling: one causal problem of 2048 tokens shared by 1, 2 and $ranks ranks"
show mpirun -n "$ranks" attnbench run --heads 8 --seq 2048 --head-dim 64 --causal --ranks 1,2,4 --threads 1 \
    --max-time 5 --output "$out/strong-scaling.h5"
printf '\n'
show attnbench report "$out/strong-scaling.h5" --plot "$out/strong-scaling.png"
attnbench report "$out/strong-scaling.h5" --plot "$out/strong-scaling.svg" >/dev/null

if [ "$ranks" -gt "$cores" ]; then
    printf '\nThis machine offers %s core(s): with more ranks than that the ranks take turns, and their speed-ups mean nothing.\n' \
        "$cores"
fi
if command -v sbatch >/dev/null && timeout 5 sinfo >/dev/null 2>&1; then
    printf '\nThis is a cluster. For numbers worth keeping: sbatch jobs/strong-scaling.sbatch (docs/slurm.md)\n'
fi
cat <<END

== Done. In $out/: the timings minilm.h5 and strong-scaling.h5, the picture strong-scaling.png (and .svg).
Next, in bash:
      . jobs/mpi-env.sh; attn_mpi_one_machine 4; PATH=\$PWD/build/release:\$PATH
      attnbench run --help
      mpirun -n 2 attnbench run --heads 8 --seq 1024:8192:x2 --causal --output sweep.h5
      tests/run.sh        all tests and checks, up to 15 minutes
END
