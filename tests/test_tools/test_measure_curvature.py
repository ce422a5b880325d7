"""The tool that measures curvature, on tiny networks in this process, and on a trained one as a user runs it."""
import json
import re
import shutil
from functools import partial

import pytest
import torch
from mmengine.config import Config
from mmengine.registry import MODELS

from mmgcp.apis.trained import trained_model, training_batches
from mmgcp.probes.hessian import measure_curvature

from .conftest import CLASSIFIER

NECKS = {
    'gap': "dict(type='GlobalAveragePooling', _delete_=True)",
    'gcp': "dict(type='mmgcp.GlobalCovariancePooling', in_channels=4, reduced_channels=6, _delete_=True)",
}
CONFIG = '''
_base_ = '{base}'
model = dict(
    backbone=dict(type='ResNet', depth=18, num_stages=1, strides=(1, ), dilations=(1, ), out_indices=(0, ),
                  stem_channels=4, base_channels=4, _delete_=True),
    neck={neck},
    head=dict(in_channels={channels}))
train_dataloader = dict(batch_size=4)
'''


@pytest.fixture
def runs(workplace, tmp_path, monkeypatch):
    """Folder with configs and work dirs of two networks, as trainings of three epochs leave them."""
    monkeypatch.chdir(tmp_path)
    (tmp_path / 'data').symlink_to(workplace.folder / 'data')
    for name, neck in NECKS.items():
        channels = 4 if name == 'gap' else 21
        config = CONFIG.format(base=workplace.folder / CLASSIFIER, neck=neck, channels=channels)
        (tmp_path / f'{name}.py').write_text(config)
        for epoch in (1, 2, 3):
            save(tmp_path, name, epoch)
    return tmp_path


def save(folder, name, epoch, damage=1.):
    torch.manual_seed(epoch)
    model = MODELS.build(Config.fromfile(folder / f'{name}.py').model)
    torch.nn.init.normal_(model.head.fc.weight, std=0.3)
    model.head.fc.weight.data *= damage
    path = folder / f'work_dirs/{name}/epoch_{epoch}.pth'
    path.parent.mkdir(parents=True, exist_ok=True)
    torch.save(dict(meta=dict(epoch=epoch, iter=12 * epoch), state_dict=model.state_dict()), path)


@pytest.fixture
def run(runs, analyse):
    """Runs the tool, and returns what it prints."""
    return partial(analyse, 'measure_curvature.py')


def records(folder, name):
    lines = (folder / f'work_dirs/{name}/curvature.json').read_text().splitlines()
    return [json.loads(line) for line in lines]


def rows(out):
    return [[cell.strip() for cell in line.split('|')[1:-1]] for line in out.splitlines() if line.startswith('| g')]


def test_compares_networks_on_the_same_images(run, runs, monkeypatch):
    out = run('gap.py', 'gcp.py', '--labels', 'gap net', 'gcp net', '--every', '3', '--batches', '2', '--eigenvalues',
              '2', '--smallest', '--samples', '3', '--tolerance', '0.01', '--seed', '5', '--out', 'out/figure.png',
              '--formats', 'svg')
    assert ('gap net: 1 checkpoints, 1 to be measured\ngcp net: 1 checkpoints, 1 to be measured\n'
            'Curvature of the loss of 8 training images, on the ') in out
    assert 'eigenvalues 2, smallest True, samples 3, tolerance 0.01, seed 5' in out
    assert re.findall(r'^\[(\d/\d)\] (g.. net \S+): loss', out, re.M) == [
        ('1/2', 'gap net epoch_3.pth'), ('2/2', 'gcp net epoch_3.pth')]
    assert [row[:2] for row in rows(out)] == [['gap net', '3'], ['gcp net', '3']]
    assert out.endswith('\nFigure: out/figure.png out/figure.svg\n') and (runs / 'out/figure.svg').is_file()

    settings, last = records(runs, 'gcp')
    settings, other = settings['settings'], records(runs, 'gap')[0]['settings']
    assert settings.pop('network') != other.pop('network')  # which decides the numbers, too
    assert settings == other
    with pytest.raises(SystemExit, match=r'other settings \(network\)'):
        run('gap.py', '--every', '3', '--batches', '2', '--eigenvalues', '2', '--smallest', '--samples', '3',
            '--tolerance', '0.01', '--seed', '5', '--cfg-options', 'model.backbone.norm_eval=True')
    with monkeypatch.context() as patch, pytest.raises(SystemExit, match=r'other settings \(libraries\)'):
        patch.setattr('mmgcp.apis.along_training.library_versions', lambda: {'torch': '2.0'})
        run('gap.py', '--every', '3', '--batches', '2', '--eigenvalues', '2', '--smallest', '--samples', '3',
            '--tolerance', '0.01', '--seed', '5')
    cfg = Config.fromfile('gcp.py')
    model, _ = trained_model(cfg, 'work_dirs/gcp/epoch_3.pth')
    device = 'cuda' if torch.cuda.is_available() else 'cpu'
    expected = measure_curvature(model.to(device), training_batches(cfg, 2, seed=5), eigenvalues=2, smallest=True,
                                 samples=3, tolerance=0.01, seed=5)._asdict()
    assert (last['checkpoint'], last['unit'], last['step']) == ('epoch_3.pth', 'epoch', 3)
    for name in ('loss', 'eigenvalues', 'smallest', 'trace', 'trace_error', 'products'):
        assert last[name] == pytest.approx(expected[name], rel=1e-3), name
    assert len(last['eigenvalues']) == 2 and len(last['smallest']) == 1 and not last['fault']


def test_goes_on_where_it_was_interrupted(run, runs):
    shutil.move(runs / 'work_dirs/gap/epoch_3.pth', runs)
    arguments = ('gap.py', '--samples', '2', '--tolerance', '0.01')
    run(*arguments)
    file = runs / 'work_dirs/gap/curvature.json'
    settings, first, second = file.read_text().splitlines(keepends=True)
    file.write_text(settings + first + second[:40])  # cut off while it was written
    shutil.move(runs / 'epoch_3.pth', runs / 'work_dirs/gap')
    with pytest.warns(UserWarning, match='The last line of .* is cut off and was left out'):
        out = run(*arguments)
    assert 'gap: 3 checkpoints, 2 to be measured' in out and len(rows(out)) == 3
    assert file.read_text().startswith(settings + first)
    assert [record['step'] for record in records(runs, 'gap')[1:]] == [1, 2, 3]
    assert json.loads(second)['trace'] == pytest.approx(records(runs, 'gap')[2]['trace'], rel=1e-4)
    known = file.read_text()
    out = run(*arguments)
    assert 'gap: 3 checkpoints, 0 to be measured' in out and file.read_text() == known
    # Weights trained anew under the same name.
    save(runs, 'gap', 1, damage=0.1)
    out = run(*arguments)
    assert '3 checkpoints, 1 to be' in out and len(rows(out)) == 3
    assert records(runs, 'gap')[4]['loss'] != records(runs, 'gap')[1]['loss']


def test_networks_that_are_not_finite_leave_nan_and_a_word(run, runs):
    save(runs, 'gap', 2, damage=float('nan'))
    out = run('gap.py', '--samples', '2', '--tolerance', '0.1')
    assert ('[2/3] gap epoch_2.pth: left incomplete, because the loss of batch 1 of 1 is nan, so it has no curvature'
            in out)
    values = [row[2:4] + [row[6]] for row in rows(out)]
    assert values[1] == ['nan', 'nan', 'nan ± nan'] and 'nan' not in values[0] + values[2]


def test_progress_tells_how_long_it_will_take(run, monkeypatch):
    clock = iter(range(0, 100000, 6))
    monkeypatch.setattr('time.perf_counter', lambda: next(clock))
    out = run('gap.py', '--samples', '2', '--tolerance', '0.1', '--every', '2')
    assert re.search(r'^\[1/2\] gap epoch_2.pth: \d products, \d+ s each: 2 for the trace, then until the eigenvalues '
                     r'converge$', out, re.M)
    assert re.search(r'^\[2/2\] gap epoch_3.pth: \d products of about \d\d, \d+ s each: 0:\d\d:\d\d left in all$', out,
                     re.M)


@pytest.mark.parametrize('arguments, sentence', [
    (['gap.py', '--work-dirs', 'nowhere'], r'nowhere holds no checkpoint \(epoch_N.pth or iter_N.pth\)'),
    (['gap.py', 'nowhere.py'], 'the config nowhere.py does not exist'),
    (['gap.py', 'gap.py'], "several runs are called 'gap': give each its own name with --labels"),
    (['gap.py', '--batches', '100'], 'the training data have .* batches of 4 images, but 100 are asked for'),
    (['gap.py', '--cfg-options', 'train_dataloader.dataset.data_root=nowhere'], 'the data root nowhere does not exist'),
    (['gap.py', '--work-dirs', 'work_dirs/gcp'], 'gcp/epoch_1.pth does not fit ImageClassifier'),
])
def test_mistakes_end_in_one_sentence(arguments, sentence, run):
    with pytest.raises(SystemExit, match=rf'^\nStopped: .*{sentence}.*\.$'):
        run(*arguments)


def test_networks_on_other_images_are_refused_before_any_work(run, runs):
    config = runs / 'gcp.py'
    config.write_text(config.read_text().replace('batch_size=4', 'batch_size=6'))
    with pytest.raises(SystemExit, match=r"'gap' and 'gcp' cannot be compared, for they differ in what is measured "
                                         r'\(fingerprint \w{12} and \w{12}, images 4 and 6\)'):
        run('gap.py', 'gcp.py')
    assert not list(runs.glob('work_dirs/*/curvature.json'))


@pytest.mark.parametrize('arguments, sentence', [
    (['--samples', '1'], 'argument --samples: 1 must be an integer of at least 2'),
    (['--eigenvalues', 'two'], "argument --eigenvalues: invalid integer value: 'two'"),
    (['--labels', 'a', 'b'], '--labels names 2 runs, but there are 1 configs: give one each'),
])
def test_arguments_out_of_range(arguments, sentence, run, capsys):
    with pytest.raises(SystemExit):
        run('gap.py', *arguments)
    assert sentence in capsys.readouterr().err


def test_a_training_that_has_ended(trained):
    out = trained.run('analysis_tools/measure_curvature.py', CLASSIFIER, '--every', '3', '--samples', '2',
                      '--tolerance', '0.1', '--cfg-options', 'train_dataloader.batch_size=2')
    (name, epoch, loss, largest, converged, *_), = rows(out.replace('| resnet18', '| gresnet18'))
    assert (name, epoch, converged) == ('gresnet18_gcp_m_shapes', '3', '1 of 1')
    assert float(loss) > 0 and float(largest) > 0
