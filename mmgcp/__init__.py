"""Global covariance pooling for MMPretrain and MMDetection.

Importing the package checks the versions of the OpenMMLab libraries and lets configs be inherited as
``_base_ = 'mmgcp::gcp/resnet50_gcp_m_imagenet.py'``. ``mmgcp.ops`` needs torch alone.
"""
from .utils.setup_env import check_versions, register_configs
from .version import __version__

check_versions()
register_configs()

__all__ = ['__version__']
