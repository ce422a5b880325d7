"""Making mmgcp known to the OpenMMLab libraries."""
import difflib
import re
import sys
import warnings
from collections.abc import Sequence
from importlib.abc import MetaPathFinder
from importlib.machinery import PathFinder
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from types import ModuleType

LINES = ('the maintained line (pip install onedl-mmengine onedl-mmcv onedl-mmpretrain onedl-mmdetection) or the '
         'original one (mmengine mmcv mmpretrain mmdet), or let tools/setup_env.sh build either')
# Distributions of the original and of the maintained line, each with its first and its first unsupported version.
SUPPORTED = (
    (('mmengine', (0, 10, 7), (1, )), ('onedl-mmengine', (0, 10, 12), (1, ))),
    (('mmcv', (2, 1), (2, 2)), ('onedl-mmcv', (2, 3, 6), (2, 4))),
    (('mmpretrain', (1, 2), (2, )), ('onedl-mmpretrain', (1, 3, 6), (2, ))),
    (('mmdet', (3, 3), (4, )), ('onedl-mmdetection', (3, 5, 1), (4, ))),
)
MODEL_HUB = 'mmpretrain.apis.model'


def check_versions() -> None:
    """Look at the installed OpenMMLab libraries.

    Raises:
        ImportError: If a library of both lines is installed: they share module names and overwrite each other.

    Warns:
        UserWarning: If a version was never tested with mmgcp.
    """
    for siblings in SUPPORTED:
        installed = [(name, _version(name), first, end) for name, first, end in siblings if _version(name)]
        if len(installed) == 2:
            (original, *_), (maintained, *_) = siblings
            raise ImportError(f'{original} and {maintained} are both installed and overwrite each other: uninstall '
                              f'both, then install one line: {LINES}.')
        for name, number, first, end in installed:
            if not first <= _numbers(number) < end:
                warnings.warn(
                    f'{name} {number} was never tested with mmgcp, which supports {name} >= '
                    f"{'.'.join(map(str, first))}, < {'.'.join(map(str, end))}: install {LINES}.",
                    stacklevel=2)


def _version(distribution: str) -> str:
    try:
        return version(distribution)
    except PackageNotFoundError:
        return ''


def _numbers(number: str) -> tuple:
    return tuple(int(part) for part in re.findall(r'\d+', re.match(r'[\d.]*', number)[0]))


def configs_folder() -> Path:
    """Folder of the configs: in the checkout, or in the installed package."""
    package = Path(__file__).resolve().parents[1]
    installed = package / '.mim' / 'configs'
    return installed if installed.is_dir() else package.parent / 'configs'


def nearest_config(name: str) -> str:
    """End of a sentence about a config that does not exist: the one whose name is most like it, if any is."""
    paths = {path.stem: path.relative_to(configs_folder()) for path in configs_folder().rglob('*.py')}
    nearest = difflib.get_close_matches(Path(name).stem, paths, n=1)
    return f'; the nearest name is {paths[nearest[0]]}' if nearest else ''


def register_configs() -> None:
    """Let other projects inherit configs: ``_base_ = 'mmgcp::gcp/resnet50_gcp_m_imagenet.py'``.

    MMEngine keeps the packages whose configs it reads in a table of its own, from which ``mmengine.hub`` serves itself.
    For inheritance the table is not enough: MMEngine refuses names without a folder, such as
    ``mmgcp::faster_rcnn_r50_gcp_m.py``, and would look for the parts of MMPretrain and MMDetection in an inherited
    config among mmgcp's (``_scope_='mmgcp'``). So names that start with ``mmgcp::`` are read as plain paths.
    """
    try:
        from mmengine.config import Config
        from mmengine.config.utils import MODULE2PACKAGE
    except ImportError:  # mmgcp.ops alone needs no MMEngine
        return
    MODULE2PACKAGE['mmgcp'] = 'mmgcp'
    path_and_scope = Config._get_cfg_path

    def path_and_scope_of_ours(cfg_path: str, filename: str) -> tuple[str, str | None]:
        package, _, name = cfg_path.partition('::')
        if package != 'mmgcp':
            return path_and_scope(cfg_path, filename)
        if not (configs_folder() / name).is_file():
            raise FileNotFoundError(f'mmgcp has no config {name}{nearest_config(name)}')
        return str(configs_folder() / name), None

    Config._get_cfg_path = staticmethod(path_and_scope_of_ours)


def register_models() -> None:
    """Let MMPretrain find classifiers by name: ``mmpretrain.get_model('resnet50_gcp_m_imagenet')``.

    MMPretrain asks no plugins, so it has to be told. Importing it here would take seconds, and ``mmgcp.ops`` must do
    without it: if it is not imported yet, it is told when it will be.
    """
    if MODEL_HUB in sys.modules:
        _extend(sys.modules[MODEL_HUB].ModelHub)
    else:
        sys.meta_path.insert(0, _ModelHubFinder())


class _ModelHubFinder(MetaPathFinder):
    """Extends MMPretrain's ``ModelHub`` right after the module that defines it was imported, once."""

    def find_spec(self, fullname: str, path: Sequence[str] | None, target: ModuleType | None = None):
        spec = PathFinder.find_spec(fullname, path, target) if fullname == MODEL_HUB else None
        if spec is not None:
            execute = spec.loader.exec_module

            def execute_and_extend(module: ModuleType) -> None:
                execute(module)
                sys.meta_path.remove(self)
                _extend(module.ModelHub)

            spec.loader.exec_module = execute_and_extend
        return spec


def _extend(hub: type) -> None:
    """Have the metafiles of the classifiers read when MMPretrain reads its own: when it is first asked for a name."""
    register_mmpretrain = hub._register_mmpretrain_models

    def register_both() -> None:
        hub._register_mmpretrain_models = register_mmpretrain
        register_mmpretrain()
        # The detectors' metafile lies above these: MMPretrain cannot build them.
        for metafile in sorted(configs_folder().glob('*/metafile.yml')):
            if not hub.has(next(metafile.parent.glob('*.py')).stem):  # names of models are those of their configs
                hub.register_model_index(metafile, config_prefix=configs_folder().parent)

    hub._register_mmpretrain_models = register_both


def register_all_modules(init_default_scope: bool = True) -> None:
    """Import all modules of mmgcp, so that its registries are filled (``mmengine.hub`` calls this).

    Args:
        init_default_scope (bool): Make ``mmpretrain``, whose networks mmgcp extends, the default scope.
    """
    import mmpretrain.utils

    import mmgcp.datasets
    import mmgcp.engine
    import mmgcp.models  # noqa: F401
    with warnings.catch_warnings():
        # It is mmengine.hub that has made mmgcp the default scope, for the time of this call.
        warnings.filterwarnings('ignore', 'The current default scope "mmgcp"')
        mmpretrain.utils.register_all_modules(init_default_scope)
