#!/usr/bin/env bash
# Test with several processes: tools/dist_test.sh CONFIG CHECKPOINT GPUS [arguments of test.py]
# With --benchmark, test robustness by test_robustness.py, which has the same first arguments.
# On several machines, run it on each with NNODES, NODE_RANK, MASTER_ADDR and PORT set.
set -euo pipefail
source "$(dirname "${BASH_SOURCE[0]}")/launch.sh"
(( $# >= 3 )) || stop "usage: tools/dist_test.sh CONFIG CHECKPOINT GPUS [arguments of test.py or test_robustness.py]"
script=$(test_script "$@")
launch "$script" "$3" "$1" "$2" "${@:4}"
