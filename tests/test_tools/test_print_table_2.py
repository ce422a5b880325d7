"""The tool that prints Table 2, run in this process."""
import json

import pytest

CONFIG = '''
model = dict(backbone=dict(type='ResNet', depth=18), neck=dict(type='{neck}'))
train_dataloader = dict(batch_size=32)
optim_wrapper = dict(optimizer=dict(type='SGD', lr=0.1))
param_scheduler = dict(type='StepLR', step_size=1)
train_cfg = dict(max_epochs=3)
'''


@pytest.fixture
def run(analyse, tmp_path):
    """Runs the tool in a folder of its own and returns the lines that it prints."""
    runs = dict(gap=('GlobalAveragePooling', [60., 72., 70.]), gcp=('mmgcp.GlobalCovariancePooling', [71.5, 74.]))
    for name, (neck, values) in runs.items():
        folder = tmp_path / name / '20240101_000000'
        (folder / 'vis_data').mkdir(parents=True)
        (folder / 'vis_data' / 'config.py').write_text(CONFIG.format(neck=neck))
        (folder / '20240101_000000.log').write_text('    GPU number: 2\n')
        lines = [line for epoch, value in enumerate(values, 1)
                 for line in (dict(epoch=epoch, iter=epoch, step=epoch), {'accuracy/top1': value, 'step': epoch})]
        (folder / 'vis_data' / 'scalars.json').write_text('\n'.join(map(json.dumps, lines)))
    return lambda *arguments: analyse('print_table_2.py', *arguments).splitlines()


def test_table(run, tmp_path):
    lines = run('gap', 'gcp', '--labels', 'A', 'B', '--metrics', 'accuracy/top1', '--out', 'table.md')
    assert lines == [
        '| network   | run | pooling |         lr | batch | epochs | matching epoch |         top-1 |',
        '| --------- | --: | ------: | ---------: | ----: | -----: | -------------: | ------------: |',
        '| ResNet-18 |   A |     GAP | StepLR 0.1 |    64 |      3 |            N/A |         70.00 |',
        '| ResNet-18 |   B |     GCP | StepLR 0.1 |    64 |    2/3 |         1 (↓2) | 74.00 (↑4.00) |',
    ]
    assert (tmp_path / 'table.md').read_text(encoding='utf-8').splitlines() == lines


def test_mistakes_end_in_one_sentence(run):
    with pytest.raises(SystemExit, match=r"^\nStopped: No run measured 'accuracy/top5': choose from accuracy/top1\.$"):
        run('gap', 'gcp')
    with pytest.raises(SystemExit, match=r"^\nStopped: No run is called 'x'"):
        run('gap', 'gcp', '--reference', 'x', '--metrics', 'accuracy/top1')
    with pytest.raises(SystemExit, match=r'^\nStopped: .* must end in \.md or \.csv\.$'):
        run('gap', '--metrics', 'accuracy/top1', '--out', 'table.txt')
