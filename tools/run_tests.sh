#!/usr/bin/env bash
# Lint and test: bash tools/run_tests.sh [arguments of pytest]. MMGCP_STACK=openmmlab tests the original line.
set -euo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")/.."
bash tools/setup_env.sh
source tools/launch.sh
"$(venv_python)" -m ruff check .
"$(venv_python)" -m pytest "$@"
