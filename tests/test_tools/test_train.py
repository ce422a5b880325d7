"""The real tools and the real Runner, from pre-training to detection."""
import json
import os

import pytest
import torch
from mmengine.config import Config
from mmengine.registry import MODELS, init_default_scope

from mmgcp.utils.checkpoint import load_state_dict

from .conftest import CLASSIFIER, DETECTOR, SMALL


def log_of(work_dir):
    """Training losses by (epoch, iteration) and validation results by epoch; later starts replace earlier ones."""
    losses, results = {}, {}
    for file in sorted(work_dir.glob('*/vis_data/scalars.json')):
        for record in map(json.loads, file.read_text().splitlines()):
            if 'loss' in record:
                losses[record['epoch'], record['iter']] = record['loss']
            else:
                results[record['step']] = {k: v for k, v in record.items() if '/' in k}
    return losses, results


def test_two_processes_train_evaluate_and_save(trained):
    work_dir = trained.folder / 'work_dirs/resnet18_gcp_m_shapes'
    losses, results = log_of(work_dir)
    # 48 images on 2 processes of 8 images each: 3 iterations an epoch
    assert sorted(losses) == [(1 + i // 3, 1 + i) for i in range(9)]
    assert set(results) == {1, 2, 3} and all(set(r) == {'accuracy/top1', 'accuracy/top5'} for r in results.values())
    assert all(value.isfinite().all() for value in load_state_dict(str(work_dir / 'epoch_3.pth')).values())


def test_a_killed_run_resumes_with_the_same_losses(trained):
    work_dir = trained.folder / 'killed'
    work_dir.mkdir()
    os.mkfifo(work_dir / 'epoch_3.pth')  # at which the run waits, for nobody reads it
    command = ('train.py', CLASSIFIER, '--work-dir', work_dir, '--cfg-options', *SMALL)
    processes = trained.start(*command, processes=2)
    saved = work_dir / 'last_checkpoint'
    while not (saved.exists() and saved.read_text()):
        assert not processes.ended(within=0.05), processes.wait()
    processes.kill()
    processes.wait()
    (work_dir / 'epoch_3.pth').unlink()
    # The Runner names a run's folder by the second in which it starts, which may be that of the second run too.
    next(work_dir.glob('*/vis_data')).parent.rename(work_dir / '0')

    trained.run('train.py', CLASSIFIER, '--work-dir', work_dir, '--resume', '--cfg-options', *SMALL, processes=2)
    resumed = max(work_dir.glob('*/vis_data/scalars.json')).read_text()
    assert '"epoch": 3' in resumed and '"epoch": 1' not in resumed
    losses, results = log_of(work_dir)
    expected_losses, expected_results = log_of(trained.folder / 'work_dirs/resnet18_gcp_m_shapes')
    assert losses == expected_losses
    assert results == expected_results  # though the kill may have come between saving and validating
    whole, resumed = (load_state_dict(str(folder / 'epoch_3.pth'))
                      for folder in (trained.folder / 'work_dirs/resnet18_gcp_m_shapes', work_dir))
    assert all(torch.equal(resumed[name], value) for name, value in whole.items())


def test_resume_starts_from_load_from_until_there_is_a_checkpoint(trained):
    source = trained.folder / 'work_dirs/resnet18_gcp_m_shapes/epoch_3.pth'
    # At a rate of 0 the weights stay those from which the training started.
    fine_tune = ('train.py', CLASSIFIER, '--work-dir', 'tuned', '--no-validate', '--resume', '--cfg-options', *SMALL,
                 f'load_from={source}', 'optim_wrapper.optimizer.lr=0.')
    for epochs in (1, 2):
        printed = trained.run(*fine_tune, f'train_cfg.max_epochs={epochs}')
        assert ('resumed epoch: 1' in printed) == (epochs == 2)
        # A schedule by iteration of a longer training has a later end.
        assert ('as if the training had started with them: PolynomialLR.end 6 -> 12' in printed) == (epochs == 2)
        started, saved = (load_state_dict(str(path)) for path in (source, trained.folder / f'tuned/epoch_{epochs}.pth'))
        assert all(torch.equal(saved[name], value) for name, value in started.items() if name.endswith('weight'))


def test_testing_gives_the_accuracy_of_training(trained):
    work_dir = trained.folder / 'work_dirs/resnet18_gcp_m_shapes'
    _, results = log_of(work_dir)
    trained.run('test.py', CLASSIFIER, 'workdir://resnet18_gcp_m_shapes', '--work-dir', 'tested', '--out', 'scores.pkl',
                processes=2)
    tested, = (trained.folder / 'tested').glob('*/*.json')
    # The original line writes the same object once per process.
    tested, _ = json.JSONDecoder().raw_decode(tested.read_text())
    assert {k: tested[k] for k in results[3]} == results[3]
    assert (trained.folder / 'scores.pkl').stat().st_size > 0


def test_drawing_needs_no_hook_in_the_config(trained):
    (trained.folder / 'bare.py').write_text(
        f"_base_ = '{CLASSIFIER}'\ndefault_hooks = dict(visualization=None)\nvisualizer = None\n")
    trained.run('test.py', 'bare.py', 'workdir://resnet18_gcp_m_shapes', '--show-dir', trained.folder / 'pictures')
    assert list((trained.folder / 'pictures').glob('*.png'))


def test_a_part_of_the_network_is_not_tested(trained):
    state_dict = load_state_dict(str(trained.folder / 'work_dirs/resnet18_gcp_m_shapes/epoch_3.pth'))
    torch.save({name: value for name, value in state_dict.items() if name.startswith('backbone.')},
               trained.folder / 'part.pth')
    printed = trained.run('test.py', CLASSIFIER, 'part.pth', fails=True)
    assert 'Stopped: the checkpoint part.pth does not fit ImageClassifier' in printed


def test_transfer_loads_every_backbone_tensor(trained, monkeypatch):
    pytest.importorskip('mmdet')
    monkeypatch.chdir(trained.folder)
    cfg = Config.fromfile(DETECTOR)
    init_default_scope('mmdet')
    detector = MODELS.build(cfg.model)
    detector.init_weights()
    source = load_state_dict('workdir://resnet18_gcp_m_shapes')
    loaded = {f'backbone.{name}': value for name, value in detector.backbone.state_dict().items()}
    assert set(loaded) == {name for name in source if name.startswith('backbone.')}
    assert all(torch.equal(value, source[name]) for name, value in loaded.items())
    assert {name.split('.')[0] for name in source if name not in loaded} == {'neck', 'head'}


def test_detector_trains_from_the_pretrained_weights(trained):
    pytest.importorskip('mmdet')
    small = ('train_cfg.max_epochs=1', 'train_cfg.val_interval=1', 'train_dataloader.batch_size=2',
             'default_hooks.logger.interval=1', 'model.test_cfg.rcnn.score_thr=0.')
    trained.run('train.py', DETECTOR, '--cfg-options', *small, processes=2)
    work_dir = trained.folder / 'work_dirs/mask_rcnn_r18_gcp_m_shapes'
    losses, results = log_of(work_dir)
    assert len(losses) == 2
    assert {'coco/bbox_mAP', 'coco/bbox_mAP_s', 'coco/segm_mAP', 'coco/segm_mAP_l'} <= set(results[1])
    source = load_state_dict(str(trained.folder / 'work_dirs/resnet18_gcp_m_shapes/epoch_3.pth'))
    target = load_state_dict(str(work_dir / 'epoch_1.pth'))
    # Frozen parts are still the pre-trained ones.
    for name in ('backbone.conv1.weight', 'backbone.layer1.0.conv1.weight', 'backbone.layer4.0.bn1.running_mean'):
        assert torch.equal(target[name], source[name])
    assert not torch.equal(target['backbone.layer4.0.conv1.weight'], source['backbone.layer4.0.conv1.weight'])

    trained.run('test.py', DETECTOR, 'workdir://mask_rcnn_r18_gcp_m_shapes', '--show-dir', trained.folder / 'drawn')
    assert len(list((trained.folder / 'drawn').glob('*.png'))) == 3
