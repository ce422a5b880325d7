import subprocess
import sys

import pytest
from mmengine.config import Config

from mmgcp.utils.configs import configs_folder
from mmgcp.utils.inheritance import register_configs


def inherit(folder, *bases):
    """Config of another project."""
    (folder / 'mine.py').write_text(f'_base_ = {list(bases)}')
    return Config.fromfile(folder / 'mine.py')


def parts(cfg):
    """All dicts in a config."""
    if isinstance(cfg, dict):
        yield cfg
        cfg = list(cfg.values())
    if isinstance(cfg, (list, tuple)):
        for part in cfg:
            yield from parts(part)


@pytest.mark.parametrize('config', ['gcp/resnet18_gcp_m_imagenet.py', 'faster_rcnn_r50_gcp_m.py',
                                    'detection/mask_rcnn_r18_gcp_m.py'])
def test_configs_are_inherited_from_elsewhere_as_they_are(config, tmp_path):
    cfg = inherit(tmp_path, f'mmgcp::{config}')
    assert cfg.to_dict() == Config.fromfile(configs_folder() / config).to_dict()
    assert not [part for part in parts(cfg._cfg_dict) if part.get('_scope_') == 'mmgcp']
    assert cfg.model.backbone.conv5_downsample == 'max_pool'


def test_a_base_that_imports_mmgcp_leaves_nothing_in_the_config(tmp_path):
    (tmp_path / 'import.py').write_text("__import__('mmgcp')")
    config = 'mmgcp::gcp/resnet18_gcp_m_imagenet.py'
    assert inherit(tmp_path, './import.py', config).to_dict() == inherit(tmp_path, config).to_dict()


def test_other_packages_are_inherited_as_before(tmp_path):
    assert inherit(tmp_path, 'mmpretrain::_base_/models/resnet18.py').model._scope_ == 'mmpretrain'


def test_a_misspelt_config_is_told_with_the_nearest_name(tmp_path):
    with pytest.raises(FileNotFoundError, match='^mmgcp has no config gcp/resnet50_gpc_m_imagenet.py; the nearest name '
                                                'is gcp/resnet50_gcp_m_imagenet.py$'):
        inherit(tmp_path, 'mmgcp::gcp/resnet50_gpc_m_imagenet.py')
    with pytest.raises(FileNotFoundError, match='^mmgcp has no config swin.py$'):
        inherit(tmp_path, 'mmgcp::swin.py')


def test_registering_again_changes_nothing():
    lookup = Config._get_cfg_path
    register_configs()
    assert Config._get_cfg_path is lookup


def test_another_mmengine_costs_inheritance_alone(monkeypatch):
    monkeypatch.delattr(Config, '_get_cfg_path')
    with pytest.warns(UserWarning, match="^configs cannot be inherited as 'mmgcp::NAME' with this MMEngine .*: give "
                                         'their paths$'):
        register_configs()


def test_operator_needs_torch_alone():
    code = ('import sys\n'
            'for name in ("mmengine", "mmcv", "mmpretrain", "mmdet", "matplotlib"):\n'
            '    sys.modules[name] = None\n'
            'import torch\n'
            'from mmgcp.ops import covariance_pool\n'
            'print(tuple(covariance_pool(torch.rand(1, 3, 4, 4)).shape))')
    out = subprocess.run([sys.executable, '-c', code], capture_output=True, text=True)
    assert out.stdout.strip() == '(1, 3, 3)', out.stderr


def test_classification_needs_no_mmdet_and_no_compiled_ops():
    code = ('import sys\n'
            'sys.modules["mmdet"] = sys.modules["mmcv._ext"] = None\n'
            'from mmengine.registry import MODELS\n'
            'from mmgcp.utils import register_all_modules\n'
            'register_all_modules()\n'
            'from mmengine.registry import LOOPS\n'
            'print(LOOPS.get("mmgcp.BenchmarkLoop").__name__)\n'
            'print(type(MODELS.build(dict(type="mmgcp.GCPResNet", depth=18))).__name__)')
    out = subprocess.run([sys.executable, '-c', code], capture_output=True, text=True)
    assert out.stdout.split()[-2:] == ['BenchmarkLoop', 'GCPResNet'], out.stderr
