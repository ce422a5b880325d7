#!/usr/bin/env bash
# From a fresh clone to a pre-trained GCP network, a detector built on it, and pictures of both:
#
#   bash tools/quickstart.sh
#
# Builds the environment, draws a small data set (no download), trains a ResNet-18 with average (GAP) and one with
# covariance pooling (GCP_M) on the same budget, moves the latter into Mask R-CNN and evaluates it. About 15 minutes on
# 2 CPU cores once the environment is there. Started again after an interruption, it goes on where it stopped.
set -euo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")/.."

bash tools/setup_env.sh
source tools/launch.sh
PYTHON=$(venv_python)
export PYTHON
# One process per GPU, or two on a CPU.
GPUS=${GPUS:-$("$PYTHON" -c 'import torch; print(torch.cuda.device_count() or 2)')}
OUT=work_dirs/quickstart
mkdir -p "$OUT"

say() { printf '\n== %s (%d min %02d s since start)\n' "$1" $((SECONDS / 60)) $((SECONDS % 60)); }

# quietly NAME COMMAND...: the whole output goes to a log, its progress lines to the screen.
quietly() {
  local log=$OUT/$1.log; shift
  "$@" >"$log" 2>&1 &
  local process=$!
  tail --pid=$process -n +1 -f "$log" | grep --line-buffered -o 'Epoch(.*' || true
  wait $process || { tail -n 5 "$log" >&2; stop "the command '$*' failed, see $log"; }
}

SECONDS=0
say "1/6 Drawing the data set"
"$PYTHON" tools/dataset_tools/make_shapes.py --out data/shapes --det-image-size 256 --preview "$OUT/shapes.png"

say "2/6 Pre-training ResNet-18 with global average pooling"
quietly gap bash tools/dist_train.sh configs/quickstart/resnet18_gap_shapes.py "$GPUS" --resume

say "3/6 Pre-training ResNet-18 with global covariance pooling (GCP_M)"
quietly gcp_m bash tools/dist_train.sh configs/quickstart/resnet18_gcp_m_shapes.py "$GPUS" --resume

say "4/6 Comparing the two"
"$PYTHON" tools/analysis_tools/plot_convergence.py work_dirs/resnet18_gap_shapes work_dirs/resnet18_gcp_m_shapes \
  --labels GAP GCP_M --title 'ResNet-18 on textured shapes' --out "$OUT/convergence.png"

say "5/6 Moving the GCP_M network into Mask R-CNN"
quietly mask_rcnn bash tools/dist_train.sh configs/quickstart/mask_rcnn_r18_gcp_m_shapes.py "$GPUS" --resume

say "6/6 Drawing detections"
quietly detections bash tools/dist_test.sh configs/quickstart/mask_rcnn_r18_gcp_m_shapes.py \
  workdir://mask_rcnn_r18_gcp_m_shapes "$GPUS" --show-dir "$PWD/$OUT/detections"
"$PYTHON" tools/analysis_tools/mosaic.py "$OUT/detections" "$OUT/detections.png"

say "Results"
"$PYTHON" tools/analysis_tools/print_results.py work_dirs/resnet18_gap_shapes work_dirs/resnet18_gcp_m_shapes \
  work_dirs/mask_rcnn_r18_gcp_m_shapes --metrics accuracy/top1 coco/bbox_mAP coco/segm_mAP
cat <<TXT

Pictures:
  the classes            $OUT/shapes.png
  convergence            $OUT/convergence.png (.pdf)
  detections             $OUT/detections.png (left: truth, right: detected), each in $OUT/detections/
Logs and checkpoints:    work_dirs/
TXT
