"""Runs of the real tools on small generated data, shared by the tests of this folder."""
import os
import subprocess
import sys
from pathlib import Path

import pytest

from mmgcp.datasets.shapes import Settings, make_coco, make_imagenet

ROOT = Path(__file__).parents[2]
CLASSIFIER = 'configs/quickstart/resnet18_gcp_m_shapes.py'
DETECTOR = 'configs/quickstart/mask_rcnn_r18_gcp_m_shapes.py'
# Random flips and crops stay on: what is repeated must be repeated with them.
SMALL = ('train_dataloader.batch_size=8', 'train_cfg.max_epochs=3', 'default_hooks.logger.interval=1')


class Workplace:
    """A folder with data and work_dirs, in which the tools run as a user runs them."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        make_imagenet(folder / 'data/shapes', Settings(image_size=64, train=4, val=2), log=str)
        make_coco(folder / 'data/shapes', Settings(image_size=128, train=6, val=3), log=str)

    def command(self, tool: str, *arguments: str) -> list:
        start = ['bash'] if tool.endswith('.sh') else [sys.executable]
        arguments = [str(ROOT / a) if str(a).startswith('configs/') else str(a) for a in arguments]
        return [*start, str(ROOT / 'tools' / tool), *arguments]

    @property
    def environment(self) -> dict:
        return dict(os.environ, PYTHON=sys.executable, OMP_NUM_THREADS='1', PORT=str(free_port()))

    def run(self, tool: str, *arguments: str, fails: bool = False) -> str:
        """Output of a tool, which must succeed, or fail."""
        done = subprocess.run(self.command(tool, *arguments), cwd=self.folder, env=self.environment, text=True,
                              stdout=subprocess.PIPE, stderr=subprocess.STDOUT)
        assert (done.returncode != 0) == fails, done.stdout[-6000:]
        return done.stdout


def free_port() -> int:
    import socket
    with socket.socket() as listener:
        listener.bind(('127.0.0.1', 0))
        return listener.getsockname()[1]


@pytest.fixture(scope='session')
def workplace(tmp_path_factory) -> Workplace:
    return Workplace(tmp_path_factory.mktemp('workplace'))


@pytest.fixture(scope='session')
def trained(workplace) -> Workplace:
    """Workplace in which two processes have pre-trained the classifier for three epochs."""
    workplace.run('dist_train.sh', CLASSIFIER, '2', '--cfg-options', *SMALL)
    return workplace
