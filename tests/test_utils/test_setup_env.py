import subprocess
import sys

import pytest
from mmengine.config import Config
from mmengine.registry import MODELS

import mmgcp.utils.setup_env as setup_env

HEIR = '''
_base_ = 'mmgcp::{config}'
model = dict(head=dict(num_classes=7))
'''


def versions(**installed):
    return lambda name: installed.get(name.replace('-', '_'), '')


def test_one_line_of_libraries_passes_silently(monkeypatch, recwarn):
    for line in (dict(mmengine='0.10.7', mmcv='2.1.0', mmpretrain='1.2.0', mmdet='3.3.0'),
                 dict(onedl_mmengine='0.10.12', onedl_mmcv='2.3.6', onedl_mmpretrain='1.3.6rc1'), {}):
        monkeypatch.setattr(setup_env, '_version', versions(**line))
        setup_env.check_versions()
    assert not recwarn.list


def test_two_lines_at_once_are_refused(monkeypatch):
    monkeypatch.setattr(setup_env, '_version', versions(mmengine='0.10.7', onedl_mmengine='0.10.12'))
    with pytest.raises(ImportError, match='mmengine and onedl-mmengine are both installed and overwrite each other'):
        setup_env.check_versions()


@pytest.mark.parametrize('version', ['0.8.2', '1.0.0'])
def test_untested_versions_warn(version, monkeypatch):
    monkeypatch.setattr(setup_env, '_version', versions(mmengine=version))
    with pytest.warns(UserWarning, match=f'mmengine {version} was never tested with mmgcp.*>= 0.10.7, < 1'):
        setup_env.check_versions()


def test_configs_are_inherited_from_elsewhere(tmp_path):
    (tmp_path / 'mine.py').write_text(HEIR.format(config='gcp/resnet18_gcp_m_imagenet.py'))
    cfg = Config.fromfile(tmp_path / 'mine.py')
    model = MODELS.build(cfg.model)
    assert model.backbone.conv5_downsample == 'max_pool'
    assert tuple(model.head.fc.weight.shape) == (7, 32896)
    # Everything but the model is built by the Runner, from the same registries.
    assert cfg.param_scheduler.type == 'mmgcp.PolynomialLR'


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
            'print(type(MODELS.build(dict(type="mmgcp.GCPResNet", depth=18))).__name__)')
    out = subprocess.run([sys.executable, '-c', code], capture_output=True, text=True)
    assert out.stdout.strip().endswith('GCPResNet'), out.stderr
