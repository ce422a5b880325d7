#!/usr/bin/env bash
# Pre-train a network with covariance pooling and a detector with this backbone, starting from a fresh clone:
#
#   bash tools/quickstart.sh
#
# Builds the environment, generates a small data set (no download), trains a ResNet-18 with average pooling (GAP) and one
# with covariance pooling (GCP_M), trains Mask R-CNN with the latter as backbone, and evaluates it. Takes about 5 minutes
# on 2 CPU cores, plus the environment. Run it again after an interruption to resume.
set -euo pipefail
CDPATH='' cd "$(dirname "${BASH_SOURCE[0]}")/.."

bash tools/setup_env.sh
source tools/launch.sh
PYTHON=$(venv_python)
export PYTHON
# One process suffices for the small data set.
GPUS=${GPUS:-1}
OUT=work_dirs/quickstart
mkdir -p "$OUT"

say() { printf '\n== %s (%d min %02d s since start)\n' "$1" $((SECONDS / 60)) $((SECONDS % 60)); }

# tool SCRIPT ARGUMENTS...: run a Python tool without the messages of the libraries.
tool() { "$PYTHON" -W ignore "tools/$1" "${@:2}" | grep --line-buffered -v '^Could not import OneDL'; }

# quietly NAME COMMAND...: write the output of a command to a log, and show its progress.
quietly() {
  local log=$OUT/$1.log; shift
  : >"$log"  # else tail may start before the file is there
  "$@" >>"$log" 2>&1 &
  local process=$!
  tail --pid=$process -n +1 -f "$log" | progress || true
  wait $process || { tail -n 5 "$log" >&2; stop "the command '$*' failed, see $log"; }
}

# Simplify the Runner's log lines. On a terminal, they overwrite each other.
progress() {
  local line start='' end='\n'
  [[ -t 1 ]] && start='\r\033[K' end=''
  sed -un -e 's|.*Epoch(train) *\[\([0-9]*\)\]\[ *\([0-9]*\)/\([0-9]*\)\].*eta: \([^ ]*\).*|   pass \1, step \2 of \3, \4 left|p' \
    -e 's|.*Epoch(val) *\[\([0-9]*\)\].*accuracy/top1: \([0-9]*\).*|   pass \1: \2 % of new images right|p' \
    -e 's|.*Epoch(val) *\[\([0-9]*\)\].*bbox_mAP: \([0-9.]*\).*|   pass \1: box AP \2|p' \
    -e 's|.*Epoch(test) *\[ *\([0-9]*/[0-9]*\)\].*|   batch \1|p' |
    while IFS= read -r line; do printf "$start%s$end" "$line"; done
  [[ -t 1 ]] && echo
}

SECONDS=0
say "1/6 Drawing the data set"
tool dataset_tools/make_shapes.py --out data/shapes --det-train 160 --det-val 40 \
  --det-image-size 256 --preview "$OUT/shapes.png"

say "2/6 Pre-training ResNet-18 with global average pooling"
quietly gap bash tools/dist_train.sh configs/quickstart/resnet18_gap_shapes.py "$GPUS" --resume

say "3/6 Pre-training ResNet-18 with global covariance pooling (GCP_M)"
quietly gcp_m bash tools/dist_train.sh configs/quickstart/resnet18_gcp_m_shapes.py "$GPUS" --resume

say "4/6 Comparing the two"
tool analysis_tools/plot_comparison.py work_dirs/resnet18_gap_shapes work_dirs/resnet18_gcp_m_shapes \
  --labels 'average pooling' 'covariance pooling' --images data/shapes/imagenet/val --out "$OUT/comparison.png"

say "5/6 Moving the GCP_M network into Mask R-CNN"
quietly mask_rcnn bash tools/dist_train.sh configs/quickstart/mask_rcnn_r18_gcp_m_shapes.py "$GPUS" --resume

say "6/6 Drawing detections"
quietly detections bash tools/dist_test.sh configs/quickstart/mask_rcnn_r18_gcp_m_shapes.py \
  workdir://mask_rcnn_r18_gcp_m_shapes "$GPUS" --show-dir "$PWD/$OUT/detections"
tool analysis_tools/mosaic.py "$OUT/detections" "$OUT/detections.png"

say "Results"
tool analysis_tools/print_results.py work_dirs/resnet18_gap_shapes work_dirs/resnet18_gcp_m_shapes \
  work_dirs/mask_rcnn_r18_gcp_m_shapes --metrics accuracy/top1 coco/bbox_mAP coco/segm_mAP
cat <<TXT

Pictures:
  the classes            $OUT/shapes.png
  how fast each learns   $OUT/comparison.png
  detections             $OUT/detections.png (left: truth, right: detected), each in $OUT/detections/
Logs and checkpoints:    work_dirs/
TXT
