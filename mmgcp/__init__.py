"""Global covariance pooling for MMPretrain and MMDetection.

Importing the package checks the versions of the OpenMMLab libraries, lets configs be inherited as
``_base_ = 'mmgcp::gcp/resnet50_gcp_m_imagenet.py'`` and classifiers be found by name, as in
``mmpretrain.get_model('resnet50_gcp_m_imagenet')``. ``mmgcp.ops`` needs torch alone.
"""
from .utils.mmcv_operators import serve_mmcv
from .utils.setup_env import check_versions, register_configs, register_models
from .version import __version__

check_versions()
register_configs()
register_models()
serve_mmcv()

__all__ = ['__version__']
