import os
import shutil
import subprocess
from pathlib import Path

import mmengine
import pytest
import torch

from mmgcp.experiments import environment as module
from mmgcp.experiments.environment import checkout_commit, environment
from mmgcp.utils.errors import SetupError
from mmgcp.utils.mmcv_operators import operators

ROOT = Path(module.__file__).parents[2]


@pytest.fixture
def repository(tmp_path):
    """A repository with one commit, of somebody else."""
    (tmp_path / 'results').mkdir()
    for name in ('file', 'results/plan.csv'):
        (tmp_path / name).touch()
    for command in (['init', '-q'], ['add', '.'], ['commit', '-q', '-m', 'theirs']):
        subprocess.run(['git', '-c', 'user.name=a', '-c', 'user.email=a@b', *command], cwd=tmp_path, check=True,
                       env={**os.environ, 'GIT_CONFIG_GLOBAL': os.devnull})
    return tmp_path


def test_versions_hardware_and_threads():
    made = environment(threads=3, device=torch.device('cpu'))
    assert (made['torch'], made['mmengine'], made['threads']) == (torch.__version__, mmengine.__version__, 3)
    assert made['mmcv operators'] == operators()
    assert 'cores of ' in made['hardware']
    assert environment()['threads'] == torch.get_num_threads()


def test_operators_that_do_not_work_say_why(monkeypatch):
    def operators():
        raise SetupError('recompile them')

    monkeypatch.setattr(module, 'operators', operators)
    assert environment()['mmcv operators'] == 'none: recompile them'


def test_commit_of_a_checkout(repository, tmp_path_factory, monkeypatch):
    shutil.copy(ROOT / 'setup.cfg', repository)
    commit = checkout_commit(repository)
    assert len(commit) == 12
    other = tmp_path_factory.mktemp('other')
    subprocess.run(['git', 'init', '-q'], cwd=other, check=True)
    monkeypatch.setenv('GIT_DIR', str(other / '.git'))  # as where a hook of git runs this
    assert checkout_commit(repository) == commit
    (repository / 'results/plan.csv').write_text('changed')
    assert checkout_commit(repository) == commit
    (repository / 'file').write_text('changed')
    assert checkout_commit(repository) == f'{commit}+'


def test_commit_of_another_repository_is_not_recorded(repository, monkeypatch):
    """Neither where mmgcp is installed in an environment inside of it, nor where it lies at its top."""
    for folder in (repository / 'venv/site-packages', repository):
        (folder / 'mmgcp').mkdir(parents=True)
        monkeypatch.setattr(module.mmgcp, '__file__', str(folder / 'mmgcp/__init__.py'))
        assert 'commit' not in environment()


def test_a_checkout_without_git_has_no_commit(repository, monkeypatch):
    shutil.copy(ROOT / 'setup.cfg', repository)
    monkeypatch.setenv('PATH', '')
    assert checkout_commit(repository) is None
