"""ResNet-18 on Imagenette at 80 px in a tenth of the paper's epochs: hours on two CPU cores that compute in bfloat16.

Needs the photos (configs/imagenette/README.md) and, for the detectors, drawn shapes:
python tools/dataset_tools/make_shapes.py --layout coco --det-train 400 --det-val 200 --overwrite
"""
from reproduction.imagenette import (
    COMMON,
    TEST_IMAGES,
    detector,
    gradients,
    landscape,
    robustness,
    size,
    sizes,
    training,
    variations,
)
from reproduction.trainings import PaperPlan

# Steps act on the gradient of the mean loss: a quarter of the paper's at batch 64 in place of 256 move an image as far.
LANDSCAPE = landscape(step_range=[0.025, 18.75], num_steps=10, interval=74)
LANDSCAPE_LONG_STEPS = landscape(step_range=[0.1, 75], num_steps=10, interval=74)
GAP, GCP_D, GCP_M = (f'resnet18_{pooling}_lr-adju' for pooling in ('gap', 'gcp_d', 'gcp_m'))

plan = PaperPlan(
    title="ResNet-18 on Imagenette at 80 px, in a tenth of the paper's epochs",
    seeds=(0, 1, 2),
    test_images=TEST_IMAGES,
    options={**COMMON, 'randomness.deterministic': True, **size(80)},
    trainings=[
        training('resnet18', 'gap', 'norm', options=LANDSCAPE),
        training('resnet18', 'gcp', 'norm', options=LANDSCAPE),
        training('resnet18', 'gcp_m', 'adju', options=LANDSCAPE_LONG_STEPS),
        training('resnet18', 'gap', 'adju', options=LANDSCAPE_LONG_STEPS),
        training('resnet18', 'gcp_d', 'adju', options=LANDSCAPE_LONG_STEPS),
        training('resnet18', 'gap', 'fast'),
        training('resnet18', 'gcp_m', 'fast'),
        training('resnet18', 'gap_wo-ds', 'adju'),
        training('resnet18', 'gcp', 'adju'),
        training('resnet18', 'gcp_m', 'norm'),
        *map(detector, ('gap', 'gcp_d', 'gcp_m')),
        *variations('resnet18'),
        *sizes('resnet18', (64, )),
    ],
    measurements=[
        robustness('imagenet-c', 16, ('resnet18_gap_lr-norm', GAP, GCP_M, GCP_D)),
        robustness('imagenet-p', 78, (GAP, GCP_M)),
        gradients((GCP_M, )),
    ],
)
