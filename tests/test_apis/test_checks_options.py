import pytest
from mmengine.config import Config
from torch import nn

from mmgcp.apis.checks_options import check_optimizer
from mmgcp.apis.launch import load_config
from mmgcp.utils.errors import SetupError

from ..test_tools.conftest import ROOT

QUICKSTART = ROOT / 'configs/quickstart/resnet18_gcp_m_shapes.py'
MY_PROJECT = ROOT / 'examples/my_project/configs/images_resnet50_gcp_m.py'


@pytest.mark.parametrize('option, nearest', [('trian_cfg.max_epochs', 'train_cfg'), ('xyz', None)])
def test_names_that_nothing_reads(option, nearest):
    ending = f': the nearest name is {nearest}' if nearest else ''
    with pytest.raises(SetupError, match=rf'{option}=9 changes nothing, as nothing reads \w+{ending}$'):
        load_config(str(QUICKSTART), cfg_options={option: 9})


@pytest.mark.parametrize('option, nearest', [('auto_scale_lr.enabel', 'enable'),
                                             ('env_cfg.cudn_benchmark', 'cudnn_benchmark')])
def test_inner_names_that_nothing_reads(option, nearest):
    name, inner = option.split('.')
    with pytest.raises(SetupError, match=f'{name} has no setting {inner}: the nearest name is {nearest}'):
        load_config(str(QUICKSTART), cfg_options={option: True})


def test_names_that_were_put_elsewhere():
    with pytest.raises(SetupError, match=r'data_root=/no changes nothing, .*set train_dataloader.dataset.data_root, '
                       'val_dataloader.dataset.data_root, test_dataloader.dataset.data_root$'):
        load_config(str(MY_PROJECT), cfg_options=dict(data_root='/no'))
    with pytest.raises(SetupError, match='num_classes=7 .*set .*model.head.num_classes'):
        load_config(str(MY_PROJECT), cfg_options=dict(num_classes=7))
    with pytest.raises(SetupError, match='train_pipeline.1.scale=9 .*set train_dataloader.dataset.pipeline'):
        load_config(str(MY_PROJECT), cfg_options={'train_pipeline.1.scale': 9})


def test_variables_of_a_config_are_refused_whatever_their_names(tmp_path):
    """As base_lr in MMDetection's configs of RTMDet, or a size used in several transforms."""
    path = tmp_path / 'config.py'
    for scale in ('size', '(size, size)', '2 * size'):
        path.write_text(
            f"size = 64\ntrain_dataloader = dict(dataset=dict(pipeline=[dict(type='Resize', scale={scale})]))\n")
        with pytest.raises(SetupError, match='size=9 changes nothing, as size is a variable of the config, .*: set the '
                                             'settings that have it'):
            load_config(str(path), cfg_options=dict(size=9))


def test_settings_that_a_hook_of_the_user_reads(tmp_path):
    """Another setting has the same value by chance."""
    path = tmp_path / 'config.py'
    path.write_text("threshold = .5  # threshold of MyHook\nnoise = dict(std=1)\n"
                    "train_dataloader = dict(dataset=dict(pipeline=[dict(type='RandomFlip', prob=.5)]))\n")
    cfg = load_config(str(path), cfg_options={'threshold': .7, 'noise.std': 2})
    assert (cfg.threshold, cfg.noise.std, cfg.train_dataloader.dataset.pipeline[0].prob) == (.7, 2, .5)


@pytest.mark.parametrize('options', [{'train_dataloader.dataset.pipeline.9.scale': 64}, {'param_scheduler.end': 5}])
def test_options_that_do_not_fit(options, tmp_path):
    path = tmp_path / 'config.py'
    path.write_text("param_scheduler = [dict(type='PolyLR')]\ntrain_dataloader = dict(dataset=dict(pipeline=[]))\n")
    with pytest.raises(SetupError, match=f'the options {next(iter(options))} do not fit the config'):
        load_config(str(path), cfg_options=options)


def test_files_that_are_no_configs(tmp_path):
    (tmp_path / 'epoch_50.pth').write_bytes(b'x')
    (tmp_path / 'latin.py').write_bytes("name = 'caf\xe9'".encode('latin-1'))
    for name in ('epoch_50.pth', 'latin.py'):
        with pytest.raises(SetupError, match=f'the config .*{name}, or one of its bases, cannot be read'):
            load_config(str(tmp_path / name))


def test_names_that_are_read():
    cfg = load_config(str(QUICKSTART), cfg_options={
        'find_unused_parameters': True, 'model.head.topk': (1, ), 'env_cfg.mp_cfg.opencv_num_threads': 1,
        'model_wrapper_cfg.type': 'X', 'load_from': 'x.pth', 'auto_scale_lr.enable': True})
    assert cfg.model.head.topk == (1, )


def check(**wrapper):
    wrapper = dict(optimizer=dict(type='SGD', lr=0.1, weight_decay=0.1), **wrapper)
    return check_optimizer(Config(dict(optim_wrapper=wrapper)), nn.ModuleDict(dict(head=nn.Linear(1, 1))))


def test_settings_that_are_read():
    assert check() == check(clip_grad=None) == check(clip_grad=dict(type='value', clip_value=1)) == []
    assert check(paramwise_cfg=dict(bias_lr_mult=2, custom_keys=dict(head=dict(lr_mult=5, momentum=0.)))) == []


def test_keys_that_match_no_parameter():
    note, = check(paramwise_cfg=dict(custom_keys=dict(head=dict(lr_mult=5), haed=dict(lr_mult=5))))
    assert note.startswith('optim_wrapper.paramwise_cfg.custom_keys has no effect for haed, as no')


def test_other_constructors_have_settings_of_their_own():
    assert check(constructor='LearningRateDecayOptimWrapperConstructor', paramwise_cfg=dict(layer_decay_rate=1)) == []
    with pytest.raises(SetupError, match='does not fit clip_grad_value_'):
        check(constructor='LearningRateDecayOptimWrapperConstructor', clip_grad=dict(type='value', max_norm=1))
