"""Robustness of trained networks, by the real tool on drawn images."""
import errno
import json
import runpy
import shutil
import signal
import sys
from pathlib import Path

import numpy as np
import pytest
import torch
import torchvision
from mmengine.config import Config
from mmengine.registry import DATASETS, MODELS, init_default_scope
from PIL import Image

from mmgcp.analysis.robustness import per_image
from mmgcp.apis.robustness.benchmarks import Benchmark, benchmark_sets
from mmgcp.apis.trained import trained_model
from mmgcp.datasets.corruptions import corrupt_image, image_seed
from mmgcp.datasets.perturbations import perturb_image
from mmgcp.robustness.outcomes import pack_errors
from mmgcp.utils.records import read_records

from .conftest import CLASSIFIER, DETECTOR, ROOT, resolved

NETWORK = (CLASSIFIER, 'workdir://resnet18_gcp_m_shapes')
IMAGES = 'data/shapes/imagenet/val'


@pytest.fixture
def tool(trained, monkeypatch, capsys):
    """Runs tools/NAME.py in the workplace; returns what it prints."""
    monkeypatch.chdir(trained.folder)

    def run(name, *arguments):
        monkeypatch.setattr(sys, 'argv', [name, *resolved(arguments)])
        capsys.readouterr()
        runpy.run_path(str(ROOT / f'tools/{name}.py'), run_name='__main__')
        return capsys.readouterr().out
    return run


@pytest.fixture
def measure(tool):
    def run(work_dir, *arguments, network=NETWORK):
        return tool('test_robustness', *network, '--work-dirs', work_dir, '--labels', 'network',
                    '--out', f'{work_dir}/figure.png', *arguments)
    return run


@pytest.fixture(scope='module')
def corrupted(trained):
    """Folder of corrupted images without loss, as ImageNet-C."""
    trained.run('dataset_tools/corrupt.py', IMAGES, 'data/shapes-c', *SETS, '--resize', '0', '--crop', '0',
                '--format', 'png', '--workers', '0')
    return trained.folder / 'data/shapes-c'


SETS = ('--benchmark', 'imagenet-c', '--corruptions', 'fog', 'impulse_noise', '--severities', '2', '5')


def measured(folder, benchmark='imagenet-c'):
    """Lines of the file of measurements by set, without times."""
    file, = (folder / 'robustness').glob(f'{benchmark}_*.json')
    lines = [json.loads(line) for line in file.read_text().splitlines()]
    return {line['set']: line['metrics'] for line in lines[1:]}


def outcomes(folder, benchmark='imagenet-c'):
    """What came of each photo, by set."""
    file, = (folder / 'robustness').glob(f'{benchmark}_*.json')
    return {record['set']: record['outcomes'] for record in read_records(file).records}


def tables(out):
    return [line for line in out.splitlines() if line.startswith('|')]


def scores_by_hand(model, images):
    """Class scores of RGB uint8 images (H, W, 3), one by one."""
    mean, std = np.array([123.675, 116.28, 103.53]), np.array([58.395, 57.12, 57.375])
    with torch.no_grad():
        return torch.cat([model.head.fc(model.extract_feat(torch.from_numpy(
            ((image - mean) / std).transpose(2, 0, 1)[None]).float())[-1]) for image in images])


@pytest.fixture(scope='module')
def photos(trained):
    """Clean images as (class folder, file stem, RGB array), in the order of the labels."""
    return [(path.parent.name, path.stem, np.array(Image.open(path).convert('RGB')))
            for path in sorted((trained.folder / IMAGES).glob('*/*'))]


@pytest.fixture(scope='module')
def model(trained):
    cfg = Config.fromfile(trained.folder / CLASSIFIER)
    model, _ = trained_model(cfg, trained.folder / 'work_dirs/resnet18_gcp_m_shapes/epoch_3.pth')
    model.eval()
    return model


def test_errors_on_the_fly_are_those_of_a_loop(measure, trained, model, photos):
    out = measure('fly', *SETS, '--seed', '3')
    labels = torch.tensor([sorted({name for name, *_ in photos}).index(name) for name, *_ in photos])
    errors = {'clean': float((scores_by_hand(model, [image for *_, image in photos]).argmax(1) != labels).sum())}
    for corruption in ('fog', 'impulse_noise'):
        for severity in (2, 5):
            made = [corrupt_image(image, corruption, severity, image_seed(3, corruption, severity, f'{name}/{stem}'))
                    for name, stem, image in photos]
            errors[f'{corruption}/{severity}'] = float((scores_by_hand(model, made).argmax(1) != labels).sum())
    found = measured(trained.folder / 'fly')
    found['clean/0'], errors['clean/0'] = found.pop('clean'), errors['clean']
    assert {name: values[f'error/{name}'] for name, values in found.items()} == {
        name: pytest.approx(100 * count / len(photos)) for name, count in errors.items() if name != 'clean'}
    assert f'Measured on {len(photos)} photos.' in out
    fog = 50 * (errors['fog/2'] + errors['fog/5']) / len(photos)
    assert '| weather: fog' in out and f' {fog:.1f} |' in out
    assert 'partial mean error (4 of 75 sets)' in out
    summary = json.loads((trained.folder / 'fly/figure.json').read_text())['networks'][0]
    assert summary['metrics']['clean error'] == pytest.approx(100 * errors['clean'] / len(photos), abs=1e-3)
    assert (trained.folder / 'fly/figure.png').stat().st_size and (trained.folder / 'fly/figure.csv').stat().st_size


def test_clean_images_alone(measure, trained, model, photos, monkeypatch):
    out = measure('clean', '--benchmark', 'clean')
    labels = [sorted({name for name, *_ in photos}).index(name) for name, *_ in photos]
    wrong = (scores_by_hand(model, [image for *_, image in photos]).argmax(1) != torch.tensor(labels)).tolist()
    assert measured(trained.folder / 'clean', 'clean') == {
        'clean': {'error/clean/0': pytest.approx(100 * np.mean(wrong)), 'images/clean/0': len(photos)}}
    assert outcomes(trained.folder / 'clean', 'clean') == {
        'clean': pack_errors([f'{name}/{stem}.png' for name, stem, _ in photos], wrong)}
    assert any(line.startswith('| photos: clean |') for line in tables(out))
    assert 'clean error' in tables(out)[-3] and f'{100 * np.mean(wrong):.1f}' in tables(out)[-1]
    assert (trained.folder / 'clean/figure.png').stat().st_size
    assert tables(measure('clean', '--benchmark', 'clean', '--seed', '3')) == tables(out)  # no seed enters
    for argument, sentence in ((('--data-root', 'data'), 'leave the data root'),
                               (('--resize-again', ), 'only files of a data root can be resized again')):
        with pytest.raises(SystemExit, match=sentence):
            measure('clean', '--benchmark', 'clean', *argument)
    for launcher, rank in (('pytorch', 'RANK'), ('slurm', 'SLURM_PROCID'), ('mpi', 'OMPI_COMM_WORLD_RANK')):
        monkeypatch.setenv(rank, '1')  # only the first process reports
        assert measure('clean', '--benchmark', 'clean', '--launcher', launcher) == ''
    assert tables(measure('clean', '--benchmark', 'clean')) == tables(out)  # whatever RANK is


def test_images_on_disk_give_what_those_on_the_fly_give(measure, trained, corrupted):
    expected = tables(measure('fly_0', *SETS))
    assert tables(measure('disk', *SETS, '--data-root', corrupted)) == expected
    assert measured(trained.folder / 'disk') == measured(trained.folder / 'fly_0')
    assert outcomes(trained.folder / 'disk') == outcomes(trained.folder / 'fly_0')
    records = read_records(trained.folder / 'disk/robustness/imagenet-c_epoch_3.json').records
    metrics = json.loads((trained.folder / 'disk/figure.json').read_text())['networks'][0]['metrics']
    values = per_image(records, 'relative mean error')
    assert values.shape == (24, ) and values.mean() == pytest.approx(
        metrics['partial relative mean error (4 of 75 sets)'])


def test_an_interrupted_run_goes_on_where_it_stopped(measure, trained, corrupted):
    expected = tables(measure('whole', *SETS, '--data-root', corrupted))
    file = trained.folder / 'whole/robustness/imagenet-c_epoch_3.json'
    lines = file.read_text().splitlines(keepends=True)
    part = trained.folder / 'part/robustness/imagenet-c_epoch_3.json'
    part.parent.mkdir(parents=True)
    part.write_text(''.join(lines[:3]) + lines[3][:20])
    assert tables(measure('part', *SETS, '--data-root', corrupted)) == expected
    again = part.read_text().splitlines(keepends=True)
    assert outcomes(trained.folder / 'part') == outcomes(trained.folder / 'whole')
    assert again[:3] == lines[:3]  # with their times: they were not tested again
    assert [json.loads(line)['set'] for line in again[3:]] == [json.loads(line)['set'] for line in lines[3:]]
    shutil.move(corrupted, corrupted.with_name('away'))
    try:  # all is measured: neither data nor network are asked for
        assert tables(measure('part', *SETS, '--data-root', corrupted)) == expected
        with pytest.raises(SystemExit, match='data root .*shapes-c does not exist'):
            measure('other', *SETS, '--data-root', corrupted)
    finally:
        shutil.move(corrupted.with_name('away'), corrupted)


# Runs the tool and ends it, as nothing can prevent, when it has measured so many more sets and then opens so many files
# of the work or data folder.
VICTIM = f'''
import os, runpy, signal, sys
from mmgcp.apis.robustness import benchmark_loop

sets, files = int(sys.argv.pop(1)), int(sys.argv.pop(1))
append_record = benchmark_loop.append_record

def append(*arguments):
    global sets
    append_record(*arguments)
    sets -= 1

def count(event, arguments):
    global files
    if not sets and event == 'open' and any(part in str(arguments[0]) for part in ('killed', 'data/shapes')):
        files -= 1
        if not files:
            os.kill(os.getpid(), signal.SIGKILL)

benchmark_loop.append_record = append
sys.addaudithook(count)
runpy.run_path({str(ROOT / 'tools/test_robustness.py')!r}, run_name='__main__')
'''


def test_a_run_that_is_killed_ten_times_gives_the_same_table(measure, trained, corrupted):
    expected = tables(measure('uncut', *SETS, '--data-root', corrupted))
    (trained.folder / 'victim.py').write_text(VICTIM)
    arguments = [*NETWORK, '--work-dirs', 'killed', '--labels', 'network', '--out', 'killed/figure.png', *SETS,
                 '--data-root', str(corrupted), '--cfg-options', 'test_dataloader.num_workers=0',
                 'test_dataloader.persistent_workers=False']
    sets = []
    for more, files in zip((0, 0, 1, 0, 1, 0, 0, 1, 1, 0), np.random.default_rng(0).integers(1, 20, 10), strict=True):
        code, output = trained.start(trained.folder / 'victim.py', str(more), str(files), *arguments).wait()
        assert code == signal.SIGKILL, output[-3000:]
        found = [*(trained.folder / 'killed').glob('robustness/*.json')]
        sets.append(len(read_records(found[0]).records) if found else 0)
    assert sets == [0, 0, 1, 1, 2, 2, 2, 3, 4, 4]  # of 5: what was measured stays
    assert tables(trained.run('test_robustness.py', *arguments)) == expected
    assert measured(trained.folder / 'killed') == measured(trained.folder / 'uncut')


def append_half(path, record):
    with Path(path).open('a') as file:
        file.write(json.dumps(record)[:40])
    raise OSError(errno.ENOSPC, 'No space left on device')


def write_half(self, text, **kwargs):
    self.write_bytes(text.encode()[:40])
    raise OSError(errno.ENOSPC, 'No space left on device')


@pytest.mark.parametrize('function, broken', [
    ('mmgcp.apis.robustness.benchmark_loop.append_record', append_half),
    ('pathlib.Path.write_text', write_half),
])
def test_a_full_disk_costs_at_most_one_set(measure, trained, corrupted, monkeypatch, function, broken):
    expected, name = tables(measure('roomy', *SETS, '--data-root', corrupted)), f'full_{broken.__name__}'
    measure(name, *SETS[:3], 'fog', *SETS[5:], '--data-root', corrupted)
    file = trained.folder / name / 'robustness/imagenet-c_epoch_3.json'
    lines = file.read_text().splitlines()
    with monkeypatch.context() as patch:
        patch.setattr(function, broken)
        with pytest.raises(SystemExit, match='No space left on device'):
            measure(name, *SETS, '--data-root', corrupted)
    assert file.read_text().splitlines()[:len(lines)] == lines
    assert tables(measure(name, *SETS, '--data-root', corrupted)) == expected
    assert measured(trained.folder / name) == measured(trained.folder / 'roomy')


def test_two_processes_measure_the_same(trained, corrupted, measure):
    measure('one', *SETS, '--data-root', corrupted)
    trained.run('test_robustness.py', *NETWORK, '--work-dirs', 'two', '--out', 'two/figure.png', *SETS, '--data-root',
                corrupted, processes=2)
    # Batches of other sizes round differently, by which no prediction should change.
    assert measured(trained.folder / 'two') == measured(trained.folder / 'one')
    assert outcomes(trained.folder / 'two') == outcomes(trained.folder / 'one')


def test_networks_side_by_side_and_one_as_the_reference(tool, trained):
    every = ('--benchmark', 'imagenet-c', '--corruptions', 'contrast', '--severities', '1')
    shutil.copytree('work_dirs/resnet18_gcp_m_shapes', 'checkpoints')
    out = tool('test_robustness', *NETWORK, CLASSIFIER, 'checkpoints/epoch_1.pth', '--work-dirs', 'checkpoints',
               'checkpoints', '--labels', 'last', 'first', *every, '--out', 'both.png')
    files = [Path(f'checkpoints/robustness/imagenet-c_made_epoch_{epoch}.json') for epoch in (3, 1)]
    last, first = (json.loads(file.read_text().splitlines()[2])['metrics']['error/contrast/1'] for file in files)
    row, = (line for line in tables(out) if line.startswith('| first'))
    assert ' ± ' in row and 'Differences ± their standard error over photos (paired)' in out
    assert f'{first:.1f} (' in row and ('↑' if first > last else '↓' if first < last else '0.0') in row
    assert '| digital: contrast' in out and f'{last:.1f} | {first:.1f} |' in out.replace('  ', ' ')
    # AlexNet's errors are at hand for ImageNet.
    out = tool('test_robustness', *NETWORK, '--work-dirs', 'checkpoints', *every, '--reference', 'alexnet', '--out',
               'one.png')
    assert f'{last / 64.548 * 100:.1f}' in out and '100: AlexNet' in out


def test_flips_are_those_of_a_loop(measure, trained, model, photos):
    out = measure('sequences', '--benchmark', 'imagenet-p', '--perturbations', 'gaussian_noise', 'rotate',
                          '--frames', '6')
    for kind in ('gaussian_noise', 'rotate'):
        flips = []
        for name, stem, image in photos:
            frames = perturb_image(image, kind, frames=6, seed=image_seed(0, kind, f'{name}/{stem}'))
            best = scores_by_hand(model, frames).argmax(1).tolist()
            flips += [best[i] != best[0 if kind == 'gaussian_noise' else i - 1] for i in range(1, 6)]
        found = measured(trained.folder / 'sequences', 'imagenet-p')[kind]
        assert found[f'flip/{kind}'] == pytest.approx(100 * np.mean(flips))
        assert found[f'sequences/{kind}'] == len(photos)
        kept = outcomes(trained.folder / 'sequences', 'imagenet-p')[kind]
        assert (kept['pairs'], len(kept['flip']), sum(kept['flip'])) == (5, len(photos), sum(flips))
    assert 'partial mean FP (2 of 10 sets)' in out

    trained.run('dataset_tools/corrupt.py', IMAGES, 'data/shapes-p', '--benchmark', 'imagenet-p', '--perturbations',
                'gaussian_noise', 'rotate', '--frames', '6', '--resize', '0', '--crop', '0', '--format', 'png',
                '--workers', '0')
    measure('on_disk', '--benchmark', 'imagenet-p', '--data-root', 'data/shapes-p', '--partial')
    assert measured(trained.folder / 'on_disk', 'imagenet-p') == measured(trained.folder / 'sequences', 'imagenet-p')


def test_detectors_on_corrupted_coco(measure, trained):
    pytest.importorskip('mmdet')
    cfg = Config.fromfile(DETECTOR)
    cfg.model.backbone.init_cfg = None
    init_default_scope('mmdet')
    torch.save(dict(state_dict=MODELS.build(cfg.model).state_dict()), 'detector.pth')
    out = measure('coco', '--benchmark', 'coco-c', '--corruptions', 'contrast', '--severities', '5',
                          network=(DETECTOR, 'detector.pth'))
    found = measured(trained.folder / 'coco', 'coco-c')
    assert set(found) == {'clean', 'contrast/5'} and 'coco/bbox_mAP' in found['clean']
    assert 'bbox_mAP P' in out and 'partial bbox_mAP mPC (1 of 75 sets)' in out

    trained.run('dataset_tools/corrupt.py', 'data/shapes/coco/val2017', 'data/coco-c', '--benchmark', 'coco-c',
                '--corruptions', 'contrast', '--severities', '5', '--format', 'png', '--workers', '0')
    measure('stored', '--benchmark', 'coco-c', '--partial', '--data-root', 'data/coco-c',
            network=(DETECTOR, 'detector.pth'))
    assert measured(trained.folder / 'stored', 'coco-c') == found
    # The same pixels, of one photo after the other.
    cfg = Config.fromfile(DETECTOR)
    made, stored = (DATASETS.build(benchmark_sets(
        Benchmark('coco-c', root, ['contrast'], [5]), cfg.test_dataloader, cfg.test_evaluator)['contrast/5']['loader'][
            'dataset']) for root in (None, 'data/coco-c'))
    assert len(made) == len(stored) == 3
    for one, two in zip(made, stored, strict=True):
        assert Path(two['data_samples'].img_path).parent == trained.folder / 'data/coco-c/contrast/5'
        assert one['data_samples'].img_id == two['data_samples'].img_id and torch.equal(one['inputs'], two['inputs'])
    for arguments, sentence in (
            (('--data-root', 'data/coco-c'), 'lacks gaussian_noise/1, '),
            (('--data-root', 'nowhere'), 'data root nowhere does not exist'),
            (('--data-root', 'data/shapes'), 'has no folder of coco-c, such as data/shapes/gaussian_noise/1[.]$'),
            (('--data-root', 'data/coco-c', '--partial', '--skip-unreadable'), 'nor of COCO: replace those')):
        with pytest.raises(SystemExit, match=sentence):
            measure('bad', '--benchmark', 'coco-c', *arguments, network=(DETECTOR, 'detector.pth'))


@pytest.mark.parametrize('arguments, sentence', [
    (('--benchmark', 'imagenet-c', '--data-root', 'nowhere'), 'data root nowhere does not exist'),
    (('--benchmark', 'imagenet-c', '--corruptions', 'rain'), "'rain'"),
    (('--benchmark', 'imagenet-c', '--corruptions', 'saturate'), 'extra corruptions are not in the mean: add one of'),
    ((*SETS, '--skip-unreadable'), 'not of the test images of the config, nor of COCO: replace'),
    (('--benchmark', 'clean', '--data-root', 'data'), 'are those of test_dataloader: leave the data root'),
    (('--benchmark', 'clean', '--corruptions', 'fog'), "there is no corruption 'fog' in clean"),
    (('--benchmark', 'clean', '--reference', 'alexnet'), 'clean has no reference'),
    (('--benchmark', 'imagenet-c', '--reference', 'nowhere.json'), "'nowhere.json' cannot be read"),
    ((*SETS, '--reference', 'network'), "'network' cannot be the reference: it must be tested on all sets"),
    (('--benchmark', 'imagenet-p', '--reference', 'alexnet'), "AlexNet's values on ImageNet-P are not published"),
    (('--benchmark', 'coco-c', '--reference', 'alexnet'), 'COCO-C has no reference'),
    (('--benchmark', 'imagenet-p', '--perturbations', 'fog'), "'fog'"),
    (('--benchmark', 'coco-c', '--corruptions', 'fog'), 'PackDetInputs'),
    (('--benchmark', 'clean', '--cfg-options', 'test_evaluator=None'), 'the config has no test_evaluator, which tests'),
    (('--benchmark', 'imagenet-c', '--corruptions', 'fog', '--cfg-options', 'model.head.num_classes=10'),
     'has 10 classes, but the clean images of test_dataloader have 12'),
])
def test_mistakes_end_before_any_test(measure, trained, arguments, sentence):
    with pytest.raises(SystemExit, match=sentence):
        measure('bad', *arguments)
    assert not (trained.folder / 'bad/robustness').exists()


@pytest.mark.parametrize('arguments, sentence', [
    ((CLASSIFIER, ), 'one of them lacks its checkpoint'),
    ((*NETWORK, '--labels', 'a', 'b'), '--labels names 2 networks of 1'),
    ((*NETWORK, '--out', 'figure.pdf'), 'must end in .png'),
])
def test_mistakes_of_the_command_line(tool, capsys, arguments, sentence):
    with pytest.raises(SystemExit):
        tool('test_robustness', *arguments, '--benchmark', 'imagenet-c')
    assert sentence in capsys.readouterr().err


def test_a_folder_that_lacks_sets_is_refused_or_called_partial(measure, corrupted):
    with pytest.raises(SystemExit, match='lacks gaussian_noise/1, gaussian_noise/2'):
        measure('lacking', '--benchmark', 'imagenet-c', '--data-root', corrupted)
    out = measure('lacking', '--benchmark', 'imagenet-c', '--data-root', corrupted, '--partial')
    assert 'partial mean error (4 of 75 sets)' in out
    # Images that are corrupted here are measured beside those of files; other files, and other networks, are not.
    measure('lacking', *SETS)
    elsewhere = corrupted.with_name('elsewhere-c')
    shutil.copytree(corrupted, elsewhere)
    with pytest.raises(SystemExit, match=r'holds measurements with other settings \(data_root\)'):
        measure('lacking', *SETS, '--data-root', elsewhere)
    with pytest.raises(SystemExit, match=r'holds measurements with other settings \(model\)'):
        measure('lacking', *SETS, '--data-root', corrupted, '--cfg-options', 'model.backbone.conv5_downsample=stride')
    with pytest.raises(SystemExit, match=r'holds measurements with other settings \(clean_images\)'):
        measure('lacking', *SETS, '--data-root', corrupted, '--cfg-options',
                'test_dataloader.dataset.data_root=data/shapes/imagenet/.')
    with pytest.raises(SystemExit, match=r'holds measurements with other settings \(clean_images\)'):
        measure('lacking', *SETS, '--data-root', corrupted, '--cfg-options', 'test_dataloader.drop_last=True')
    with pytest.raises(SystemExit, match=r'holds measurements with other settings \(hooks\)'):
        measure('lacking', *SETS, '--data-root', corrupted, '--cfg-options', "custom_hooks=[{'type': 'EMAHook'}]")


def test_sets_of_other_sizes_are_refused(measure, trained, corrupted):
    smaller = corrupted.with_name('smaller-c')
    shutil.copytree(corrupted, smaller)
    min((smaller / 'impulse_noise/2').glob('*/*')).unlink()
    with pytest.raises(SystemExit, match="'impulse_noise/2' has 23 images and 'clean' has 24: all sets"):
        measure('smaller', *SETS, '--data-root', smaller)
    assert set(measured(trained.folder / 'smaller')) == {'clean', 'fog/2', 'fog/5'}
    # Also where the subset is smaller than both.
    with pytest.raises(SystemExit, match="'impulse_noise/2' has 23 images and 'fog/2' has 24: all sets|'clean' has 24"):
        measure('smaller', *SETS, '--data-root', smaller, '--subset', 'rand:9')


def test_unreadable_images_stop_the_test_or_are_counted(measure, trained, corrupted):
    broken = corrupted.with_name('broken-c')
    shutil.copytree(corrupted, broken)
    image = sorted((broken / 'fog/2').glob('*/*'))[1]
    image.write_bytes(image.read_bytes()[:30])
    with pytest.raises(SystemExit, match=rf'^\nStopped: [^\n]*{image.name}[^\n]*\.$'):
        measure('stopped', *SETS, '--data-root', broken)
    assert 'clean' in measured(trained.folder / 'stopped')  # and is not tested again
    out = measure('stopped', *SETS, '--data-root', broken, '--skip-unreadable')
    assert "1 of 'fog/2'" in out
    logs = '\n'.join(file.read_text() for file in (trained.folder / 'stopped').glob('*/*.log'))
    assert f"Unreadable and left out of 'fog/2': {image}\n" in logs
    whole = measured(trained.folder / 'stopped')
    assert whole['fog/2']['images/fog/2'] == 23 and whole['fog/5']['images/fog/5'] == 24

    with pytest.raises(SystemExit):
        measure('mended', *SETS, '--data-root', broken)
    shutil.copy(corrupted / image.relative_to(broken), image)
    assert tables(measure('mended', *SETS, '--data-root', broken)) == tables(
        measure('never_broken', *SETS, '--data-root', corrupted))


def test_networks_within_a_second_have_logs_of_their_own(tool, trained, monkeypatch):
    monkeypatch.setattr('time.strftime', lambda *_: '20240101_000000')
    tool('test_robustness', *NETWORK, *NETWORK, '--work-dirs', 'quick/first', 'quick/second', '--labels', 'A', 'B',
         '--out', 'quick.png', '--benchmark', 'imagenet-c', '--corruptions', 'fog', '--severities', '1')
    for name in ('first', 'second'):
        log, = (trained.folder / 'quick' / name).glob('*/*.log')
        assert 'resnet18_gcp_m_shapes' in log.read_text()


def test_pretrained_weights_are_those_that_the_config_names(measure, trained, photos):
    alexnet = torchvision.models.alexnet(num_classes=12).eval()
    torch.save(alexnet.state_dict(), 'alexnet.pth')
    arguments = ('alexnet', '--benchmark', 'imagenet-p', '--perturbations', 'scale', '--frames', '2', '--cfg-options',
                 'model.backbone.num_classes=12', 'model.backbone.init_cfg.checkpoint=alexnet.pth',
                 'test_dataloader.dataset.data_root=data/shapes/imagenet', 'test_dataloader.num_workers=0')
    network = ('configs/robustness/alexnet_imagenet.py', 'pretrained')
    out = measure(*arguments, network=network)
    distances = []
    for _, _, image in photos:
        large = np.array(Image.fromarray(image).resize((256, 256), Image.BILINEAR))
        ranks = []
        for frame in perturb_image(large, 'scale', frames=2, crop=lambda array: array[16:240, 16:240]):
            scaled = (torch.from_numpy(frame).float() - torch.tensor([123.675, 116.28, 103.53])) / torch.tensor(
                [58.395, 57.12, 57.375])
            with torch.no_grad():
                ranks.append(alexnet(scaled.permute(2, 0, 1)[None])[0].argsort(descending=True).tolist())
        distances.append(sum(abs(min(i, 5) - min(ranks[1].index(ranks[0][i]), 5)) for i in range(5)))
    found = measured(trained.folder / 'alexnet', 'imagenet-p')['scale']
    assert found['top5/scale'] == pytest.approx(np.mean(distances))
    assert 'mean uT5D' in out
    torch.save(torchvision.models.alexnet(num_classes=12).state_dict(), 'alexnet.pth')
    with pytest.raises(SystemExit, match='checkpoint'):  # other weights under the same name
        measure(*arguments, network=network)


def test_a_config_without_weights_is_not_pretrained(measure):
    with pytest.raises(SystemExit, match="'pretrained' stands for the weights that the config names"):
        measure('none', '--benchmark', 'imagenet-p', network=(CLASSIFIER, 'pretrained'))
