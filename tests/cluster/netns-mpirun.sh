#!/usr/bin/env bash
# mpirun over the hosts of netns-up.sh.
#
#   tests/cluster/netns-mpirun.sh HOSTS RANKS-OF-A-HOST ARGUMENTS-OF-MPIRUN...
#
# The first rank is on attn1. The hosts share the cores of this machine: nothing is bound, and ranks that wait yield.
set -euo pipefail

here=$(cd "$(dirname "${BASH_SOURCE[0]}")" && pwd)
root=$(cd "$here/../.." && pwd)
hosts=$1
ranks=$2
shift 2
list=$(printf ",attn%s:$ranks" $(seq "$hosts"))

export OMPI_MCA_btl_tcp_if_include=eth0 OMPI_MCA_oob_tcp_if_include=eth0 OMPI_MCA_mpi_yield_when_idle=1
# shellcheck source=jobs/mpi-env.sh
. "$root/jobs/mpi-env.sh"
attn_mpi_one_machine $((hosts * ranks))
exec "$here/netns-exec.sh" attn1 mpirun --mca plm_rsh_agent "$here/netns-exec.sh --shell" -H "${list#,}" --map-by node \
    --bind-to none --mca btl self,vader,tcp "$@"
