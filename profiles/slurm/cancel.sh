#!/usr/bin/env bash
# Cancel what the runs of a configuration have in SLURM's queue, and wait until it is gone: `cancel.sh demo` for config/demo.yaml.
# Each run's name in the queue stands in Snakemake's log of it. A job that outlives its run would remove a later run's output.
set -euo pipefail

command -v scancel >/dev/null || exit 0
runs=$(grep -lZE "^ *Command: .*[/ ]$1\.yaml( |$)" .snakemake/log/*.snakemake.log 2>/dev/null |
  xargs -0r grep -ohP 'SLURM run ID: \K\S+' | paste -sd,) || true
[ -n "$runs" ] || exit 0
scancel --name="$runs"
while true; do
  queued=$(squeue -h -t PD,CF,R,S,CG --name="$runs" -o '%A %T')
  [ -n "$queued" ] || break
  echo "waiting for the end of SLURM jobs ${queued//$'\n'/, }"
  sleep 2
done
