import errno
import functools
import http.server
import io
import os
import pickle
import threading
from collections import OrderedDict
from pathlib import Path
from types import SimpleNamespace

import mmengine.runner.checkpoint
import numpy as np
import pytest
import torch
from mmengine.config import Config, ConfigDict
from mmengine.logging import HistoryBuffer
from mmengine.model import PretrainedInit
from mmengine.optim import CosineAnnealingLR, OneCycleLR
from mmengine.optim.scheduler.param_scheduler import OneCycleParamScheduler
from mmengine.runner.checkpoint import CheckpointLoader, get_external_models, get_torchvision_models
from torch import nn

import mmgcp.utils.checkpoint as checkpoint
from mmgcp.utils.errors import SetupError
from mmgcp.utils.restricted_pickle import ForeignObjectError, Unpickler


@pytest.fixture
def saved(tmp_path):
    path = tmp_path / 'epoch_1.pth'
    torch.save(dict(meta=dict(epoch=1), state_dict=nn.Linear(2, 3).state_dict()), path)
    return path


def test_loads_state_dicts_with_and_without_surroundings(saved, tmp_path):
    wrapped = checkpoint.load_state_dict(str(saved))
    assert {name: tuple(value.shape) for name, value in wrapped.items()} == {'weight': (3, 2), 'bias': (3, )}
    torch.save(wrapped, tmp_path / 'bare.pth')
    assert torch.equal(checkpoint.load_state_dict(str(tmp_path / 'bare.pth'))['weight'], wrapped['weight'])


def test_missing_broken_and_foreign_files(saved, tmp_path):
    with pytest.raises(SetupError, match=r'checkpoint .*nowhere\.pth does not exist'):
        checkpoint.load_state_dict(str(tmp_path / 'nowhere.pth'))
    whole = saved.read_bytes()
    for name, content in {'cut off': whole[:len(whole) // 2], 'empty': b'', 'text': b'<html>not found</html>'}.items():
        path = tmp_path / f'{name}.pth'
        path.write_bytes(content)
        with pytest.raises(SetupError, match='is not a PyTorch checkpoint, or was cut off'):
            checkpoint.load_state_dict(str(path))


def test_pytorchs_own_loader_cannot_be_forced(saved, monkeypatch):
    monkeypatch.setenv('TORCH_FORCE_WEIGHTS_ONLY_LOAD', '1')
    with pytest.raises(SetupError, match='epoch_1.pth cannot be loaded while .* TORCH_FORCE_WEIGHTS_ONLY_LOAD is set'):
        checkpoint.load_checkpoint(str(saved))


def test_a_full_disk_while_downloading(tmp_path, monkeypatch):
    def download(*_):
        raise OSError(errno.ENOSPC, 'No space left on device')

    monkeypatch.setattr(torch.hub, 'get_dir', lambda: str(tmp_path))
    monkeypatch.setattr(torch.hub, 'download_url_to_file', download)
    with pytest.raises(SetupError, match='the checkpoint http://a/b.pth cannot be read: .*No space left on device'):
        checkpoint.load_checkpoint('http://a/b.pth')


@pytest.mark.parametrize('zipped', [True, False])
def test_files_cut_off_anywhere(zipped, tmp_path):
    path = tmp_path / 'cut.pth'
    torch.save(dict(epoch=1, state_dict=nn.Linear(40, 30).state_dict()), path, _use_new_zipfile_serialization=zipped)
    whole = path.read_bytes()
    for end in range(0, len(whole) - 1, 97):
        path.write_bytes(whole[:end])
        with pytest.raises(SetupError, match='is not a PyTorch checkpoint, or was cut off'):
            checkpoint.load_checkpoint(str(path))


@pytest.mark.parametrize('content', [b'class,top1\n1,2\n', b'hello world', b'iabc\nx\n', b'(s.'])
def test_files_that_begin_like_pickles(content, tmp_path):
    (tmp_path / 'text.csv').write_bytes(content)
    with pytest.raises(SetupError, match='is not a PyTorch checkpoint, or was cut off'):
        checkpoint.load_checkpoint(str(tmp_path / 'text.csv'))


class Crafted:
    """Makes a file when it is unpickled."""

    def __init__(self, path):
        self.path = str(path)

    def __reduce__(self):
        return os.mkdir, (self.path, )


@pytest.mark.parametrize('zipped', [True, False])
@pytest.mark.parametrize('load', [
    checkpoint.load_checkpoint,
    CheckpointLoader.load_checkpoint,
    lambda path: PretrainedInit(path)(nn.Linear(2, 3)),
])
def test_what_a_crafted_file_says_is_not_run(load, zipped, tmp_path, monkeypatch):
    made, path = tmp_path / 'made', str(tmp_path / 'crafted.pth')
    state_dict = nn.Linear(2, 3).state_dict()
    torch.save(dict(state_dict=state_dict, extra=Crafted(made)), path, _use_new_zipfile_serialization=zipped)
    with pytest.raises(SetupError, match=r'crafted.pth is more than data: it needs (posix|nt).mkdir, .* set the '
                                         'environment variable MMGCP_TRUST_CHECKPOINTS=1'):
        load(path)
    assert not made.exists()
    monkeypatch.setenv('MMGCP_TRUST_CHECKPOINTS', '1')
    load(path)
    assert made.exists()


class Attribute:
    """Becomes an attribute of an object when it is unpickled."""

    def __init__(self, *arguments):
        self.arguments = arguments

    def __reduce__(self):
        return getattr, self.arguments


@pytest.mark.parametrize('owner, name', [
    (HistoryBuffer, '__init__'), (HistoryBuffer.update, '__globals__'), (OrderedDict, 'fromkeys'),
    (HistoryBuffer, 'statistics'),  # calls what the file sets as a statistic
    (HistoryBuffer, 'register_statistics')])
def test_attributes_that_would_lead_to_any_function_are_no_data(owner, name, tmp_path):
    torch.save(dict(extra=Attribute(owner, name)), tmp_path / 'a.pth')
    with pytest.raises(SetupError, match='it needs builtins.getattr'):
        checkpoint.load_checkpoint(str(tmp_path / 'a.pth'))


class Made:
    """Is made by a function when it is unpickled, as by any other object's ``__reduce__``."""

    def __init__(self, *reduced):
        self.reduced = reduced

    def __reduce__(self):
        return self.reduced


ADDRESSES = ((1, ), 'O', b'A' * 8)  # of objects, for NumPy


@pytest.mark.parametrize('made, refused', [
    (Made(np.ndarray, ADDRESSES), 'a call of ndarray'),
    (Made(HistoryBuffer, ([1.], [1])), 'a call of HistoryBuffer'),
    (np.zeros(2, [('a', 'O')]), 'a structured dtype'),
])
def test_classes_that_a_file_may_name_are_not_called_at_will(made, refused, tmp_path):
    torch.save(dict(extra=made), tmp_path / 'a.pth')
    with pytest.raises(SetupError, match=f'it needs {refused}'):
        checkpoint.load_checkpoint(str(tmp_path / 'a.pth'))


def new_object(name, arguments=(), state=None):
    """A pickle of an object that is made without a call, of the class of this name, and gets a state."""
    parts = [pickle.dumps(part, 2)[2:-1] for part in (arguments, state)]
    return b'c%b\n%b%b%b%b.' % (name.encode(), parts[0], pickle.NEWOBJ, parts[1], pickle.BUILD)


HISTORY = 'mmengine.logging.history_buffer\nHistoryBuffer'


@pytest.mark.parametrize('content, refused', [
    (new_object('numpy\nndarray', ADDRESSES), 'a new ndarray'),
    (new_object('torch\nTensor', (3, )), 'a new Tensor'),
    (new_object(HISTORY, (), {'_log_history': [1.]}), 'a HistoryBuffer of other objects')])
def test_objects_are_not_made_at_will(content, refused):
    with pytest.raises(ForeignObjectError, match=refused):
        Unpickler(io.BytesIO(content)).load()


def test_classes_are_not_changed():
    with pytest.raises(ForeignObjectError, match='an attribute of Counter'):
        Unpickler(io.BytesIO(b'ccollections\nCounter\n(N}Vupdate\nc__builtin__\ndict\nstb.')).load()


def test_statistics_of_histories_are_those_of_the_program():
    state = dict(HistoryBuffer([1., 2.], [1, 1]).__getstate__(), statistics_methods={'mean': dict}, mean=3.)
    loaded = Unpickler(io.BytesIO(new_object(HISTORY, (), state))).load()
    assert loaded.statistics('mean') == loaded.mean() == 1.5
    assert HistoryBuffer._statistics_methods['mean'] is HistoryBuffer.mean


def test_arrays_of_objects_are_data(tmp_path):
    torch.save(dict(extra=np.array(['a', None], object)), tmp_path / 'a.pth')
    assert checkpoint.load_checkpoint(str(tmp_path / 'a.pth'))['extra'].tolist() == ['a', None]


def test_scripts_are_no_data(tmp_path):
    torch.jit.trace(nn.Linear(2, 3), torch.zeros(1, 2)).save(str(tmp_path / 'script.pth'))
    for content in (tmp_path / 'script.pth', io.BytesIO((tmp_path / 'script.pth').read_bytes())):
        with pytest.raises(SetupError, match='script.pth is more than data: it needs TorchScript'):
            checkpoint._load_data(content, 'script.pth', 'cpu')


@pytest.mark.parametrize('name', ['__builtins__', '__loader__', '__spec__', 'np'])
def test_modules_of_dtypes_are_no_data(name):
    with pytest.raises(ForeignObjectError, match=f'numpy.dtypes.{name}'):
        Unpickler(io.BytesIO(b'cnumpy.dtypes\n%b\n.' % name.encode())).load()


def test_dtypes_are_data(tmp_path):
    torch.save(dict(state_dict={}, extra=np.dtypes.Float32DType), tmp_path / 'a.pth')
    assert checkpoint.load_checkpoint(str(tmp_path / 'a.pth'))['extra'] is np.dtypes.Float32DType


def test_last_checkpoint_of_a_training_that_saves_elsewhere_or_was_moved(tmp_path):
    work_dir, other = tmp_path / 'run', tmp_path / 'checkpoints/run'
    for folder in (work_dir, other):
        folder.mkdir(parents=True)
    (other / 'epoch_3.pth').touch()
    (work_dir / 'last_checkpoint').write_text(str(other / 'epoch_3.pth'))
    assert checkpoint.latest_checkpoint(work_dir) == str(other / 'epoch_3.pth')
    (work_dir / 'epoch_3.pth').touch()
    assert checkpoint.latest_checkpoint(work_dir) == str(work_dir / 'epoch_3.pth')


def test_absolute_names_are_no_work_directories():
    with pytest.raises(SetupError, match='^workdir:///runs/a must name a folder in work_dirs'):
        checkpoint.load_checkpoint('workdir:///runs/a')


def test_downloaded_files_are_data(tmp_path, monkeypatch):
    monkeypatch.setattr(torch.hub, 'get_dir', lambda: str(tmp_path / 'hub'))
    monkeypatch.setenv('no_proxy', '127.0.0.1')
    torch.save(dict(extra=Crafted(tmp_path / 'made')), tmp_path / 'crafted.pth')
    torch.save(dict(state_dict=nn.Linear(2, 3).state_dict()), tmp_path / 'plain.pth')
    handler = functools.partial(http.server.SimpleHTTPRequestHandler, directory=str(tmp_path))
    with http.server.ThreadingHTTPServer(('127.0.0.1', 0), handler) as server:
        threading.Thread(target=server.serve_forever, daemon=True).start()
        address = f'http://127.0.0.1:{server.server_port}'
        assert set(checkpoint.load_state_dict(f'{address}/plain.pth')) == {'weight', 'bias'}
        with pytest.raises(SetupError, match='crafted.pth is more than data'):
            checkpoint.load_checkpoint(f'{address}/crafted.pth')
        with pytest.raises(SetupError, match='nowhere.pth cannot be read: HTTP Error 404'):
            checkpoint.load_checkpoint(f'{address}/nowhere.pth')
        server.shutdown()
    assert not (tmp_path / 'made').exists()


@pytest.mark.parametrize('name', ['torchvision://resnet18', 'open-mmlab://vgg16_caffe'])
def test_files_of_published_models_are_data(name, tmp_path, monkeypatch):
    monkeypatch.setattr(torch.hub, 'get_dir', lambda: str(tmp_path / 'hub'))
    scheme, _, model = name.partition('://')
    models = get_torchvision_models() if scheme == 'torchvision' else get_external_models()
    path = tmp_path / 'hub/checkpoints' / Path(models[model]).name
    path.parent.mkdir(parents=True)
    torch.save(dict(extra=Crafted(tmp_path / 'made')), path)
    for load in (checkpoint.load_checkpoint, lambda name: PretrainedInit(name)(nn.Linear(2, 3))):
        with pytest.raises(SetupError, match=f'{path.name} is more than data'):
            load(name)
    assert not (tmp_path / 'made').exists()


@pytest.mark.parametrize('address', ['s3://bucket/crafted.pth', 'cluster:s3://bucket/crafted.pth'])
def test_files_in_object_storage_are_data(address, tmp_path, monkeypatch):
    for name, content in (('crafted', dict(extra=Crafted(tmp_path / 'made'))), ('plain', nn.Linear(2, 3).state_dict())):
        torch.save(content, tmp_path / f'{name}.pth')
    storage = SimpleNamespace(get=lambda address: (tmp_path / Path(address).name).read_bytes())
    for module in (checkpoint, mmengine.runner.checkpoint):
        monkeypatch.setattr(module, 'get_file_backend', lambda *_, **__: storage, raising=False)
    assert set(checkpoint.load_state_dict(address.replace('crafted', 'plain'))) == {'weight', 'bias'}
    with pytest.raises(SetupError, match=f'{address} is more than data: it needs '):
        checkpoint.load_checkpoint(address)
    assert not (tmp_path / 'made').exists()


@pytest.mark.parametrize('strategy', ['cos', 'linear'])
def test_one_cycle_schedules_are_data(strategy, tmp_path):
    optimizer = torch.optim.SGD(nn.Linear(2, 3).parameters(), lr=0.1)
    state = OneCycleLR(optimizer, eta_max=1, total_steps=10, anneal_strategy=strategy).state_dict()
    torch.save(dict(param_schedulers=[state]), tmp_path / 'epoch_1.pth')
    assert checkpoint.load_checkpoint(str(tmp_path / 'epoch_1.pth'))['param_schedulers'] == [state]


def test_classes_of_schedules_are_no_data(tmp_path):
    torch.save(dict(extra=CosineAnnealingLR), tmp_path / 'a.pth')
    with pytest.raises(SetupError, match='it needs mmengine.*CosineAnnealingLR'):
        checkpoint.load_checkpoint(str(tmp_path / 'a.pth'))
    torch.save(dict(extra=OneCycleParamScheduler), tmp_path / 'b.pth')
    assert not callable(checkpoint.load_checkpoint(str(tmp_path / 'b.pth'))['extra'])


@pytest.mark.parametrize('zipped', [True, False])
def test_what_trainings_save_is_data(zipped, tmp_path):
    history = HistoryBuffer()
    history.update(0.5)
    model = nn.Linear(2, 3)
    content = dict(meta=dict(epoch=1, size=torch.Size([2]), dtype=torch.bfloat16, device=torch.device('cpu')),
                   message_hub=dict(log_scalars=dict(loss=history), numbers=[np.float64(1.5), np.arange(3)]),
                   state_dict=model.state_dict(), weights=[model.weight, torch.zeros(2, dtype=torch.bfloat16)],
                   optimizer=torch.optim.Adam(model.parameters()).state_dict(), others={1, 2j})
    torch.save(content, tmp_path / 'epoch_1.pth', _use_new_zipfile_serialization=zipped)
    loaded = checkpoint.load_checkpoint(str(tmp_path / 'epoch_1.pth'))
    assert loaded['message_hub']['log_scalars']['loss'].mean() == 0.5
    assert loaded['message_hub']['numbers'][0] == 1.5 and loaded['message_hub']['numbers'][1].tolist() == [0, 1, 2]
    assert loaded['meta'] == content['meta'] and loaded['others'] == {1, 2j}
    assert torch.equal(loaded['weights'][0], model.weight)


@pytest.mark.parametrize('zipped', [True, False])
@pytest.mark.parametrize('value', [
    ConfigDict(classes=['cat'], groups=dict(pets=['cat'])), b'', frozenset([1, 2]), range(3)])
def test_settings_and_other_containers_are_data(value, zipped, tmp_path):
    torch.save(dict(meta=value), tmp_path / 'a.pth', _use_new_zipfile_serialization=zipped)
    loaded = checkpoint.load_checkpoint(str(tmp_path / 'a.pth'))['meta']
    assert loaded == value and type(loaded) is (dict if isinstance(value, dict) else type(value))


def test_empty_arrays_are_data(tmp_path):
    torch.save(dict(history=HistoryBuffer(), extra=np.zeros((0, 2))), tmp_path / 'a.pth')
    loaded = checkpoint.load_checkpoint(str(tmp_path / 'a.pth'))
    assert loaded['extra'].shape == (0, 2) and loaded['history'].data[0].tolist() == []


def test_addresses_that_do_not_answer():
    with pytest.raises(SetupError, match='checkpoint http://127.0.0.1:9/file.pth cannot be read: .*refused'):
        checkpoint.load_checkpoint('http://127.0.0.1:9/file.pth')


def test_a_saved_network_in_place_of_its_tensors(tmp_path):
    torch.save([torch.zeros(2)], tmp_path / 'list.pth')
    with pytest.raises(SetupError, match=r'list.pth holds a list instead of a dict of tensors: save the state_dict'):
        checkpoint.load_checkpoint(str(tmp_path / 'list.pth'))


def test_saving_makes_the_folder_and_says_why_it_cannot(tmp_path):
    path = tmp_path / 'a' / 'b.pth'
    checkpoint.save_checkpoint(dict(epoch=1), path)
    assert checkpoint.load_checkpoint(str(path)) == dict(epoch=1)
    for wrong in (tmp_path / 'a', path / 'c.pth'):
        with pytest.raises(SetupError, match='cannot be written: '):
            checkpoint.save_checkpoint(dict(epoch=1), wrong)


def test_under_prefix():
    tensors = {'backbone.a': 1, 'backbone2.a': 2, 'head.b': 3}
    assert checkpoint.under_prefix(tensors, 'backbone') == checkpoint.under_prefix(tensors, 'backbone.') == {'a': 1}
    assert checkpoint.under_prefix(tensors, '') == tensors


def test_assert_fits():
    module = nn.Sequential(nn.Linear(2, 3), nn.BatchNorm1d(3))
    state_dict = module.state_dict()
    state_dict.pop('1.num_batches_tracked')  # older checkpoints do not have it
    checkpoint.assert_fits(module, dict(state_dict, extra=torch.zeros(1)), 'file')
    with pytest.raises(SetupError, match=r'file does not fit Sequential: 0 of 6 .* 1 have another shape \(0.weight is '
                                         r'\(2, 2\), not \(3, 2\)\)'):
        checkpoint.assert_fits(module, dict(state_dict, **{'0.weight': torch.zeros(2, 2)}), 'file')
    state_dict.pop('0.bias')
    with pytest.raises(SetupError, match=r'1 of 6 tensors are missing .* \(0.bias is missing\)'):
        checkpoint.assert_fits(module, state_dict, 'file')


def test_a_network_saved_inside_ddp(tmp_path):
    model = nn.Sequential(OrderedDict(backbone=nn.Linear(2, 3), head=nn.Linear(3, 1)))
    wrapped = {f'module.{name}': value for name, value in model.state_dict().items()}
    for content in (wrapped, dict(state_dict=wrapped, meta=dict(epoch=1))):
        torch.save(content, tmp_path / 'wrapped.pth')
        checkpoint.assert_fits(model, checkpoint.load_state_dict(str(tmp_path / 'wrapped.pth')), 'wrapped.pth')
        backbone = nn.Linear(2, 3)
        PretrainedInit(str(tmp_path / 'wrapped.pth'), prefix='backbone.')(backbone)
        assert torch.equal(backbone.weight, model.backbone.weight)


def test_tensors_under_another_prefix_are_found():
    model = nn.Sequential(OrderedDict(backbone=nn.Sequential(nn.Linear(2, 3), nn.BatchNorm1d(3)), head=nn.Linear(3, 1)))
    whole, bare = model.state_dict(), model.backbone.state_dict()
    for module, tensors, prefix, sentence in [
        (model.backbone, whole, '', "They are there under the prefix 'backbone.': rename them, or let a backbone load "
         r"them with init_cfg=dict\(type='Pretrained', checkpoint=FILE, prefix='backbone.'\)"),
        (model.backbone, bare, 'backbone', 'They are there without a prefix: rename them, or let a backbone load them '
         r"with init_cfg=dict\(type='Pretrained', checkpoint=FILE\)"),
        (model.backbone, {f'model.{name}': value for name, value in bare.items()}, 'backbone',
         "They are there under the prefix 'model.'"),
        (model, bare, '', 'It holds the backbone, without a prefix, but not the whole'),
        (model.backbone, {'0.weight': torch.zeros(3, 2)}, 'backbone', 'It belongs to another architecture'),
        (model.backbone, {}, '', 'It holds no tensors at all'),
    ]:
        with pytest.raises(SetupError, match=sentence):
            checkpoint.assert_fits(module, tensors, 'file', prefix)


@pytest.mark.parametrize('found, lacks', [
    (dict(state_dict={}, meta=None), 'meta and message_hub'), ({'fc.weight': torch.ones(2)}, 'meta and message_hub'),
    (dict(state_dict={}, meta=dict(epoch=1)), 'message_hub and meta.iter'),
    (dict(state_dict={}, meta=dict(epoch=None, iter=6), message_hub={}), 'meta.epoch'),
    (dict(state_dict={}, meta=dict(epoch=1, iter=6), message_hub={}), '')])
def test_what_a_training_can_resume_from(found, lacks):
    if not lacks:
        return checkpoint.assert_resumable(found, 'a.pth')
    with pytest.raises(SetupError, match=f'^a.pth has no state .* lacks {lacks}: to start .* load_from=a.pth, not'):
        checkpoint.assert_resumable(found, 'a.pth')


def test_a_run_resumes_from_its_work_directory_and_else_starts_from_load_from(saved, tmp_path):
    def settled(**settings):
        cfg = Config(dict(work_dir=str(tmp_path), **settings))
        checkpoint.settle_resume(cfg)
        return cfg.get('resume'), cfg.get('load_from')

    later = [tmp_path / f'epoch_{epoch}.pth' for epoch in (9, 10)]
    for path in later:
        path.touch()
    with pytest.raises(SetupError, match=rf'{tmp_path} holds epoch_1.pth, epoch_9.pth, epoch_10.pth, but '
                                         rf'last_checkpoint, .* is missing or empty: .*--resume {later[-1]}, or '
                                         'another work directory'):
        settled(resume='auto')  # as in a copied folder: a training from the start would replace them
    for path in later:
        path.unlink()
    (tmp_path / 'last_checkpoint').touch()
    with pytest.raises(SetupError, match=f'{tmp_path} holds epoch_1.pth, but last_checkpoint, '):
        settled(resume='auto')
    hidden = saved.rename(tmp_path / 'weights.pth')
    assert settled(resume='auto', load_from='a.pth') == (False, 'a.pth')
    (tmp_path / 'last_checkpoint').unlink()
    assert settled(resume='auto', load_from='a.pth') == (False, 'a.pth')
    assert settled(resume='auto') == settled(resume=True) == (False, None)
    hidden.rename(saved)
    (tmp_path / 'last_checkpoint').write_text('/where/it/was/trained/epoch_1.pth')
    assert settled(resume='auto', load_from='a.pth') == settled(resume=True) == (True, str(saved))
    # As MMEngine takes it: resume from this file.
    assert settled(resume=True, load_from='a.pth') == (True, 'a.pth')
    assert settled(resume=False, load_from='a.pth') == (False, 'a.pth') and settled() == (None, None)


def test_workdir_scheme_takes_the_last_checkpoint(saved, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    folder = tmp_path / 'work_dirs' / 'resnet50_gcp_m_imagenet'
    with pytest.raises(SetupError, match=r'tools/dist_train.sh configs/gcp/resnet50_gcp_m_imagenet.py 4'):
        CheckpointLoader.load_checkpoint('workdir://resnet50_gcp_m_imagenet')
    folder.mkdir(parents=True)
    with pytest.raises(SetupError, match='holds no checkpoint to start from'):
        CheckpointLoader.load_checkpoint('workdir://resnet50_gcp_m_imagenet')
    saved.rename(folder / 'epoch_1.pth')
    (folder / 'last_checkpoint').write_text('/where/it/was/trained/epoch_1.pth')
    assert CheckpointLoader.load_checkpoint('workdir://resnet50_gcp_m_imagenet')['meta'] == dict(epoch=1)
    assert set(checkpoint.load_state_dict('workdir://resnet50_gcp_m_imagenet')) == {'weight', 'bias'}
    (folder / 'epoch_1.pth').unlink()
    with pytest.raises(SetupError, match='does not exist'):
        checkpoint.load_state_dict('workdir://resnet50_gcp_m_imagenet')


def test_names_of_work_directories_are_no_patterns(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    for name in ('resnet50_gcp_m_*', 'a**b', 'x[1'):
        with pytest.raises(SetupError) as raised:
            checkpoint.load_checkpoint(f'workdir://{name}')
        assert str(raised.value).startswith(f'work_dirs/{name} holds no checkpoint to start from. Make one with: '
                                            f'tools/dist_train.sh CONFIG_OF_{name} 4')


def test_tensors_further_down():
    with pytest.raises(SetupError, match="has its tensors under 'model': save what is there in a file of its own"):
        checkpoint.tensors_of(dict(model=dict(weight=torch.zeros(1)), epoch=3))
    assert checkpoint.tensors_of(dict(epoch=3)) == {}


@pytest.mark.parametrize('kind', ['Pretrained', 'mmengine.Pretrained', PretrainedInit])
def test_checkpoints_that_settings_name(kind):
    model = dict(backbone=dict(init_cfg=dict(type=kind, checkpoint='a.pth')), neck=dict(init_cfg=dict(type='Normal')))
    assert checkpoint.named_checkpoints(model) == ['a.pth']
