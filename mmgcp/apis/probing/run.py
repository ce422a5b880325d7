"""Compare probes on one frozen backbone: cache its features, then train, save and tabulate each probe."""
import json
import statistics
import time
from collections.abc import Iterator, Sequence
from pathlib import Path

from mmengine.config import Config
from mmengine.registry import DATASETS

from mmgcp.analysis.tables import save_table
from mmgcp.datasets.class_folders import subfolders
from mmgcp.utils.errors import SetupError
from mmgcp.utils.records import write_whole

from .backbone import frozen_backbone
from .cache import cached_features
from .photos import photo_loaders
from .saving import save_probe
from .training import Probe, Result, check_settings, compare

HEADER = ('probe', 'numbers', 'parameters', 'learning rate', 'held out (%)', 'accuracy (%)', 'spread', 'minutes')


def compare_probes(cfg: Config, checkpoint: str | None, data: str, names: Sequence[str], cache: Path, out: Path,
                   made: dict, half: bool = False, **settings) -> Iterator[tuple[Result, list[str]]]:
    """Train probes one after the other; yield each result with its row of the table, once its files are written.

    ``out`` gets a config and a checkpoint per probe, ``probes.csv`` and ``probes.json``, which says how they were made.

    Args:
        cfg (Config): Config of the classifier whose backbone is used.
        checkpoint (str, optional): Its weights; ``None`` for those that the config names.
        data (str): Folder with ``train/CLASS`` and ``val/CLASS``.
        names (Sequence[str]): Names in :data:`~mmgcp.apis.probing.training.PROBES`.
        cache (Path): Folder of the features.
        out (Path): Folder of the results.
        made (dict): Contents of ``probes.json``, with the ``command``.
        half (bool): Keep the features in float16. Default: ``False``.
        **settings: Further arguments of :func:`~mmgcp.apis.probing.training.compare`.

    Raises:
        SetupError: If network, photos, features or settings do not fit, or ``out`` holds probes of another command.
    """
    record = out / 'probes.json'
    if record.is_file() and json.loads(record.read_text()).get('command') != made['command']:
        raise SetupError(f"{out} holds the probes of another command ({record}): choose another folder with --out")
    backbone = frozen_backbone(cfg, checkpoint)
    loaders = photo_loaders(cfg, data)
    classes = subfolders(Path(data, 'train'))
    checked = {key: value for key, value in settings.items() if key in ('seeds', 'lrs', 'epochs', 'fraction')}
    check_settings(DATASETS.build(loaders['train']['dataset']).get_gt_labels(), **checked)
    probe_settings = {key: value for key, value in settings.items() if key not in checked}
    features = {}
    for split in ('val', 'train'):  # the smaller one first: what does not fit shows early
        loader = loaders[split]
        features[split] = cached_features(backbone, loader['dataset'], cache / split, half,
                                          loader.get('batch_size', 64), loader.get('num_workers', 1))
        for name in names:
            Probe(name, features[split].values.shape[1:], backbone.extra_tokens, len(classes), **probe_settings)
    rows = []
    for name in names:
        start = time.perf_counter()
        result = compare(name, features['train'], features['val'], backbone.extra_tokens, **settings)
        rows.append(_row(result, time.perf_counter() - start))
        save_table(HEADER, rows, out / 'probes.csv')
        write_whole(record, json.dumps(made, indent=2) + '\n')
        save_probe(result.probe, backbone, cfg, loaders['val'], classes, out)
        yield result, rows[-1]


def _row(result, seconds):
    spread = statistics.stdev(result.accuracies) if len(result.accuracies) > 1 else 0
    return [result.probe.name, f"{result.probe.layers['head']['in_channels']:,}", f'{result.parameters:,}',
            f'{result.lr:g}', f'{result.held_out:.2f}', f'{statistics.mean(result.accuracies):.2f}', f'{spread:.2f}',
            f'{seconds / 60:.1f}']
