#!/usr/bin/env bash
# Removes the hosts of netns-up.sh and what still runs on them. Ends only processes in its namespaces, and the switch by
# the id that was written down, while it still is the switch.
#
#   tests/cluster/netns-down.sh
#
# ATTN_NETNS_DIR    as for netns-up.sh (default /tmp/attn-netns)
set -euo pipefail

dir=${ATTN_NETNS_DIR:-/tmp/attn-netns}
PATH=$PATH:/usr/sbin:/sbin
[ -f "$dir/hosts" ] || exit 0

pid=$(cat "$dir/delay_switch.pid" 2>/dev/null || true)
if [ -n "$pid" ] && [ "$(cat "/proc/$pid/comm" 2>/dev/null)" = delay_switch ]; then
    kill "$pid"
fi
for host in attnsw $(sed -n 's/.* \(attn[0-9]*\)$/\1/p' "$dir/hosts"); do
    ip netns list | grep -q "^$host\( \|\$\)" || continue
    for pid in $(ip netns pids "$host"); do
        kill -9 "$pid" 2>/dev/null || true
    done
    ip netns del "$host"
done
rm -rf "$dir"
