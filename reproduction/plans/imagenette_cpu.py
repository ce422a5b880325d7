"""ResNet-18 on Imagenette at 80 px in a tenth of the paper's epochs: hours on two CPU cores that compute in bfloat16.

Needs the photos (configs/imagenette/README.md) and, for the detectors, drawn shapes:
python tools/dataset_tools/make_shapes.py --layout coco --det-train 400 --det-val 200 --overwrite
"""
from reproduction.imagenette import (
    COMMON,
    TEST_IMAGES,
    WATCHING,
    curvature,
    detector,
    gradients,
    landscape,
    robustness,
    size,
    sizes,
    training,
    variations,
)
from reproduction.paper_plan import PaperPlan

# In the mean loss over a batch of 64 an image weighs four times as much as in the paper's batch of 256: a quarter of
# the steps [0.1, 75] of Fig. 2 moves its features as far.
STEPS = dict(step_range=[0.1 / 4, 75 / 4], num_steps=10, interval=148)
SMOOTHNESS = {
    **landscape('stem', **STEPS),
    **landscape('last_conv', **STEPS),
    # Half to four times the initial learning rate, down the gradient, as in Santurkar et al. (NeurIPS 2018).
    **landscape('weights', step_range=[0.025, 0.2], num_steps=8, interval=148, direction='descent'),
    'default_hooks.checkpoint.max_keep_ckpts': -1,  # for the curvature along the training
}
GAP, GCP_D, GCP_M = (f'resnet18_{pooling}_lr-adju' for pooling in ('gap', 'gcp_d', 'gcp_m'))

plan = PaperPlan(
    title="ResNet-18 on Imagenette at 80 px, in a tenth of the paper's epochs",
    seeds=(0, 1, 2, 3, 4),
    test_images=TEST_IMAGES,
    ignored=WATCHING,
    options={**COMMON, 'randomness.deterministic': True, **size(80)},
    trainings=[
        training('resnet18', 'gap', 'norm', options=SMOOTHNESS),
        training('resnet18', 'gcp_m', 'adju'),
        training('resnet18', 'gap', 'adju'),
        training('resnet18', 'gcp_d', 'adju'),
        training('resnet18', 'gap', 'fast'),
        training('resnet18', 'gcp_m', 'fast'),
        training('resnet18', 'gap_wo-ds', 'adju'),
        training('resnet18', 'gcp', 'adju'),
        training('resnet18', 'gcp_m', 'norm'),
        training('resnet18', 'gcp', 'norm', options=SMOOTHNESS),
        training('resnet18', 'gap', 'adju', 'augmix', seeds=(0, 1)),
        training('resnet18', 'gcp_m', 'adju', 'augmix', seeds=(0, 1)),
        *map(detector, ('gap', 'gcp_d', 'gcp_m')),
        *variations('resnet18'),
        *sizes('resnet18', (64, )),
    ],
    measurements=[
        robustness('imagenet-c', 16, ('resnet18_gap_lr-norm', GAP, GCP_M, GCP_D, f'{GAP}_augmix', f'{GCP_M}_augmix')),
        robustness('imagenet-p', 78, (GAP, GCP_M)),
        gradients((GCP_M, )),
        curvature(('resnet18_gap_lr-norm', 'resnet18_gcp_lr-norm'), every=3),
    ],
)
