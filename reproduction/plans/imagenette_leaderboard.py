"""GAP and GCP under the rules of Imagenette's leaderboard: 128 px, 5 and 20 epochs, random initial weights.

    python tools/run_experiments.py reproduction/plans/imagenette_leaderboard.py --at-once 8

Needs the photos (configs/imagenette/README.md). The leaderboard is at https://github.com/fastai/imagenette; what the
recipe takes from its 5-epoch entry, and what not, is told in configs/_base_/schedules/imagenette_leaderboard.py.
"""
from reproduction.imagenette import LR, TEST_IMAGES, outcomes
from reproduction.leaderboard import OPTIONS, training
from reproduction.paper_plan import PaperPlan

POOLINGS = ('gap', 'gcp_m', 'gcp')
# The best rates of each network in imagenette_leaderboard_tuning.py; an earlier round of it chose that of the plan.
BEST = (training('resnet18d', 'gap', lr=1e-3), training('resnet18d', 'gcp_m', lr=1e-3, classifier_lr=0.1))
LONG = (training('resnet18d', 'gap', 20, lr=1e-3, seeds=(0, 1, 2)),
        training('resnet18d', 'gcp_m', 20, lr=1e-3, classifier_lr=0.1, seeds=(0, 1, 2)))
# With the rates of that round, and with the lower one that suited GCP_M there.
FIRST = (*(training('resnet18d', pooling) for pooling in POOLINGS),
         *(training('resnet18d', pooling, lr=2e-3) for pooling in ('gap', 'gcp_m')))

plan = PaperPlan(
    title="ResNet-18-D and ResNet-50-D under the rules of Imagenette's leaderboard at 128 px",
    seeds=(0, 1, 2, 3, 4),
    test_images=TEST_IMAGES,
    judged=False,
    options={**OPTIONS, LR: 4e-3},
    trainings=[
        *FIRST,
        *BEST,
        *(training('resnet50d', pooling) for pooling in POOLINGS),
        *(training('resnet18d', pooling, epochs=20, seeds=(0, 1, 2)) for pooling in POOLINGS),
        *LONG,
    ],
    measurements=[
        outcomes([best.name for best in BEST], seeds=(0, 1)),
        outcomes([first.name for first in FIRST], seeds=(4, ), name='outcomes_rates'),
        outcomes([long.name for long in LONG], seeds=(0, 1, 2), name='outcomes_long'),
    ],
)
