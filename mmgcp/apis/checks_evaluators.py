"""Check that the metrics of a run can be computed from its predictions."""
import filecmp
import inspect
from collections.abc import Iterator, Sequence
from pathlib import Path

from mmengine.config import Config
from mmengine.hooks import CheckpointHook
from mmengine.runner import Runner

from mmgcp.utils.errors import SetupError

from .checks_options import check_names
from .config_data import classes_of_head, datasets, is_local, kind, labelled

# Arguments of the hook and of the function that saves, to which it passes unknown ones, but only after an epoch.
_CHECKPOINT = {'type', 'priority', '_scope_', *(name for function in (CheckpointHook, Runner.save_checkpoint)
                                                for name in inspect.signature(function).parameters)}
_COCO_ITEMS = ('mAP', 'mAP_50', 'mAP_75', 'mAP_s', 'mAP_m', 'mAP_l')
_COCO_RECALLS = ('AR@100', 'AR@300', 'AR@1000', 'AR_s@1000', 'AR_m@1000', 'AR_l@1000')


def check_evaluators(cfg: Config, splits: Sequence[str]) -> list[str]:
    """Reject settings that would end a run after its first epoch, and drop metrics of a test set without labels."""
    notes = _leave_out_metrics(cfg) if 'test' in splits else []
    head = cfg.get('model', {}).get('head')
    if isinstance(head, dict) and head.get('cal_acc'):
        _check_topk(cfg, 'model.head', head)
    for split in splits:
        for name, metric in metrics_of(cfg, split):
            if kind(metric) == 'Accuracy':
                _check_topk(cfg, name, metric)
            elif kind(metric) == 'CocoMetric':
                _check_file(cfg, split, name, metric)
                check_names(f'{name}.metric_items', metric.get('metric_items') or (), (*_COCO_ITEMS, *_COCO_RECALLS),
                            'result')
    checkpoint = (cfg.get('default_hooks') or {}).get('checkpoint') or {}
    if 'val' in splits:
        interval = (cfg.get('train_cfg') or {}).get('val_interval', 1)
        if isinstance(interval, int) and interval < 1 and cfg.get('val_cfg') is not None:
            raise SetupError(f'train_cfg.val_interval={interval} must be at least 1: to train without validation, '
                             'set --no-validate')
        # Other evaluators may name the results in their own way, such as after the data sets.
        computed = [] if other_evaluator(cfg, 'val') else [_names(metric) for _, metric in metrics_of(cfg, 'val')]
        for setting, wanted in _monitored(cfg, checkpoint):
            _check_monitored(setting, wanted, computed)
    if 'train' in splits and kind(checkpoint) == 'CheckpointHook':
        check_names('default_hooks.checkpoint', checkpoint, _CHECKPOINT)
    return notes


def other_evaluator(cfg: Config, split: str) -> str:
    """Return the type of a split's evaluator; empty for MMEngine's, which computes each of its metrics as it is."""
    evaluator = cfg.get(f'{split}_evaluator')
    name = kind(evaluator) if isinstance(evaluator, dict) and 'metrics' in evaluator else ''
    return '' if name == 'Evaluator' else name


def metrics_of(cfg: Config, split: str) -> Iterator[tuple[str, dict]]:
    """Yield the metrics of a split, with their places in the config."""
    name, metrics = f'{split}_evaluator', cfg.get(f'{split}_evaluator') or []
    if isinstance(metrics, dict) and 'metrics' in metrics:
        name, metrics = f'{name}.metrics', metrics['metrics']
    if isinstance(metrics, dict):
        yield name, metrics
    else:
        yield from ((f'{name}.{index}', metric) for index, metric in enumerate(metrics) if isinstance(metric, dict))


def _leave_out_metrics(cfg: Config) -> list[str]:
    """Drop the metrics if the test set has no labels; return notes."""
    if not (any(dataset.get('with_label') is False for _, dataset in datasets(cfg, ['test']))
            or any(b'"annotations"' not in file.read_bytes() for _, _, file in labelled(cfg, ['test'], 'coco'))):
        return []
    metrics = [metric for _, metric in metrics_of(cfg, 'test')]
    kept = [metric for metric in metrics if kind(metric).startswith('Dump') or metric.get('format_only')]
    hook = (cfg.get('default_hooks') or {}).get('visualization') or {}
    if not (kept or hook.get('enable') or hook.get('draw')):
        raise SetupError('the test set has no labels, so that nothing can be measured: to predict, set --out FILE or '
                         '--show-dir FOLDER')
    cfg.test_evaluator = kept
    return ['The test set has no labels: its predictions are not measured'] if len(kept) < len(metrics) else []


def _topk(metric: dict) -> tuple[int, ...]:
    topk = metric.get('topk', 1)
    return (topk, ) if isinstance(topk, int) else tuple(topk)


def _check_topk(cfg: Config, name: str, metric: dict) -> None:
    classes, most = classes_of_head(cfg), max(_topk(metric), default=0)
    if classes and most > classes:
        raise SetupError(f'{name}.topk={_topk(metric)} needs {most} classes or more, but '
                         f'model.head.num_classes={classes}: set --cfg-options {name}.topk=1')


def _check_file(cfg: Config, split: str, name: str, metric: dict) -> None:
    truth, files = metric.get('ann_file'), [file for _, _, file in labelled(cfg, [split], 'coco')]
    if not truth or not is_local(metric, truth) or len(files) != 1 or files[0].resolve() == Path(truth).resolve():
        return
    if not (files[0].is_file() and Path(truth).is_file() and filecmp.cmp(files[0], truth, shallow=False)):
        raise SetupError(f'{name}.ann_file={truth} is not the file of {split}_dataloader.dataset: set --cfg-options '
                         f'{name}.ann_file={files[0]}')


def _monitored(cfg: Config, checkpoint: dict) -> Iterator[tuple[str, str | Sequence[str]]]:
    """Yield the settings that name results of the validation, with the names."""
    yield 'default_hooks.checkpoint.save_best', checkpoint.get('save_best') or 'auto'
    for setting in ('param_scheduler', 'custom_hooks'):
        parts = cfg.get(setting) or []
        named = {setting: parts} if isinstance(parts, dict) else {
            f'{setting}.{index}': part for index, part in enumerate(parts)}
        for name, part in named.items():
            if isinstance(part, dict) and kind(part).startswith(('ReduceOnPlateau', 'EarlyStopping')):
                yield f'{name}.monitor', part.get('monitor', 'loss')  # the schedule's default


def _check_monitored(setting: str, wanted: str | Sequence[str], computed: Sequence[Sequence[str]]) -> None:
    known = [name for names in computed for name in names]
    missing = [name for name in ([wanted] if isinstance(wanted, str) else wanted) if name not in ('auto', *known)]
    if missing and computed and all(computed):
        raise SetupError(f"{setting}='{missing[0]}' is no metric of the validation, which computes "
                         f'{", ".join(known) or "none"}')


def _names(metric: dict) -> list[str]:
    """List the names of a metric's results; empty if they are not known."""
    prefix, kinds = metric.get('prefix'), metric.get('metric', 'bbox')
    kinds = [kinds] if isinstance(kinds, str) else kinds
    if kind(metric) == 'Accuracy' and not metric.get('thrs'):
        return [f'{prefix or "accuracy"}/top{k}' for k in _topk(metric)]
    if kind(metric) == 'CocoMetric' and set(kinds) <= {'bbox', 'segm'} and not metric.get('classwise'):
        items = metric.get('metric_items') or _COCO_ITEMS
        return [f'{prefix or "coco"}/{which}_{item}' for which in kinds for item in items]
    return []
