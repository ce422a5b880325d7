"""What the plans of Imagenette's leaderboard have in common."""
from collections.abc import Mapping, Sequence

from .imagenette import CLASSIFIER_LR, LR
from .paper_plan import PaperTraining, Variant

FLAT = 0.72  # share of the steps before the rate falls
OPTIONS = {
    'optim_wrapper.type': 'mmgcp.BFloat16OptimWrapper',
    'default_hooks.channels_last.type': 'mmgcp.ChannelsLastHook',
    'default_hooks.logger.interval': 20,
    'default_hooks.checkpoint.max_keep_ckpts': 1,
    'default_hooks.checkpoint.save_best': None,
    'default_hooks.checkpoint.save_optimizer': False,
    'env_cfg.cudnn_benchmark': True,
    'train_dataloader.num_workers': 2,
    'val_dataloader.num_workers': 2,
}


def training(network: str, pooling: str, epochs: int = 5, lr: float = 0., classifier_lr: float = 1,
             split: bool = False, options: Mapping = (), seeds: Sequence[int] = ()) -> PaperTraining:
    """A training by the leaderboard's recipe.

    There is one checkpoint, at the end and without the state of the optimiser: a training that was cut off starts anew.
    It is validated five times.

    Args:
        network (str): ``'resnet18d'`` or ``'resnet50d'``.
        pooling (str): ``'gap'``, ``'gcp'`` or ``'gcp_m'``.
        epochs (int): Epochs.
        lr (float): Learning rate; 0 for that of the config.
        classifier_lr (float): Learning rate of the classifier, as a factor of that of the other layers.
        split (bool): Train on nine tenths of the training photos and validate on the last, for tuning.
        options (Mapping): Further settings.
        seeds (Sequence[int]): Seeds; empty for those of the plan.
    """
    schedule = {'train_cfg.max_epochs': epochs, 'param_scheduler.begin': round(FLAT * epochs, 6),
                'default_hooks.checkpoint.interval': epochs}
    variation = f'{epochs}-epochs'
    if epochs > 5:
        schedule['train_cfg.val_interval'] = epochs // 5
    if lr:
        schedule[LR] = lr
        variation += f'-at-{lr:g}'
    if classifier_lr != 1:
        schedule[CLASSIFIER_LR] = classifier_lr
        variation += f'-classifier-lr-{classifier_lr:g}'
    kind = pooling
    if pooling == 'gcp':
        kind, schedule['model.backbone.conv5_downsample'] = 'gcp_m', 'none'
    variant = Variant(pooling, variation=variation)
    config = f"imagenette/leaderboard/{network}_{kind}_leaderboard{'_split' if split else ''}.py"
    return PaperTraining(network=network, variant=variant, config=config, options={**schedule, **dict(options)},
                         seeds=seeds)
