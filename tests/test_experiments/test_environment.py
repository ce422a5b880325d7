import mmengine
import torch

from mmgcp.experiments.environment import environment
from mmgcp.utils.mmcv_operators import operators


def test_versions_hardware_and_threads():
    made = environment(threads=3, device=torch.device('cpu'))
    assert (made['torch'], made['mmengine'], made['threads']) == (torch.__version__, mmengine.__version__, 3)
    assert made['mmcv operators'] == operators()
    assert 'cores of ' in made['hardware'] and made['commit']
    assert environment()['threads'] == torch.get_num_threads()
