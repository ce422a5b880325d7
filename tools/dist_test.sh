#!/usr/bin/env bash
# Test with several processes: tools/dist_test.sh CONFIG CHECKPOINT GPUS [arguments of test.py]
# On several machines, run it on each with NNODES, NODE_RANK, MASTER_ADDR and PORT set.
set -euo pipefail
source "$(dirname "${BASH_SOURCE[0]}")/launch.sh"
(( $# >= 3 )) || stop "usage: tools/dist_test.sh CONFIG CHECKPOINT GPUS [arguments of test.py]"
launch test.py "$3" "$1" "$2" "${@:4}"
