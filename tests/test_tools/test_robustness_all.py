"""All benchmarks at once, by the real tool on made-up folders, against straight-line computations."""
import json
import os
import shutil
from pathlib import Path

import numpy as np
import pytest
import torch
from mmengine.config import Config
from mmengine.registry import MODELS, init_default_scope
from PIL import Image

from mmgcp.robustness.catalogue import wnid_folders
from mmgcp.robustness.corruptions import load_corruption_reference
from mmgcp.utils.records import read_records

from .conftest import CLASSIFIER

WNIDS = list(wnid_folders())
# The network sees the centre of photos, and corrupted files as they are.
CONFIG = f'''
_base_ = './{CLASSIFIER}'
model = dict(head=dict(num_classes=1000))
data_preprocessor = dict(num_classes=1000)
train_dataloader = dict(dataset=dict(data_root='made', data_prefix='clean'))
test_dataloader = dict(batch_size=50, num_workers=0, persistent_workers=False, dataset=dict(
    data_root='made', data_prefix='clean', pipeline=[
        dict(type='LoadImageFromFile'), dict(type='CenterCrop', crop_size=48), dict(type='PackInputs')]))
'''
SUBSET = 150
LISTED = {'imagenet-a': wnid_folders('imagenet_a'), 'imagenet-r': wnid_folders('imagenet_r')}
CORRUPTED = {'imagenet-c': ['fog/1', 'snow/4'], 'imagenet-c-bar': ['sparkles/2'], 'imagenet-3dcc': ['flash/5']}


def cropped(image):
    return image[8:56, 8:56]


def scores_of(model, images):
    """Scores of RGB images, batched by what they are alike in: their size."""
    mean, std = np.array([123.675, 116.28, 103.53]), np.array([58.395, 57.12, 57.375])
    batch = torch.from_numpy(np.stack([(image - mean) / std for image in images]).transpose(0, 3, 1, 2)).float()
    with torch.no_grad():
        return model.head.fc(model.extract_feat(batch)[-1])


@pytest.fixture(scope='module')
def networks(workplace):
    """Two networks with random weights and 1,000 classes, saved, and the config."""
    (workplace.folder / 'thousand.py').write_text(CONFIG)
    cfg = Config.fromfile(workplace.folder / 'thousand.py')
    init_default_scope('mmpretrain')
    models = []
    for seed in (0, 1):
        torch.manual_seed(seed)
        model = MODELS.build(cfg.model).eval()
        torch.nn.init.normal_(model.head.fc.weight)
        torch.save(dict(state_dict=model.state_dict()), workplace.folder / f'random_{seed}.pth')
        models.append(model)
    return models


@pytest.fixture(scope='module')
def made(workplace, networks):
    """Folders of all benchmarks: ``{set: {class/name: image}}`` of lossless files, some of them classified rightly."""
    root, rng = workplace.folder / 'made', np.random.default_rng(0)
    photos = [np.array(Image.open(path).convert('RGB'))
              for path in sorted((workplace.folder / 'data/shapes/imagenet').glob('*/*/*'))]
    files = root / 'files'
    files.mkdir(parents=True)
    for index, photo in enumerate(photos):
        for turned in (0, 1):
            Image.fromarray(photo[:, ::-1] if turned else photo).save(files / f'{index}_{turned}.png')
    # By turns, the networks think photos where they are put, of the classes that there are.
    scores = [np.stack([scores_of(networks[index % 2], [cropped(photo[:, ::-1] if turned else photo)])[0].numpy()
                        for index, photo in enumerate(photos)]) for turned in (0, 1)]
    sets = {}

    def place(name, folder, labels, turned=0, suffix='.png'):
        """Put photos into folders of these labels, and one into each folder that no network takes for one."""
        best = scores[turned][:, list(labels.values())].argmax(1)
        classes = {name: [] for name in labels}
        for index, position in enumerate(best):
            classes[list(labels)[position]].append(index)
        for cls, indices in classes.items():
            (root / folder / cls).mkdir(parents=True)
            for index in indices or [int(rng.integers(len(photos)))]:
                os.link(files / f'{index}_{turned}.png', root / folder / cls / f'photo.{index}{suffix}')
                sets.setdefault(name, {})[f'{cls}/photo.{index}'] = photos[index][:, ::-1] if turned else photos[index]

    every = {wnid: label for label, wnid in enumerate(WNIDS)}
    place('clean', 'clean', every)
    for benchmark, names in CORRUPTED.items():
        for name in names:
            target = root / benchmark / name
            for key, image in sets['clean'].items():
                index = key.partition('.')[2]
                (target / key).parent.mkdir(parents=True, exist_ok=True)
                turned = int(name in ('fog/1', 'sparkles/2'))
                os.link(files / f'{index}_{turned}.png', target / f'{key}.png')
                sets.setdefault(f'{benchmark}/{name}', {})[key] = image[:, ::-1] if turned else image
    for benchmark, wnids in LISTED.items():
        place(benchmark, benchmark, {wnid: WNIDS.index(wnid) for wnid in wnids})
    place('imagenet-sketch', 'imagenet-sketch', every, turned=1)
    for variant in ('matched-frequency', 'threshold0.7', 'top-images'):
        place(variant, f'imagenet-v2/imagenetv2-{variant}-format-val', {str(label): label for label in range(1000)})
        assert len(sets[variant]) == len(sets['clean'])
    for key in sets['clean']:
        frames, index = root / 'imagenet-p/tilt' / key, key.partition('.')[2]
        frames.mkdir(parents=True)
        for number in range(3):
            os.link(files / f'{index}_{number % 2}.png', frames / f'{number}.png')
    shutil.rmtree(files)
    # What else may lie there enters no number.
    (root / 'imagenet-a/README.txt').write_text('text')
    (root / 'imagenet-c/extra/1/cat').mkdir(parents=True)
    return root, sets


def error_by_hand(model, name, images):
    """Error in % of a network on part of a set, by image, with the other classes' scores left out."""
    keys = np.random.default_rng(3).permutation(sorted(images))[:SUBSET].tolist()
    as_it_is = '/' in name
    scores = scores_of(model, [images[key] if as_it_is else cropped(images[key]) for key in keys])
    known = [WNIDS.index(wnid) for wnid in LISTED.get(name, WNIDS)]
    wrong = 0
    for key, row in zip(keys, scores.tolist(), strict=True):
        best = max(known, key=row.__getitem__)
        folder = key.partition('/')[0]
        wrong += best != (int(folder) if folder.isdecimal() else WNIDS.index(folder))
    return 100 * wrong / SUBSET


def rows_of(out):
    table = [line.strip('|').split('|') for line in out.splitlines() if line.startswith('|')]
    head, _, *rows = [[cell.strip() for cell in line] for line in table]
    return {row[0]: dict(zip(head[1:], row[1:], strict=True)) for row in rows}


@pytest.fixture(scope='module')
def measured(workplace, made):
    """Measure both networks on everything, in two processes."""
    arguments = ['thousand.py', 'random_0.pth', 'thousand.py', 'random_1.pth', '--labels', 'first', 'second',
                 '--work-dirs', 'all/first', 'all/second', '--benchmark', 'all', '--data-root', 'made', '--partial',
                 '--subset', f'rand:{SUBSET}', '--seed', '3', '--out', 'all/figure.png']
    return workplace.run('test_robustness.py', *arguments, processes=2), arguments


def test_errors_are_those_of_a_loop(workplace, networks, made, measured):
    _, sets = made
    for label, model in zip(('first', 'second'), networks, strict=True):
        found = {}
        for path in (workplace.folder / f'all/{label}/robustness').glob('*.json'):
            benchmark = path.name.partition('_')[0]
            for record in read_records(path).records:
                name = record['set']
                found[f'{benchmark}/{name}' if '/' in name else name] = record
        flips = found.pop('tilt')
        assert set(found) == set(sets)
        errors = {name: error_by_hand(model, name, images) for name, images in sets.items()}
        for name, record in found.items():
            error, = (value for key, value in record['metrics'].items() if key.startswith('error/'))
            assert error == pytest.approx(errors[name]), name
            assert record['items'] == SUBSET
        # With masks and numbers read rightly, both know some photos.
        assert all(errors[name] < 100 for name in sets if '/' not in name), errors
        keys = np.random.default_rng(3).permutation(sorted(sets['clean']))[:SUBSET].tolist()
        best = [scores_of(model, [images[key] for key in keys]).argmax(1).numpy()
                for images in (sets['clean'], sets['imagenet-c/fog/1'])]
        assert flips['metrics']['flip/tilt'] == pytest.approx(100 * np.mean(best[0] != best[1]))


def test_one_table_with_a_column_per_benchmark(workplace, networks, made, measured):
    out, _ = measured
    rows, sets = rows_of(out), made[1]
    assert list(rows) == ['first', 'second']
    assert list(rows['first']) == [
        'clean error', 'partial mCE (2 of 75 sets)', 'partial C-bar mean error (1 of 50 sets)',
        'partial 3DCC mean error (1 of 60 sets)', 'partial mean FP (1 of 10 sets)', 'A error', 'R error',
        'V2 matched-frequency error', 'Sketch error']
    for column, name in (('clean error', 'clean'), ('A error', 'imagenet-a'), ('R error', 'imagenet-r'),
                         ('V2 matched-frequency error', 'matched-frequency'), ('Sketch error', 'imagenet-sketch'),
                         ('partial C-bar mean error (1 of 50 sets)', 'imagenet-c-bar/sparkles/2')):
        first, second = (error_by_hand(model, name, sets[name]) for model in networks)
        assert rows['first'][column] == f'{first:.1f}'
        arrow = '↑' if second > first else '↓' if second < first else '±'
        assert rows['second'][column].startswith(f'{second:.1f} ({arrow}{abs(second - first):.1f} ± ')
    # AlexNet's errors divide those on ImageNet-C's files alone.
    alexnet = load_corruption_reference('alexnet')['errors']
    fog, snow = (error_by_hand(networks[0], f'imagenet-c/{name}', sets[f'imagenet-c/{name}'])
                 for name in ('fog/1', 'snow/4'))
    mce = (fog / alexnet['fog'][0] + snow / alexnet['snow'][3]) / 2
    assert rows['first']['partial mCE (2 of 75 sets)'] == f'{mce:.1f}'
    assert f'Measured on {SUBSET} photos (rand:{SUBSET}, seed 3). Differences ±' in out
    assert 'not divided by those of a reference. (imagenet-c-bar, imagenet-3dcc, imagenet-p, imagenet-a, ' in out
    assert 'ICLR 2019). (imagenet-c)\n' in out
    networks_in_file = json.loads((workplace.folder / 'all/figure.json').read_text())['networks']
    assert len(networks_in_file) == 16 and all((workplace.folder / f'all/figure{end}').stat().st_size
                                               for end in ('.png', '.csv'))
    # The file is one of Table 4's, too.
    assert 'A error' in workplace.run('analysis_tools/print_table_4.py', 'all/figure.json')


def test_what_was_measured_is_not_measured_again(workplace, made, measured):
    out, arguments = measured
    record = next((workplace.folder / 'all/second/robustness').glob('imagenet-r_rand150_*.json'))
    record.unlink()
    files = {path: path.read_bytes() for path in (workplace.folder / 'all').glob('*/robustness/*.json')}
    again = workplace.run('test_robustness.py', *arguments)
    assert rows_of(again) == rows_of(out) and again.count('Load checkpoint from') == 1
    assert record.is_file() and all(path.read_bytes() == content for path, content in files.items())
    shutil.move(workplace.folder / 'made/imagenet-3dcc', workplace.folder / 'away')
    try:
        left = workplace.run('test_robustness.py', *arguments)
        assert 'Left out: imagenet-3dcc.' in left and '3DCC' not in next(iter(rows_of(left).values()))
    finally:
        shutil.move(workplace.folder / 'away', workplace.folder / 'made/imagenet-3dcc')


def run(workplace, benchmark, *arguments, config='thousand.py'):
    return workplace.run('test_robustness.py', config, 'random_0.pth', '--work-dirs', 'bad', '--out', 'bad/f.png',
                         '--benchmark', benchmark, *arguments, fails=True)


@pytest.mark.parametrize('benchmark, arguments, sentence', [
    ('all', ('--data-root', 'made/imagenet-c'), 'lacks the folders imagenet-c, imagenet-c-bar, imagenet-3dcc, '),
    ('all', (), 'all benchmarks need a data root (--data-root) with a folder each: imagenet-c, '),
    ('all', ('--data-root', 'made', '--subset', 'thousand.py'), 'which no one list names: give --subset rand:N'),
    ('all', ('--data-root', 'made', '--corruptions', 'fog'), '--benchmark all takes no names of corruptions'),
    ('all', ('--data-root', 'made', '--reference', 'one.json'), 'as --reference none or a label'),
    ('imagenet-c-bar', ('--data-root', 'made/imagenet-3dcc'),
     'has no folder of imagenet-c-bar, such as made/imagenet-3dcc/blue_noise_sample/1: it is of imagenet-3dcc'),
    ('imagenet-c-bar', ('--data-root', 'made/imagenet-c-bar'), 'lacks blue_noise_sample/1, '),
    ('imagenet-c-bar', ('--data-root', 'made/imagenet-c-bar', '--partial', '--reference', 'alexnet'),
     "AlexNet's errors are known on imagenet-c, not on imagenet-c-bar"),
    ('imagenet-a', (), 'imagenet-a cannot be made from clean images: give the folder of its files (--data-root)'),
    ('imagenet-a', ('--data-root', 'made/imagenet-a', '--reference', 'alexnet'), 'imagenet-a has no reference'),
    ('imagenet-a', ('--data-root', 'made/imagenet-r'), 'are not those of imagenet-a: '),
    ('imagenet-sketch', ('--data-root', 'made/imagenet-a'), '800 missing (n01440764, '),
    ('imagenet-v2', ('--data-root', 'made/imagenet-a'), 'has no folder of imagenet-v2, such as'),
    ('imagenet-a', ('--data-root', 'made/imagenet-a', '--subset', 'rand:5000'),
     'the subset rand:5000 must have 1 to'),
    ('imagenet-c', ('--resize-again', ), 'only files of a data root can be resized again'),
])
def test_mistakes_end_before_any_test(workplace, made, benchmark, arguments, sentence):
    assert sentence in run(workplace, benchmark, *arguments)
    assert not (workplace.folder / 'bad/robustness').exists()


def test_listed_files_and_other_networks(workplace, made):
    lines = workplace.folder / 'list.txt'
    lines.write_text('n01498041/photo.0.JPEG\nn99999999/none.JPEG\n')
    assert "of the 2 images that 'list.txt' lists are not in the data (n" in run(
        workplace, 'imagenet-c', '--data-root', 'made/imagenet-c', '--partial', '--subset', 'list.txt')
    assert "imagenet-r is for networks with ImageNet's 1,000 classes, but this one lacks 200 of its classes (n0" in run(
        workplace, 'imagenet-r', '--data-root', 'made/imagenet-r', config=CLASSIFIER)
    keys = sorted(made[1]['clean'])[100:130]
    lines.write_text(''.join(f'{key}.JPEG\n' for key in keys))
    out = workplace.run('test_robustness.py', 'thousand.py', 'random_0.pth', '--work-dirs', 'listed', '--out',
                        'listed/f.png', '--benchmark', 'imagenet-c', '--data-root', 'made/imagenet-c', '--partial',
                        '--subset', 'list.txt')
    assert 'Measured on 30 photos (list.txt, CRC-32 ' in out
    assert Path(workplace.folder, 'listed/robustness/imagenet-c_list_random_0.json').is_file()
