import json
import math
from types import SimpleNamespace

import pytest
import torch
from mmengine.hooks import Hook
from mmengine.registry import HOOKS
from mmengine.runner import Runner
from mmpretrain.structures import DataSample
from torch.utils.data import Dataset

import mmgcp.engine.hooks.landscape_hook as module
from mmgcp.engine.hooks import LandscapeHook
from mmgcp.probes.landscape import Landscape, find_place, measure_landscape
from mmgcp.probes.probe import preprocess, undisturbed
from mmgcp.utils.errors import SetupError
from mmgcp.utils.records import read_records


class Images(Dataset):
    """16 images of two classes, dark and bright: 4 iterations an epoch. Reads draw random numbers, as crops do."""

    def __len__(self):
        return 16

    def __getitem__(self, index):
        label = index % 2
        image = torch.randint(0, 128, (3, 64, 64), generator=torch.Generator().manual_seed(index)) + 100 * label
        image = image.roll(int(torch.randint(0, 64, ())), -1)
        return dict(inputs=image.to(torch.uint8), data_samples=DataSample().set_gt_label(label))


class Witness(Hook):
    """Notes what each step starts from, random states included, and its loss."""

    priority = 'LOWEST'

    def __init__(self):
        self.losses, self.states, self.batches = [], [], []

    def before_train_iter(self, runner, batch_idx, data_batch=None):
        self.states.append(torch.get_rng_state())
        weights = {name: value.clone() for name, value in runner.model.state_dict().items()}
        self.batches.append((data_batch['inputs'], weights))

    def after_train_iter(self, runner, batch_idx, data_batch=None, outputs=None):
        self.losses.append(outputs['loss'])


def train(work_dir, *hooks, resume=False, epochs=2, max_iters=None, **model):
    """A run with everything that a measurement could disturb: batch statistics, dropout, Mixup, an average model."""
    witness = Witness()
    runner = Runner(
        model=dict(
            type='ImageClassifier',
            data_preprocessor=dict(mean=[128] * 3, std=[64] * 3, num_classes=2, to_onehot=True),
            train_cfg=dict(augments=[dict(type='Mixup', alpha=0.8), dict(type='CutMix', alpha=1.)]),
            backbone=dict(type='ResNet', depth=18, stem_channels=8, base_channels=8),
            neck=dict(type='mmgcp.GlobalCovariancePooling', in_channels=64, reduced_channels=8),
            head=dict(type='mmgcp.DropoutLinearClsHead', dropout_rate=0.3, num_classes=2, in_channels=36,
                      loss=dict(type='CrossEntropyLoss', use_soft=True))) | model,
        work_dir=str(work_dir),
        train_dataloader=dict(
            dataset=Images(), batch_size=4, num_workers=0, collate_fn=dict(type='default_collate'),
            sampler=dict(type='DefaultSampler', shuffle=True)),
        train_cfg=dict(by_epoch=True, max_epochs=epochs),
        optim_wrapper=dict(optimizer=dict(type='SGD', lr=0.05, momentum=0.9)),
        default_hooks=dict(logger=dict(type='LoggerHook', interval=1)),
        custom_hooks=[dict(type='mmgcp.EpochSeedHook'), dict(type='EMAHook'), *hooks, witness],
        resume=resume,
        randomness=dict(seed=0),
        default_scope='mmpretrain',
        experiment_name=work_dir.name + str(epochs))
    runner.train()
    return runner, witness


def measurements(work_dir, at='stem'):
    return [read_records(path) for path in sorted(work_dir.glob(f'*/landscape/{at}.json'))]


def hook(**settings):
    return dict(type='mmgcp.LandscapeHook', **dict(step_range=(0.1, 5.), num_steps=3, interval=2) | settings)


def test_training_is_bit_for_bit_that_without_the_hook(tmp_path):
    plain, expected = train(tmp_path / 'plain')
    hooks = [hook(interval=1, at=at) for at in ('stem', 'last_conv', 'image', 'weights')] + [
        hook(interval=3, at='backbone.layer2', steps_at_once=2, direction='descent')]
    watched, witness = train(tmp_path / 'watched', *hooks)
    assert witness.losses == expected.losses
    assert all(map(torch.equal, witness.states, expected.states))
    for name in ('state_dict', 'ema_state_dict', 'optimizer'):
        first, second = (torch.load(folder / 'epoch_2.pth', weights_only=False)[name]
                         for folder in (tmp_path / 'plain', tmp_path / 'watched'))
        assert _equal(first, second), name
    # Nothing is left behind in the layers.
    assert not any(layer._forward_hooks or layer._forward_pre_hooks for layer in watched.model.modules())
    assert len(measurements(tmp_path / 'watched', 'weights')[0].records) == 8
    assert [r['iter'] for r in measurements(tmp_path / 'watched', 'backbone.layer2')[0].records] == [0, 3, 6]


def _equal(first, second):
    if isinstance(first, dict):
        return first.keys() == second.keys() and all(_equal(first[key], second[key]) for key in first)
    if isinstance(first, (list, tuple)):
        return len(first) == len(second) and all(map(_equal, first, second))
    return torch.equal(first, second) if isinstance(first, torch.Tensor) else first == second


def test_what_is_written_is_the_landscape_of_the_step_that_follows(tmp_path):
    _, witness = train(tmp_path, hook())
    (settings, records), = measurements(tmp_path)
    assert settings == dict(at='stem', layer='backbone.maxpool', direction='ascent', interval=2, images=4,
                            step_sizes=pytest.approx([0.1, 2.55, 5.]))
    assert [(record['iter'], record['epoch']) for record in records] == [(0, 1), (2, 1), (4, 2), (6, 2)]
    for record in records:
        # Its loss is what the training step then reported.
        assert record['loss'] == pytest.approx(float(witness.losses[record['iter']]), rel=1e-5)


def test_values_equal_a_float64_computation(tmp_path):
    head = dict(type='LinearClsHead', num_classes=2, in_channels=36)
    runner, witness = train(tmp_path, hook(), train_cfg=None, head=head,
                            data_preprocessor=dict(mean=[128] * 3, std=[64] * 3))
    (_, records), = measurements(tmp_path)
    model = runner.model.double()
    for record in records:
        inputs, weights = witness.batches[record['iter']]
        model.load_state_dict(weights)
        samples = [DataSample().set_gt_label(int(image.float().mean() > 110)) for image in inputs]
        with undisturbed(model):
            data = preprocess(model, dict(inputs=inputs, data_samples=samples))
            data['inputs'] = data['inputs'].double()
            expected = measure_landscape(model, data, find_place(model, 'stem'), [0.1, 2.55, 5.])
        for name, value in expected._asdict().items():
            assert record[name] == pytest.approx(value, rel=2e-3), name


def test_a_resumed_run_measures_what_the_whole_one_does(tmp_path):
    train(tmp_path / 'whole', hook(), epochs=2)
    train(tmp_path / 'parts', hook(), epochs=1)
    # The Runner names a run's folder by the second in which it starts, which may be that of the second run too.
    next((tmp_path / 'parts').glob('*/landscape')).parent.rename(tmp_path / 'parts/0')
    train(tmp_path / 'parts', hook(), epochs=2, resume=True)
    (_, expected), = measurements(tmp_path / 'whole')
    first, second = measurements(tmp_path / 'parts')
    assert first.settings == second.settings
    for record, other in zip(expected, first.records + second.records, strict=True):
        assert {**record, 'seconds': 0} == {**other, 'seconds': 0}


def test_the_log_tells_the_cost(tmp_path):
    train(tmp_path, hook(interval=4))
    text = next(tmp_path.glob('*/*.log')).read_text()
    assert text.count('Landscape at backbone.maxpool: loss') == 2
    assert 'LandscapeHook (stem): 2 measurements in' in text and '% of the training time' in text


def test_on_a_gpu_the_steps_at_once_are_halved_until_they_fit(monkeypatch):
    asked = []

    def measure(model, data, place, step_sizes, direction, at_once, rewind):
        asked.append(at_once)
        if at_once > 7:
            raise torch.cuda.OutOfMemoryError
        return Landscape(0., 0., [], [], [])

    monkeypatch.setattr(module, 'measure_landscape', measure)
    watched = LandscapeHook((0.1, 1.), num_steps=50)
    watched.place = None
    model = SimpleNamespace(parameters=lambda: iter([SimpleNamespace(is_cuda=True)]))
    watched._measure(model, None, None)
    watched._measure(model, None, None)
    assert asked == [50, 25, 13, 7, 7]

    def never_fits(*args):
        raise torch.cuda.OutOfMemoryError

    monkeypatch.setattr(module, 'measure_landscape', never_fits)
    with pytest.raises(torch.cuda.OutOfMemoryError):
        watched._measure(model, None, None)
    assert watched.steps_at_once == 1
    watched.steps_at_once = 7
    monkeypatch.setattr(module, 'get_world_size', lambda: 2)
    with pytest.raises(SetupError, match='not suffice for steps_at_once=7: set steps_at_once=3 of LandscapeHook'):
        watched._measure(model, None, None)


def test_an_infinite_loss_is_written_as_such(tmp_path, monkeypatch):
    values = Landscape(1., 1., [2., math.inf], [math.nan, 1.], [math.nan, 1.])
    monkeypatch.setattr(module, 'measure_landscape', lambda *args: values)
    train(tmp_path, hook(num_steps=2), epochs=1)
    text, = tmp_path.glob('*/landscape/stem.json')
    record = json.loads(text.read_text().splitlines()[1])
    assert record['losses'] == [2., math.inf] and math.isnan(record['distances'][0])


@pytest.mark.parametrize('settings, words', [
    (dict(step_range=(75, 0.1)), 'step_range'),
    (dict(step_range=(1, 1)), 'step_range'),
    (dict(step_range=(0, 1)), 'step_range'),
    (dict(step_range=(0.1, math.inf)), 'step_range'),
    (dict(step_range=(0.1, math.nan)), 'step_range'),
    (dict(num_steps=1), 'num_steps=1'),
    (dict(num_steps=0), 'num_steps=0'),
    (dict(interval=0), 'interval=0'),
    (dict(interval=2.5), 'interval=2.5'),
    (dict(steps_at_once=-1), 'steps_at_once=-1'),
    (dict(direction='up'), "'up' must be one of 'ascent', 'descent'"),
])
def test_settings_that_make_no_sense(settings, words):
    with pytest.raises(ValueError, match=words):
        HOOKS.build(hook(**settings))


def test_a_single_step_size():
    assert LandscapeHook((2., 2.), num_steps=1).step_sizes == [2.]


def test_a_layer_that_does_not_exist_is_told_before_training(tmp_path):
    with pytest.raises(SetupError, match='nearest are'):
        train(tmp_path, hook(at='backbone.layer9'))
    assert not list(tmp_path.glob('*/landscape/*'))


def test_networks_spread_over_processes_are_refused(monkeypatch):
    monkeypatch.setattr(module, 'is_model_wrapper', lambda model: True)
    with pytest.raises(SetupError, match='train with DDP'):
        LandscapeHook((0.1, 1.)).before_run(SimpleNamespace(model=torch.nn.Identity()))
