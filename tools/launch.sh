# Sourced by dist_train.sh and dist_test.sh.
#   launch PROCESSES SCRIPT [arguments]
# runs a script of this folder in several processes on each machine. Several machines: on each,
# NNODES=2 NODE_RANK=0|1 MASTER_ADDR=host PORT=29500. With MAX_RESTARTS=3 processes that die are
# started again up to three times, and continue. PYTHON chooses the interpreter.

launch() {
    local processes=$1 script=$2
    shift 2
    case $processes in
        '' | *[!0-9]* | 0) echo "error: PROCESSES must be a positive number, not '$processes'" >&2; exit 2 ;;
    esac
    local python=${PYTHON:-python} meeting
    if [ "${NNODES:-1}" -gt 1 ]; then
        : "${MASTER_ADDR:?must name the first machine when NNODES is above 1}"
        : "${NODE_RANK:?must be the number of this machine (0 for MASTER_ADDR) when NNODES is above 1}"
        meeting=(--nnodes="$NNODES" --node_rank="$NODE_RANK"
            --master_addr="$MASTER_ADDR" --master_port="${PORT:-29500}")  # the same on all machines
    else
        meeting=(--standalone --local_addr=127.0.0.1)  # torchrun finds a free port
    fi
    if [ -n "${MAX_RESTARTS:-}" ]; then
        meeting+=(--max_restarts="$MAX_RESTARTS")
    fi
    exec "$python" "$tools/launch.py" "${meeting[@]}" --nproc_per_node="$processes" \
        "$tools/$script" "$@"
}
