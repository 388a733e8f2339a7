# shellcheck shell=bash
# To be sourced: what Open MPI has to be told, in one place. Whatever the caller has set already stays as it is.

# Open MPI refuses root unless told; containers and test machines often have no other user.
if [ "$(id -u)" = 0 ]; then
    export OMPI_ALLOW_RUN_AS_ROOT=1 OMPI_ALLOW_RUN_AS_ROOT_CONFIRM=1
fi

# The cores that this process may use.
attn_cores() {
    nproc 2>/dev/null || getconf _NPROCESSORS_ONLN
}

# attn_default NAME VALUE: exports NAME, unless the caller has.
attn_default() {
    [ -n "${!1+set}" ] || export "$1=$2"
}

# attn_mpi_one_machine RANKS: several ranks on one machine, however few cores it has, container or not. Not for a
# cluster, where binding and single copy are wanted. (PRTE and smsc are Open MPI 5's names.)
attn_mpi_one_machine() {
    attn_default OMPI_MCA_rmaps_base_oversubscribe 1
    attn_default PRTE_MCA_rmaps_default_mapping_policy :oversubscribe
    attn_default OMPI_MCA_hwloc_base_binding_policy none
    attn_default PRTE_MCA_hwloc_default_binding_policy none
    # Containers often forbid the system call behind single copy.
    attn_default OMPI_MCA_btl_vader_single_copy_mechanism none
    attn_default OMPI_MCA_smsc ^cma
    attn_default OMPI_MCA_btl_base_warn_component_unused 0
    # What does not go through memory stays on this machine.
    attn_default OMPI_MCA_btl_tcp_if_include lo
    attn_default OMPI_MCA_oob_tcp_if_include lo
    # A rank that waits must not keep a rank that works from its core.
    if [ "$1" -gt "$(attn_cores)" ]; then
        attn_default OMPI_MCA_mpi_yield_when_idle 1
    fi
}
