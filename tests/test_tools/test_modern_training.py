"""Training options that are a matter of ``--cfg-options``, through the real tools."""
import json

import pytest
import torch
from mmengine.utils import digit_version

from mmgcp.utils.checkpoint import load_state_dict

from .conftest import CLASSIFIER, SMALL

# One iteration an epoch, so that every iteration leaves a checkpoint. A small learning rate keeps rounding small.
STEPS = ('train_dataloader.batch_size=48', 'train_cfg.max_epochs=3', 'default_hooks.logger.interval=1',
         'optim_wrapper.optimizer.lr=1e-3')
EMA = ('default_hooks.ema.type=EMAHook', 'default_hooks.ema.momentum=0.1')


def train(workplace, name, *options, arguments=()):
    """Work directory of a run of the classifier."""
    work_dir = workplace.folder / 'modern' / name
    workplace.run('train.py', CLASSIFIER, '--no-validate', '--work-dir', work_dir, *arguments, '--cfg-options', *STEPS,
                  *options)
    return work_dir


def losses(work_dir):
    file, = work_dir.glob('*/vis_data/scalars.json')
    return [json.loads(line)['loss'] for line in file.read_text().splitlines()]


def states(work_dir, key='state_dict'):
    """Weights after each of the three epochs."""
    return [torch.load(work_dir / f'epoch_{i}.pth', map_location='cpu', weights_only=False)[key] for i in (1, 2, 3)]


@pytest.fixture(scope='module')
def plain(workplace):
    return train(workplace, 'plain')


@pytest.fixture(scope='module')
def averaged(workplace):
    return train(workplace, 'ema', *EMA)


@pytest.fixture(scope='module')
def accumulated(workplace):
    pytest.importorskip('tensorboard')
    return train(workplace, 'accumulation', 'optim_wrapper.accumulative_counts=3',
                 'visualizer.vis_backends.0.type=TensorboardVisBackend')


def test_ema_saves_the_average_of_the_weights_of_all_iterations(plain, averaged):
    assert losses(averaged) == losses(plain)
    weights = states(plain)
    for trained, kept in zip(weights, states(averaged, 'ema_state_dict'), strict=True):
        assert all(torch.equal(kept[f'module.{name}'], value) for name, value in trained.items())
    for name in ('backbone.conv1.weight', 'neck.reduction.conv.weight', 'head.fc.weight'):
        average = weights[0][name]
        for saved, trained in zip(states(averaged)[1:], weights[1:], strict=True):
            average = 0.9 * average + 0.1 * trained[name]
            torch.testing.assert_close(saved[name], average)
            assert not torch.allclose(average, trained[name], rtol=1e-6, atol=1e-8)


def test_ema_resumes_with_its_average(workplace, averaged):
    resumed = train(workplace, 'ema_resumed', *EMA, arguments=('--resume', averaged / 'epoch_2.pth'))
    assert losses(resumed) == losses(averaged)[2:]
    expected, found = (load_state_dict(str(folder / 'epoch_3.pth')) for folder in (averaged, resumed))
    assert all(torch.equal(found[name], value) for name, value in expected.items())


def test_accumulation_updates_once_in_three_iterations(plain, accumulated):
    first, second, third = ({name: value for name, value in state.items() if 'weight' in name}
                            for state in states(accumulated))
    assert all(torch.equal(second[name], value) for name, value in first.items())
    assert not any(torch.equal(third[name], value) for name, value in first.items())
    # The batch statistics are those of the parts: they were gathered three times.
    assert [state['neck.reduction.bn.num_batches_tracked'] for state in states(accumulated)] == [1, 2, 3]


def test_tensorboard_gets_the_losses(plain, accumulated):
    from tensorboard.backend.event_processing.event_accumulator import EventAccumulator
    folder, = accumulated.glob('*/vis_data')
    assert list(folder.glob('events.out.tfevents.*')) and not list(folder.glob('*.json'))
    events = EventAccumulator(str(folder)).Reload().Scalars('loss')
    assert len(events) == 3
    assert events[0].value == pytest.approx(losses(plain)[0], rel=1e-6)


def test_channels_last_trains_alike(workplace, plain):
    work_dir = train(workplace, 'channels_last', 'default_hooks.channels_last.type=mmgcp.ChannelsLastHook')
    assert losses(work_dir) == pytest.approx(losses(plain), rel=1e-4)
    weight = states(work_dir)[-1]['backbone.layer4.1.conv2.weight']
    assert weight.is_contiguous(memory_format=torch.channels_last) and not weight.is_contiguous()


@pytest.mark.skipif(digit_version(torch.__version__) < digit_version('2.2'), reason='torch 2.1 cannot compile SGD')
def test_compilation_trains_alike(workplace, plain):
    work_dir = train(workplace, 'compile', 'compile.backend=eager')
    log, = work_dir.glob('*/*.log')
    assert 'Model has been "compiled"' in log.read_text()
    assert losses(work_dir) == pytest.approx(losses(plain), rel=1e-4)


@pytest.mark.skipif(digit_version(torch.__version__) < digit_version('2.2'), reason='torch 2.1 has no FSDP on the CPU')
@pytest.mark.skipif(torch.cuda.is_available(), reason='a test of processes on the CPU')
def test_fsdp_trains_like_ddp(trained):
    work_dir = trained.folder / 'modern/fsdp'
    trained.run('train.py', CLASSIFIER, '--no-validate', '--work-dir', work_dir, '--cfg-options', *SMALL,
                'train_cfg.max_epochs=1', 'runner_type=FlexibleRunner', 'strategy.type=FSDPStrategy',
                'strategy.model_wrapper.type=MMFullyShardedDataParallel', 'strategy.model_wrapper.device_id=cpu',
                processes=2)
    found, expected = losses(work_dir), losses_of_first_epoch(trained.folder / 'work_dirs/resnet18_gcp_m_shapes')
    assert found == pytest.approx(expected, rel=1e-3)
    assert sorted(file.name for file in (work_dir / 'epoch_1.pth').iterdir()) == ['rank0.pth', 'rank1.pth']


def losses_of_first_epoch(work_dir):
    file, = work_dir.glob('*/vis_data/scalars.json')
    records = map(json.loads, file.read_text().splitlines())
    return [record['loss'] for record in records if record.get('epoch') == 1 and 'loss' in record]
