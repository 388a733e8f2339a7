#!/usr/bin/env bash
# Times attnbench's library, ONNX Runtime and PyTorch side by side; README.md says how, and what the numbers mean.
#
#   bench/peers/run.sh [--quick] [OPTIONS of peers.py]      --help lists them
#   bench/peers/run.sh --distributed [OPTIONS of distributed.py]      two processes, beside PyTorch with gloo
#   bench/peers/run.sh --layers [OPTIONS of layers.py]      a layer, beside eight ways to write it with PyTorch
#
# Builds the library in build/peers and installs the packages of requirements.txt in build/peers-venv (3.1 GB to fetch,
# 5.5 GB of disk, once). Leaves all times in build/peers/peers.json and build/peers/peers.csv. Exit 0: all results are
# right; 1: one is wrong; 2: something is missing; 3: interrupted, the finished cases are shown.
set -euo pipefail

here=$(cd "$(dirname "${BASH_SOURCE[0]}")" && pwd)
root=$(cd "$here/../.." && pwd)
venv=$root/build/peers-venv
python=$venv/bin/python
fail() {
    printf 'peers: %s\n' "$*" >&2
    exit 2
}

"$root/jobs/build.sh" peers -DATTN_BUILD_TESTS=OFF >&2 || fail "the library could not be built"

# The copy of the list tells what is installed.
if ! cmp -s "$here/requirements.txt" "$venv/requirements.txt"; then
    printf 'peers: installing the packages of %s in build/peers-venv\n' bench/peers/requirements.txt >&2
    python3 -m venv "$venv" || fail "no virtual environment; on Debian and Ubuntu: apt-get install python3-venv"
    "$python" -m pip install --quiet --no-cache-dir --disable-pip-version-check -r "$here/requirements.txt" >&2 ||
        fail "the packages could not be installed"
    cp "$here/requirements.txt" "$venv/requirements.txt"
fi

# What PyTorch compiles stays in build/, and is compiled by no processes that go on waiting.
export PYTHONDONTWRITEBYTECODE=1 TORCHINDUCTOR_CACHE_DIR=$root/build/peers/inductor TORCHINDUCTOR_COMPILE_THREADS=1
if [ "${1:-}" = --layers ]; then
    shift
    exec "$python" "$here/layers.py" --library "$root/build/peers/attn_peer.so" "$@"
fi
if [ "${1:-}" = --distributed ]; then
    shift
    # shellcheck source=jobs/mpi-env.sh
    . "$root/jobs/mpi-env.sh"
    attn_mpi_one_machine 2
    exec "$python" "$here/distributed.py" --attnbench "$root/build/peers/attnbench" "$@"
fi
exec "$python" "$here/peers.py" --library "$root/build/peers/attn_peer.so" \
    --json "$root/build/peers/peers.json" --csv "$root/build/peers/peers.csv" "$@"
