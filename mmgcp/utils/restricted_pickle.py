"""Unpickling of checkpoints as data: a stand-in for Python's ``pickle``, for ``torch.load(pickle_module=...)``.

A pickle can call any function of any installed package, so a crafted file can run arbitrary code. Here names are
limited to those of tensors, arrays and MMEngine's logs. PyTorch's ``weights_only=True`` refuses MMEngine's own
checkpoints with torch 2.1, and with later versions takes them only where ``getattr`` is allowed.
"""
import pickle
import re
from pickle import UnpicklingError  # noqa: F401, part of what torch expects of the module
from typing import Any, BinaryIO

import torch
from mmengine.logging import HistoryBuffer
from mmengine.optim.scheduler.param_scheduler import OneCycleParamScheduler

ALLOWED = {
    'builtins': {'bytearray', 'complex', 'dict', 'float', 'int', 'list', 'set', 'slice'},
    'collections': {'OrderedDict', 'defaultdict', 'Counter'},
    '_codecs': {'encode'},  # bytes of NumPy's arrays in protocol 2
    'numpy': {'dtype', 'ndarray'},
    'torch': {'Size', 'Tensor', 'device'},
    'torch._utils': {'_rebuild_tensor', '_rebuild_tensor_v2', '_rebuild_parameter', '_rebuild_qtensor',
                     '_rebuild_sparse_tensor'},
    'torch.nn.parameter': {'Parameter', 'Buffer'},
    'torch.serialization': {'_get_layout'},
    'mmengine.logging.history_buffer': {'HistoryBuffer'},
}
ONE_CYCLE = (OneCycleParamScheduler.__module__, OneCycleParamScheduler.__name__)
STATISTICS = ('min', 'max', 'current', 'mean')  # methods that histories name; statistics() would call any function
NUMPY = re.compile(r'numpy\._?core\.multiarray (_reconstruct|scalar)|numpy\.dtypes \w+DType')


class ForeignObjectError(Exception):
    """A file needs an object that is not data; the message names it."""


def _method(owner, name: str):
    """Replacement of ``getattr``, by which histories and one-cycle schedules refer to their methods."""
    if owner == ONE_CYCLE and name in ('_annealing_cos', '_annealing_linear'):
        return getattr(OneCycleParamScheduler, name)
    if owner is not HistoryBuffer or name not in STATISTICS:
        raise ForeignObjectError('builtins.getattr')
    return getattr(owner, name)


class Unpickler(pickle.Unpickler):
    """Unpickler for what :data:`ALLOWED` names, and dtypes."""

    def find_class(self, module: str, name: str) -> Any:
        """Return what a name in the file stands for, or raise a ForeignObjectError."""
        module = {'__builtin__': 'builtins'}.get(module, module)
        if (module, name) == ('builtins', 'getattr'):
            return _method
        if (module, name) == ONE_CYCLE:
            return ONE_CYCLE  # the name in place of the class, which a file could call
        is_dtype = module == 'torch' and isinstance(getattr(torch, name, None), torch.dtype)
        if name in ALLOWED.get(module, ()) or is_dtype or NUMPY.fullmatch(f'{module} {name}'):
            return super().find_class(module, name)
        raise ForeignObjectError(f'{module}.{name}')


class _PlainUnpickler(pickle.Unpickler):

    def find_class(self, module: str, name: str) -> Any:
        """Refuse all names."""
        raise UnpicklingError(f'{module}.{name} where a number or text belongs')


def load(file: BinaryIO, **kwargs) -> Any:
    """Load the plain numbers and text in files of PyTorch before 1.6."""
    return _PlainUnpickler(file, **kwargs).load()
