"""mmgcp as others install it: from a wheel, from a source distribution, editable, or merely on the path."""
import os
import shutil
import subprocess
import sys
import sysconfig
import tarfile
import venv
import zipfile
from pathlib import Path

import pytest

from mmgcp.utils.configs import configs_folder
from mmgcp.version import __version__

ROOT = Path(__file__).parents[1]
SOURCES = ('mmgcp', 'configs', 'tools', 'reproduction', 'requirements', 'setup.py', 'setup.cfg', 'pyproject.toml',
           'MANIFEST.in', 'model-index.yml', 'README.md', 'LICENSE')
HEIRS = {'classifier': 'gcp/resnet50_gcp_m_imagenet.py', 'detector': 'faster_rcnn_r50_gcp_m.py'}
INHERIT = '''
import mmgcp
from mmengine.config import Config
print(mmgcp.__file__)
print(*[Config.fromfile(name + '.py').model.backbone.conv5_downsample for name in ('classifier', 'detector')])
'''
# What MMPretrain has of its own is left out: it takes seconds to read.
BY_NAME = '''
import sys
import {first}
import {second}
import mmpretrain
mmpretrain.ModelHub._ModelHub__mmpretrain_registered = True
names = mmpretrain.list_models('*gcp*')
model = mmpretrain.get_model('resnet18_gcp_imagenet')
print('resnet18_gcp_imagenet' in names, any('rcnn' in name for name in names), model.backbone.conv5_downsample,
      mmgcp.__file__, [finder for finder in sys.meta_path if type(finder).__module__.startswith('mmgcp')])
'''


def copy_sources(folder):
    for name in SOURCES:
        if (ROOT / name).is_dir():
            shutil.copytree(ROOT / name, folder / name, ignore=shutil.ignore_patterns('__pycache__', '.mim'))
        else:
            shutil.copy(ROOT / name, folder / name)
    return folder


def run(*command, cwd, **variables):
    """Lines that a command printed, in an environment that does not lead to this checkout."""
    environment = {name: value for name, value in os.environ.items() if name != 'PYTHONPATH'}
    done = subprocess.run(command, cwd=cwd, env={**environment, **variables}, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    return done.stdout.splitlines()


@pytest.fixture(scope='module')
def sources(tmp_path_factory):
    return copy_sources(tmp_path_factory.mktemp('sources'))


@pytest.fixture(scope='module')
def wheel(sources):
    run(sys.executable, '-m', 'pip', 'wheel', '-q', '--no-deps', '--no-build-isolation', '-w', 'dist', '.', cwd=sources)
    return next((sources / 'dist').glob('*.whl'))


@pytest.fixture(scope='module')
def sdist(sources):
    run(sys.executable, 'setup.py', '-q', 'sdist', cwd=sources)
    return next((sources / 'dist').glob('*.tar.gz'))


@pytest.fixture(scope='module')
def install(tmp_path_factory):
    """Function that installs mmgcp into a new environment and returns the environment's Python."""

    def install_into_new_environment(*what):
        folder = tmp_path_factory.mktemp('environment')
        builder = venv.EnvBuilder(symlinks=True)
        python = builder.ensure_directories(folder).env_exe
        builder.create(folder)
        # torch and the libraries are those of the running environment; its own editable mmgcp is not on the path.
        site_packages = Path(sysconfig.get_path('purelib', vars=dict(base=folder)))
        (site_packages / 'running.pth').write_text(sysconfig.get_path('purelib'))
        run(sys.executable, '-m', 'pip', '--python', python, 'install', '-q', '--no-deps', '--no-build-isolation',
            '--ignore-installed', *what, cwd=folder)
        return python, site_packages

    return install_into_new_environment


@pytest.fixture(scope='module')
def installed(install, wheel):
    return install(wheel)


@pytest.fixture
def heirs(tmp_path):
    """Folder of another project, whose configs inherit mmgcp's."""
    for name, base in HEIRS.items():
        (tmp_path / f'{name}.py').write_text(f"_base_ = 'mmgcp::{base}'\n")
    return tmp_path


def test_contents(wheel):
    assert wheel.name == f'mmgcp-{__version__}-py3-none-any.whl'
    names = set(zipfile.ZipFile(wheel).namelist())
    configs = {f'mmgcp/.mim/configs/{path.relative_to(configs_folder())}' for path in configs_folder().rglob('*.py')}
    assert configs <= names
    assert {'mmgcp/.mim/model-index.yml', 'mmgcp/.mim/tools/train.py', 'mmgcp/.mim/tools/dist_train.sh',
            'mmgcp/robustness/references/alexnet_imagenet_c.json'} <= names
    lists = {str(path.relative_to(ROOT)) for path in (ROOT / 'mmgcp/robustness/references').glob('*_wnids.txt')}
    assert len(lists) == 3 and lists <= names
    assert all(name.startswith(('mmgcp/', 'mmgcp-')) for name in names)  # no reproduction, no benchmarks


def test_the_wheel_serves_configs_and_models_by_name(installed, heirs):
    python, site_packages = installed
    package = str(site_packages / 'mmgcp/__init__.py')
    assert run(python, '-c', INHERIT, cwd=heirs) == [package, 'max_pool max_pool']
    by_name = run(python, '-c', BY_NAME.format(first='mmgcp.models', second='mmpretrain'), cwd=heirs)[-1]
    assert by_name == f'True False none {package} []'
    assert any(line.split() == ['mmgcp', __version__] for line in run(python, '-m', 'mmgcp', 'env', cwd=heirs))


def test_the_command_is_a_door_to_the_tools(installed, heirs):
    python, site_packages = installed
    command = str(Path(python).parent / 'mmgcp')
    assert run(command, cwd=heirs) == run(python, '-m', 'mmgcp', cwd=heirs)
    listed = run(command, 'zoo', 'resnet50_gcp_m_imagenet', cwd=heirs)
    assert '| gcp/resnet50_gcp_m_imagenet.py ' in listed[2]
    assert listed[-1].endswith(f'{site_packages}/mmgcp/.mim/configs')
    with_help = '\n'.join(run(command, 'train', '--help', cwd=heirs))
    # MIM starts every training with --launcher, and takes --gpus in the help for that of OpenMMLab 1.0.
    assert 'usage: mmgcp train ' in with_help and '--launcher' in with_help and '--gpus' not in with_help
    done = subprocess.run([command, 'train', 'no.py'], cwd=heirs, capture_output=True, text=True)
    assert done.returncode == 1 and '\nStopped: the config no.py does not exist' in done.stderr


def test_mim_finds_the_package_its_tools_and_configs_by_name(installed):
    """As MIM does, without it: it pins old setuptools. It joins folder and name of the *distribution*."""
    python, site_packages = installed
    script = "from importlib.metadata import distribution; print(distribution('mmgcp').locate_file('mmgcp'))"
    assert run(python, '-c', script, cwd=site_packages.parent) == [str(site_packages / 'mmgcp')]
    assert {'train.py', 'test.py'} <= {path.name for path in (site_packages / 'mmgcp/.mim/tools').iterdir()}
    names = [path.name for path in (site_packages / 'mmgcp/.mim/configs').rglob('*.py') if '_base_' not in path.parts]
    twice = {name for name in names if names.count(name) > 1}
    assert twice == {'faster_rcnn_r50_gcp_m.py'}  # this one has to be given by its path


def test_the_source_distribution_installs_what_the_wheel_does(install, sdist, wheel, heirs):
    with tarfile.open(sdist) as archive:
        assert not [name for name in archive.getnames() if name.split('/')[1:2] in (['reproduction'], ['results'])]
    python, site_packages = install(sdist)
    files = {str(path.relative_to(site_packages)) for path in (site_packages / 'mmgcp').rglob('*')
             if path.is_file() and path.suffix != '.pyc'}
    assert files == {name for name in zipfile.ZipFile(wheel).namelist() if name.startswith('mmgcp/')}
    assert run(python, '-c', INHERIT, cwd=heirs) == [str(site_packages / 'mmgcp/__init__.py'), 'max_pool max_pool']


def test_an_editable_install_serves_the_configs_as_they_are_now(install, heirs, tmp_path_factory):
    checkout = copy_sources(tmp_path_factory.mktemp('checkout'))
    python, _ = install('--editable', checkout)
    with (checkout / 'configs/detection' / HEIRS['detector']).open('a') as config:
        config.write("model['backbone']['conv5_downsample'] = 'none'\n")
    assert run(python, '-c', INHERIT, cwd=heirs) == [str(checkout / 'mmgcp/__init__.py'), 'max_pool none']


def test_a_checkout_on_the_path_serves_configs_and_models_by_name(tmp_path_factory, heirs):
    checkout = copy_sources(tmp_path_factory.mktemp('checkout'))
    package, variables = str(checkout / 'mmgcp/__init__.py'), dict(PYTHONPATH=str(checkout))
    assert run(sys.executable, '-c', INHERIT, cwd=heirs, **variables) == [package, 'max_pool max_pool']
    script = BY_NAME.format(first='mmpretrain', second='mmgcp.models')
    assert run(sys.executable, '-c', script, cwd=heirs, **variables)[-1] == f'True False none {package} []'
