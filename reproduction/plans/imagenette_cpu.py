"""ResNet-18 on Imagenette at 80 px in a tenth of the paper's epochs: small enough for a CPU that computes in bfloat16.

Two cores take half an hour for two trainings of ten epochs; an H100 takes one to three minutes for each of a dozen.
Needs the photos (configs/imagenette/README.md) and, for the detectors, drawn shapes:
python tools/dataset_tools/make_shapes.py --out data/forms --layout coco --det-train 800 --det-val 200
"""
import torch

from reproduction.imagenette import (
    CLASSIFIER_LR,
    COMMON,
    TEST_IMAGES,
    TUNED,
    WATCHING,
    WHERE,
    curvature,
    detector,
    gradients,
    landscapes,
    outcomes,
    robustness,
    size,
    sizes,
    training,
    variations,
)
from reproduction.paper_plan import PaperPlan

# In the mean loss over a batch of 64 an image weighs four times as much as in the paper's batch of 256: a quarter of
# the steps [0.1, 75] of Fig. 2 moves its features as far.
LANDSCAPES = landscapes([0.1 / 4, 75 / 4], interval=148)
CURVATURE_SEEDS = (2, 3, 5, 6)
SMOOTHNESS_SEEDS = (*CURVATURE_SEEDS, *range(10, 16))
COMPARED = (*(f'{pooling}_lr-{lr}' for pooling in ('gap', 'gcp_m') for lr in ('norm', 'adju', 'fast')),
            *(f'{pooling}_lr-adju' for pooling in ('gap_wo-ds', 'gcp', 'gcp_d')),
            'gcp_m_lr-short', 'gcp_m_lr-short_128-channels')
SHORT_SEEDS = range(20)
MORE = ('gap_lr-norm', 'gcp_m_lr-adju', 'gcp_lr-adju', 'gcp_d_lr-adju', 'gap_lr-fast', 'gcp_m_lr-fast')
TENTH = {CLASSIFIER_LR: TUNED['gap']}
GAP, GCP_M = (f'resnet18_{pooling}_lr-adju' for pooling in ('gap', 'gcp_m'))

plan = PaperPlan(
    title="ResNet-18 on Imagenette at 80 px, in a tenth of the paper's epochs",
    seeds=tuple(range(16)),
    test_images=TEST_IMAGES,
    ignored=(*WATCHING, *WHERE, 'randomness.deterministic'),
    # PyTorch has no deterministic backward pass of max pooling on CUDA.
    options={**COMMON, 'randomness.deterministic': not torch.cuda.is_available(), **size(80)},
    trainings=[
        training('resnet18', 'gap', 'norm', options=LANDSCAPES),
        training('resnet18', 'gcp_m', 'adju'),
        training('resnet18', 'gap', 'adju'),
        training('resnet18', 'gcp_d', 'adju'),
        training('resnet18', 'gap', 'fast'),
        training('resnet18', 'gcp_m', 'fast'),
        training('resnet18', 'gap_wo-ds', 'adju'),
        training('resnet18', 'gcp', 'adju'),
        training('resnet18', 'gcp_m', 'norm'),
        training('resnet18', 'gcp', 'norm', seeds=SMOOTHNESS_SEEDS, options=LANDSCAPES),
        training('resnet18', 'gap_wo-ds', 'norm', seeds=SMOOTHNESS_SEEDS, options=LANDSCAPES),
        training('resnet18', 'gap', 'adju', 'augmix', seeds=(0, 1)),
        training('resnet18', 'gcp_m', 'adju', 'augmix', seeds=(0, 1)),
        *(training('resnet18', 'gap', lr, 'classifier-lr-0.1', TENTH) for lr in ('norm', 'adju')),
        training('resnet18', 'gap_wo-ds', 'adju', 'classifier-lr-0.1', TENTH, seeds=(0, 1, 2, 3, 4)),
        *variations('resnet18', SHORT_SEEDS),
        *sizes('resnet18', (64, )),
        *(detector(pooling, {'optim_wrapper.type': COMMON['optim_wrapper.type']}, seeds=(3, 4, 9))
          for pooling in ('gap', 'gcp_m')),
    ],
    measurements=[
        outcomes([f'resnet18_{name}' for name in COMPARED], seeds=(3, 4, 9)),
        outcomes(('resnet18_gap_lr-norm', GAP, GCP_M), seeds=range(5, 9), name='outcomes_robust'),
        outcomes([f'resnet18_{name}' for name in MORE], seeds=range(10, 16), name='outcomes_more'),
        outcomes(('resnet18_gcp_m_lr-short', 'resnet18_gcp_m_lr-short_128-channels'), seeds=SHORT_SEEDS[10:],
                 name='outcomes_short'),
        outcomes([f'resnet18_{name}_classifier-lr-0.1' for name in ('gap_lr-norm', 'gap_lr-adju', 'gap_wo-ds_lr-adju')],
                 name='outcomes_classifier', seeds=(0, 1, 2, 3, 4)),
        robustness('imagenet-c', 8, ('resnet18_gap_lr-norm', GAP, GCP_M), seeds=range(2, 10)),
        robustness('imagenet-p', 26, ('resnet18_gap_lr-norm', GAP, GCP_M), seeds=(2, 3, 4, 9)),
        robustness('imagenet-c', 16, (GAP, GCP_M, f'{GAP}_augmix', f'{GCP_M}_augmix'), 'augmix_c', seeds=(0, 1)),
        gradients((GCP_M, ), seeds=(0, 3, 4, 9)),
        curvature([f'resnet18_{pooling}_lr-norm' for pooling in ('gap', 'gcp', 'gap_wo-ds')], every=3,
                  seeds=CURVATURE_SEEDS),
    ],
)
