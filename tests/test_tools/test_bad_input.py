"""Mistakes end in one clear sentence, before any work starts."""
import runpy
import shutil
import socket
import sys

import pytest
import torch
from mmengine.config import Config
from mmengine.hooks import Hook
from mmengine.optim import AmpOptimWrapper, OptimWrapper
from mmengine.registry import MODELS

from mmgcp.apis import launch
from mmgcp.apis.launch import build_runner, load_config, scale_lr, use_amp
from mmgcp.registry import HOOKS
from mmgcp.utils.errors import REASON_FILE, NonFiniteLossError, SetupError
from mmgcp.utils.reported import reported

from .conftest import CLASSIFIER, DETECTOR, ROOT, resolved


def configure(workplace, config=CLASSIFIER, **options):
    """Config as tools/train.py reads it."""
    options = {key.replace('__', '.'): value for key, value in options.items()}
    return load_config(resolved([config])[0], str(workplace.folder / 'bad'), options)


def train(workplace, config=CLASSIFIER, **options):
    with reported():
        launch.train(build_runner(configure(workplace, config, **options), ['train', 'val'], whole_model=False))


@pytest.fixture(autouse=True)
def in_workplace(workplace, monkeypatch):
    monkeypatch.chdir(workplace.folder)


@pytest.mark.parametrize('options, sentence', [
    (dict(model__backbone__conv5_downsample='avg'), "conv5_downsample='avg' is unknown: choose"),
    (dict(model__neck__method='sqrtm'), r"method='sqrtm' is unknown: choose one of covariance, newton_schulz"),
    (dict(model__neck__alpha=0.5), r"method='newton_schulz' has no option alpha: it has num_iters"),
    (dict(model__neck__num_iters=0), r'num_iters=0 must be an integer of at least 1'),
    (dict(model__neck__reduced_channels=0), r'reduced_channels=0 must be an integer of at least 1'),
    (dict(model__head__in_channels=512), r'model.head.in_channels=512 does not match the neck, .* of 528'),
    (dict(train_dataloader__dataset__data_root='nowhere'), r'data root nowhere does not exist'),
    (dict(train_cfg__max_epocs=3), r"unexpected keyword argument 'max_epocs'"),
    (dict(train_dataloader__dataset__data_prefx='train'), r"unexpected keyword argument 'data_prefx'"),
    (dict(train_dataloader__bach_size=3), r"unexpected keyword argument 'bach_size'"),
    (dict(val_evaluator__topk=(1, 13)), r'val_evaluator.topk=\(1, 13\) needs 13 classes'),
    (dict(val_evaluator__tpok=3), r"unexpected keyword argument 'tpok'"),
    (dict(work_dir='/dev/null/here'), r'work directory /dev/null/here cannot be made: Not a directory'),
    (dict(optim_wrapper__optimizer__weigth_decay=0), r"unexpected keyword argument 'weigth_decay'"),
    (dict(optim_wrapper__optimizer__lr=-1), r'Invalid learning rate: -1'),
    (dict(optim_wrapper__optimizer__lr='fast'), r"'<' not supported between instances of 'str' and 'float'"),
    (dict(optim_wrapper__accumulative_counts=0), r'_accumulative_counts at least'),
    (dict(optim_wrapper__optimizer__type='SDG'), r'optimizer.type has no optimizer SDG: the nearest name is SGD'),
    (dict(optim_wrapper__clip_grad=dict(maxnorm=1)), r"clip_grad={'maxnorm': 1} does not fit clip_grad_norm_: "),
    (dict(optim_wrapper__clip_grad=dict(norm_type=1)), r"missing a required argument: 'max_norm'"),
    (dict(optim_wrapper__clip_grad=1), r'it should be a `dict` which is the arguments of'),
    (dict(optim_wrapper__paramwise_cfg=[1]), r'paramwise_cfg should be None or a dict'),
    (dict(optim_wrapper__paramwise_cfg=dict(norm_decay=0)), r'has no setting norm_decay: .* norm_decay_mult'),
    (dict(optim_wrapper__paramwise_cfg=dict(custom_keys={'head.fc': dict(lr_mul=5)})),
     r"custom_keys\['head.fc'\] has no setting lr_mul: the nearest name is lr_mult"),
    (dict(param_scheduler__power=0), r'power=0 must be positive'),
    (dict(param_scheduler__type='mmgcp.PolynomLR'), r'PolynomLR is not in the parameter scheduler registry'),
    (dict(load_from='nowhere.pth'), r'checkpoint nowhere.pth does not exist'),
    (dict(load_from='data'), r'checkpoint data is a folder: name a file in it'),
    (dict(train_cfg__val_interval=0), r'train_cfg.val_interval=0 must be at least 1'),
])
def test_settings(options, sentence, workplace):
    with pytest.raises(SystemExit, match=rf'^\nStopped: .*{sentence}.*\.$'):
        train(workplace, **options)


def test_work_directory_that_is_read_only(workplace, monkeypatch):
    monkeypatch.setattr(launch.os, 'access', lambda path, mode: False)  # root may write anywhere
    with pytest.raises(SystemExit, match='the work directory .*/bad cannot be written to: set another with --work-dir'):
        train(workplace)


def test_callers_of_the_package_get_an_error_and_not_the_end_of_the_program(workplace):
    with pytest.raises(SetupError, match='num_iters=0 must be an integer of at least 1'):
        build_runner(configure(workplace, model__neck__num_iters=0), ['train', 'val'], whole_model=False)
    runner = build_runner(configure(workplace, optim_wrapper__optimizer__lr=-1), ['train', 'val'], whole_model=False)
    with pytest.raises(SetupError, match='Invalid learning rate: -1'):
        launch.train(runner)


@pytest.mark.parametrize('tool, arguments', [
    ('run_experiments.py', ['plan.py', '--at-once', '0']),
    ('with_gcp.py', ['a.py', '--out', 'b.py', '--channels', '0']),
    ('analysis_tools/mosaic.py', ['folder', 'out.png', '--columns', '0']),
    ('analysis_tools/mosaic.py', ['folder', 'out.png', '--number', '0']),
    ('analysis_tools/plot_lr.py', ['a.py', '--epochs', '0'])])
def test_numbers_below_one(tool, arguments, monkeypatch, capsys):
    monkeypatch.setattr(sys, 'argv', [tool, *arguments])
    with pytest.raises(SystemExit):
        runpy.run_path(str(ROOT / 'tools' / tool), run_name='__main__')
    assert f'argument {arguments[-2]}: 0 must be an integer of at least 1' in capsys.readouterr().err


def test_resume_from_an_empty_name(monkeypatch, capsys):
    """As of a shell variable that is not set."""
    monkeypatch.setattr(sys, 'argv', ['train.py', CLASSIFIER, '--resume', ''])
    with pytest.raises(SystemExit):
        runpy.run_path(str(ROOT / 'tools/train.py'), run_name='__main__')
    assert '--resume got an empty name: name a checkpoint' in capsys.readouterr().err


def test_empty_class_folder(workplace):
    shutil.copytree('data/shapes/imagenet', 'hollow')
    for image in (workplace.folder / 'hollow/train/dotted_disc').iterdir():
        image.unlink()
    with pytest.raises(SystemExit, match='1 of 12 class folders in hollow/train hold no file .* dotted_disc for one'):
        train(workplace, train_dataloader__dataset__data_root='hollow')


@pytest.mark.parametrize('content', [b'', b'<html>not found</html>'])
def test_files_that_are_no_images(content, workplace):
    shutil.copytree('data/shapes/imagenet', 'broken', dirs_exist_ok=True)
    (workplace.folder / 'broken/train/dotted_disc/00000.png').write_bytes(content)
    with pytest.raises(SystemExit, match='1 of 48 images of train_dataloader are empty, or no images: broken/train/d'):
        train(workplace, train_dataloader__dataset__data_root='broken')


def test_images_of_the_validation_are_checked(workplace):
    shutil.copytree('data/shapes/imagenet', 'unseen')
    (workplace.folder / 'unseen/val/dotted_disc/00000.png').write_bytes(b'')
    with pytest.raises(SystemExit, match='1 of 24 images of val_dataloader are empty, or no images: unseen/val/d'):
        train(workplace, val_dataloader__dataset__data_root='unseen')


@pytest.mark.parametrize('workers', [0, 1])
def test_image_that_is_cut_off(workers, workplace):
    shutil.copytree('data/shapes/imagenet', f'cut_{workers}')
    image = workplace.folder / f'cut_{workers}/train/dotted_disc/00000.png'
    image.write_bytes(image.read_bytes()[:60])
    with pytest.raises(SystemExit, match=rf'^\nStopped: the image cut_{workers}/train/.*.png cannot be read: put a '
                       r'whole file there, or take it out of the data set\.$'):
        train(workplace, train_dataloader__dataset__data_root=f'cut_{workers}', train_dataloader__num_workers=workers)


def test_missing_images(workplace):
    (workplace.folder / 'list.txt').write_text('train/dotted_disc/00000.png 0\nno.png 1\ntrain/no.png 2\n')
    with pytest.raises(SystemExit, match=r'2 of 3 images of train_dataloader do not exist: data/.*/no.png, data/.*/no'):
        train(workplace, train_dataloader__dataset__ann_file='../../../list.txt',
              train_dataloader__dataset__data_prefix='')
    pytest.importorskip('mmdet')
    shutil.copytree('data/shapes/coco', 'coco')
    image = min((workplace.folder / 'coco/train2017').iterdir())
    image.unlink()
    with pytest.raises(SystemExit, match=f'1 of 6 images of train_dataloader do not exist: coco/.*/{image.name}'):
        train(workplace, DETECTOR, train_dataloader__dataset__data_root='coco')


def test_detector_without_pretrained_weights_names_the_command(workplace):
    pytest.importorskip('mmdet')
    with pytest.raises(SystemExit, match='with: tools/dist_train.sh configs/gcp/resnet18_gcp_d_imagenet.py 4'):
        train(workplace, DETECTOR, model__backbone__init_cfg__checkpoint='workdir://resnet18_gcp_d_imagenet')


def test_annotation_file_that_is_none(workplace):
    pytest.importorskip('mmdet')
    (workplace.folder / 'page.json').write_text('<html>')
    with pytest.raises(SystemExit, match='page.json is not a COCO annotation file'):
        train(workplace, DETECTOR, train_dataloader__dataset__ann_file='../../../page.json')


def test_checkpoint_of_another_architecture(workplace):
    torch.save(dict(state_dict={'backbone.conv1.weight': torch.zeros(64, 3, 7, 7)}), 'other.pth')
    with pytest.raises(SystemExit, match='other.pth does not fit GCPResNet: .* belongs to another architecture'):
        train(workplace, load_from='other.pth')
    with pytest.raises(SystemExit, match='other.pth does not fit ImageClassifier'):
        with reported():
            build_runner(configure(workplace, load_from='other.pth'), ['test'], whole_model=True)


def test_bare_backbone_and_forgotten_prefix(workplace):
    backbone = MODELS.build(configure(workplace).model.backbone).state_dict()
    torch.save(backbone, 'bare.pth')
    with pytest.raises(SystemExit, match='bare.pth does not fit GCPResNet: .* They are there without a prefix: '):
        train(workplace, load_from='bare.pth')
    torch.save({f'backbone.{name}': value for name, value in backbone.items()}, 'whole.pth')
    with pytest.raises(SystemExit, match="whole.pth does not fit GCPResNet: .* under the prefix 'backbone.': "):
        train(workplace, model__backbone__init_cfg=dict(type='Pretrained', checkpoint='whole.pth'))


def test_classes_of_the_checkpoint_are_compared_where_its_head_is_used(workplace):
    cfg = configure(workplace, load_from='renamed.pth')
    classes = sorted(folder.name for folder in (workplace.folder / 'data/shapes/imagenet/val').iterdir())
    torch.save(dict(meta=dict(dataset_meta=dict(classes=['wasp', *classes[1:]])),
                    state_dict=MODELS.build(cfg.model).state_dict()), 'renamed.pth')
    with pytest.raises(SystemExit, match=rf'of the checkpoint .*: 1 missing \(wasp\) and 1 unknown \({classes[0]}\)'):
        with reported():
            build_runner(cfg.copy(), ['test'], whole_model=True)
    build_runner(cfg, ['train'], whole_model=False)  # a fine-tuning has classes of its own


def test_config_that_does_not_exist(workplace):
    with pytest.raises(SystemExit, match='configs/nowhere.py does not exist'):
        train(workplace, 'configs/nowhere.py')




@pytest.mark.parametrize('text, reason', [
    ("_base_ = 'BASE'\nx = {{_base_.typo}}", "or one of its bases, cannot be read: KeyError: 'typo'"),
    ('x = y', "cannot be read: NameError: name 'y' is not defined"),
    ('x = 1 / 0', 'cannot be read: ZeroDivisionError: division by zero'), ('x = 1', 'the config has no model')])
def test_configs_that_cannot_be_read(text, reason, workplace):
    (workplace.folder / 'typo.py').write_text(text.replace('BASE', CLASSIFIER))
    with pytest.raises(SystemExit, match=reason):
        train(workplace, workplace.folder / 'typo.py')


def test_persistent_workers_where_there_are_none(workplace):
    build_runner(configure(workplace, train_dataloader__num_workers=0, train_dataloader__persistent_workers=True),
                 ['train'], whole_model=False)


def test_a_test_leaves_the_config_of_the_training(workplace):
    """Further tests of the trained network read it, and would take over the options of this one."""
    build_runner(configure(workplace), ['train'], whole_model=False)
    trained = (workplace.folder / 'bad' / CLASSIFIER).read_text()
    build_runner(configure(workplace, test_dataloader__dataset__indices=[0, 1]), ['test'], whole_model=False)
    assert (workplace.folder / 'bad' / CLASSIFIER).read_text() == trained


@pytest.mark.parametrize('splits', [['train', 'val'], ['test']])
def test_a_config_need_not_mention_resuming(splits, workplace):
    cfg = configure(workplace)
    cfg.pop('resume', None)
    cfg.pop('load_from', None)
    runner = build_runner(cfg, splits, whole_model=False)
    assert not runner._resume and runner._load_from is None


def test_misspelt_config_names_the_nearest(workplace):
    nearest = r'; the nearest name is gcp/resnet50_gcp_m_imagenet.py\.$'
    with pytest.raises(SystemExit, match=f'the config .*/gcp/resnet50_gpc_m_imagenet.py does not exist{nearest}'):
        train(workplace, 'configs/gcp/resnet50_gpc_m_imagenet.py')
    (workplace.folder / 'mine.py').write_text("_base_ = 'mmgcp::gcp/resnet50_gpc_m_imagenet.py'")
    with pytest.raises(SystemExit, match=f'mine.py cannot be read: mmgcp has no config gcp/resnet50_gpc_.*{nearest}'):
        train(workplace, workplace.folder / 'mine.py')


@pytest.mark.parametrize('setting', [None, {}, dict(base_batch_size=0), dict(base_batch_size='64')])
def test_auto_scale_lr_needs_to_know_the_batch(setting, workplace):
    cfg = configure(workplace)
    cfg.pop('auto_scale_lr')
    if setting is not None:
        cfg.auto_scale_lr = setting
    with pytest.raises(SystemExit, match='set auto_scale_lr.base_batch_size'), reported():
        scale_lr(cfg)


def test_checkpoint_with_a_neck_of_another_width(workplace):
    cfg = configure(workplace, load_from='other.pth')
    narrow = MODELS.build(dict(cfg.model, neck=dict(cfg.model.neck, reduced_channels=128)))
    torch.save(narrow.state_dict(), 'other.pth')
    with pytest.raises(SystemExit, match=r'does not fit GlobalCovariancePooling: .*reduction.conv.weight is \(128'):
        with reported():
            build_runner(cfg, ['train'], whole_model=False)


@pytest.mark.skipif(torch.cuda.is_available(), reason='mixed precision works where there is a GPU')
def test_amp_needs_a_gpu(workplace):
    with pytest.raises(SystemExit, match='--amp needs a GPU, and none is visible'), reported():
        use_amp(configure(workplace))


def test_amp_does_not_replace_other_optimizer_wrappers(workplace):
    cfg = configure(workplace, optim_wrapper__type='mmgcp.KFACOptimWrapper')
    with pytest.raises(SystemExit, match='AmpOptimWrapper instead of .* KFACOptimWrapper'), reported():
        use_amp(cfg)
    assert cfg.optim_wrapper.type == 'mmgcp.KFACOptimWrapper'


@pytest.mark.parametrize('kind', ['OptimWrapper', 'mmengine.OptimWrapper', OptimWrapper, AmpOptimWrapper])
def test_amp_replaces_the_plain_wrapper_however_it_is_named(kind, monkeypatch):
    monkeypatch.setattr(torch.cuda, 'is_available', lambda: True)
    cfg = Config(dict(optim_wrapper=dict(type=kind, optimizer=dict(type='SGD'))))
    use_amp(cfg)
    assert cfg.optim_wrapper.to_dict() == dict(type='AmpOptimWrapper', optimizer=dict(type='SGD'), loss_scale='dynamic')


@HOOKS.register_module()
class PoisonHook(Hook):
    """Makes the features NaN in the second epoch."""

    def before_train_epoch(self, runner):
        if runner.epoch == 1:
            runner.model.backbone.layer4[1].bn2.weight.data.fill_(float('nan'))


def test_nan_features_stop_the_run_and_keep_the_last_good_checkpoint(workplace):
    cfg = configure(workplace, train_cfg__max_epochs=3, train_dataloader__batch_size=24)
    cfg.custom_hooks.append(dict(type='mmgcp.PoisonHook'))
    with pytest.raises(NonFiniteLossError, match=r'loss is nan at iteration 3 \(epoch 2\).*is .*epoch_1.pth'):
        build_runner(cfg, ['train', 'val'], whole_model=False).train()
    assert {path.name for path in (workplace.folder / 'bad').glob('epoch_*.pth')} == {'epoch_1.pth'}
    kept = torch.load(workplace.folder / 'bad/epoch_1.pth', map_location='cpu', weights_only=False)['state_dict']
    assert all(value.isfinite().all() for value in kept.values())


@pytest.mark.parametrize('error, sentence', [
    (FileExistsError(17, 'File exists', 'work_dirs/a'), 'work_dirs/a: File exists'), (OSError('no room'), 'no room'),
    (ValueError(), 'ValueError'), (ValueError('two', 'parts'), r"\('two', 'parts'\)"), (KeyError('a key'), 'a key')])
def test_errors_in_one_sentence(error, sentence):
    with pytest.raises(SystemExit, match=f'^\nStopped: {sentence}.$'), reported(Exception):
        raise error


def test_port_of_another_job(monkeypatch):
    with socket.socket() as other:
        other.bind(('', 0))
        other.listen()
        for name, value in dict(MASTER_ADDR='127.0.0.1', MASTER_PORT=str(other.getsockname()[1]), RANK='0',
                                WORLD_SIZE='2').items():
            monkeypatch.setenv(name, value)
        with pytest.raises(SystemExit, match=r'port \d+ is taken, perhaps by another job: set another PORT\.$'):
            with reported():
                torch.distributed.init_process_group('gloo')


@pytest.mark.parametrize('gpus', ['two', '0', '-1', '1.5', ''])
def test_number_of_processes(gpus, workplace):
    out = workplace.run('dist_train.sh', CLASSIFIER, gpus, fails=True)
    assert out.splitlines()[-1] == f"Stopped: GPUS must be a number of at least 1, got '{gpus}'."
    out = workplace.run('dist_test.sh', CLASSIFIER, 'checkpoint.pth', gpus, fails=True)
    assert out.splitlines()[-1].startswith('Stopped: GPUS must be')


def test_more_processes_than_gpus(workplace, tmp_path, monkeypatch):
    python = tmp_path / 'python'
    python.write_text('#!/bin/sh\necho 2\n')
    python.chmod(0o755)
    monkeypatch.setattr(type(workplace), 'environment', dict(PATH='/usr/bin:/bin', PYTHON=str(python)))
    out = workplace.run('dist_train.sh', CLASSIFIER, '3', fails=True)
    assert out.splitlines()[-1] == 'Stopped: GPUS is 3, but only 2 GPUs are visible.'


def test_a_process_of_several_leaves_its_reason_in_a_file(workplace, tmp_path, monkeypatch):
    monkeypatch.setenv(REASON_FILE, str(tmp_path / 'reason'))
    with pytest.raises(SystemExit, match='^1$'):
        train(workplace, val_dataloader__dataset__data_root='nowhere')
    assert (tmp_path / 'reason').read_text() == ('the data root nowhere does not exist: put the data there or set '
                                                 '--cfg-options val_dataloader.dataset.data_root=FOLDER')
    with pytest.raises(SystemExit, match='^1$'), reported():
        raise SetupError('caf\udce9.jpg is no image')  # a name that is not UTF-8
    assert (tmp_path / 'reason').read_text() == r'caf\udce9.jpg is no image'


def test_reason_stands_last_below_what_torchrun_prints(workplace, tmp_path, monkeypatch):
    for script in ('dist_train.sh', 'launch.sh'):
        shutil.copy(ROOT / 'tools' / script, tmp_path)
    (tmp_path / 'train.py').write_text(f"import os, sys; open(os.environ['{REASON_FILE}'], 'w').write('it is cold'); "
                                       "sys.exit(1)")
    out = workplace.run(tmp_path / 'dist_train.sh', CLASSIFIER, '2', fails=True)
    assert out.splitlines()[-1] == 'Stopped: it is cold.'
    assert out.count('Stopped:') == 1


@pytest.mark.parametrize('tool, usage', [('dist_train.sh', 'CONFIG GPUS'), ('dist_test.sh', 'CONFIG CHECKPOINT GPUS'),
                                         ('slurm_train.sh', 'PARTITION JOB_NAME CONFIG'),
                                         ('slurm_test.sh', 'PARTITION JOB_NAME CONFIG CHECKPOINT')])
def test_usage(tool, usage, workplace):
    assert f'usage: tools/{tool} {usage}' in workplace.run(tool, fails=True)
