#!/usr/bin/env bash
# Build the Python environment of mmgcp in 2 to 4 minutes. Needs only Python 3.10-3.13, no compiler.
#
#   bash tools/setup_env.sh                        maintained line (onedl-*)   -> .venv
#   MMGCP_STACK=openmmlab bash tools/setup_env.sh  original OpenMMLab line     -> .venv-openmmlab
#
# Finished steps are kept: a second run takes seconds, and an interrupted one resumes where it stopped.
#   MMGCP_PYTHON       interpreter (default: the first suitable one of python3.11, 3.12, 3.13, 3.10, python3)
# The environment stores these choices; an empty value restores the default.
#   MMGCP_TORCH        version of torch (default: the tested one)
#   MMGCP_TORCH_INDEX  URL or folder of builds of torch and torchvision to use instead of PyPI's, which are for CUDA;
#                      for CPUs only: https://download.pytorch.org/whl/cpu
#   MMGCP_MMCV         operators of mmcv: 'torchvision' (default), or 'compiled' for mmcv's own
#   MMGCP_MMCV_INDEX   URL or folder of compiled wheels of mmcv (default: compile one with g++, and nvcc for GPUs:
#                      25 minutes on 2 idle cores, up to an hour on busy ones)
# Only for compiling:
#   MMGCP_WHEELS       folder for the wheels (default: ~/.cache/mmgcp/wheels)
#   MAX_JOBS           number of parallel compilers (default: one per core)
set -euo pipefail

stop() { printf 'Stopped: %s.\n' "$1" >&2; exit 2; }

STACK=${MMGCP_STACK:-onedl}
case $STACK in
  onedl)     VENV=.venv;           MMCV=onedl-mmcv VERSIONS="3.11 3.12 3.13 3.10" ;;
  openmmlab) VENV=.venv-openmmlab; MMCV=mmcv       VERSIONS="3.11 3.10" ;;  # torch 2.1 has no build for Python 3.12
  *) stop "MMGCP_STACK=$STACK is unknown: use 'onedl' (maintained line) or 'openmmlab' (original line)" ;;
esac
BOTH_LINES=(mmengine mmcv mmdet mmpretrain onedl-mmengine onedl-mmcv onedl-mmdetection onedl-mmpretrain)

unset CDPATH  # which can lead cd elsewhere

# Folders are relative to the user's working directory.
for name in MMGCP_TORCH_INDEX MMGCP_MMCV_INDEX; do
  if [[ -d ${!name:-} ]]; then declare "$name=$(cd "${!name}" && pwd)"
  elif [[ -n ${!name:-} && ${!name} != *://* ]]; then stop "$name=${!name} is neither a URL nor a folder"; fi
done
cd "$(dirname "${BASH_SOURCE[0]}")/.."

PY=$VENV/bin/python
NOTES=$VENV/.mmgcp
STEPS=$NOTES/steps CHOICES=$NOTES/choices PINS=$NOTES/pins LOG=$NOTES/log
WHEELS=${MMGCP_WHEELS:-${XDG_CACHE_HOME:-$HOME/.cache}/mmgcp/wheels}
AGAIN="then run the same command again"
export PIP_DISABLE_PIP_VERSION_CHECK=1 PIP_ROOT_USER_ACTION=ignore
unset PYTHONPATH PYTHONHOME  # pip would treat packages found there as installed

# ------------------------------------------------------------------------------------------------ steps and commands

finished=""
# step LINE WHAT COMMAND...: run COMMAND, unless the file of finished steps has LINE after the lines of earlier steps.
step() {
  local line=$1 what=$2 started=$SECONDS
  if [[ $(cat "$STEPS" 2>/dev/null)$'\n' == "$finished$line"$'\n'* ]]; then
    echo "[kept]  $what"
  else
    echo "[start] $what"
    printf '%s' "$finished" >"$STEPS"  # later steps depend on this one
    "${@:3}"
    echo "$line" >>"$STEPS"
    echo "[done]  $what: $((SECONDS - started)) s"
  fi
  finished+=$line$'\n'
}

# forget STEP: let the next run repeat this and all later steps.
forget() { sed -i "/^$1 /,\$d" "$STEPS"; }

quietly() {
  local output
  output=$("$@" 2>&1 | tee "$LOG" 2>/dev/null) || explain "$output"
}

pip() {
  local info
  for info in "$VENV"/lib/python*/site-packages/*.dist-info; do
    [[ -e $info/INSTALLER ]] || rm -rf "$info"  # pip writes it last: the installation was interrupted
  done
  rm -rf "$VENV"/lib/python*/site-packages/~*   # pip's backups from an interrupted installation
  quietly "$PY" -m pip "$@"
}

install() { pip install --constraint "$PINS" --build-constraint "$PINS" "$@"; }

free_mb() { df -Pk "$1" | awk 'NR == 2 { print int($4 / 1000) }'; }

# explain OUTPUT: show the end of a failed command's output, and stop with an explanation.
explain() {
  grep -v '^WARNING: Location\|^$\|^To fix\|^[12]\. ' <<<"$1" | tail -n 12 | sed 's/^/        /' >&2 || true
  case $1 in
    *"No space left on device"* | *"Disk quota exceeded"*)
      stop "a disk is full: $PWD has $(free_mb .) MB left, ${TMPDIR:-/tmp} for temporary files (TMPDIR names another) \
$(free_mb "${TMPDIR:-/tmp}") MB. Make room, $AGAIN" ;;
    *"connection broken by"* | *"timed out"*)
      stop "a package index was not reached. Check the network (HTTPS_PROXY names a proxy), $AGAIN" ;;
    *"No matching distribution found"* | *"no matching distributions available"*)
      stop "no index has the version above for this Python. Name another version, index or Python, $AGAIN" ;;
    *"Killed signal"*)
      stop "memory ran out while compiling. Lower MAX_JOBS (now ${MAX_JOBS:-$(nproc)}), $AGAIN" ;;
  esac
  stop "the command failed; all of its output is in $PWD/$LOG. Fix what it names, $AGAIN"
}

# ------------------------------------------------------------------------------------------------ steps

find_python() {
  local python version faults=""
  for python in ${MMGCP_PYTHON:-$(printf 'python%s ' $VERSIONS) python3}; do
    if ! version=$(version_of "$python"); then
      faults+=", $python does not run"
    elif [[ " $VERSIONS " != *" $version "* ]]; then
      faults+=", $python is $version"
    elif ! "$python" -c 'import venv, ensurepip' 2>/dev/null; then
      faults+=", $python has no venv (Debian: apt-get install python$version-venv)"
    else
      echo "$python"
      return
    fi
  done
  stop "no Python of ${VERSIONS// /, } was found: ${faults#, }. Install one, or name it with MMGCP_PYTHON"
}

version_of() { "$1" -c 'import sys; print("%d.%d" % sys.version_info[:2])' 2>/dev/null; }

make_venv() {
  rm -rf "$VENV"/[!.]*
  quietly "$python" -m venv "$VENV"
  pip install --upgrade 'pip>=25.3'  # the first with --build-constraint
}

# from_index INDEX: set pip's options to use only this index (only), or this one in addition (too).
from_index() {
  only=() too=()
  if [[ -d $1 || $1 == *.html ]]; then
    only=(--no-index --find-links "$1") too=(--find-links "$1")
  elif [[ -n $1 ]]; then
    only=(--index-url "$1") too=(--extra-index-url "$1")
  fi
}

install_torch() {
  local only too need=7000
  from_index "$MMGCP_TORCH_INDEX"
  [[ -z $MMGCP_TORCH_INDEX ]] || need=3000
  (( $(free_mb "$VENV") + $(du -sk "$VENV" | cut -f 1) / 1000 > need )) ||
    stop "the environment takes about $need MB, and $PWD has $(free_mb "$VENV") MB free. Make room, $AGAIN"
  if [[ -z $MMGCP_TORCH_INDEX ]]; then
    install --force-reinstall torch torchvision
  else
    install --force-reinstall --no-deps "${only[@]}" torch  # PyPI has the same version, which pip might choose
    pip uninstall --yes torchvision
    install "${too[@]}" torch torchvision
  fi
}

# Get the wheel before removing the old version: if that fails, the environment is unchanged.
install_mmcv() {
  local only too wheels=$NOTES/wheels
  rm -rf "$wheels"
  from_index "$MMGCP_MMCV_INDEX"
  if [[ $MMGCP_MMCV == torchvision ]]; then
    mmcv_wheel --no-binary "$MMCV" --build-constraint "$PINS"  # isolated from torch: builds no operators
  elif [[ -n $MMGCP_MMCV_INDEX ]]; then
    mmcv_wheel --only-binary "$MMCV" "${only[@]}"
  else
    compiled_mmcv_wheel
  fi
  pip uninstall --yes "${BOTH_LINES[@]}"  # both lines share folders: leftovers of one break the other
  install --no-deps --no-index --find-links "$wheels" "$MMCV"
}

# pip's cache does not distinguish wheels of mmcv with and without operators, or for different versions of torch.
mmcv_wheel() { pip wheel --no-cache-dir --no-deps --constraint "$PINS" --wheel-dir "$wheels" "$@" "$MMCV"; }

# A compiled wheel is for one version of torch, one of Python, and either CPUs or one version of CUDA.
compiled_mmcv_wheel() {
  local kept
  kept=$WHEELS/$("$PY" -c 'import sys, torch; print("torch{}-cp{}{}-{}".format(torch.__version__.split("+")[0],
    *sys.version_info[:2], f"cuda{torch.version.cuda}" if torch.cuda.is_available() else "cpu"))')
  if ! ls "$kept/${MMCV//-/_}-$(sed -n "s/^$MMCV==//p" "$PINS")-cp"*.whl >/dev/null 2>&1; then
    need_compiler g++
    [[ $kept == *-cpu ]] || need_compiler nvcc
    install setuptools wheel ninja psutil packaging
    echo "        compiling 78 files: 25 minutes on 2 idle cores, up to an hour on busy ones"
    MAX_JOBS=${MAX_JOBS:-$(nproc)} MMCV_WITH_OPS=1 mmcv_wheel --no-binary "$MMCV" --no-build-isolation
    mkdir -p "$kept"
    mv "$wheels"/*.whl "$kept"
  fi
  wheels=$kept
}

need_compiler() {
  command -v "$1" >/dev/null || stop "compiling mmcv takes $1, which is not on PATH. Install it (g++: apt-get install \
g++; nvcc: CUDA toolkit), name compiled wheels with MMGCP_MMCV_INDEX, or do without (MMGCP_MMCV=torchvision), $AGAIN"
}

check() {
  local report step
  if report=$("$PY" -I -W ignore - "$MMGCP_MMCV" 2>&1 <<'PYTHON'
import sys
from importlib import import_module
from importlib.metadata import version


def load(*names):
    for name in names:
        print(f'        {name:12s}', import_module(name).__version__)


step, fault = 'torch', 'torch does not work'
try:
    load('torch')
    import torch
    fault = f'torchvision {version("torchvision")} does not fit torch {version("torch")}'
    load('torchvision')
    torch.ops.torchvision.nms
    step, fault = 'mmcv', 'mmgcp and its libraries do not work together'
    load('mmgcp', 'mmengine', 'mmcv', 'mmdet', 'mmpretrain')
    device = 'cuda' if torch.cuda.is_available() else 'cpu'
    fault = f'the operators of mmcv do not fit torch {version("torch")} on {device}'
    operators = import_module('mmgcp.utils.mmcv_operators').operators()
    # Operators compiled for another torch may load nevertheless.
    import_module('mmcv.ops').nms(torch.ones(1, 4, device=device), torch.ones(1, device=device), 0.5)
    if sys.argv[1] == 'compiled' and 'compiled' not in operators:
        raise ImportError(f'they are those of {operators}')
except Exception as error:
    reason = str(error).partition('\n')[0].partition(': uninstall')[0]  # the next run does that
    sys.exit(f'{step}|{fault} ({type(error).__name__}: {reason})')
print('        operators   ', operators)
PYTHON
  ); then
    echo "$report"
  else
    [[ $report == *"|"* ]] || report="torch|Python crashed after the import of$(tail -n 1 <<<"$report" | tr -s ' ')"
    step=$(sed -n '$s/|.*//p' <<<"$report")
    forget "$step"
    stop "in $PWD/$VENV $(sed -n '$s/[^|]*|//p' <<<"$report"). $(remedy "$step")"
  fi
}

remedy() {
  if [[ $1 == mmcv && $MMGCP_MMCV == compiled ]]; then
    echo "Name wheels for this torch with MMGCP_MMCV_INDEX, or do without (MMGCP_MMCV=torchvision), $AGAIN"
  else
    echo "Run the same command again: it reinstalls $1 and what depends on it (if that does not help, remove $VENV)"
  fi
}

# ------------------------------------------------------------------------------------------------ main

[[ ! -e $VENV/pyvenv.cfg || -d $NOTES ]] ||
  stop "$PWD/$VENV was not made by this version of the script. Move it away or remove it, $AGAIN"
# shellcheck disable=SC1090
[[ ! -e $CHOICES ]] || source "$CHOICES"
MMGCP_MMCV=${MMGCP_MMCV:-torchvision}
: "${MMGCP_MMCV_INDEX=}" "${MMGCP_TORCH=}" "${MMGCP_TORCH_INDEX=}"
[[ $MMGCP_MMCV == torchvision || $MMGCP_MMCV == compiled ]] ||
  stop "MMGCP_MMCV=$MMGCP_MMCV is unknown: use 'torchvision' (its operators serve mmcv) or 'compiled' (mmcv's own)"
[[ $MMGCP_TORCH =~ ^([0-9][0-9a-z.+]*)?$ ]] || stop "MMGCP_TORCH=$MMGCP_TORCH is not a version: write it as 2.11.0"
mkdir -p "$NOTES"
touch "$STEPS"
# For another version of torch, let pip choose torchvision.
sed "${MMGCP_TORCH:+s/^torch==.*/torch==$MMGCP_TORCH/; /^torchvision==/d}" "requirements/$STACK.txt" >"$PINS"

made=$(sed -n 's/^venv //p' "$STEPS")
version=$made
if [[ -n $made ]] && ! version_of "$PY" >/dev/null; then
  echo "The Python $made of $VENV is gone: the environment is rebuilt."
  forget venv
  version=""
fi
if [[ -z $version || -n ${MMGCP_PYTHON:-} ]]; then
  python=$(find_python)
  version=$(version_of "$python")
  [[ -z $made || $made == "$version" ]] || echo "$VENV has Python $made: it is rebuilt with $version."
fi
case $MMGCP_MMCV in
  torchvision) operators="torchvision's operators" ;;
  compiled)    operators="compiled operators${MMGCP_MMCV_INDEX:+ from $MMGCP_MMCV_INDEX}" ;;
esac

step "venv $version" "1/4 virtual environment $VENV with Python $version" make_venv
step "torch $(grep '^torch' "$PINS" | tr '\n' ' ')$MMGCP_TORCH_INDEX" "2/4 torch and torchvision" install_torch
step "mmcv $(grep "^$MMCV==" "$PINS") $operators" "3/4 $MMCV with $operators" install_mmcv
[[ -e mmgcp/.mim/configs ]] || forget mmgcp  # links of the editable install, which git ignores: git clean removes them
step "mmgcp $(cat "$PINS" setup.cfg requirements/docs.txt | cksum)" "4/4 mmgcp, the other libraries and the tools for tests" \
  install --editable ".[$STACK-det,test]"
check
for name in MMGCP_TORCH MMGCP_TORCH_INDEX MMGCP_MMCV MMGCP_MMCV_INDEX; do
  printf ': ${%s=%q}\n' "$name" "${!name}"
done >"$CHOICES"
echo "Environment $VENV is ready ($SECONDS s). Use it with: source $VENV/bin/activate"
