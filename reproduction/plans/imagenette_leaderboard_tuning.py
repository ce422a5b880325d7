"""Learning rates for reproduction/plans/imagenette_leaderboard.py, chosen without its test photos.

    python tools/run_experiments.py reproduction/plans/imagenette_leaderboard_tuning.py --at-once 8

Trains on nine tenths of the training photos and validates on every tenth.
"""
from reproduction.leaderboard import OPTIONS, training
from reproduction.paper_plan import PaperPlan

plan = PaperPlan(
    title="Learning rates for Imagenette's leaderboard, measured on a tenth of the training photos",
    test_images=947,
    judged=False,
    options=OPTIONS,
    trainings=[training(network, pooling, lr=lr, split=True) for network in ('resnet18d', 'resnet50d')
               for pooling in ('gap', 'gcp_m') for lr in (2e-3, 4e-3, 8e-3, 1.6e-2)],
)
