#!/usr/bin/env bash
# Train on several GPUs (or CPU processes) of one machine or of several.
#   dist_train.sh CONFIG PROCESSES [options of train.py]
# Several machines: on each, NNODES=2 NODE_RANK=0|1 MASTER_ADDR=host PORT=29500 dist_train.sh ...
# PYTHON chooses the interpreter.
set -euo pipefail

if [ $# -lt 2 ]; then
    echo "usage: $0 CONFIG PROCESSES [options of train.py]" >&2
    exit 2
fi
config=$1 processes=$2
shift 2
case $processes in
    '' | *[!0-9]* | 0) echo "error: PROCESSES must be a positive number, not '$processes'" >&2; exit 2 ;;
esac

tools=$(cd "$(dirname "$(readlink -f "${BASH_SOURCE[0]}")")" && pwd)
python=${PYTHON:-python}
nnodes=${NNODES:-1}
if [ "$nnodes" -gt 1 ]; then
    : "${MASTER_ADDR:?must name the first machine when NNODES is above 1}"
    : "${NODE_RANK:?must be the number of this machine (0 for MASTER_ADDR) when NNODES is above 1}"
    port=${PORT:-29500}  # all machines must agree on it
else
    port=${PORT:-$("$python" -c 'import socket; s = socket.socket(); s.bind(("", 0)); print(s.getsockname()[1])')}
fi

exec "$python" -m torch.distributed.run \
    --nnodes="$nnodes" --node_rank="${NODE_RANK:-0}" --nproc_per_node="$processes" \
    --master_addr="${MASTER_ADDR:-127.0.0.1}" --master_port="$port" \
    "$tools/train.py" "$config" --launcher pytorch "$@"
