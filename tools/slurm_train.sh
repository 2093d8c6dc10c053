#!/usr/bin/env bash
#SBATCH --requeue
#SBATCH --signal=B:USR1@120
#SBATCH --open-mode=append
#
# Train on a Slurm cluster.
#   slurm_train.sh PARTITION JOB_NAME CONFIG [options of train.py]
# GPUS (8), GPUS_PER_NODE (8, at most GPUS), CPUS_PER_TASK (5), PORT, SRUN_ARGS and PYTHON are
# read from the environment; GPUS_PER_NODE=0 trains GPUS processes without GPUs.
#
# Two minutes before the time limit Slurm sends SIGUSR1: the training saves itself, ends with
# status 75, is started again and continues. Started from a terminal, this script waits for the
# next allocation; submitted (sbatch OPTIONS slurm_train.sh ..., whose options then name the
# partition and the resources), it has Slurm requeue the job. So it runs train.py with --resume,
# which begins anew where there is no checkpoint yet. SIGTERM (scancel, preemption) saves as well.
set -euo pipefail

if [ $# -lt 3 ]; then
    echo "usage: $0 PARTITION JOB_NAME CONFIG [options of train.py]" >&2
    exit 2
fi
partition=$1 job=$2 config=$3
shift 3

tools=$(cd "$(dirname "$(readlink -f "${BASH_SOURCE[0]}")")" && pwd)
gpus=${GPUS:-8}
per_node=${GPUS_PER_NODE:-8}
[ "$per_node" -le "$gpus" ] || per_node=$gpus
resources=(--ntasks="$gpus")
if [ "$per_node" -gt 0 ]; then
    resources+=(--gres="gpu:$per_node" --ntasks-per-node="$per_node")
fi
if [ -z "${SLURM_JOB_ID:-}" ]; then
    resources+=(--partition="$partition" --job-name="$job" --signal=USR1@120)
elif [ ! -f "$tools/train.py" ]; then
    # Slurm runs a copy of what was submitted.
    submitted=$(scontrol show job "$SLURM_JOB_ID" | sed -n 's/^ *Command=\([^ ]*\).*/\1/p')
    tools=$(dirname "$(readlink -f "$submitted")")
fi
# Jobs that share a machine must not share a port.
export MASTER_PORT=${PORT:-$((20000 + RANDOM % 20000))}

# What the user says of it comes later, and counts.
resume=(--resume)
for word in "$@"; do
    [ "$word" != --overwrite ] || resume=()
done

training=
pass_on() { [ -z "$training" ] || kill -"$1" "$training" 2>/dev/null || true; }
# srun hands them to the training; Ctrl-C reaches it from the terminal.
trap 'pass_on USR1' USR1
trap 'pass_on TERM' TERM
trap 'pass_on HUP' HUP
trap : INT

while true; do
    # SRUN_ARGS holds several words.
    # shellcheck disable=SC2086
    srun "${resources[@]}" --cpus-per-task="${CPUS_PER_TASK:-5}" --kill-on-bad-exit=1 \
        ${SRUN_ARGS:-} "${PYTHON:-python}" -u "$tools/train.py" "$config" \
        ${resume[@]+"${resume[@]}"} --launcher slurm "$@" &
    training=$!
    # A signal ends the waiting, not the training.
    while kill -0 "$training" 2>/dev/null; do
        wait "$training" || true
    done
    status=0
    wait "$training" || status=$?
    [ "$status" -eq 75 ] || exit "$status"
    if [ -n "${SLURM_JOB_ID:-}" ]; then
        echo "slurm_train.sh: job $SLURM_JOB_ID is requeued, and continues" >&2
        scontrol requeue "$SLURM_JOB_ID" || exit 75
        exit 0
    fi
    # As Slurm counts; train.py continues then, whatever it is told of --resume and --overwrite.
    export SLURM_RESTART_COUNT=$((${SLURM_RESTART_COUNT:-0} + 1))
    echo "slurm_train.sh: the training is started again, and continues" >&2
done
