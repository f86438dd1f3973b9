#!/bin/bash
# Training under SLURM, on any number of nodes. Copy it, set the lines marked «», then, in the
# project: STORE=… RUN=… sbatch slurm.sh [further arguments of training]
#
# One task per accelerator; ranks, addresses and ports are found from srun's variables. Five minutes
# before the time is up SLURM sends SIGUSR1 to every rank: the run saves, exits 75, and this job
# queues itself again. RUN/status.json tells how it stands. `scancel --signal=USR1 JOB` does the same by
# hand; a plain scancel ends the job for good, after the save that its SIGTERM asks for (in KillWait).
#SBATCH --job-name=vgbdm
#SBATCH --nodes=2                # «how many»
#SBATCH --ntasks-per-node=4      # «accelerators of a node; on CPU nodes, sockets»
#SBATCH --cpus-per-task=8        # «threads of a rank»
#SBATCH --gpus-per-node=4        # «none on CPU nodes»
#SBATCH --time=24:00:00
#SBATCH --signal=USR1@300
#SBATCH --requeue
#SBATCH --open-mode=append
set -u
STORE=${STORE:?a training store that all nodes see, or a URL with stage=<local folder>}
RUN=${RUN:?a run folder that all nodes see}
cd "${SLURM_SUBMIT_DIR:?sbatch starts this, not bash}" || exit 2

# gloo and NCCL choose their network by themselves; where they choose wrong, name it here:
# export GLOO_SOCKET_IFNAME=ib0 NCCL_SOCKET_IFNAME=ib0

# Every rank sees all accelerators of its node and takes its own. Ranks notice by themselves that one
# is gone; srun must not kill those that still save.
srun --gpu-bind=none --kill-on-bad-exit=0 \
    .venv/bin/python launch/train_era5.py store="$STORE" run_dir="$RUN" resume=true "$@"
code=$?

if [ "$code" -eq 75 ]; then
    scontrol requeue "$SLURM_JOB_ID"
fi
exit "$code"
