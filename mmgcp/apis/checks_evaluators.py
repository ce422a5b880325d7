"""Can the metrics of a run be computed from what it predicts?"""
import filecmp
from collections.abc import Iterator, Sequence
from pathlib import Path

from mmengine.config import Config

from mmgcp.utils.errors import SetupError

from .config_data import classes_of_head, kind, labelled

_COCO_ITEMS = ('mAP', 'mAP_50', 'mAP_75', 'mAP_s', 'mAP_m', 'mAP_l')


def check_evaluators(cfg: Config, splits: Sequence[str]) -> None:
    """Find what would end a run after its first epoch, when metrics are computed.

    Args:
        cfg (Config): Config of the run.
        splits (Sequence[str]): Data that the run reads: of ``'train'``, ``'val'`` and ``'test'``.

    Raises:
        SetupError: If there are fewer classes than ``topk``, boxes are compared with those of another data set, or
            ``save_best`` names no metric of the validation.
    """
    for split in splits:
        for name, metric in _metrics(cfg, split):
            if kind(metric) == 'Accuracy':
                _check_topk(cfg, name, metric)
            elif kind(metric) == 'CocoMetric':
                _check_file(cfg, split, name, metric)
    if 'val' in splits:
        _check_save_best(cfg)


def _metrics(cfg: Config, split: str) -> Iterator[tuple[str, dict]]:
    name = f'{split}_evaluator'
    metrics = cfg.get(name) or []
    if isinstance(metrics, dict):
        yield name, metrics
    else:
        yield from ((f'{name}.{index}', metric) for index, metric in enumerate(metrics) if isinstance(metric, dict))


def _topk(metric: dict) -> tuple[int, ...]:
    topk = metric.get('topk', 1)
    return (topk, ) if isinstance(topk, int) else tuple(topk)


def _check_topk(cfg: Config, name: str, metric: dict) -> None:
    classes = classes_of_head(cfg)
    if classes and max(_topk(metric), default=0) > classes:
        raise SetupError(f'{name}.topk={_topk(metric)} needs {max(_topk(metric))} classes or more, but '
                         f'model.head.num_classes={classes}: set --cfg-options {name}.topk=1')


def _check_file(cfg: Config, split: str, name: str, metric: dict) -> None:
    truth, files = metric.get('ann_file'), [file for _, _, file in labelled(cfg, [split], 'coco')]
    if truth and '://' not in truth and len(files) == 1 and not _same(files[0], Path(truth)):
        raise SetupError(f'{name}.ann_file={truth} is not the file of {split}_dataloader.dataset: set --cfg-options '
                         f'{name}.ann_file={files[0]}')


def _same(file: Path, other: Path) -> bool:
    return file.resolve() == other.resolve() or (
        file.is_file() and other.is_file() and filecmp.cmp(file, other, shallow=False))


def _check_save_best(cfg: Config) -> None:
    checkpoint = (cfg.get('default_hooks') or {}).get('checkpoint') or {}
    wanted = checkpoint.get('save_best') or 'auto'
    computed = [_names(metric) for _, metric in _metrics(cfg, 'val')]
    if not computed or not all(computed):
        return
    known = [name for names in computed for name in names]
    missing = [name for name in ([wanted] if isinstance(wanted, str) else wanted) if name not in ('auto', *known)]
    if missing:
        raise SetupError(f"default_hooks.checkpoint.save_best='{missing[0]}' is no metric of the validation, which "
                         f'computes {", ".join(known)}')


def _names(metric: dict) -> list[str]:
    """Names of the results of a metric; empty where they are not known."""
    prefix = metric.get('prefix')
    if kind(metric) == 'Accuracy' and not metric.get('thrs'):
        return [f'{prefix or "accuracy"}/top{k}' for k in _topk(metric)]
    kinds = metric.get('metric', 'bbox')
    kinds = [kinds] if isinstance(kinds, str) else kinds
    if kind(metric) == 'CocoMetric' and set(kinds) <= {'bbox', 'segm'} and not metric.get('classwise'):
        return [f'{prefix or "coco"}/{which}_{item}' for which in kinds for item in _COCO_ITEMS]
    return []
