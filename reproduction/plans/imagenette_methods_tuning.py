"""Learning rates for each normalisation of imagenette_cpu.py, chosen without the test photos.

    python tools/run_experiments.py reproduction/plans/imagenette_methods_tuning.py --at-once 2

Representations differ in length by up to two orders of magnitude, and with them the rate that suits the classifier.
Trains on nine tenths of the training photos and validates on every tenth.
"""
import torch

from reproduction.imagenette import COMMON, WATCHING, method, size
from reproduction.paper_plan import PaperPlan

# Of the classifier's learning rate; where the best was at an end, the next was tried, except for dropcov, which learned
# little with any (1 is a variation of imagenette_cpu.py).
FACTORS = {
    'log': (0.0001, 0.001, 0.01, 0.1),
    'dropcov': (0.001, 0.01, 0.1),
    'signed_power': (1, 10, 100, 1000),
    'compact_bilinear': (1, 10, 100, 1000),
    'covariance': (0.01, 0.1, 1),
    'newton_schulz': (0.1, 1, 10),
    'gap': (0.01, 0.1, 1, 10),
}

plan = PaperPlan(
    title='Learning rates by normalisation, measured on a tenth of the training photos',
    test_images=947,
    judged=False,
    ignored=(*WATCHING, 'randomness.deterministic'),
    options={**COMMON, 'randomness.deterministic': not torch.cuda.is_available(), **size(80)},
    trainings=[method(name, factor, split=True) for name, factors in FACTORS.items() for factor in factors],
)
