"""Learning rates for reproduction/plans/imagenette_leaderboard.py, chosen without its test photos.

    python tools/run_experiments.py reproduction/plans/imagenette_leaderboard_tuning.py --at-once 8

Trains on nine tenths of the training photos and validates on every tenth.
"""
from reproduction.leaderboard import OPTIONS, training
from reproduction.paper_plan import PaperPlan

POOLINGS = ('gap', 'gcp_m')
# Of the classifier's rate, by the rate of the other layers.
FACTORS = {5e-4: (0.1, 1), 1e-3: (0.1, 1, 10), 2e-3: (0.1, 1, 10), 4e-3: (0.1, 1, 10), 8e-3: (1, ), 1.6e-2: (1, )}

plan = PaperPlan(
    title="Learning rates for Imagenette's leaderboard, measured on a tenth of the training photos",
    test_images=947,
    judged=False,
    options=OPTIONS,
    trainings=[
        *(training('resnet18d', pooling, lr=lr, classifier_lr=factor, split=True) for pooling in POOLINGS
          for lr, factors in FACTORS.items() for factor in factors),
        *(training('resnet50d', pooling, lr=lr, split=True)
          for pooling in POOLINGS for lr in (2e-3, 4e-3, 8e-3, 1.6e-2)),
    ],
)
