"""Classifiers by name: ``mmpretrain.get_model('resnet50_gcp_m_imagenet')`` once ``mmgcp.models`` is imported."""
from mmpretrain import ModelHub

from mmgcp.utils.configs import configs_folder

# The detectors' metafile lies above these: MMPretrain cannot build them.
for metafile in sorted(configs_folder().glob('*/metafile.yml')):
    ModelHub.register_model_index(metafile, config_prefix=configs_folder().parent)
