import os
import random
from types import SimpleNamespace

import numpy as np
import pytest
import torch
from mmengine.hooks import SyncBuffersHook
from torch.utils.data import DataLoader, Dataset

from mmgcp.engine.hooks import EpochSeedHook, SanityCheckHook
from mmgcp.models import FirstAndSecondOrderPooling, FusionClsHead, GlobalCovariancePooling
from mmgcp.utils.errors import NonFiniteLossError, SetupError

from ..processes import free_port, start_two


def classifier(head_channels):
    return SimpleNamespace(neck=GlobalCovariancePooling(8, 4), head=SimpleNamespace(in_channels=head_channels))


def test_head_must_fit_the_neck():
    SanityCheckHook().before_run(SimpleNamespace(model=classifier(10)))
    with pytest.raises(SetupError, match=r'in_channels=512 does not match .* set model.head.in_channels=10'):
        SanityCheckHook().before_run(SimpleNamespace(model=classifier(512)))


@pytest.mark.parametrize('model', [SimpleNamespace(), SimpleNamespace(neck=torch.nn.Identity(), head=None)])
def test_other_models_pass(model):
    SanityCheckHook().before_run(SimpleNamespace(model=model))


@pytest.mark.parametrize('value', [float('nan'), float('inf'), -float('inf')])
def test_a_loss_that_is_not_finite_names_iteration_and_checkpoint(value, tmp_path):
    runner = SimpleNamespace(iter=36, epoch=2, work_dir=str(tmp_path))
    check = SanityCheckHook().after_train_iter
    check(runner, 0, outputs={'loss': torch.tensor(0.5), 'accuracy_top1': torch.tensor(float('nan'))})
    with pytest.raises(NonFiniteLossError, match=r'loss_rpn is .* at iteration 37 \(epoch 3\).* No checkpoint'):
        check(runner, 0, outputs={'loss_rpn': torch.tensor(value)})
    (tmp_path / 'last_checkpoint').write_text('work/epoch_2.pth')
    # The folder may have been moved since.
    with pytest.raises(NonFiniteLossError, match=f'last good checkpoint is {tmp_path}/epoch_2.pth'):
        check(runner, 0, outputs={'loss_rpn': torch.tensor(value)})


def test_weights_that_are_not_finite_are_not_saved(tmp_path):
    """The loss of the last iteration is that before its update."""
    runner, hook = SimpleNamespace(iter=37, epoch=1, work_dir=str(tmp_path)), SanityCheckHook()
    meta = dict(iter=37, epoch=2)  # the runner counts the epoch after its save
    weights = dict(weight=torch.ones(3), count=torch.tensor(7), running_mean=torch.zeros(2))
    hook.before_save_checkpoint(runner, dict(meta=meta, state_dict=weights))
    for value in (float('nan'), float('inf')):
        broken = dict(weights, weight=torch.tensor([1., value, 0.]))
        with pytest.raises(NonFiniteLossError, match=r'weight is not finite after iteration 37 \(epoch 2\): .*No '):
            hook.before_save_checkpoint(runner, dict(meta=meta, state_dict=broken))


@pytest.mark.parametrize('fusion', ['sum', 'concat', 'loss'])
def test_heads_that_read_the_class_token_too_fit_the_neck(fusion):
    neck = FirstAndSecondOrderPooling(8, 4)
    head = FusionClsHead(num_classes=3, in_channels=neck.out_channels, first_channels=8, fusion=fusion)
    SanityCheckHook().before_run(SimpleNamespace(model=SimpleNamespace(neck=neck, head=head)))
    with pytest.raises(SetupError, match='in_channels=9 does not match'):
        SanityCheckHook().before_run(SimpleNamespace(model=SimpleNamespace(
            neck=neck, head=FusionClsHead(num_classes=3, in_channels=9, first_channels=8, fusion=fusion))))


class Draws(Dataset):
    """What an augmentation would draw from each generator."""

    def __len__(self):
        return 4

    def __getitem__(self, index):
        return random.random(), np.random.rand(), torch.rand(()).item()


@pytest.mark.parametrize('workers, persistent', [(0, False), (2, False), (2, True)])
def test_each_epoch_draws_the_same_again_but_not_as_another(workers, persistent):
    hook = EpochSeedHook()
    loader = DataLoader(Draws(), batch_size=4 if workers == 0 else 2, num_workers=workers,
                        persistent_workers=persistent)
    runner = SimpleNamespace(seed=3, epoch=0, train_dataloader=loader)
    hook.before_train(runner)

    def draw(epoch):
        runner.epoch = epoch
        hook.before_train_epoch(runner)
        return torch.stack([torch.stack(list(batch)) for batch in loader]).flatten().tolist()

    first, second = draw(0), draw(1)
    random.seed(1), np.random.seed(1), torch.manual_seed(1)
    assert draw(1) == second
    assert not set(first) & set(second)
    assert len(set(first)) == len(first)


def test_each_seed_and_process_draws_its_own_numbers(monkeypatch):
    drawn = []
    for seed, rank in ((3, 0), (4, 0), (3, 1)):
        monkeypatch.setattr('mmgcp.engine.hooks.epoch_seed_hook.get_rank', lambda rank=rank: rank)
        EpochSeedHook().before_train_epoch(SimpleNamespace(seed=seed, epoch=0, train_dataloader=SimpleNamespace()))
        drawn += Draws()[0]
    assert len(set(drawn)) == 9


def sketch(rank, port, folder):
    """One of two processes with seeds of their own."""
    torch.distributed.init_process_group('gloo', f'tcp://127.0.0.1:{port}', rank=rank, world_size=2)
    torch.manual_seed(rank)
    model = torch.nn.Sequential(GlobalCovariancePooling(8, 4, method='compact_bilinear', out_channels=16))
    runner = SimpleNamespace(model=model)
    drawn = {name: buffer.clone() for name, buffer in model.named_buffers() if 'sketch' in name}
    SanityCheckHook().before_run(runner)
    SyncBuffersHook().after_train_epoch(runner)
    shared = {name: buffer for name, buffer in model.named_buffers() if name in drawn}
    torch.save((drawn, shared), folder / f'{rank}.pth')
    torch.distributed.barrier()
    os._exit(0)  # taking the processes' group down hangs now and then in torch 2.1


def test_processes_share_the_sketch_of_the_first(tmp_path):
    start_two(sketch, free_port(), tmp_path)
    (drawn, first), (other, second) = (torch.load(tmp_path / f'{rank}.pth', weights_only=True) for rank in range(2))
    assert len(drawn) == 2 and not any(torch.equal(drawn[name], other[name]) for name in drawn)
    for name, value in drawn.items():
        assert torch.equal(first[name], value) and torch.equal(second[name], value)
