"""Keep the metafiles of the model index, with one entry per config, and their tables consistent with the configs.

``model-index.yml`` lists the metafiles; each describes the configs of its folder. Collections and published numbers
(``Metadata: Published``) are written by hand; ``Results`` are only for numbers obtained with mmgcp. The fields in
:data:`COMPUTED` come from the configs. A classifier without an entry gets one if its family is known.
"""
import functools
import itertools
import math
import re
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import NamedTuple

import mmengine.config.utils
import yaml
from mmengine.config import Config

from mmgcp.apis.complexity import Complexity, complexity, image_size
from mmgcp.utils.errors import SetupError
from mmgcp.zoo.families import FAMILIES

from .model_tables import CLASSIFICATION, fill_tables

COMPUTED = ('Epochs', 'Batch Size', 'Parameters', 'FLOPs', 'Pretrained Weights')
REQUIRED = ('Name', 'In Collection', 'Config', 'Results')
# Not in the zoo: parts of configs, demonstrations on generated and small data, measurements, AlexNet for comparison,
# and the second path of a detector.
LEFT_OUT = ('_base_', 'quickstart', 'imagenette', 'landscape', 'robustness', 'faster_rcnn_r50_gcp_m.py')
CLASSIFIER = re.compile(r'([^_]+)_(gap|gcp)(?:_\w+)?_imagenet(?:_lr-(norm|fast|adju)(-release)?)?')
COMMAND = 'python -m reproduction.zoo'
# Relative tolerance of costs: one layer of DINO is twice as wide in MMDetection's maintained line (0.3 %).
TOLERANCE = 0.005


class Metafile(NamedTuple):
    """Metafile of the model index.

    Attributes:
        path (Path): The file, in the folder of its configs and their README.
        content (dict): Its contents: 'Collections' and 'Models'.
    """
    path: Path
    content: dict

    @property
    def models(self) -> list[dict]:
        """Entries of the models."""
        return self.content['Models']

    @property
    def collections(self) -> list[str]:
        """Names of the collections."""
        return [collection['Name'] for collection in self.content['Collections']]


class Revision(NamedTuple):
    """Correction of a file that does not agree with the configs.

    Attributes:
        path (Path): The file.
        text (str): Its new text.
        changes (list[str]): Differences, as short sentences.
    """
    path: Path
    text: str
    changes: list[str]


def read_index(root: Path) -> list[Metafile]:
    """Read the metafiles that ``model-index.yml`` lists.

    Args:
        root (Path): Folder of ``model-index.yml`` and ``configs``.

    Returns:
        list[Metafile]: The metafiles, in the order of the index.

    Raises:
        SetupError: If a file is missing or not YAML, or an entry lacks a field that is written by hand.
    """
    paths = [root / name for name in _read_yaml(root / 'model-index.yml')['Import']]
    metafiles = [Metafile(path, _read_yaml(path)) for path in paths]
    for metafile in metafiles:
        for part in ('Collections', 'Models'):
            if not isinstance(metafile.content.get(part), list):
                raise SetupError(f'{metafile.path} has no list of {part}')
        for model in metafile.models:
            for field in REQUIRED:
                if field not in model:
                    raise SetupError(f"{metafile.path}: the entry {model.get('Name', model)} has no '{field}': add it")
    return metafiles


def check_entries(root: Path, metafiles: list[Metafile]) -> None:
    """Check that configs and entries correspond one to one.

    Args:
        root (Path): As in :func:`read_index`.
        metafiles (list[Metafile]): Metafiles from :func:`read_index`.

    Raises:
        SetupError: If a config has no entry or an entry no config, an entry is duplicated, or its name is not that of
            its config, its folder not that of the metafile, or its collection unknown.
    """
    problems, seen = [], set()
    for metafile in metafiles:
        for model in metafile.models:
            config, entry = root / model['Config'], f"{metafile.path.relative_to(root)}: {model['Name']}"
            if not config.is_file():
                problems.append(f"{entry}: there is no config {model['Config']}")
            elif config.parent != metafile.path.parent:
                problems.append(f"{entry}: its config {model['Config']} is in another folder")
            elif config.stem != model['Name']:
                problems.append(f'{entry}: its config is called {config.stem}')
            if model['In Collection'] not in metafile.collections:
                problems.append(f"{entry}: there is no collection '{model['In Collection']}'")
            if config in seen:
                problems.append(f'{entry}: it is there twice')
            seen.add(config)
    problems += [f'{config.relative_to(root)} has no entry in a metafile' for config in zoo_configs(root)
                 if config not in seen]
    if problems:
        raise SetupError(f'the metafiles do not fit the configs: {_first(problems)}; correct the entries by hand')


def add_entries(root: Path, metafiles: list[Metafile]) -> None:
    """Add entries for classifiers that have none, with the collection and the learning rate that their names say.

    Args:
        root (Path): As in :func:`read_index`.
        metafiles (list[Metafile]): Metafiles from :func:`read_index`.
    """
    by_folder = {metafile.path.parent: metafile for metafile in metafiles}
    known = {model['Config'] for metafile in metafiles for model in metafile.models}
    titles = {network: family.title for family in FAMILIES for network in family.networks}
    for path in zoo_configs(root):
        config, found = str(path.relative_to(root)), CLASSIFIER.fullmatch(path.stem)
        if config not in known and found and found[1] in titles and path.parent in by_folder:
            arch, pooling, lr, release = found.groups()
            rate = f"LR_{lr or ('norm' if pooling == 'gap' else 'adju')}" + (' (release)' if release else '')
            by_folder[path.parent].models.append({
                'Name': path.stem, 'In Collection': f'{titles[arch]} {pooling.upper()}', 'Config': config,
                'Metadata': {'Learning Rate': rate},
                'Results': [{'Task': CLASSIFICATION, 'Dataset': 'ImageNet-1k', 'Metrics': {}}]})


def zoo_configs(root: Path) -> list[Path]:
    """List the configs of the model zoo: all that are trained on public data."""
    folder = root / 'configs'
    return sorted(path for path in folder.rglob('*.py') if path.relative_to(folder).parts[0] not in LEFT_OUT)


def load_many(paths: list[Path]) -> list[Config]:
    """Load configs.

    MMEngine reads a library's metafiles again for each base config. Caching them here makes loading the whole zoo five
    times as fast.
    """
    load = mmengine.config.utils.load
    mmengine.config.utils.load = functools.cache(load)
    try:
        return [Config.fromfile(path) for path in paths]
    finally:
        mmengine.config.utils.load = load


def computed_fields(cfg: Config, cost: Complexity) -> dict:
    """Compute the fields in :data:`COMPUTED` of a metafile's entry.

    Args:
        cfg (Config): Config of a classifier or detector.
        cost (Complexity): Parameters and FLOPs of its network.

    Returns:
        dict: Values by field; 'Pretrained Weights' is the name of the config that trains them, if any.
    """
    fields = dict(zip(COMPUTED, (cfg.train_cfg.max_epochs, cfg.auto_scale_lr.base_batch_size, *cost), strict=False))
    weights = cfg.model.backbone.get('init_cfg', {}).get('checkpoint') or cfg.get('load_from')
    if weights:
        fields['Pretrained Weights'] = weights.removeprefix('workdir://')
    return fields


def revisions(root: Path, measure: Callable[[Config], Complexity] = complexity,
              log: Callable[[str], None] = print) -> Iterator[Revision]:
    """Compare metafiles and READMEs with the configs.

    Args:
        root (Path): As in :func:`read_index`.
        measure (Callable): Counts parameters and FLOPs of a config's network; called once per network.
        log (Callable): Called with lines of progress.

    Yields:
        Revision: A file that has to change.

    Raises:
        SetupError: If the metafiles or READMEs have a fault that must be fixed by hand.
    """
    metafiles = read_index(root)
    add_entries(root, metafiles)
    check_entries(root, metafiles)
    log('Reading the configs.')
    configs = [load_many([root / model['Config'] for model in metafile.models]) for metafile in metafiles]
    networks = {}
    for cfg in itertools.chain(*configs):
        networks.setdefault(network_key(cfg), cfg)
    costs = {}
    for number, (key, cfg) in enumerate(networks.items(), 1):
        costs[key] = measure(cfg)
        log(f'Network {number} of {len(networks)} ({Path(cfg.filename).stem}): {costs[key].parameters:,} parameters, '
            f'{costs[key].flops:,} FLOPs.')
    for metafile, group in zip(metafiles, configs, strict=True):
        yield from _revise(metafile, [computed_fields(cfg, costs[network_key(cfg)]) for cfg in group])


def network_key(cfg: Config) -> str:
    """Return a text that identifies network and image size, regardless of the initial weights."""
    model = cfg.model.to_dict()
    model['backbone'].pop('init_cfg', None)
    return f'{model} {image_size(cfg)}'


def _revise(metafile: Metafile, computed: list[dict]) -> Iterator[Revision]:
    changes = []
    for model, fields in zip(metafile.models, computed, strict=True):
        metadata = model.get('Metadata', {})
        for field in ('Parameters', 'FLOPs'):
            if math.isclose(fields[field], metadata.get(field, 0), rel_tol=TOLERANCE):
                fields[field] = metadata[field]
        changes += [f"{model['Name']}: {field} is {fields.get(field)}, not {metadata.get(field)}" for field in COMPUTED
                    if fields.get(field) != metadata.get(field)]
        model['Metadata'] = fields | {field: value for field, value in metadata.items() if field not in COMPUTED}
    if changes:
        yield Revision(metafile.path, _yaml_text(metafile), changes)
    readme = metafile.path.with_name('README.md')
    try:
        text = readme.read_text()
        filled = fill_tables(text, metafile.models, metafile.collections)
    except (FileNotFoundError, SetupError) as error:
        raise SetupError(f'{readme}: {error}') from error
    if filled != text:
        yield Revision(readme, filled, [f'a table of {readme.parent.name}/{readme.name} is out of date'])


def update(root: Path, **options) -> list[str]:
    """Bring metafiles and tables up to date.

    Args:
        root (Path): As in :func:`read_index`.
        **options: Options of :func:`revisions`.

    Returns:
        list[str]: Changes, as short sentences.

    Raises:
        SetupError: As in :func:`revisions`.
    """
    found = list(revisions(root, **options))
    for revision in found:
        revision.path.write_text(revision.text)
    return [change for revision in found for change in revision.changes]


def check(root: Path, **options) -> None:
    """Check that metafiles and tables agree with the configs.

    Args:
        root (Path): As in :func:`read_index`.
        **options: Options of :func:`revisions`.

    Raises:
        SetupError: If they do not, with the first differences.
    """
    changes = [change for revision in revisions(root, **options) for change in revision.changes]
    if changes:
        raise SetupError(f'the model zoo is out of date: {_first(changes)}; update it with: {COMMAND}')


def _first(problems: list[str], number: int = 3) -> str:
    rest = len(problems) - number
    return '; '.join(problems[:number]) + (f'; and {rest} more' if rest > 0 else '')


def _read_yaml(path: Path) -> dict:
    try:
        return yaml.safe_load(path.read_text())
    except FileNotFoundError:
        raise SetupError(f'{path} does not exist') from None
    except yaml.YAMLError as error:
        raise SetupError(f"{path} is not YAML: {' '.join(str(error).split())}") from None


class _Dumper(yaml.SafeDumper):
    """YAML dumper that indents list items, as in MMPretrain's metafiles, and uses no aliases."""

    def increase_indent(self, flow=False, indentless=False):
        return super().increase_indent(flow, indentless=False)

    def ignore_aliases(self, data):
        return True


def _yaml_text(metafile: Metafile) -> str:
    """Text of a metafile, with the comment at its top."""
    comment = []
    for line in metafile.path.read_text().splitlines(keepends=True):
        if not line.startswith('#'):
            break
        comment.append(line)
    text = yaml.dump(metafile.content, Dumper=_Dumper, default_flow_style=None, sort_keys=False, width=118)
    return ''.join(comment) + re.sub(r'(?<!:)\n(?=  - Name:|Models:)', '\n\n', text)
