#!/usr/bin/env bash
# Train with several processes: tools/dist_train.sh CONFIG GPUS [arguments of train.py]
# On several machines, run it on each with NNODES, NODE_RANK, MASTER_ADDR and PORT set.
set -euo pipefail
source "$(dirname "${BASH_SOURCE[0]}")/launch.sh"
(( $# >= 2 )) || stop "usage: tools/dist_train.sh CONFIG GPUS [arguments of train.py]"
launch train.py "$2" "$1" "${@:3}"
