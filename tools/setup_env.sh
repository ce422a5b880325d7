#!/usr/bin/env bash
# Build the Python environment of mmgcp from nothing but Python 3.10-3.12 and a C++ compiler (for a GPU also nvcc).
#
#   bash tools/setup_env.sh                        maintained line (onedl-*)   -> .venv
#   MMGCP_STACK=openmmlab bash tools/setup_env.sh  original OpenMMLab line     -> .venv-openmmlab
#
# Finished steps are remembered: a second run takes seconds, an interrupted one goes on where it stopped.
#   MMGCP_PYTHON  interpreter to use (default: the first of python3.11, 3.12, 3.10, python3 that fits)
#   MMGCP_WHEELS  where built mmcv wheels are kept (default: ~/.cache/mmgcp/wheels)
#   MAX_JOBS      parallel compiler processes (default: one per core)
set -euo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")/.."

STACK=${MMGCP_STACK:-onedl}
case $STACK in
  onedl)     VENV=.venv;           MMCV=onedl-mmcv MMDET=onedl-mmdetection MMPRETRAIN=onedl-mmpretrain MMENGINE=onedl-mmengine
             VERSIONS="3.11 3.12 3.10" ;;
  openmmlab) VENV=.venv-openmmlab; MMCV=mmcv MMDET=mmdet MMPRETRAIN=mmpretrain MMENGINE=mmengine
             VERSIONS="3.11 3.10" ;;  # torch 2.1 has no build for Python 3.12
  *) echo "MMGCP_STACK=$STACK is unknown: use 'onedl' (maintained line) or 'openmmlab' (original line)." >&2; exit 2 ;;
esac
PINS=requirements/$STACK.txt
PY=$VENV/bin/python
WHEELS=${MMGCP_WHEELS:-${XDG_CACHE_HOME:-$HOME/.cache}/mmgcp/wheels}
export MAX_JOBS=${MAX_JOBS:-$(nproc)} PIP_DISABLE_PIP_VERSION_CHECK=1 PIP_ROOT_USER_ACTION=ignore

hint="see the message above"
trap 'printf "\nsetup_env.sh stopped: %s. Then run the same command again; finished steps are kept.\n" "$hint" >&2' ERR

find_python() {
  local candidate version
  for candidate in ${MMGCP_PYTHON:-$(printf 'python%s ' $VERSIONS) python3}; do
    version=$("$candidate" -c 'import sys, venv, ensurepip; print("%d.%d" % sys.version_info[:2])' 2>/dev/null) || continue
    [[ " $VERSIONS " == *" $version "* ]] && echo "$candidate" && return
  done
  return 1
}

pip_install() { "$PY" -m pip install --quiet --constraint "$PINS" "$@"; }

# step NAME "WHAT (EXPECTED TIME)" "WHAT TO DO IF IT FAILS" COMMAND...: runs COMMAND unless it has succeeded with these pins.
step() {
  local stamp=$VENV/.mmgcp-steps/$1 what=$2; hint=$3; shift 3
  if cmp -s "$PINS" "$stamp"; then echo "[done]  $what"; return; fi
  echo "[start] $what"
  "$@"
  mkdir -p "$(dirname "$stamp")" && cp "$PINS" "$stamp"
}

make_venv() {
  local python
  python=$(find_python) || { echo "No Python of ${VERSIONS// /, } with venv found among: ${MMGCP_PYTHON:-python3.x on PATH}." >&2; return 1; }
  "$python" -m venv --clear "$VENV"
  "$PY" -m pip install --quiet --upgrade pip
}

# A wheel of mmcv fits one torch, one Python and either CPU or CUDA: pip's own cache knows only the Python.
build_mmcv() {
  local key kept
  key=$("$PY" -c 'import sys, torch; print("torch{}-cp{}{}-{}".format(torch.__version__.split("+")[0],
        *sys.version_info[:2], "cuda" if torch.cuda.is_available() else "cpu"))')
  kept=$WHEELS/$key
  if ! ls "$kept/${MMCV//-/_}"-*.whl >/dev/null 2>&1; then
    command -v g++ >/dev/null || { echo "No C++ compiler (g++) found." >&2; return 1; }
    local scratch; scratch=$(mktemp -d)
    MMCV_WITH_OPS=1 "$PY" -m pip wheel --quiet --no-cache-dir --no-build-isolation --no-deps --no-binary "$MMCV" \
      --constraint "$PINS" --wheel-dir "$scratch" "$MMCV"
    # Without torch in sight mmcv's setup.py makes a wheel that lacks them, and says nothing.
    "$PY" -m zipfile --list "$scratch"/*.whl | grep 'mmcv/_ext' >/dev/null || { echo "The wheel has no compiled ops." >&2; return 1; }
    mkdir -p "$kept" && mv "$scratch"/*.whl "$kept" && rmdir "$scratch"
  fi
  pip_install --no-cache-dir --only-binary "$MMCV" --find-links "$kept" "$MMCV"
}

check() {
  "$PY" - <<'PYTHON'
import importlib
import mmcv._ext, mmgcp
for name in ('torch', 'torchvision', 'mmengine', 'mmcv', 'mmdet', 'mmpretrain', 'mmgcp'):
    print(f'        {name:12s}', importlib.import_module(name).__version__)
PYTHON
}

started=$SECONDS
step venv       "1/6 virtual environment in $VENV (10 s)" \
  "install a Python out of ${VERSIONS// /, } with its venv module, or name one with MMGCP_PYTHON=" make_venv
step torch      "2/6 torch and torchvision (2 to 10 min, about 5 GB)" \
  "check the network and the free disk space" pip_install torch torchvision
step build      "3/6 build tools (10 s)" \
  "check the network" pip_install setuptools wheel ninja psutil packaging
step mmcv       "4/6 $MMCV with compiled ops (6 to 15 min on 2 cores; seconds when a wheel is kept in $WHEELS)" \
  "install a C++ compiler (Debian: apt-get install g++) and, for a GPU, the CUDA toolkit (nvcc); if memory ran out, lower MAX_JOBS=$MAX_JOBS" build_mmcv
step libraries  "5/6 $MMENGINE, $MMPRETRAIN, $MMDET (1 min)" \
  "check the network" pip_install --no-build-isolation "$MMENGINE" "$MMPRETRAIN" "$MMDET"
step mmgcp      "6/6 mmgcp, editable, with its test tools (20 s)" \
  "check the network" pip_install --no-build-isolation --editable '.[test]'
hint="the environment does not import: remove $VENV"
check
echo "Environment $VENV is ready ($((SECONDS - started)) s). Use it with: source $VENV/bin/activate"
