"""The wheel, as others install it."""
import os
import shutil
import subprocess
import sys
import zipfile
from pathlib import Path

import pytest

from mmgcp.utils.setup_env import configs_folder

ROOT = Path(__file__).parents[1]
SOURCES = ('mmgcp', 'configs', 'tools', 'setup.py', 'setup.cfg', 'pyproject.toml', 'MANIFEST.in', 'model-index.yml',
           'README.md', 'LICENSE')
HEIR = '''
_base_ = 'mmgcp::gcp/resnet50_gcp_m_imagenet.py'
model = dict(head=dict(num_classes=7))
'''
LOAD = '''
import mmgcp, sys
from mmengine.config import Config
print(mmgcp.__file__)
print(Config.fromfile(sys.argv[1]).model.backbone.conv5_downsample)
'''


@pytest.fixture(scope='module')
def wheel(tmp_path_factory):
    """Wheel that is built from a copy of the sources, by way of a source distribution."""
    folder = tmp_path_factory.mktemp('sources')
    for name in SOURCES:
        copy = shutil.copytree if (ROOT / name).is_dir() else shutil.copy
        options = dict(ignore=shutil.ignore_patterns('__pycache__', '.mim')) if (ROOT / name).is_dir() else {}
        copy(ROOT / name, folder / name, **options)
    subprocess.run([sys.executable, 'setup.py', '-q', 'sdist'], cwd=folder, check=True, capture_output=True)
    sdist, = (folder / 'dist').glob('*.tar.gz')
    pip_wheel = [sys.executable, '-m', 'pip', 'wheel', '-q', '--no-deps', '--no-build-isolation', '-w', folder, sdist]
    subprocess.run(pip_wheel, check=True, capture_output=True)
    return next(folder.glob('*.whl'))


def test_contents(wheel):
    names = set(zipfile.ZipFile(wheel).namelist())
    configs = {f'mmgcp/.mim/configs/{path.relative_to(configs_folder())}' for path in configs_folder().rglob('*.py')}
    assert configs <= names
    assert {'mmgcp/.mim/model-index.yml', 'mmgcp/.mim/tools/train.py', 'mmgcp/.mim/tools/dist_train.sh'} <= names
    assert all(name.startswith(('mmgcp/', 'mm_gcp-')) for name in names)


def test_configs_of_the_installed_wheel_are_inherited(wheel, tmp_path):
    zipfile.ZipFile(wheel).extractall(tmp_path / 'site')
    (tmp_path / 'mine.py').write_text(HEIR)
    out = subprocess.run([sys.executable, '-c', LOAD, tmp_path / 'mine.py'], cwd=tmp_path, capture_output=True,
                         text=True, env=dict(os.environ, PYTHONPATH=str(tmp_path / 'site')))
    assert out.stdout.splitlines() == [str(tmp_path / 'site/mmgcp/__init__.py'), 'max_pool'], out.stderr
