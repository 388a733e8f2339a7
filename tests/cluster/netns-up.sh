#!/usr/bin/env bash
# Several hosts on one machine: network namespaces attn1 ... attnN, each a host with a name and an address (10.99.0.1,
# ...), joined by a switch whose links have a rate and a delay. Nothing is added to the machine's own network. Needs
# root and the package iproute2; installs nothing.
#
#   tests/cluster/netns-up.sh [HOSTS [RATE [DELAY]]]       default: 4 1gbit 0.1ms; a DELAY of 0: none
#   tests/cluster/netns-mpirun.sh HOSTS RANKS-OF-A-HOST ARGUMENTS-OF-MPIRUN...
#   tests/cluster/netns-down.sh                            stops what this started
#
# The switch is the kernel's (netem, tbf) where it can delay packets, otherwise delay_switch.c, a process; that one
# wants a part of a core and keeps up with about 1 Gbit/s a link.
#
# ATTN_NETNS_DIR    folder of all its files (default /tmp/attn-netns)
# Exit 0: up; 1: it did not come up; 77: it cannot run here, for the reason printed.
set -eEuo pipefail

here=$(cd "$(dirname "${BASH_SOURCE[0]}")" && pwd)
dir=${ATTN_NETNS_DIR:-/tmp/attn-netns}
hosts=${1:-4}
rate=${2:-1gbit}
delay=${3:-0.1ms}
PATH=$PATH:/usr/sbin:/sbin

cannot() {
    printf 'netns-up: skipped: %s\n' "$*"
    exit 77
}

check_possible() {
    local program
    [ "$(id -u)" = 0 ] || cannot "network namespaces need root"
    for program in ip tc nsenter unshare cc; do
        command -v $program >/dev/null || cannot "no $program (Debian, Ubuntu: apt-get install iproute2 util-linux gcc)"
    done
    unshare --net --uts --mount true 2>/dev/null || cannot "no new namespaces here (a container needs CAP_SYS_ADMIN)"
    ! ip netns list | grep -Eq '^attn(sw|[0-9]+)( |$)' ||
        cannot "namespaces attn... exist already; tests/cluster/netns-down.sh removes them"
}

kernel_delays() {
    local found=no
    ip -n attnsw link add probe0 type veth peer name probe1
    ! ip netns exec attnsw tc qdisc add dev probe0 root netem delay 1ms 2>/dev/null || found=yes
    ip -n attnsw link del probe0
    [ $found = yes ]
}

# shape NAMESPACE DEVICE: what leaves there is delayed, and bounded in rate.
shape() {
    local parent=(root)
    if [ "$delay" != 0 ]; then
        ip netns exec "$1" tc qdisc add dev "$2" root handle 1: netem delay "$delay" limit 20000
        parent=(parent 1:)
    fi
    ip netns exec "$1" tc qdisc add dev "$2" "${parent[@]}" tbf rate "$rate" burst 128k latency 20ms
}

start_bridge() {
    local i
    ip -n attnsw link add br0 type bridge
    ip -n attnsw link set br0 up
    for i in $(seq "$hosts"); do
        ip -n attnsw link add "p$i" type veth peer name eth0 netns "attn$i"
        ip -n attnsw link set "p$i" master br0 up
        shape "attn$i" eth0
        shape attnsw "p$i"
    done
}

tap_count() { ip -n attnsw -o link | grep -c ': tap[0-9]' || true; }

start_process() {
    local i
    cc -O2 -o "$dir/delay_switch" "$here/delay_switch.c"
    ip netns exec attnsw "$dir/delay_switch" "$hosts" "$rate" "$delay" >"$dir/delay_switch.log" 2>&1 &
    echo $! >"$dir/delay_switch.pid"
    for _ in $(seq 100); do
        [ "$(tap_count)" != "$hosts" ] || break
        sleep 0.05
    done
    if [ "$(tap_count)" != "$hosts" ]; then
        cat "$dir/delay_switch.log" >&2
        "$here/netns-down.sh"
        cannot "no TAP devices here (they need /dev/net/tun)"
    fi
    for i in $(seq "$hosts"); do
        ip -n attnsw link set "tap$i" netns "attn$i"
        ip -n "attn$i" link set "tap$i" name eth0
    done
}

check_possible
if [ -e "$dir" ]; then
    [ -f "$dir/hosts" ] || {
        printf 'netns-up: %s exists and is not from here; set ATTN_NETNS_DIR to a folder to be made\n' "$dir" >&2
        exit 1
    }
    "$here/netns-down.sh"
fi
umask 022
mkdir "$dir"
printf '127.0.0.1 localhost\n' >"$dir/hosts"
# What is made from here on goes away again when something fails.
trap '"$here/netns-down.sh"' ERR
ip netns add attnsw
ip -n attnsw link set lo up
for i in $(seq "$hosts"); do
    printf '10.99.0.%s attn%s\n' "$i" "$i" >>"$dir/hosts"
    ip netns add "attn$i"
    ip -n "attn$i" link set lo up
done
kind=kernel
if [ "$delay" = 0 ] || kernel_delays; then
    start_bridge
else
    kind=process
    start_process
fi
for i in $(seq "$hosts"); do
    ip -n "attn$i" addr add "10.99.0.$i/24" dev eth0
    ip -n "attn$i" link set eth0 up
done
printf 'netns-up: %s hosts attn1 ... attn%s, links of %s and %s, switch: %s\n' "$hosts" "$hosts" "$rate" "$delay" \
    "$kind"
