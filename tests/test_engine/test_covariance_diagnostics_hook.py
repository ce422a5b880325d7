import json
import re
from types import SimpleNamespace

import pytest
import torch
from mmengine.hooks import Hook
from mmengine.logging import MessageHub
from mmengine.runner import Runner
from mmpretrain.structures import DataSample
from torch import nn
from torch.utils.data import Dataset

import mmgcp.engine.hooks.covariance_diagnostics_hook as module
from mmgcp.engine.hooks import CovarianceDiagnosticsHook
from mmgcp.ops import CovariancePooling
from mmgcp.ops.diagnostics import covariance_diagnostics
from mmgcp.utils.errors import SetupError

NAMES = ['effective_rank', 'rank', 'residual', 'dead_channels', 'pixels', 'pixels_below_channels', 'condition_log10']


class Images(Dataset):
    """24 images of two classes, dark and bright: 6 iterations an epoch."""

    def __len__(self):
        return 24

    def __getitem__(self, index):
        label = index % 2
        image = torch.randint(0, 128, (3, 64, 64), generator=torch.Generator().manual_seed(index)) + 100 * label
        return dict(inputs=image.to(torch.uint8), data_samples=DataSample().set_gt_label(label))


class Recorder(Hook):
    """Keeps what flows into the pooling, the losses and the random states of every iteration."""

    def before_run(self, runner):
        self.inputs, self.losses, self.states = [], [], []
        self.pooling = getattr(runner.model.neck, 'pooling', None)
        if self.pooling is not None:
            runner.model.neck.reduction.register_forward_hook(lambda *args: self.inputs.append(args[-1].clone()))

    def before_train_iter(self, runner, batch_idx, data_batch=None):
        self.hooks_within = len(self.pooling._forward_pre_hooks)

    def after_train_iter(self, runner, batch_idx, data_batch=None, outputs=None):
        self.losses.append(outputs['loss'])
        self.states.append(torch.get_rng_state())


def train(work_dir, hooks, by_epoch=True, log_interval=2, neck='mmgcp.GlobalCovariancePooling',
          backends=('LocalVisBackend', )):
    """A run of 12 iterations; the runner and its Recorder."""
    neck = dict(type=neck)
    if neck['type'].startswith('mmgcp.'):
        neck.update(in_channels=64, reduced_channels=8)
    recorder = Recorder()
    runner = Runner(
        model=dict(
            type='ImageClassifier',
            data_preprocessor=dict(mean=[128] * 3, std=[64] * 3),
            backbone=dict(type='ResNet', depth=18, stem_channels=8, base_channels=8),
            neck=neck,
            head=dict(type='LinearClsHead', num_classes=2, in_channels=36 if 'in_channels' in neck else 64)),
        work_dir=str(work_dir),
        train_dataloader=dict(
            dataset=Images(), batch_size=4, num_workers=0, collate_fn=dict(type='default_collate'),
            sampler=dict(type='DefaultSampler', shuffle=True)),
        train_cfg=dict(by_epoch=True, max_epochs=2) if by_epoch else dict(by_epoch=False, max_iters=12),
        optim_wrapper=dict(optimizer=dict(type='SGD', lr=0.05, momentum=0.9)),
        default_hooks=dict(logger=dict(type='LoggerHook', interval=log_interval)),
        custom_hooks=[recorder, *hooks],
        log_processor=dict(by_epoch=by_epoch),
        visualizer=dict(type='Visualizer', vis_backends=[dict(type=backend) for backend in backends]),
        randomness=dict(seed=0),
        default_scope='mmpretrain',
        experiment_name=work_dir.name)
    runner.train()
    return runner, recorder


def measured(recorder, iteration):
    """What the log should say of an iteration, counted from 1."""
    values = covariance_diagnostics(recorder.inputs[iteration - 1])
    values['condition_log10'] = values.pop('condition_number').log10()
    return {f'neck.pooling/{name}': value.mean().item() for name, value in values.items()}


def logged(work_dir):
    """Diagnostics in the scalars by iteration, and the lines of the text log."""
    scalars, = work_dir.glob('*/vis_data/scalars.json')
    records = [json.loads(line) for line in scalars.read_text().splitlines()]
    text, = work_dir.glob('*/*.log')
    lines = [line for line in text.read_text().splitlines() if 'loss: ' in line]
    return {r['step']: {k: v for k, v in r.items() if '/' in k} for r in records}, lines


# Iterations at which there is a line, and the iteration measured that it has to show.
@pytest.mark.parametrize('interval, log_interval, by_epoch, expected', [
    (2, 2, True, {2: 2, 4: 4, 6: 6, 8: 8, 10: 10, 12: 12}),
    (4, 2, True, {2: None, 4: 4, 6: 4, 8: 4, 10: 10, 12: 10}),
    (4, 2, False, {2: None, 4: 4, 6: 4, 8: 8, 10: 8, 12: 12}),
    (100, 100, True, {6: 6, 12: 12}),
])
def test_lines_of_the_log_show_the_values_of_their_iteration(interval, log_interval, by_epoch, expected, tmp_path):
    hook = dict(type='mmgcp.CovarianceDiagnosticsHook', interval=interval)
    _, recorder = train(tmp_path, [hook], by_epoch, log_interval)
    scalars, lines = logged(tmp_path)
    assert list(scalars) == list(expected) and len(lines) == len(expected)
    for line, (step, iteration) in zip(lines, expected.items(), strict=True):
        values = {} if iteration is None else measured(recorder, iteration)
        assert scalars[step] == pytest.approx(values, rel=1e-6, abs=1e-7)
        assert re.findall(r'(neck\.pooling/\w+): (\S+)', line) == [(k, f'{v:.4f}') for k, v in values.items()]
    assert [name.split('/')[1] for name in values] == NAMES


def test_training_is_the_same_bit_for_bit(tmp_path):
    plain, expected = train(tmp_path / 'plain', [])
    runner, recorder = train(tmp_path / 'measured', [CovarianceDiagnosticsHook(interval=1)])
    assert len(expected.losses) == 12 and not logged(tmp_path / 'plain')[0][2]
    for name, value in plain.model.state_dict().items():
        assert torch.equal(value, runner.model.state_dict()[name]), name
    for name in ('losses', 'states', 'inputs'):
        assert all(map(torch.equal, getattr(recorder, name), getattr(expected, name))), name
    assert not runner.model.neck.pooling._forward_pre_hooks


def test_tensorboard_shows_them(tmp_path):
    accumulator = pytest.importorskip('tensorboard.backend.event_processing.event_accumulator')
    _, recorder = train(tmp_path, [CovarianceDiagnosticsHook(interval=6)], log_interval=6,
                        backends=['TensorboardVisBackend'])
    events, = tmp_path.glob('*/vis_data')
    board = accumulator.EventAccumulator(str(events)).Reload()
    for name, value in measured(recorder, 12).items():
        assert board.Scalars(name)[-1].step == 12
        assert board.Scalars(name)[-1].value == pytest.approx(value, rel=1e-6, abs=1e-7)


def test_a_compiled_network_is_refused():
    """It would run without the hooks that record the inputs."""
    hook = CovarianceDiagnosticsHook()
    hook.before_train(SimpleNamespace(cfg={}))
    with pytest.raises(SetupError, match='torch.compile does not see: leave compile out of the config'):
        hook.before_train(SimpleNamespace(cfg=dict(compile=True)))


def test_a_model_without_covariance_pooling_is_refused(tmp_path):
    with pytest.raises(SetupError, match=r'ImageClassifier has no covariance pooling .* take the hook out of '
                                         r"custom_hooks, or set model.neck to a 'mmgcp.GlobalCovariancePooling'"):
        train(tmp_path, [CovarianceDiagnosticsHook()], neck='GlobalAveragePooling')


@pytest.mark.parametrize('interval', [0, -1, 1.5])
def test_interval_is_checked(interval):
    with pytest.raises(ValueError, match=f'interval={interval} must be an integer of at least 1'):
        CovarianceDiagnosticsHook(interval)


class TwoPoolings(nn.Module):

    def __init__(self):
        super().__init__()
        self.first = CovariancePooling(6, num_iters=2)
        self.second = CovariancePooling(6)
        self.unused = CovariancePooling(6)

    def forward(self, x, mask):
        with torch.autocast('cpu', torch.bfloat16):
            return self.first(x) + self.second(x.sqrt(), mask=mask)


@pytest.fixture
def setup():
    """A hook of interval 3 with a runner of an epoch of 100 iterations, and a function to run one of them."""
    model = TwoPoolings()
    hook = CovarianceDiagnosticsHook(3)
    hub = MessageHub('diagnostics')
    # A wrapper like those of distributed training, without which it works too.
    runner = SimpleNamespace(model=nn.DataParallel(model), message_hub=hub, train_dataloader=range(100))
    hook.before_run(runner)

    def iterate(batch_idx, *inputs):
        hook.before_train_iter(runner, batch_idx)
        hooked = [len(layer._forward_pre_hooks) for layer in model.children()]
        model(*inputs)
        hook.after_train_iter(runner, batch_idx)
        assert not any(layer._forward_pre_hooks for layer in model.children()) and not hook.inputs
        return hooked

    return SimpleNamespace(hub=hub, iterate=iterate)


def test_several_layers_masks_and_half_precision(setup):
    x, mask = torch.rand(2, 6, 4, 4, dtype=torch.bfloat16, requires_grad=True), torch.rand(2, 4, 4) > 0.3
    for batch_idx in range(3):
        assert setup.iterate(batch_idx, x, mask) == [batch_idx == 2] * 3
    current = {name: buffer.current() for name, buffer in setup.hub.log_scalars.items()}
    first, second = covariance_diagnostics(x, num_iters=2), covariance_diagnostics(x.sqrt(), mask=mask)
    expected = {}
    for layer, values in dict(first=first, second=second).items():
        values['condition_log10'] = values.pop('condition_number').log10()
        expected.update({f'train/{layer}/{name}': value.mean().item() for name, value in values.items()})
    assert current == expected


def test_other_ranks_measure_nothing(setup, monkeypatch):
    monkeypatch.setattr(module, 'is_main_process', lambda: False)
    assert setup.iterate(2, torch.rand(2, 6, 4, 4), None) == [0, 0, 0]
    assert not setup.hub.log_scalars
