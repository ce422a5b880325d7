"""Imagenette at 80 px in a tenth of the paper's epochs: hours on two CPU cores that compute in bfloat16."""
from mmgcp.experiments import Measurement, Plan, Training

SIZE = 80
SCHEDULES = {  # half the epochs of configs/imagenette
    'norm': {'train_cfg.max_epochs': 10, 'param_scheduler.milestones': [3, 6, 9]},
    'fast': {'train_cfg.max_epochs': 3, 'param_scheduler.final_epoch': 1 + 52 / 10},
    'adju': {'train_cfg.max_epochs': 5, 'param_scheduler.final_epoch': 1 + 49 / 10},
}
LANDSCAPE = {f'default_hooks.landscape.{key}': value for key, value in dict(
    type='mmgcp.LandscapeHook', step_range=[0.1, 75], num_steps=10, interval=74).items()}


def size(pixels):
    """Settings of another input size; the test images are cut from a seventh more, as at 224 px."""
    return {
        'train_dataloader.dataset.pipeline.1.scale': pixels,
        **{f'{split}_dataloader.dataset.pipeline.{key}': value for split in ('val', 'test')
           for key, value in (('1.scale', round(pixels * 8 / 7)), ('2.crop_size', pixels))},
    }


def training(pooling, lr, variation='', options=(), **settings):
    own = {'gap': 'norm'}.get(pooling.partition('_')[0], 'adju')
    config = f"imagenette/resnet18_{pooling}_imagenette{'' if lr == own else f'_lr-{lr}'}.py"
    return Training('_'.join(filter(None, ('resnet18', pooling, f'lr-{lr}', variation))), config,
                    {**SCHEDULES[lr], **dict(options)}, **settings)


plan = Plan(
    title='ResNet-18 on Imagenette at 80 px, a tenth of the epochs of the paper, bfloat16',
    seeds=(0, 1),
    options={
        'optim_wrapper.type': 'mmgcp.BFloat16OptimWrapper',
        'randomness.deterministic': True,
        'default_hooks.logger.interval': 20,
        'default_hooks.checkpoint.max_keep_ckpts': 1,
        'default_hooks.checkpoint.save_best': None,
        **size(SIZE),
    },
    trainings=[
        training('gap', 'norm'),
        training('gcp_m', 'adju', options=LANDSCAPE),
        training('gap', 'adju', options=LANDSCAPE),
        training('gcp_d', 'adju', options=LANDSCAPE),
        training('gap', 'fast'),
        training('gcp_m', 'fast'),
        training('gap_wo-ds', 'adju'),
        training('gcp', 'adju'),
        training('gcp_m', 'norm'),
    ],
)
