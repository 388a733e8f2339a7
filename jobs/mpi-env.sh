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

# attn_mpi_one_machine RANKS: several ranks on one machine, however few cores it has, container or not. Not for a
# cluster, where binding and single copy are wanted.
attn_mpi_one_machine() {
    export OMPI_MCA_rmaps_base_oversubscribe=${OMPI_MCA_rmaps_base_oversubscribe:-1}
    export OMPI_MCA_hwloc_base_binding_policy=${OMPI_MCA_hwloc_base_binding_policy:-none}
    # Containers often forbid the system call behind single copy.
    export OMPI_MCA_btl_vader_single_copy_mechanism=${OMPI_MCA_btl_vader_single_copy_mechanism:-none}
    export OMPI_MCA_btl_base_warn_component_unused=${OMPI_MCA_btl_base_warn_component_unused:-0}
    # A rank that waits must not keep a rank that works from its core.
    if [ "$1" -gt "$(attn_cores)" ]; then
        export OMPI_MCA_mpi_yield_when_idle=${OMPI_MCA_mpi_yield_when_idle:-1}
    fi
}
