"""Register the classifiers with MMPretrain: ``mmpretrain.get_model('resnet50_gcp_m_imagenet')``."""
from mmpretrain import ModelHub

from mmgcp.utils.configs import configs_folder

for metafile in sorted(configs_folder().glob('*/metafile.yml')):
    if metafile.parent.name != 'detection':  # MMPretrain cannot build detectors
        ModelHub.register_model_index(metafile, config_prefix=configs_folder().parent)
