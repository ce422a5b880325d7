"""Making mmgcp known to the OpenMMLab libraries."""
import warnings
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path

LINES = ('the maintained line (pip install onedl-mmengine onedl-mmcv onedl-mmpretrain onedl-mmdetection) or the '
         'original one (mmengine mmcv mmpretrain mmdet); tools/setup_env.sh builds either')
# Module: (distribution of the original line, of the maintained line, first and first unsupported version)
SUPPORTED = {
    'mmengine': ('mmengine', 'onedl-mmengine', (0, 10, 7), (1, )),
    'mmcv': ('mmcv', 'onedl-mmcv', (2, 1), (3, )),
    'mmpretrain': ('mmpretrain', 'onedl-mmpretrain', (1, 2), (2, )),
    'mmdet': ('mmdet', 'onedl-mmdetection', (3, 3), (4, )),
}


def check_versions() -> None:
    """Look at the installed OpenMMLab libraries.

    Raises:
        ImportError: If a library of both lines is installed: they share module names and overwrite each other.

    Warns:
        UserWarning: If a version was never tested with mmgcp.
    """
    for module, (original, maintained, first, end) in SUPPORTED.items():
        installed = {name: _version(name) for name in (original, maintained) if _version(name)}
        if len(installed) == 2:
            raise ImportError(f'{original} and {maintained} are both installed and overwrite each other: uninstall '
                              f'both, then install one line: {LINES}.')
        for name, number in installed.items():
            if not first <= _numbers(number) < end:
                warnings.warn(
                    f'{name} {number} was never tested with mmgcp, which supports {module} >= '
                    f"{'.'.join(map(str, first))}, < {end[0]}. Install {LINES}.",
                    stacklevel=2)


def _version(distribution: str) -> str:
    try:
        return version(distribution)
    except PackageNotFoundError:
        return ''


def _numbers(number: str) -> tuple:
    return tuple(int(part) for part in number.split('+')[0].split('.') if part.isdigit())


def configs_folder() -> Path:
    """Folder of the configs: in the checkout, or in the installed package."""
    package = Path(__file__).resolve().parents[1]
    installed = package / '.mim' / 'configs'
    return installed if installed.is_dir() else package.parent / 'configs'


def register_configs() -> None:
    """Let other projects inherit configs: ``_base_ = 'mmgcp::gcp/resnet50_gcp_m_imagenet.py'``.

    MMEngine keeps the packages whose configs can be inherited in a table of its own.
    """
    try:
        from mmengine.config.utils import MODULE2PACKAGE
    except ImportError:  # mmgcp.ops alone needs no MMEngine
        return
    MODULE2PACKAGE['mmgcp'] = 'mmgcp'


def register_all_modules(init_default_scope: bool = True) -> None:
    """Import all modules of mmgcp, so that its registries are filled (``mmengine.hub`` calls this).

    Args:
        init_default_scope (bool): Make ``mmpretrain``, whose networks mmgcp extends, the default scope.
    """
    import mmpretrain.utils

    import mmgcp.datasets
    import mmgcp.engine
    import mmgcp.models  # noqa: F401
    mmpretrain.utils.register_all_modules(init_default_scope)
