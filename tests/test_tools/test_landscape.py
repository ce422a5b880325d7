"""Two processes train with the landscape measured on their way, and the figure of it is drawn."""
import torch

from mmgcp.utils.checkpoint import load_state_dict
from mmgcp.utils.records import read_records

from .conftest import SMALL

CONFIG = '''
_base_ = 'resnet18_gcp_m_shapes.py'

custom_hooks = [
    *_base_.custom_hooks,
    dict(type='mmgcp.LandscapeHook', step_range=(0.1, 75), num_steps=3, interval=4),
    dict(type='mmgcp.MatchingEpochHook', target=0.),
]
'''


def test_two_processes_train_as_without_measuring(trained):
    config = trained.folder / 'watched.py'
    config.write_text(CONFIG)
    printed = trained.run('train.py', config, '--cfg-options', *SMALL, processes=2)
    assert 'LandscapeHook (stem): 3 measurements in' in printed
    assert 'Matching epoch of accuracy/top1 0: 1.' in printed
    plain, watched = (load_state_dict(str(trained.folder / f'work_dirs/{name}/epoch_3.pth'))
                      for name in ('resnet18_gcp_m_shapes', 'watched'))
    assert all(torch.equal(watched[name], value) for name, value in plain.items())

    settings, records = read_records(next(trained.folder.glob('work_dirs/watched/*/landscape/stem.json')))
    # 8 images of each process, 3 iterations an epoch.
    assert settings['images'] == 16 and [(record['iter'], record['epoch']) for record in records] == [
        (0, 1), (4, 2), (8, 3)]
    assert all(0 < record['gradient_norm'] < float('inf') for record in records)

    table = trained.run('analysis_tools/plot_landscape.py', 'work_dirs/watched', '--beta', '--out', 'watched.png')
    assert '| watched |            3 |              8 |' in table
    assert (trained.folder / 'watched.png').stat().st_size > 0 and (trained.folder / 'watched.pdf').stat().st_size > 0
