"""Test the robustness of trained networks, and read the recorded results."""
import math
import zlib
from collections.abc import Sequence
from pathlib import Path

from mmengine.config import Config
from mmengine.registry import init_default_scope

from mmgcp.analysis.robustness import RobustnessResult
from mmgcp.apis.config_data import default_scope
from mmgcp.apis.launch import build_runner
from mmgcp.robustness.catalogue import BENCHMARKS
from mmgcp.utils.checkpoint import named_checkpoints, resolved
from mmgcp.utils.errors import SetupError
from mmgcp.utils.records import matching_records, read_records
from mmgcp.utils.versions import library_versions

from .benchmarks import Benchmark, benchmark_sets, build_set, check_classes, number_of_classes

PRETRAINED = 'pretrained'  # instead of a checkpoint: the weights named by the config itself


def measurements(cfg: Config, checkpoint: str, benchmark: Benchmark) -> Path:
    """Return the file in the work directory that holds the measurements of a checkpoint."""
    hard = f'_{benchmark.difficulty}' if benchmark.name == 'imagenet-p' and benchmark.difficulty > 1 else ''
    made = '_made' if benchmark.made else ''
    part = f"_{Path(benchmark.subset).stem.replace(':', '')}" if benchmark.subset else ''
    return Path(cfg.work_dir, 'robustness',
                f'{benchmark.name}{made}{hard}{part}_{Path(resolved(checkpoint)).stem}.json')


def settings_of(cfg: Config, checkpoint: str, benchmark: Benchmark) -> dict:
    """Return the settings that measurements must share to be combined, as JSON values."""
    fp16 = (cfg.get('test_cfg') or {}).get('fp16', False)
    images = {key: cfg.test_dataloader.get(key) for key in ('dataset', 'drop_last', 'num_batch_per_epoch')}
    parts = Config(dict(
        clean_images=images, model=cfg.model, preprocessor=cfg.get('data_preprocessor'),
        hooks=cfg.get('custom_hooks'),  # which may change how a network is tested
        evaluator=cfg.get('test_evaluator') if benchmark.name == 'coco-c' else None)).to_dict()
    return dict(benchmark.identity(), checkpoint=checksum(cfg, checkpoint), fp16=fp16, libraries=library_versions(),
                **{name: zlib.crc32(repr(part).encode()) for name, part in parts.items()})


def recorded_recipe(networks: Sequence[tuple[Config, str]], benchmark: Benchmark) -> str:
    """Read the recipe of the images that networks were measured on, which may be away by now; empty for none."""
    paths = [measurements(*network, benchmark) for network in networks]
    return next((read_records(path).settings.get('recipe', '') for path in paths if path.is_file()), '')


def is_tested(cfg: Config, checkpoint: str, benchmark: Benchmark) -> bool:
    """Check whether all sets of a benchmark have been measured, or all that exist of a partial one."""
    path = measurements(cfg, checkpoint, benchmark)
    if not cfg.get('test_dataloader') or not path.is_file():
        return False
    known, folders = read_records(path), benchmark.folders if benchmark.partial and benchmark.data_root else {}
    needed = [name for name in benchmark.sets if name not in folders or folders[name].is_dir()]
    return (known.settings == settings_of(cfg, checkpoint, benchmark)
            and {record['set'] for record in known.records}.issuperset(needed))


def check_network(cfg: Config, checkpoint: str, benchmark: Benchmark) -> None:
    """Check a network before a test.

    Raises:
        SetupError: If the checkpoint, data or a part of the config is missing, or the classes do not match.
        ValueError: If there are measurements with other settings.
    """
    if not cfg.get('test_dataloader'):
        raise SetupError('the config has no test_dataloader: the clean images come from there')
    if not cfg.get('test_evaluator'):
        raise SetupError('the config has no test_evaluator, which tests need')
    check_classes(cfg, benchmark)
    sets = benchmark_sets(benchmark, cfg.test_dataloader, cfg.test_evaluator)
    matching_records(measurements(cfg, checkpoint, benchmark), settings_of(cfg, checkpoint, benchmark))
    if benchmark.subset:
        init_default_scope(default_scope(cfg))
        build_set(benchmark, next(iter(sets.values()))['loader']['dataset'])


def checksum(cfg: Config, checkpoint: str) -> int | str:
    """Compute the CRC-32 of a checkpoint file, which has to exist, or of those that ``'pretrained'`` stands for.

    URLs are returned unchanged, and so is ``'pretrained'`` where the config names URLs alone.
    """
    if checkpoint == PRETRAINED:
        named = named_checkpoints(cfg.model.to_dict())
        if not named:
            raise SetupError(f"'{PRETRAINED}' stands for the weights that the config names in init_cfg, and it names "
                             'none: give a checkpoint file')
        files = [name for name in named if '://' not in resolved(name)]
        return ' '.join([PRETRAINED, *(str(checksum(cfg, name)) for name in files)])
    path = resolved(checkpoint)
    if '://' in path:
        return path
    if not Path(path).is_file():
        raise SetupError(f'the checkpoint {checkpoint} does not exist')
    return zlib.crc32(Path(path).read_bytes())


def test_network(cfg: Config, checkpoint: str, benchmark: Benchmark) -> None:
    """Test a network on the sets of a benchmark that have not been measured yet; ``cfg`` is modified.

    ``checkpoint`` is a file, a URL, ``workdir://NAME``, or ``'pretrained'`` for the weights named by the config.

    Raises:
        SetupError: If data or weights do not fit, or the file was written with other settings.
    """
    cfg.load_from = None if checkpoint == PRETRAINED else checkpoint
    settings = settings_of(cfg, checkpoint, benchmark)
    cfg.test_cfg = dict(type='mmgcp.BenchmarkLoop', fp16=settings['fp16'], benchmark=vars(benchmark),
                        path=str(measurements(cfg, checkpoint, benchmark)), settings=settings)
    # MMEngine tells runs apart by name and second: networks tested within one second would share a log.
    cfg.experiment_name = str(cfg.work_dir)
    runner = build_runner(cfg, ['test'], whole_model=True)
    if checkpoint == PRETRAINED:
        getattr(runner.model, 'module', runner.model).init_weights()
    runner.test()


def read_result(name: str, cfg: Config, checkpoint: str, benchmark: Benchmark) -> RobustnessResult:
    """Read the measurements of a network's sets under a name; other arguments as of :func:`test_network`."""
    records = read_records(measurements(cfg, checkpoint, benchmark)).records
    return as_result(name, benchmark.name, [record for record in records if record['set'] in benchmark.sets],
                     benchmark.difficulty)._replace(subset=benchmark.subset_title, origin=benchmark.origin)


def as_result(name: str, benchmark: str, records: Sequence[dict], difficulty: int = 1) -> RobustnessResult:
    """Convert the records of :class:`mmgcp.apis.robustness.BenchmarkLoop`, one per set, to a result."""
    read = {'error': _errors, 'flip': _stability, 'precision': _precisions}[BENCHMARKS[benchmark].measure]
    sets = {record['set']: read(record['metrics']) for record in records}
    unreadable = [f"{values['unreadable']:.0f} of '{set_name}'" for set_name, values in sets.items()
                  if values.get('unreadable')]
    return RobustnessResult(name, benchmark, sets, unreadable, difficulty, records)


def default_reference(cfgs: Sequence[Config], benchmark: Benchmark) -> str:
    """Choose ``'alexnet'`` if all networks have 1,000 classes and are tested on ImageNet-C's files, else ``'none'``.

    AlexNet was measured on the published files: images that are corrupted here are not the same.
    """
    published = benchmark.name == 'imagenet-c' and not benchmark.origin
    return 'alexnet' if published and {number_of_classes(cfg) for cfg in cfgs} == {1000} else 'none'


def _errors(metrics):
    """Read the top-1 error as a fraction from the metrics of CorruptionError or, in older files, of Accuracy."""
    if 'accuracy/top1' in metrics:
        return dict(error=1 - metrics['accuracy/top1'] / 100)
    values = {name.split('/')[0]: value for name, value in metrics.items()}
    values['error'] /= 100
    return {kind: values[kind] for kind in ('error', 'images', 'unreadable') if kind in values}


def _precisions(metrics):
    """Read the metrics of CocoMetric, without the NaN that ``classwise=True`` gives for a class without objects."""
    return {name: value for name, value in metrics.items() if not math.isnan(value)}


def _stability(metrics):
    """Read flip probability and top-5 distance from the metrics of PerturbationStability."""
    values = {name.split('/')[0]: value for name, value in metrics.items()}
    return {**values, 'flip': values['flip'] / 100}
