"""Three networks on Imagenette at 128 px, three seeds: about 100 trainings, for a GPU that many of them share.

    python tools/run_experiments.py reproduction/plans/imagenette_gpu.py --at-once 12

Needs the photos (configs/imagenette/README.md) and, for the detectors, drawn shapes:
python tools/dataset_tools/make_shapes.py --out data/forms --layout coco --det-train 800 --det-val 200
"""
from reproduction.imagenette import (
    COMMON,
    TEST_IMAGES,
    WATCHING,
    curvature,
    detector,
    gradients,
    landscapes,
    robustness,
    size,
    sizes,
    training,
    variations,
)
from reproduction.paper_plan import PaperPlan

POOLINGS = {network: ('gap', 'gap_wo-ds', 'gcp', 'gcp_d', 'gcp_m') for network in ('resnet18', 'resnet50')}
POOLINGS['mobilenetv2'] = ('gap', 'gcp')
# Those of the paper for each image, at batch 64 in place of 256 (MobileNetV2: 192): steps act on the mean loss.
STEP_RANGES = {'resnet18': [0.025, 18.75], 'resnet50': [0.025, 18.75], 'mobilenetv2': [0.015, 0.5]}
MEASURED = tuple(f'{network}_{name}' for network in POOLINGS for name in (
    'gap_lr-norm', 'gap_lr-adju', 'gcp_lr-adju' if network == 'mobilenetv2' else 'gcp_m_lr-adju'))

plan = PaperPlan(
    title="ResNet-18, ResNet-50 and MobileNetV2 on Imagenette at 128 px, in a tenth (MobileNetV2: a fiftieth) of the "
          "paper's epochs",
    seeds=(0, 1, 2),
    test_images=TEST_IMAGES,
    ignored=WATCHING,
    options={**COMMON, 'env_cfg.cudnn_benchmark': True, **size(128)},
    trainings=[
        *(training(network, pooling, lr, options=landscapes(STEP_RANGES[network], interval=74)
                   if lr == 'norm' and pooling in ('gap', 'gap_wo-ds', 'gcp') else {})
          for network, poolings in POOLINGS.items() for pooling in poolings for lr in ('norm', 'adju', 'fast')),
        *map(detector, ('gap', 'gcp_d', 'gcp_m')),
        *variations('resnet18'),
        *sizes('resnet18', (64, 192)),
    ],
    measurements=[
        robustness('imagenet-c', 4, MEASURED),
        robustness('imagenet-p', 13, MEASURED),
        curvature([f'{network}_{pooling}_lr-norm' for network, poolings in POOLINGS.items()
                   for pooling in ('gap', 'gap_wo-ds', 'gcp') if pooling in poolings], every=3),
        gradients(('resnet18_gcp_m_lr-adju', 'resnet50_gcp_m_lr-adju')),
    ],
)
