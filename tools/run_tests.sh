#!/usr/bin/env bash
# Lint and test: bash tools/run_tests.sh [arguments of pytest]. MMGCP_STACK=openmmlab tests the original line.
set -euo pipefail
CDPATH='' cd "$(dirname "${BASH_SOURCE[0]}")/.."
bash tools/setup_env.sh
source tools/launch.sh
"$(venv_python)" -m ruff check .
PYTHONPATH=. "$(dirname "$(venv_python)")/lint-imports"
# One single-threaded process per core, but not more than fit into the memory of a small machine.
processes=$(( $(nproc) < 8 ? $(nproc) : 8 ))
export OMP_NUM_THREADS=${OMP_NUM_THREADS:-1}
"$(venv_python)" -m pytest --numprocesses "$processes" --dist loadfile --no-loadscope-reorder "$@"
