#!/usr/bin/env bash
# Runs a command on a host of netns-up.sh: with its network, its name and its /etc/hosts.
#
#   tests/cluster/netns-exec.sh HOST COMMAND [ARGUMENT...]
#   tests/cluster/netns-exec.sh --shell HOST TEXT...      TEXT goes to a shell, as ssh does it (for mpirun)
#
# ATTN_NETNS_DIR    as for netns-up.sh (default /tmp/attn-netns)
set -euo pipefail

dir=${ATTN_NETNS_DIR:-/tmp/attn-netns}
shell=no
if [ "${1:-}" = --shell ]; then
    shell=yes
    shift
fi
host=$1
shift
if [ $shell = yes ]; then
    set -- sh -c "$*"
fi
# shellcheck disable=SC2016 # expanded inside
exec nsenter --net="/run/netns/$host" unshare --uts --mount --propagation private \
    sh -c 'hostname "$1" && mount --bind "$2" /etc/hosts && shift 2 && exec "$@"' sh "$host" "$dir/hosts" "$@"
