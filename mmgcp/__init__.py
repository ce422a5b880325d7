"""Global covariance pooling for MMPretrain and MMDetection.

Importing the package checks the versions of the OpenMMLab libraries, lets configs be inherited as
``_base_ = 'mmgcp::gcp/resnet50_gcp_m_imagenet.py'``, and lets torchvision's operators serve mmcv where it has no
compiled ones. ``mmgcp.ops`` needs torch alone.
"""
from .utils.inheritance import register_configs
from .utils.mmcv_operators import serve_mmcv
from .utils.versions import check_versions
from .version import __version__

check_versions()
register_configs()
serve_mmcv()

__all__ = ['__version__']
