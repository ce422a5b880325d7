"""What all tests share."""
import gc
import os
import shutil

import pytest
import torch
from mmengine.logging import MessageHub, MMLogger
from mmengine.registry import DefaultScope
from mmengine.visualization import Visualizer

from . import shortcuts  # noqa: F401

# Stray settings of the shell, or of a hook of git, must not reach what tests start.
for name in ('MMGCP_REASON_FILE', 'GIT_DIR', 'GIT_INDEX_FILE', 'GIT_WORK_TREE'):
    os.environ.pop(name, None)


def pytest_collection_modifyitems(items):
    """Files of few long tests go first, so that all workers end at about the same time."""
    items.sort(key=lambda item: 'test_tools' not in item.path.parts)


def pytest_collection_finish():
    """Spares the collector, which data sets call, the objects of the libraries."""
    gc.freeze()


@pytest.fixture
def device() -> torch.device:
    """The CPU, or what TORCH_DEVICE names."""
    return torch.device(os.environ.get('TORCH_DEVICE', 'cpu'))


@pytest.fixture(scope='module')
def module_path(request, tmp_path_factory):
    """Folder of one file of tests, removed after the last of them unless some test failed."""
    path = tmp_path_factory.mktemp(request.path.stem)
    yield path
    if not request.session.testsfailed:
        shutil.rmtree(path)


@pytest.fixture(autouse=True)
def seed() -> None:
    torch.manual_seed(0)


@pytest.fixture(autouse=True)
def scope():
    """MMPretrain's registries first, whatever a test before has made the default."""
    with DefaultScope.overwrite_default_scope('mmpretrain'):
        yield


@pytest.fixture(autouse=True)
def runners_share_nothing():
    """Later Runners of the same names would take up the logs and figures of a test, whose folder is gone."""
    yield
    for shared in (MMLogger, MessageHub, Visualizer, *Visualizer.__subclasses__()):
        shared._instance_dict.clear()
