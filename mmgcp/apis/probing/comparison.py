"""Compare probes on one frozen backbone: cache its features, then train, save and tabulate each probe."""
import json
import statistics
import time
from collections.abc import Iterator, Sequence
from pathlib import Path

from mmengine.config import Config

from mmgcp.analysis.tables import save_table
from mmgcp.datasets.class_folders import subfolders

from .backbone import frozen_backbone
from .cache import cached_features
from .photos import photo_loaders
from .saving import save_probe
from .training import Result, compare

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
        made (dict): Contents of ``probes.json``.
        half (bool): Keep the features in float16. Default: ``False``.
        **settings: Further arguments of :func:`~mmgcp.apis.probing.training.compare`.

    Raises:
        SetupError: If network, photos, features or settings do not fit.
    """
    backbone = frozen_backbone(cfg, checkpoint)
    loaders = photo_loaders(cfg, data)
    classes = subfolders(Path(data, 'train'))
    features = {split: cached_features(backbone, loader['dataset'], cache / split, half,
                                       loader.get('batch_size', 64), loader.get('num_workers', 1))
                for split, loader in loaders.items()}
    rows = []
    for name in names:
        start = time.perf_counter()
        result = compare(name, *features.values(), backbone.extra_tokens, **settings)
        rows.append(_row(result, time.perf_counter() - start))
        save_table(HEADER, rows, out / 'probes.csv')
        (out / 'probes.json').write_text(json.dumps(made, indent=2) + '\n')
        save_probe(result.probe, backbone, cfg, loaders['val'], classes, out)
        yield result, rows[-1]


def _row(result, seconds):
    spread = statistics.stdev(result.accuracies) if len(result.accuracies) > 1 else 0
    return [result.probe.name, f"{result.probe.layers['head']['in_channels']:,}", f'{result.parameters:,}',
            f'{result.lr:g}', f'{result.held_out:.2f}', f'{statistics.mean(result.accuracies):.2f}', f'{spread:.2f}',
            f'{seconds / 60:.1f}']
