# Choose Python and start processes by torchrun or srun; sourced by the other scripts.

TOOLS=$(dirname "${BASH_SOURCE[0]}")

# The environment that setup_env.sh builds beside this folder.
venv_python() {
  local venv=.venv
  [[ ${MMGCP_STACK:-onedl} == openmmlab ]] && venv=.venv-openmmlab
  echo "$TOOLS/../$venv/bin/python"
}

# Prefer an active environment.
if [[ -z ${PYTHON:-} ]]; then
  PYTHON=python
  if [[ -z ${VIRTUAL_ENV:-} && -z ${CONDA_PREFIX:-} && -x $(venv_python) ]]; then PYTHON=$(venv_python); fi
fi

stop() { echo "Stopped: $1." >&2; exit 2; }

# check_count NAME VALUE
check_count() { [[ $2 =~ ^[1-9][0-9]*$ ]] || stop "$1 must be a number of at least 1, got '$2'"; }

check_port() { [[ $1 =~ ^[1-9][0-9]{0,4}$ ]] && (( $1 < 65536 )) || stop "PORT must be a number from 1 to 65535, got '$1'"; }

# test_script ARGUMENTS...: the tool they are for; argparse takes --benchmark NAME, --benchmark=NAME and --bench NAME.
test_script() {
  local argument
  for argument; do
    argument=${argument%%=*}
    if [[ $argument == --b* && --benchmark == "$argument"* ]]; then echo test_robustness.py; return; fi
  done
  echo test.py
}

# With wrong settings, the machines would wait for each other.
check_machines() {
  local machines=${NNODES:-1} rank=${NODE_RANK-}
  check_count NNODES "$machines"
  check_port "${PORT:-29500}"
  (( machines > 1 )) || rank=${rank:-0}
  [[ $rank =~ ^(0|[1-9][0-9]*)$ ]] && (( rank < machines )) ||
    stop "NODE_RANK must be a number below NNODES=$machines, another one on each machine, got '$rank'"
  (( machines == 1 )) || [[ -n ${MASTER_ADDR:-} ]] ||
    stop "NNODES is $machines, but MASTER_ADDR is not set: set it to the address of the machine with NODE_RANK=0"
}

# launch SCRIPT GPUS ARGUMENTS...: start one process per GPU, or as many CPU processes if no GPU is visible.
launch() {
  local script=$1 gpus=$2; shift 2
  check_count GPUS "$gpus"
  check_machines
  local available
  available=$("$PYTHON" -c 'import torch; print(torch.cuda.device_count())') || stop "$PYTHON has no torch: run tools/setup_env.sh"
  (( available == 0 || gpus <= available )) || stop "GPUS is $gpus, but only $available GPUs are visible"

  # Jobs on one machine must not meet at one port; several machines agree on it beforehand.
  local wanted=${PORT:-0} port
  (( ${NNODES:-1} == 1 )) || wanted=${PORT:-29500}
  port=$wanted
  (( ${NODE_RANK:-0} > 0 )) || port=$("$PYTHON" -c 'import socket, sys
with socket.socket() as end:
    end.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
    end.bind(("", int(sys.argv[1])))
    print(end.getsockname()[1])' "$wanted" 2>/dev/null) || stop "port $wanted is taken, perhaps by another job: set another PORT"

  export MMGCP_REASON_FILE; MMGCP_REASON_FILE=$(mktemp)
  # Otherwise each CPU process would start one thread per core.
  (( available )) || export OMP_NUM_THREADS=${OMP_NUM_THREADS:-$(( ($(nproc) + gpus - 1) / gpus ))}
  local status=0
  PYTHONPATH="$TOOLS/..${PYTHONPATH:+:$PYTHONPATH}" "$PYTHON" -m torch.distributed.run \
    --nnodes="${NNODES:-1}" --node_rank="${NODE_RANK:-0}" --nproc_per_node="$gpus" \
    --master_addr="${MASTER_ADDR:-127.0.0.1}" --master_port="$port" \
    "$TOOLS/$script" "$@" --launcher pytorch || status=$?
  if [[ -s $MMGCP_REASON_FILE ]]; then printf '\nStopped: %s.\n' "$(cat "$MMGCP_REASON_FILE")" >&2; fi
  rm -f "$MMGCP_REASON_FILE"
  return $status
}

# slurm SCRIPT PARTITION JOB_NAME ARGUMENTS...: start one task per GPU by srun. They meet at PORT, or one for this job.
slurm() {
  local script=$1 partition=$2 job=$3 gpus=${GPUS:-8}; shift 3
  check_count GPUS "$gpus"
  local per_node=${GPUS_PER_NODE:-$(( gpus < 8 ? gpus : 8 ))}
  check_count GPUS_PER_NODE "$per_node"
  check_count CPUS_PER_TASK "${CPUS_PER_TASK:-5}"
  check_port "${PORT:-29500}"
  command -v srun >/dev/null || stop "srun was not found: this is not a Slurm machine"
  # SRUN_ARGS may have several words.
  # shellcheck disable=SC2086
  PYTHONPATH="$TOOLS/..${PYTHONPATH:+:$PYTHONPATH}" srun --partition="$partition" --job-name="$job" --gres="gpu:$per_node" \
    --ntasks="$gpus" --ntasks-per-node="$per_node" --cpus-per-task="${CPUS_PER_TASK:-5}" --kill-on-bad-exit=1 \
    ${SRUN_ARGS:-} "$PYTHON" -u "$TOOLS/$script" "$@" --launcher slurm
}
