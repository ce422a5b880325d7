#!/usr/bin/env bash
# Lint and test: bash tools/run_tests.sh [arguments of pytest]. MMGCP_STACK=openmmlab tests the original line.
set -euo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")/.."
bash tools/setup_env.sh
source tools/launch.sh
"$(venv_python)" -m ruff check .
# Two processes: much of what is tested waits for files and for other processes.
export OMP_NUM_THREADS=${OMP_NUM_THREADS:-$(( ($(nproc) + 1) / 2 ))}
"$(venv_python)" -m pytest --numprocesses 2 --dist loadfile "$@"
