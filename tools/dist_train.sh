#!/usr/bin/env bash
# Train on several GPUs (or CPU processes) of one machine or of several.
#   dist_train.sh CONFIG PROCESSES [options of train.py]
# Several machines: on each, NNODES=2 NODE_RANK=0|1 MASTER_ADDR=host PORT=29500 dist_train.sh ...
# MAX_RESTARTS=N: processes that die are started again up to N times, and continue from the last
# checkpoint. Ctrl-C, SIGTERM and SIGUSR1 end the training after its iteration, saved, with its
# exit status (130, 143, 75). PYTHON chooses the interpreter.
set -euo pipefail

if [ $# -lt 2 ]; then
    echo "usage: $0 CONFIG PROCESSES [options of train.py]" >&2
    exit 2
fi
config=$1 processes=$2
shift 2
tools=$(cd "$(dirname "$(readlink -f "${BASH_SOURCE[0]}")")" && pwd)
source "$tools/launch.sh"
launch "$processes" train.py "$config" --launcher pytorch "$@"
