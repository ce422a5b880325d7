"""The photos that probes are trained and tested on."""
from mmengine.config import Config

from mmgcp.apis.config_data import leaves
from mmgcp.apis.preflight import check_data
from mmgcp.utils.errors import SetupError


def photo_loaders(cfg: Config, root: str) -> dict[str, dict]:
    """Return settings of loaders of ROOT/train and ROOT/val, both with the config's pipeline for testing.

    Raises:
        SetupError: If the config tests nothing, or the folders do not fit together.
    """
    if not cfg.get('test_dataloader'):
        raise SetupError('the config has no test_dataloader: the pipeline of the images comes from there')
    pipeline = next(leaves(cfg.test_dataloader.dataset)).pipeline
    settings = {key: value for key, value in cfg.test_dataloader.items() if key in ('batch_size', 'num_workers')}
    loaders = {split: dict(settings, sampler=dict(type='DefaultSampler', shuffle=False), dataset=dict(
        type='CustomDataset', data_root=root, data_prefix=split, pipeline=pipeline)) for split in ('train', 'val')}
    check_data(Config({f'{split}_dataloader': loader for split, loader in loaders.items()}), list(loaders))
    return loaders
