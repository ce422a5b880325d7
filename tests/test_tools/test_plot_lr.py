"""The tool that draws learning rates, run in this process."""
import json

import pytest

import mmgcp.apis.launch  # noqa: F401 (some libraries print at their first import)

CONFIG = '''
optim_wrapper = dict(optimizer=dict(type='SGD', lr=0.1))
param_scheduler = dict(type='mmgcp.PolynomialLR', power=2, final_epoch=50)
train_cfg = dict(max_epochs=50)
'''


@pytest.fixture
def run(analyse):
    """Runs the tool in a folder of its own and returns the lines that it prints."""
    return lambda *arguments: analyse('plot_lr.py', *arguments).splitlines()


def test_configs_with_options(run, tmp_path):
    for name, text in {'a': CONFIG, 'b': CONFIG, 'longer': CONFIG.replace('=50', '=60')}.items():
        (tmp_path / f'{name}.py').write_text(text)
    lines = run('a.py', 'b.py', 'longer.py', '--cfg-options', 'param_scheduler.power=5', '--epochs', '1', '51',
                '--out', 'lr.png', '--log', '--formats', 'svg')
    rate = f'{0.1 * (1 - 50 / 59)**5:.3g}'
    assert lines == [
        '| setting | epochs | epoch 1 | epoch 51 | last |',
        '| ------- | -----: | ------: | -------: | ---: |',
        '| a, b    |     50 |     0.1 |          |    0 |',
        f'| longer  |     60 |     0.1 | {rate} |    0 |',
        '',
        'Figure: lr.png lr.svg',
    ]
    assert (tmp_path / 'lr.png').stat().st_size > 5000


def test_settings_of_table_3(run):
    rows = [line.split('|')[1:-1] for line in run('--epoch-length', '4')[2:14]]
    settings = {setting.strip(): (int(epochs), float(rates[0]), float(rates[-1])) for setting, epochs, *rates in rows}
    assert settings == {
        'ResNet LR_norm': (100, 0.1, 1e-4),
        'ResNet LR_fast': (30, 0.1, 1.27e-5),
        'ResNet LR_adju': (50, 0.1, 0),
        'ResNet LR_adju_release': (50, 0.104, 4.16e-5),
        'ResNet LR_fast_release': (30, 0.123, 2.02e-5),
        'MobileNetV2 LR_norm': (400, 0.045, 1.42e-5),
        'MobileNetV2 LR_fast': (100, 0.06, 1.56e-5),
        'MobileNetV2 LR_adju': (150, 0.06, 2.98e-5),
        'MobileNetV2 LR_adju_release': (150, 0.06, 2.98e-5),
        'ShuffleNetV2 LR_norm': (240, 0.5, 0.00208),
        'ShuffleNetV2 LR_fast': (60, 0.5, 0.00833),
        'ShuffleNetV2 LR_adju': (100, 0.5, 0.005),
    }


def test_curves_of_eq_9_and_trainings_with_them(run, tmp_path):
    for name in ('fast', 'adju'):
        log = tmp_path / name / '20240101_000000' / 'vis_data' / 'scalars.json'
        log.parent.mkdir(parents=True)
        lines = [dict(epoch=1, iter=10, step=10), {'accuracy/top1': 50., 'step': 1}]
        log.write_text('\n'.join(map(json.dumps, lines)))
    lines = run('--polynomial', '11-53', '0.5-60', '--epochs', '1', '31', '--runs', 'fast', 'adju', '--out', 'fig4.png')
    assert lines[2:4] == [
        f'| Eq. 9 11 - 53  |     53 |     0.1 | {0.1 * (1 - 30 / 52)**11:.3g} |    0 |',
        f'| Eq. 9 0.5 - 60 |     60 |     0.1 |   {0.1 * (1 - 30 / 59)**0.5:.3g} |    0 |',
    ]
    assert (tmp_path / 'fig4.png').stat().st_size > 5000


def test_mistakes_end_in_one_sentence(run, tmp_path):
    (tmp_path / 'a.py').write_text(CONFIG)
    with pytest.raises(SystemExit, match=r'^\nStopped: .*power=0 must be positive\.$'):
        run('a.py', '--cfg-options', 'param_scheduler.power=0')
    with pytest.raises(SystemExit, match=r'^\nStopped: .*must end in \.png.*\.$'):
        run('a.py', '--out', 'lr.jpg')
    with pytest.raises(SystemExit, match=r'^\nStopped: the config nowhere.py does not exist'):
        run('nowhere.py')
    with pytest.raises(SystemExit, match=r'^\nStopped: Give either configs or --polynomial\.$'):
        run('a.py', '--polynomial', '2-50')
    with pytest.raises(SystemExit, match=r'^\nStopped: .*final_epoch=1 must be greater than start_epoch=1\.$'):
        run('--polynomial', '2-1')
    with pytest.raises(SystemExit, match=r"^\nStopped: 'nowhere' holds no log"):
        run('--polynomial', '2-50', '--runs', 'nowhere')


def test_what_is_no_polynomial(run, capsys):
    with pytest.raises(SystemExit):
        run('--polynomial', '11,53')
    assert "'11,53' must be rho and the final epoch of Eq. 9, such as 11-53" in capsys.readouterr().err
