#!/usr/bin/env bash
# Starts a private SLURM on this machine: one controller and several nodes, all on the loopback address, without systemd,
# cgroups or a database. Needs root and the packages slurmctld slurmd slurm-client munge; installs nothing.
#
#   tests/cluster/slurm-up.sh        then: export SLURM_CONF=$ATTN_SLURM_DIR/slurm.conf
#   tests/cluster/slurm-down.sh      stops what this started
#
# ATTN_SLURM_DIR    folder of all its files (default /tmp/attn-slurm; a short path: it holds a socket)
# ATTN_SLURM_NODES  number of nodes (2)        ATTN_SLURM_CPUS  processors that a node claims, real or not (4)
# ATTN_SLURM_PORT   the controller's port (17300); node i listens on the i-th port after it
# Exit 0: up; 1: it did not come up; 77: it cannot run here, for the reason printed.
set -euo pipefail

dir=${ATTN_SLURM_DIR:-/tmp/attn-slurm}
nodes=${ATTN_SLURM_NODES:-2}
cpus=${ATTN_SLURM_CPUS:-4}
port=${ATTN_SLURM_PORT:-17300}
PATH=$PATH:/usr/sbin:/sbin
export SLURM_CONF=$dir/slurm.conf

cannot() {
    printf 'slurm-up: skipped: %s\n' "$*"
    exit 77
}

check_possible() {
    local program
    [ "$(id -u)" = 0 ] || cannot "the daemons need root"
    for program in munged slurmctld slurmd sbatch; do
        command -v $program >/dev/null ||
            cannot "no $program (Debian, Ubuntu: apt-get install slurmctld slurmd slurm-client munge)"
    done
    unshare --uts --mount true 2>/dev/null || cannot "no new name spaces here (a container needs CAP_SYS_ADMIN)"
}

start_munge() {
    mkdir -m 700 "$dir/key"
    (umask 077 && head -c 128 /dev/urandom >"$dir/key/munge.key")
    munged --key-file="$dir/key/munge.key" --seed-file="$dir/key/seed" --log-file="$dir/key/munged.log" \
        --socket="$dir/munge/socket" --pid-file="$dir/run/munged.pid" --num-threads=2
}

# What is unusual here: nodes share one address and differ by port; a node may claim processors that the machine lacks;
# each has its own TmpFS, as PMIx would otherwise find the files of its neighbours.
write_config() {
    cat >"$SLURM_CONF" <<END
# Written by tests/cluster/slurm-up.sh
ClusterName=attn
SlurmctldHost=$(hostname -s)(127.0.0.1)
SlurmctldPort=$port
SlurmUser=root
SlurmdUser=root
CommunicationParameters=NoCtldInAddrAny,NoInAddrAny
AuthType=auth/munge
CredType=cred/munge
AuthInfo=socket=$dir/munge/socket
StateSaveLocation=$dir/state
SlurmctldPidFile=$dir/run/slurmctld.pid
SlurmctldLogFile=$dir/log/slurmctld.log
SlurmdPidFile=$dir/run/slurmd-%n.pid
SlurmdLogFile=$dir/log/slurmd-%n.log
SlurmdSpoolDir=$dir/spool-%n
SlurmdParameters=config_overrides
TmpFS=$dir/tmp-%n
ProctrackType=proctrack/linuxproc
TaskPlugin=task/none
SwitchType=switch/none
JobAcctGatherType=jobacct_gather/none
AccountingStorageType=accounting_storage/none
SelectType=select/cons_tres
SelectTypeParameters=CR_Core
SchedulerType=sched/backfill
SchedulerParameters=sched_interval=5,bf_interval=5,batch_sched_delay=0,sched_min_interval=0
MpiDefault=pmix
KillOnBadExit=1
KillWait=5
MinJobAge=600
ReturnToService=2
PropagateResourceLimits=NONE
MailProg=/bin/true
NodeName=n[1-$nodes] NodeAddr=127.0.0.1 Port=[$((port + 1))-$((port + nodes))] CPUs=$cpus Boards=1 SocketsPerBoard=1 CoresPerSocket=$cpus ThreadsPerCore=1 RealMemory=2000 State=UNKNOWN
PartitionName=main Nodes=n[1-$nodes] Default=YES MaxTime=INFINITE State=UP
END
    {
        cat /etc/hosts
        printf '127.0.0.1 n%s\n' $(seq "$nodes")
    } >"$dir/hosts"
}

# Each node has a host name of its own: the shared-memory files of two nodes with one name would collide.
start_node() {
    mkdir "$dir/spool-$1"
    mkdir -m 1777 "$dir/tmp-$1"
    # shellcheck disable=SC2016 # expanded inside
    unshare --uts --mount --propagation private \
        sh -c 'hostname "$1" && mount --bind "$2" /etc/hosts && exec slurmd -N "$1"' sh "$1" "$dir/hosts"
}

nodes_ready() {
    timeout 3 sinfo -h -N -o '%N %t' 2>/dev/null | awk '$2 ~ /^(idle|mix|alloc)$/ { print $1 }' | sort -u | wc -l
}

wait_until_ready() {
    local end=$((SECONDS + 30))
    while [ $SECONDS -lt $end ]; do
        [ "$(nodes_ready)" = "$nodes" ] && return
        sleep 0.2
    done
    tail -n 5 "$dir"/log/*.log >&2
    return 1
}

check_possible
"$(dirname "${BASH_SOURCE[0]}")/slurm-down.sh"
if [ -e "$dir" ]; then
    printf 'slurm-up: %s exists and is not from here; set ATTN_SLURM_DIR to a folder to be made\n' "$dir" >&2
    exit 1
fi
# munge refuses a socket in a folder that others cannot reach, or can write to.
umask 022
mkdir "$dir" "$dir/munge" "$dir/run" "$dir/log" "$dir/state"
write_config
start_munge
slurmctld
for i in $(seq "$nodes"); do
    start_node "n$i"
done
if ! wait_until_ready; then
    printf 'slurm-up: the nodes did not become ready; the logs are in %s\n' "$dir/log" >&2
    exit 1
fi
printf 'slurm-up: %s nodes with %s processors each; export SLURM_CONF=%s\n' "$nodes" "$cpus" "$SLURM_CONF"
