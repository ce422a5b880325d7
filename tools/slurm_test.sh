#!/usr/bin/env bash
# Test under Slurm: [GPUS=8 GPUS_PER_NODE=8 CPUS_PER_TASK=5 SRUN_ARGS=...] tools/slurm_test.sh PARTITION JOB CONFIG CHECKPOINT [arguments]
# With --benchmark, test robustness by test_robustness.py.
set -euo pipefail
source "$(dirname "${BASH_SOURCE[0]}")/launch.sh"
(( $# >= 4 )) || stop "usage: tools/slurm_test.sh PARTITION JOB_NAME CONFIG CHECKPOINT [arguments of test.py]"
script=$(test_script "$@")
slurm "$script" "$@"
