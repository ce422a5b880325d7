"""GAP and GCP under the rules of Imagenette's leaderboard: 128 px, 5 and 20 epochs, random initial weights.

    python tools/run_experiments.py reproduction/plans/imagenette_leaderboard.py --at-once 8

Needs the photos (configs/imagenette/README.md). The leaderboard is at https://github.com/fastai/imagenette; what the
recipe takes from its 5-epoch entry, and what not, is told in configs/_base_/schedules/imagenette_leaderboard.py.
"""
from reproduction.imagenette import TEST_IMAGES, outcomes
from reproduction.leaderboard import OPTIONS, training
from reproduction.paper_plan import PaperPlan

POOLINGS = ('gap', 'gcp_m', 'gcp')
LR = 4e-3  # the best of reproduction/plans/imagenette_leaderboard_tuning.py for GAP, on photos held out of training

plan = PaperPlan(
    title="ResNet-18 and ResNet-50 with the stem of ResNet-D under the rules of Imagenette's leaderboard at 128 px",
    seeds=(0, 1, 2, 3, 4),
    test_images=TEST_IMAGES,
    judged=False,
    options={**OPTIONS, 'optim_wrapper.optimizer.lr': LR},
    trainings=[
        *(training('resnet18d', pooling) for pooling in POOLINGS),
        *(training('resnet18d', pooling, lr=2e-3) for pooling in ('gap', 'gcp_m')),
        *(training('resnet50d', pooling) for pooling in POOLINGS),
        *(training('resnet18d', pooling, epochs=20, seeds=(0, 1, 2)) for pooling in POOLINGS),
    ],
    measurements=[outcomes([f'resnet18d_{pooling}_5-epochs-at-0.002' for pooling in ('gap', 'gcp_m')], seeds=(4, ))],
)
