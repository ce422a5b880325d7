"""The data sets of a benchmark, as settings; that they are evaluated is tested with the tool."""
import json

import pytest
from mmengine.config import Config
from mmpretrain.datasets import CustomDataset, PackInputs

from mmgcp.apis.robustness import benchmarks, networks
from mmgcp.apis.robustness.benchmarks import ALL, Benchmark, benchmark_sets, check_classes, class_folders, corrupted
from mmgcp.apis.robustness.networks import as_result, default_reference, measurements, read_result, settings_of
from mmgcp.apis.robustness.report import check_reference, summarise, write_report
from mmgcp.robustness.corruptions import CORRUPTIONS
from mmgcp.robustness.perturbations import PERTURBATIONS
from mmgcp.utils.errors import SetupError
from mmgcp.utils.records import append_record, open_records

LOAD, CROP, PACK = dict(type='LoadImageFromFile'), dict(type='CenterCrop', crop_size=64), dict(type='PackInputs')


def loader(pipeline=(LOAD, CROP, PACK), root='nowhere'):
    return dict(batch_size=64, dataset=dict(type='CustomDataset', data_root=str(root), pipeline=list(pipeline)))


def folders(root, *names):
    for name in names:
        (root / name).mkdir(parents=True)
    return root


def test_classifiers_see_corruptions_of_what_they_get():
    dataset = corrupted(loader()['dataset'], 'fog', 3, 7, 'PackInputs')
    load, crop, corrupt, pack = dataset['pipeline']
    assert (load, crop) == (LOAD, CROP)
    assert corrupt == dict(type='mmgcp.Corrupt', corruption='fog', severity=3, seed=7)
    assert pack['type'] == 'PackInputs' and {'corruption', 'severity'} < set(pack['meta_keys'])


def test_types_may_have_a_scope_or_be_classes():
    for pack in ('mmpretrain.PackInputs', PackInputs):
        dataset = corrupted(loader((LOAD, dict(type=pack)))['dataset'], 'fog', 3, 7, 'PackInputs')
        assert dataset['pipeline'][1]['type'] == 'mmgcp.Corrupt' and dataset['pipeline'][2]['type'] == pack


def test_detectors_see_corruptions_of_what_is_read():
    resize, pack = dict(type='Resize', scale=(800, 800)), dict(type='PackDetInputs', meta_keys=('img_id', ))
    dataset = corrupted(loader((LOAD, resize, pack))['dataset'], 'snow', 1, 0, 'PackDetInputs')
    assert [step['type'] for step in dataset['pipeline']] == [
        'LoadImageFromFile', 'mmgcp.Corrupt', 'Resize', 'PackDetInputs']
    assert dataset['pipeline'][-1] == pack


def test_sets_of_imagenet_c():
    settings = loader()
    sets = benchmark_sets(Benchmark('imagenet-c'), settings, dict(type='Accuracy'))
    assert list(sets) == ['clean', *(f'{name}/{severity}' for name in CORRUPTIONS for severity in range(1, 6))]
    assert list(sets) == Benchmark('imagenet-c').sets
    assert sets['clean'] == dict(loader=dict(dataset=settings['dataset']), evaluator=dict(
        type='mmgcp.CorruptionError', reference=None, partial=True, clean=True))
    assert settings == loader()


def test_the_clean_images_as_they_are(tmp_path):
    benchmark = Benchmark('clean')
    assert benchmark.sets == ['clean'] and benchmark.whole and benchmark.origin == ''
    assert benchmark_sets(benchmark, loader(), {}) == {'clean': benchmark_sets(Benchmark('imagenet-c'), loader(),
                                                                              {})['clean']}
    assert benchmark.identity() == dict(benchmark='clean')
    with pytest.raises(SetupError, match='end with PackInputs'):  # a detector
        benchmark_sets(benchmark, loader((LOAD, dict(type='PackDetInputs'))), {})
    with pytest.raises(SetupError, match='only files of a data root can be resized again'):
        benchmark_sets(Benchmark('clean', resize_again=True), loader(), {})
    cfg = Config(dict(work_dir=str(tmp_path)))
    assert measurements(cfg, 'a/epoch_4.pth', benchmark) == tmp_path / 'robustness/clean_epoch_4.json'
    with pytest.raises(SetupError, match='are those of test_dataloader: leave the data root'):
        benchmark_sets(Benchmark('clean', str(tmp_path)), loader(), {})
    assert 'clean' not in ALL  # which need files


def test_the_library_of_corruptions_is_asked_for_where_images_are_corrupted(monkeypatch):
    def missing():
        raise SetupError('not installed')
    monkeypatch.setattr(benchmarks, 'load_library', missing)
    for name in ('clean', 'imagenet-p'):
        assert benchmark_sets(Benchmark(name), loader(), {})
    with pytest.raises(SetupError, match='not installed'):
        benchmark_sets(Benchmark('imagenet-c'), loader(), {})


def test_extra_sets_leave_a_benchmark_whole():
    assert Benchmark('imagenet-c', kinds=[*CORRUPTIONS, 'saturate']).whole and Benchmark('imagenet-p').whole
    for part in (dict(kinds=['fog']), dict(severities=[1, 2]), dict(partial=True)):
        assert not Benchmark('imagenet-c', **part).whole


def test_sets_on_disk_know_the_classes_and_keep_the_pipelines_ends(tmp_path):
    folders(tmp_path / 'clean', 'cat', 'dog')
    folders(tmp_path / 'c', *(f'fog/{severity}/{name}' for severity in (1, 2) for name in ('cat', 'dog')))
    benchmark = Benchmark('imagenet-c', str(tmp_path / 'c'), ['fog'], [1, 2], unreadable='skip')
    dataset = benchmark_sets(benchmark, loader(root=tmp_path / 'clean'), {})['fog/2']['loader']['dataset']
    assert dataset == dict(
        type='mmgcp.ImageNetC', benchmark='imagenet-c', data_root=str(tmp_path / 'c'), corruptions=['fog'],
        severities=[2], classes=['cat', 'dog'], unreadable='skip', pipeline=[LOAD, PACK], resize_again=False,
        serialize_data=False)
    benchmark.resize_again = True
    dataset = benchmark_sets(benchmark, loader(root=tmp_path / 'clean'), {})['fog/2']['loader']['dataset']
    assert dataset['pipeline'] == [LOAD, CROP, PACK] and dataset['resize_again']


def test_sets_that_are_missing(tmp_path):
    folders(tmp_path, 'clean/cat', 'c/fog/1/cat', 'c/fog/2/bird', 'p/tilt/cat')
    clean = loader(root=tmp_path / 'clean')
    with pytest.raises(SetupError, match='lacks fog/3'):
        benchmark_sets(Benchmark('imagenet-c', str(tmp_path / 'c'), ['fog'], [1, 3]), clean, {})
    with pytest.raises(SetupError, match='1 missing .cat. and 1 unknown .bird.'):
        benchmark_sets(Benchmark('imagenet-c', str(tmp_path / 'c'), ['fog'], [1, 2]), clean, {})
    partial = Benchmark('imagenet-c', str(tmp_path / 'c'), ['fog', 'snow'], [1, 3], partial=True)
    assert list(benchmark_sets(partial, clean, {})) == ['clean', 'fog/1']
    with pytest.raises(SetupError, match='rotate does not exist'):
        benchmark_sets(Benchmark('imagenet-p', str(tmp_path / 'p'), ['tilt', 'rotate']), clean, {})
    partial = Benchmark('imagenet-p', str(tmp_path / 'p'), partial=True)
    assert list(benchmark_sets(partial, clean, {})) == ['tilt']


def test_sets_of_imagenet_p(tmp_path):
    sets = benchmark_sets(Benchmark('imagenet-p', difficulty=2), loader(), {})
    assert tuple(sets) == PERTURBATIONS
    for name, entry in sets.items():
        assert entry['loader']['batch_size'] == (1 if name == 'translate' else 2)
        assert entry['loader']['collate_fn']['type'] == 'mmgcp.collate_sequences'
        assert entry['loader']['dataset']['perturbation'] == name and entry['loader']['dataset']['difficulty'] == 2
    clean = loader()
    del clean['batch_size']  # for PyTorch 1
    sets = benchmark_sets(Benchmark('imagenet-p'), clean, {})
    assert {entry['loader']['batch_size'] for entry in sets.values()} == {1}
    folders(tmp_path, 'shot_noise_2/cat')
    one, = benchmark_sets(Benchmark('imagenet-p', str(tmp_path), ['shot_noise'], difficulty=2), loader(), {}).values()
    assert one['loader']['dataset']['pipeline'] == [PACK]


@pytest.mark.parametrize('arguments, sentence', [
    (dict(name='imagenet-x'), "there is no benchmark 'imagenet-x': choose from clean, imagenet-c, "),
    (dict(name='imagenet-c-bar', kinds=['fog']), "there is no corruption 'fog' in imagenet-c-bar: choose from blue_"),
    (dict(name='imagenet-v2', kinds=['best']), "there is no corruption 'best' in imagenet-v2: choose from matched-"),
    (dict(name='imagenet-c', subset='nowhere.txt'), "'nowhere.txt' is neither rand:N nor a file with an image a line"),
    (dict(name='coco-c', subset='rand:5'), 'give test_dataloader and test_evaluator a smaller annotation file'),
    (dict(name='imagenet-c', kinds=['rain']), "there is no corruption 'rain'"),
    (dict(name='coco-c', severities=[6]), 'severity=6'),
    (dict(name='imagenet-p', frames=1), 'frames=1'),
    (dict(name='imagenet-p', difficulty=4), 'difficulty=4'),
])
def test_what_there_is_not(arguments, sentence):
    with pytest.raises(SetupError, match=sentence):
        Benchmark(**arguments)


def test_pipelines_that_have_no_place_for_corruptions():
    with pytest.raises(SetupError, match='must read images first and end with PackInputs'):
        benchmark_sets(Benchmark('imagenet-c'), loader((LOAD, CROP)), {})


def test_classes(tmp_path):
    folders(tmp_path, 'val/dog', 'val/cat', 'val/.ipynb_checkpoints')
    dataset = dict(type='CustomDataset', data_root=str(tmp_path), data_prefix='val')
    assert class_folders(dataset) == ['cat', 'dog']
    assert class_folders(dict(dataset, type=CustomDataset)) == ['cat', 'dog']
    assert class_folders(dict(dataset, ann_file='val.txt')) is None
    assert class_folders(dict(type='ImageNet', data_root=str(tmp_path), split='val')) is None  # by a list of files
    cfg = Config(dict(model=dict(head=dict(num_classes=2)), test_dataloader=dict(dataset=dataset)))
    check_classes(cfg, Benchmark('imagenet-c'))
    cfg.model.head.num_classes = 3
    with pytest.raises(SetupError, match='has 3 classes, .* have 2 class folders'):
        check_classes(cfg, Benchmark('imagenet-p'))
    published = Benchmark('imagenet-c', data_root=str(tmp_path))
    assert default_reference([cfg], published) == 'none'
    cfg.model.head.num_classes = 1000
    assert default_reference([cfg], published) == 'alexnet'
    assert default_reference([cfg], Benchmark('imagenet-c')) == 'none'
    assert default_reference([cfg], Benchmark('imagenet-p')) == 'none'
    assert default_reference([cfg], Benchmark('imagenet-c', str(tmp_path), resize_again=True)) == 'none'
    (tmp_path / 'settings.json').write_text('{}')  # as corrupt.py leaves it: not the files that AlexNet was tested on
    assert default_reference([cfg], Benchmark('imagenet-c', str(tmp_path))) == 'none'


def test_the_recipe_on_record_counts_while_the_images_are_away(tmp_path):
    cfg = Config(dict(model=dict(head=dict(num_classes=1000))))
    away = Benchmark('imagenet-c', str(tmp_path / 'away'), known_recipe='made by a recipe of CRC-32 00000001')
    assert default_reference([cfg], away) == 'none' and away.identity()['recipe'] == away.origin == away.known_recipe
    assert default_reference([cfg], Benchmark('imagenet-c', str(tmp_path / 'away'))) == 'alexnet'
    (tmp_path / 'away').mkdir()  # what is there decides
    assert default_reference([cfg], away) == 'alexnet' and 'recipe' not in away.identity()


def test_measurements_depend_on_the_recipe_of_a_folder(tmp_path):
    benchmark = Benchmark('imagenet-c', str(tmp_path))
    published = benchmark.identity()
    (tmp_path / 'settings.json').write_text('{"seed": 0}')
    first = benchmark.identity()
    (tmp_path / 'settings.json').write_text('{"seed": 1}')
    assert len({str(identity) for identity in (published, first, benchmark.identity())}) == 3


def test_all_that_decides_a_measurement_is_kept_with_it(tmp_path, monkeypatch):
    def kept(benchmark=None, fp16=False, weights=b'', **changed):
        (tmp_path / 'a.pth').write_bytes(weights)
        cfg = Config(dict(dict(
            model=dict(type='ImageClassifier', backbone=dict(depth=18)), data_preprocessor=dict(mean=[0.]),
            custom_hooks=[], test_dataloader=loader(), test_evaluator=dict(type='CocoMetric'),
            test_cfg=dict(fp16=fp16)), **changed))
        benchmark = Benchmark(**dict(dict(name='imagenet-c'), **(benchmark or {})))
        return json.loads(json.dumps(settings_of(cfg, str(tmp_path / 'a.pth'), benchmark)))

    def differing(before, after):
        return {key for key in before.keys() | after if before.get(key) != after.get(key)}

    for changed, name in (
            (dict(model=dict(type='ImageClassifier', backbone=dict(depth=18, conv5_downsample='stride'))), 'model'),
            (dict(data_preprocessor=dict(mean=[1.])), 'preprocessor'), (dict(fp16=True), 'fp16'),
            (dict(custom_hooks=[dict(type='EMAHook')]), 'hooks'), (dict(weights=b'others'), 'checkpoint'),
            (dict(test_dataloader=loader((LOAD, PACK))), 'clean_images'),
            (dict(test_dataloader=dict(loader(), drop_last=True)), 'clean_images'),
            (dict(benchmark=dict(seed=1)), 'seed'), (dict(benchmark=dict(subset='rand:5')), 'subset')):
        assert differing(kept(), kept(**changed)) == {name}
    assert kept(test_evaluator=dict(type='CocoMetric', metric='segm')) == kept()  # classifiers have CorruptionError
    assert differing(*(kept(dict(name='coco-c'), test_evaluator=dict(type='CocoMetric', metric=metric))
                       for metric in ('bbox', 'segm'))) == {'evaluator'}
    sequences = dict(name='imagenet-p')
    for key, value in (('frames', 5), ('difficulty', 2)):
        assert differing(kept(sequences), kept(dict(sequences, **{key: value}))) == {key}
    files = dict(data_root=str(tmp_path))
    assert differing(kept(dict(name='imagenet-c', **files)), kept(dict(files, resize_again=True))) == {'resize_again'}
    before = [kept(), kept(sequences)]
    monkeypatch.setattr(benchmarks, 'version', lambda name: '0')
    monkeypatch.setattr(benchmarks, 'DEFINITION', 0)
    assert [differing(*pair) for pair in zip(before, [kept(), kept(sequences)], strict=True)] == [
        {'imagecorruptions'}, {'definition'}]
    before = kept()
    monkeypatch.setattr(networks, 'library_versions', dict)
    assert differing(before, kept()) == {'libraries'}


def test_a_reference_of_other_images_is_refused(tmp_path):
    errors = dict(source='AlexNet', clean=0.4, errors={name: [0.5] * 5 for name in CORRUPTIONS})
    (tmp_path / 'old.json').write_text(json.dumps(errors))
    check_reference(str(tmp_path / 'old.json'), [], Benchmark('imagenet-c'))  # does not say of which images
    (tmp_path / 'files.json').write_text(json.dumps(dict(errors, subset='', origin='')))
    check_reference(str(tmp_path / 'files.json'), [], Benchmark('imagenet-c', str(tmp_path)))
    for benchmark, sentence in (
            (Benchmark('imagenet-c'), r'origin: none; here: made on the fly, seed 0\)'),
            (Benchmark('imagenet-c', str(tmp_path), subset='rand:5'), r'subset: none; here: rand:5, seed 0\)')):
        with pytest.raises(SetupError, match=sentence):
            check_reference(str(tmp_path / 'files.json'), [], benchmark)


def test_results_are_read_in_shares(tmp_path):
    cfg, benchmark = Config(dict(work_dir=str(tmp_path))), Benchmark('imagenet-c', kinds=['fog'], severities=[1])
    path = tmp_path / 'robustness/imagenet-c_made_epoch_4.json'
    open_records(path, {})
    for name, metrics in {
            'clean': {'accuracy/top1': 75.}, 'snow/1': {'error/snow/1': 9.},
            'fog/1': {'error/fog/1': 40., 'images/fog/1': 9, 'unreadable/fog/1': 1, 'CE/fog': 40., 'partial_mCE': 40.},
    }.items():
        append_record(path, dict(set=name, metrics=metrics))
    result = read_result('GAP', cfg, 'somewhere/epoch_4.pth', benchmark)
    assert result.sets == {'clean': dict(error=0.25), 'fog/1': dict(error=0.4, images=9, unreadable=1)}
    assert result.unreadable == ["1 of 'fog/1'"]

    benchmark = Benchmark('imagenet-p', kinds=['tilt'], difficulty=3)
    path = tmp_path / 'robustness/imagenet-p_made_3_epoch_4.json'
    open_records(path, {})
    append_record(path, dict(set='tilt', metrics={'flip/tilt': 20., 'top5/tilt': 2.5, 'sequences/tilt': 4}))
    result = read_result('GAP', cfg, 'somewhere/epoch_4.pth', benchmark)
    assert result.sets == dict(tilt=dict(flip=0.2, top5=2.5, sequences=4)) and result.difficulty == 3


def test_a_class_without_objects_has_no_precision(tmp_path):
    metrics = {'coco/bbox_mAP': 0.3, 'coco/cat_precision': 0.3, 'coco/dog_precision': float('nan')}
    records = [dict(set=name, metrics=metrics, items=3) for name in Benchmark('coco-c').sets]
    write_report([summarise([as_result('GAP', 'coco-c', records)], 'none', partial=False)], tmp_path / 'c.png', [])
    network, = json.loads((tmp_path / 'c.json').read_text())['networks']
    assert network['sets']['clean'] == {'coco/bbox_mAP': 0.3, 'coco/cat_precision': 0.3}
    assert network['metrics']['bbox_mAP mPC'] == pytest.approx(0.3)
