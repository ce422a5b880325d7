"""Let other projects inherit mmgcp's configs: ``_base_ = 'mmgcp::gcp/resnet50_gcp_m_imagenet.py'``.

MMEngine has a table of the packages whose configs it can read, which is sufficient for ``mmengine.hub`` but not for
inheritance: MMEngine rejects names without a folder, such as ``mmgcp::faster_rcnn_r50_gcp_m.py``, and would search
mmgcp's registries for the components of MMPretrain and MMDetection in an inherited config (``_scope_='mmgcp'``).
So this module wraps a function of MMEngine, the only such wrapper here, to read ``mmgcp::`` names as plain paths.
"""
import warnings
from importlib.util import find_spec

from .configs import configs_folder, nearest_config


def register_configs() -> None:
    """Let MMEngine find the configs of mmgcp by ``mmgcp::NAME``, or warn if it has no function to wrap. Idempotent."""
    if find_spec('mmengine') is None:  # mmgcp.ops works without MMEngine
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
