#!/usr/bin/env bash
# Evaluate on several GPUs (or CPU processes) of one machine or of several.
#   dist_test.sh CONFIG CHECKPOINT PROCESSES [options of test.py]
# Several machines: on each, NNODES=2 NODE_RANK=0|1 MASTER_ADDR=host PORT=29500 dist_test.sh ...
# PYTHON chooses the interpreter.
set -euo pipefail

if [ $# -lt 3 ]; then
    echo "usage: $0 CONFIG CHECKPOINT PROCESSES [options of test.py]" >&2
    exit 2
fi
config=$1 checkpoint=$2 processes=$3
shift 3
tools=$(cd "$(dirname "$(readlink -f "${BASH_SOURCE[0]}")")" && pwd)
source "$tools/launch.sh"
launch "$processes" test.py "$config" "$checkpoint" --launcher pytorch "$@"
