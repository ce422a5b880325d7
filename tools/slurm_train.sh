#!/usr/bin/env bash
# Train under Slurm: [GPUS=8 GPUS_PER_NODE=8 CPUS_PER_TASK=5 SRUN_ARGS=...] tools/slurm_train.sh PARTITION JOB CONFIG [arguments]
set -euo pipefail
source "$(dirname "${BASH_SOURCE[0]}")/launch.sh"
(( $# >= 3 )) || stop "usage: tools/slurm_train.sh PARTITION JOB_NAME CONFIG [arguments of train.py]"
slurm train.py "$@"
