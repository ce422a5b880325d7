"""What all tests share."""
import functools
import os

import mmengine.config.utils
import pytest
import torch
from mmengine.registry import DefaultScope

# A stray setting of the shell must not reach the tools that tests start.
os.environ.pop('MMGCP_REASON_FILE', None)

# For each base inherited from MMPretrain or MMDetection, MMEngine reads all metafiles of that library anew: seconds.
mmengine.config.utils.load = functools.cache(mmengine.config.utils.load)


@pytest.fixture
def device() -> torch.device:
    """The CPU, or what TORCH_DEVICE names."""
    return torch.device(os.environ.get('TORCH_DEVICE', 'cpu'))


@pytest.fixture(autouse=True)
def seed() -> None:
    torch.manual_seed(0)


@pytest.fixture(autouse=True)
def scope():
    """MMPretrain's registries first, whatever a test before has made the default."""
    with DefaultScope.overwrite_default_scope('mmpretrain'):
        yield
