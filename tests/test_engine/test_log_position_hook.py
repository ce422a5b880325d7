"""The log of a training can be read, whatever interrupted it."""
from types import SimpleNamespace

import torch
from mmengine.evaluator import BaseMetric, Evaluator
from mmengine.runner import Runner

from mmgcp.engine.hooks import LogPositionHook, ResumedValidationHook
from mmgcp.engine.hooks.log_position_hook import is_from_elsewhere
from mmgcp.utils.logs import read_run

from .test_resumed_validation_hook import Validated


class Start(BaseMetric):
    """The number of the start of a training."""

    def __init__(self, start):
        super().__init__()
        self.start = start

    def process(self, data_batch, data_samples):
        self.results.append(1)

    def compute_metrics(self, results):
        return {'start': self.start}


def train(folder, start, length=None, resume=None, interval=2, log_interval=4, by_epoch=False):
    """A start of a training of iterations, or epochs of eight, which are validated and saved at an interval."""
    loader = torch.utils.data.DataLoader(torch.ones(16, 1), 2)
    length = length or 8
    runner = Runner(
        model=Validated(), work_dir=str(folder), resume=bool(resume), load_from=resume and str(resume),
        train_cfg=dict({'max_epochs' if by_epoch else 'max_iters': length}, by_epoch=by_epoch, val_interval=interval),
        train_dataloader=loader, val_dataloader=loader, val_cfg={}, val_evaluator=Evaluator(Start(start)),
        optim_wrapper=dict(optimizer=dict(type='SGD', lr=0.1)),
        default_hooks=dict(logger=dict(type='LoggerHook', interval=log_interval),
                           checkpoint=dict(type='CheckpointHook', by_epoch=by_epoch, interval=interval)),
        log_processor=dict(by_epoch=by_epoch), experiment_name=f'{folder}_{start}')
    runner.register_hook(LogPositionHook())
    runner.register_hook(ResumedValidationHook())
    runner.train()
    # The Runner names the folder by the second, which may be that of the next start too.
    folder.joinpath(runner.timestamp).rename(folder / f'start_{start}')


def curve(folder):
    return dict(zip(*(values.tolist() for values in read_run(folder).curve('start')), strict=True))


def test_validations_by_iteration_are_at_their_iteration(tmp_path):
    train(tmp_path, 1, 4, interval=2, log_interval=4)
    assert curve(tmp_path) == {2: 1, 4: 1}


def test_validation_of_the_last_checkpoint_of_a_killed_training_by_iteration(tmp_path):
    train(tmp_path, 1, 4)
    log = tmp_path / 'start_1/vis_data/scalars.json'
    log.write_text(''.join(log.read_text().splitlines(keepends=True)[:-1]))  # killed before the last validation
    assert curve(tmp_path) == {2: 1}
    train(tmp_path, 2, 4, resume=tmp_path / 'iter_4.pth')
    assert curve(tmp_path) == {2: 1, 4: 2}


def test_a_new_training_by_iteration_replaces_another(tmp_path):
    train(tmp_path, 1, 3, interval=1, log_interval=1)
    train(tmp_path, 2, 8, interval=4)
    assert curve(tmp_path) == {4: 2, 8: 2}
    assert [record['iter'] for record in read_run(tmp_path).train] == [4, 8]


def test_a_resumed_training_by_iteration_replaces_all_after_its_checkpoint(tmp_path):
    train(tmp_path, 1, 3, interval=1, log_interval=1)
    train(tmp_path, 2, 4, interval=4, resume=tmp_path / 'iter_2.pth')
    assert curve(tmp_path) == {1: 1, 2: 1, 4: 2}


def test_a_training_that_saves_elsewhere_goes_on(tmp_path):
    run = tmp_path / 'run'
    train(run, 1, 4, interval=2)
    elsewhere = tmp_path / 'checkpoints/run'
    elsewhere.mkdir(parents=True)
    for path in run.glob('iter_*.pth'):
        path.rename(elsewhere / path.name)
    (run / 'last_checkpoint').write_text(str(elsewhere / 'iter_4.pth'))
    train(run, 2, 8, interval=2, resume=elsewhere / 'iter_4.pth')
    assert curve(run) == {2: 1, 4: 2, 6: 2, 8: 2}


def test_a_checkpoint_of_the_first_machine_belongs_to_its_folder(tmp_path):
    for name, elsewhere in (('own', False), ('other', True)):
        runner = SimpleNamespace(work_dir=str(tmp_path / 'own'), _load_from=f'rank0://{tmp_path}/{name}/epoch_1.pth')
        assert is_from_elsewhere(runner) == elsewhere


def test_another_training_does_not_count(tmp_path):
    own, other = tmp_path / 'own', tmp_path / 'other'
    train(own, 1, 3, by_epoch=True, interval=1)
    train(other, 2, 2, by_epoch=True, interval=1)
    train(own, 3, 3, by_epoch=True, interval=1, resume=other / 'epoch_2.pth')
    assert curve(own) == {2: 3, 3: 3}
    train(own, 4, 4, by_epoch=True, interval=1, resume=own / 'epoch_3.pth')
    assert curve(own) == {2: 3, 3: 4, 4: 4}
