"""Inheritance of configs from other projects: ``_base_ = 'mmgcp::gcp/resnet50_gcp_m_imagenet.py'``.

MMEngine keeps the packages whose configs it reads in a table of its own, from which ``mmengine.hub`` serves itself. For
inheritance the table is not enough: MMEngine refuses names without a folder, such as
``mmgcp::faster_rcnn_r50_gcp_m.py``, and would look for the parts of MMPretrain and MMDetection in an inherited config
among mmgcp's (``_scope_='mmgcp'``). Hence the one wrapper around another library's function in this package: it reads
names that start with ``mmgcp::`` as plain paths.
"""
import warnings
from importlib.util import find_spec

from .configs import configs_folder, nearest_config


def register_configs() -> None:
    """Let MMEngine find the configs of mmgcp by ``mmgcp::NAME``; calling it again changes nothing.

    Warns:
        UserWarning: If MMEngine is not as expected. Everything but ``mmgcp::`` then works.
    """
    if find_spec('mmengine') is None:  # mmgcp.ops alone needs no MMEngine
        return
    try:
        from mmengine.config import Config
        from mmengine.config.utils import MODULE2PACKAGE
        library_lookup = Config._get_cfg_path
    except (ImportError, AttributeError) as error:
        warnings.warn(f"configs cannot be inherited as 'mmgcp::NAME' with this MMEngine ({error}): give their paths",
                      stacklevel=2)
        return
    MODULE2PACKAGE['mmgcp'] = 'mmgcp'
    if library_lookup.__module__ != __name__:
        Config._get_cfg_path = staticmethod(_with_configs_of_mmgcp(library_lookup))


def _with_configs_of_mmgcp(library_lookup):

    def lookup(cfg_path: str, filename: str) -> tuple[str, str | None]:
        package, _, name = cfg_path.partition('::')
        if package != 'mmgcp':
            return library_lookup(cfg_path, filename)
        if not (configs_folder() / name).is_file():
            raise FileNotFoundError(f'mmgcp has no config {name}{nearest_config(name)}')
        return str(configs_folder() / name), None

    return lookup
