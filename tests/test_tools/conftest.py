"""Runs of the real tools on small generated data, shared by the tests of this folder."""
import fcntl
import os
import runpy
import shutil
import subprocess
import sys
from collections.abc import Callable, Sequence
from pathlib import Path

import pytest

from tools.dataset_tools.shapes import ShapeSettings, make_coco, make_imagenet

from ..processes import Processes, free_port

ROOT = Path(__file__).parents[2]
# Configs in a workplace: those of the quick start with a narrow backbone.
CLASSIFIER, DETECTOR = 'resnet18_gcp_m_shapes.py', 'mask_rcnn_r18_gcp_m_shapes.py'
NARROW = {
    CLASSIFIER: dict(neck=dict(in_channels=128, reduced_channels=32), head=dict(in_channels=528)),
    DETECTOR: dict(neck=dict(in_channels=[16, 32, 64, 128])),
}
# Random flips and crops stay on: what is repeated must be repeated with them.
SMALL = ('train_dataloader.batch_size=8', 'train_cfg.max_epochs=3', 'default_hooks.logger.interval=1')


class Workplace:
    """A folder with data and work_dirs, in which the tools run as a user runs them."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        for name, parts in NARROW.items():
            (folder / name).write_text(f"_base_ = '{ROOT / 'configs/quickstart' / name}'\n"
                                       f'model = {dict(parts, backbone=dict(stem_channels=16, base_channels=16))}')
        make_imagenet(folder / 'data/shapes', ShapeSettings(image_size=64, train=4, val=2), log=str)
        make_coco(folder / 'data/shapes', ShapeSettings(image_size=128, train=6, val=3), log=str)

    @property
    def environment(self) -> dict:
        return dict(os.environ, PYTHON=sys.executable, OMP_NUM_THREADS='1', PORT=str(free_port()))

    def start(self, tool: str, *arguments: str, processes: int = 1) -> Processes:
        """A tool in Python, under way."""
        return Processes(ROOT / 'tools' / tool, resolved(arguments), self.folder, self.environment, processes)

    def run(self, tool: str | Path, *arguments: str, processes: int = 1, fails: bool = False) -> str:
        """Output of a tool, which must succeed, or fail; shell scripts start everything from nothing."""
        if str(tool).endswith('.sh'):
            done = subprocess.run(['bash', str(ROOT / 'tools' / tool), *resolved(arguments)], cwd=self.folder,
                                  env=self.environment, text=True, stdout=subprocess.PIPE, stderr=subprocess.STDOUT)
            code, output = done.returncode, done.stdout
        else:
            code, output = self.start(tool, *arguments, processes=processes).wait()
        assert (code != 0) == fails, output[-6000:]
        return output


def resolved(arguments: Sequence[str]) -> list[str]:
    """Arguments with the place of this project's configs."""
    return [str(ROOT / a) if str(a).startswith('configs/') else str(a) for a in arguments]


@pytest.fixture
def analyse(tmp_path, monkeypatch, capsys) -> Callable[..., str]:
    """Runs a tool of tools/analysis_tools in this process, in a folder of its own, and returns what it prints."""
    monkeypatch.chdir(tmp_path)

    def analyse(tool, *arguments):
        monkeypatch.setattr(sys, 'argv', [tool, *arguments])
        runpy.run_path(str(ROOT / 'tools/analysis_tools' / tool), run_name='__main__')
        return capsys.readouterr().out

    return analyse


@pytest.fixture(scope='module')
def workplace(module_path) -> Workplace:
    """Workplace of one file of tests: what a file leaves there is in no other's way."""
    return Workplace(module_path)


@pytest.fixture(scope='module')
def trained(workplace, tmp_path_factory) -> Workplace:
    """Workplace in which two processes have pre-trained the classifier for three epochs, once for all files."""
    folder = tmp_path_factory.getbasetemp()
    folder = folder.parent if 'PYTEST_XDIST_WORKER' in os.environ else folder
    work_dir, finished = folder / 'resnet18_gcp_m_shapes', folder / 'finished'
    with (folder / 'lock').open('w') as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        if not finished.exists():
            workplace.run('dist_train.sh', CLASSIFIER, '2', '--work-dir', work_dir, '--cfg-options', *SMALL)
            finished.touch()
    shutil.copytree(work_dir, workplace.folder / 'work_dirs' / work_dir.name, copy_function=os.link)
    return workplace
