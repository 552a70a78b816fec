#!/usr/bin/env bash
# A SLURM cluster of this machine alone, to try --profile slurm on: `one_machine.sh start`, then `one_machine.sh stop`.
# As root, with Debian's slurmctld, slurmd, slurm-client and munge; without systemd, cgroups and accounting.
# One node with a made-up GPU, in the partitions cpu and gpu that config.yaml names.
set -euo pipefail

conf=/etc/slurm # where else it lies is not told to a job's steps
mark="# written by onemask: one_machine.sh"
state=/var/lib/onemask-slurm

fail() {
  echo "one_machine.sh: $*" >&2
  exit 1
}

write_configuration() {
  local host cores
  host=$(hostname -s)
  cores=$(getconf _NPROCESSORS_ONLN)
  cores=$((cores < 2 ? 2 : cores)) # a mask is trained on two
  mkdir -p "$conf" "$state/controller" "$state/node"
  cat >"$conf/slurm.conf" <<EOF
$mark
ClusterName=onemask
SlurmctldHost=$host(127.0.0.1)
SlurmUser=root
SlurmdUser=root
AuthType=auth/munge
StateSaveLocation=$state/controller
SlurmdSpoolDir=$state/node
SlurmctldLogFile=$state/slurmctld.log
SlurmdLogFile=$state/slurmd.log
ReturnToService=2
ProctrackType=proctrack/linuxproc
TaskPlugin=task/none
SelectType=select/cons_tres
SelectTypeParameters=CR_Core_Memory
# a job that takes more memory than it asked for is killed, as on a cluster
JobAcctGatherType=jobacct_gather/linux
JobAcctGatherFrequency=task=2
JobAcctGatherParams=OverMemoryKill
AccountingStorageType=accounting_storage/none
# more cores and memory than there may be, so that no request has to wait for ever
SlurmdParameters=config_overrides
GresTypes=gpu
NodeName=$host NodeAddr=127.0.0.1 CPUs=$cores CoresPerSocket=$cores RealMemory=64000 Gres=gpu:$cores State=UNKNOWN
PartitionName=cpu Nodes=$host Default=YES DefMemPerCPU=500
PartitionName=gpu Nodes=$host DefMemPerCPU=500
EOF
  # a GPU must be a file that can be opened
  : >"$conf/gres.conf"
  for gpu in $(seq "$cores"); do
    : >"$state/gpu$gpu"
    echo "NodeName=$host Name=gpu File=$state/gpu$gpu" >>"$conf/gres.conf"
  done
}

start() {
  [ "$(id -u)" = 0 ] || fail "expected root; found user $(id -un)"
  for program in munged slurmctld slurmd sinfo; do
    command -v "$program" >/dev/null || fail "no $program; apt-get install slurmctld slurmd slurm-client munge"
  done
  if [ -e "$conf/slurm.conf" ] && ! grep -qF "$mark" "$conf/slurm.conf"; then
    fail "$conf/slurm.conf is not ours: this machine has a SLURM already; use it"
  fi
  stop
  write_configuration
  mkdir -p /run/munge
  chown munge:munge /run/munge
  pgrep -x munged >/dev/null || { runuser -u munge -- munged && touch "$state/our_munged"; }
  slurmctld -c
  slurmd
  for _ in $(seq 60); do
    [ "$(sinfo -h -p gpu -o %T 2>/dev/null)" = idle ] && return
    sleep 0.5
  done
  fail "the node is not idle after 30 s; see $state/slurmctld.log and $state/slurmd.log"
}

stop() {
  if [ -e "$conf/slurm.conf" ] && grep -qF "$mark" "$conf/slurm.conf"; then
    pgrep -x slurmctld >/dev/null && scancel --user "$(id -un)" 2>/dev/null || true
    pkill -x slurmd || true
    pkill -x slurmctld || true
    while pgrep -x slurmctld || pgrep -x slurmd; do sleep 0.2; done >/dev/null
    [ ! -e "$state/our_munged" ] || runuser -u munge -- munged --stop
    rm -rf "$conf/slurm.conf" "$conf/gres.conf" "$state"
  fi
}

case "${1:-}" in
  start) start ;;
  stop) stop ;;
  *) fail "start or stop" ;;
esac
