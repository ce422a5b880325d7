import subprocess
import sys

import pytest
from mmengine.config import Config

import mmgcp.utils.setup_env as setup_env


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


@pytest.mark.parametrize('name, version, supported', [
    ('mmengine', '0.8.2', '>= 0.10.7, < 1'),
    ('mmengine', '1.0.0', '>= 0.10.7, < 1'),
    ('mmcv', '2.2.0', '>= 2.1, < 2.2'),  # mmdet 3.3.0 refuses it
    ('onedl_mmpretrain', '1.3.5rc6', '>= 1.3.6, < 2'),
])
def test_untested_versions_warn(name, version, supported, monkeypatch):
    monkeypatch.setattr(setup_env, '_version', versions(**{name: version}))
    name = name.replace('_', '-')
    with pytest.warns(UserWarning, match=f'^{name} {version} was never tested .* {name} {supported}: install [^.]*\\.'):
        setup_env.check_versions()


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


@pytest.mark.parametrize('config', ['gcp/resnet18_gcp_m_imagenet.py', 'faster_rcnn_r50_gcp_m.py'])
def test_configs_are_inherited_from_elsewhere_as_they_are(config, tmp_path):
    setup_env.register_configs()  # once more does no harm
    cfg = inherit(tmp_path, f'mmgcp::{config}')
    assert cfg.to_dict() == Config.fromfile(setup_env.configs_folder() / config).to_dict()
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
