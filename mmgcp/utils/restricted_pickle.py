"""Unpickling of checkpoints as data: a stand-in for Python's ``pickle``, for ``torch.load(pickle_module=...)``.

A pickle can call any function of any installed package, so a crafted file can run arbitrary code. Here names are
limited to those of tensors, arrays and MMEngine's logs. PyTorch's ``weights_only=True`` refuses MMEngine's own
checkpoints with torch 2.1, and with later versions takes them only where ``getattr`` is allowed.
"""
import pickle
import re
from pickle import UnpicklingError
from typing import Any, BinaryIO

import numpy as np
import torch
from mmengine.logging import HistoryBuffer
from mmengine.optim.scheduler.param_scheduler import OneCycleParamScheduler

ALLOWED = {
    # Of bytes, only empty ones come by this name, as in empty arrays.
    'builtins': {'bytearray', 'bytes', 'complex', 'dict', 'float', 'frozenset', 'int', 'list', 'range', 'set', 'slice'},
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
# Names for which a file gets something else: settings in meta information, and Python 2's name of range.
STAND_INS = {('mmengine.config.config', 'ConfigDict'): dict, ('builtins', 'xrange'): range}
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


class Unpickler(pickle._Unpickler):
    """Unpickler for what :data:`ALLOWED` names, and dtypes.

    It is Python's own implementation, whose opcodes can be checked: a file must not call the classes that it may name,
    as ``ndarray`` would take bytes for addresses of objects, nor set attributes of classes and functions.
    """
    dispatch = dict(pickle._Unpickler.dispatch)

    def find_class(self, module: str, name: str) -> Any:
        """Return what a name in the file stands for, or raise a ForeignObjectError."""
        module = {'__builtin__': 'builtins'}.get(module, module)
        if (module, name) == ('builtins', 'getattr'):
            return _method
        if (module, name) in STAND_INS:
            return STAND_INS[module, name]
        if (module, name) == ONE_CYCLE:
            return ONE_CYCLE  # the name in place of the class, which a file could call
        is_dtype = module == 'torch' and isinstance(getattr(torch, name, None), torch.dtype)
        if name in ALLOWED.get(module, ()) or is_dtype or NUMPY.fullmatch(f'{module} {name}'):
            return super().find_class(module, name)
        raise ForeignObjectError(f'{module}.{name}')

    def load_global(self) -> None:
        """Look up a name, unless the file ends in it."""
        module, name = self.readline(), self.readline()
        if not name.endswith(b'\n'):
            raise EOFError(f'{name!r} is cut off')
        self.append(self.find_class(module[:-1].decode(), name[:-1].decode()))

    def load_reduce(self) -> None:
        """Call a function, or one of Python's containers."""
        function = self.stack[-2]
        if any(function is kind for kind in (np.ndarray, torch.Tensor, HistoryBuffer)):
            raise ForeignObjectError(f'a call of {function.__name__}')
        super().load_reduce()

    def load_newobj(self) -> None:
        """Make an object of a class: a history, of which :meth:`load_build` sets the state."""
        kind, arguments = self.stack[-2:]
        if kind is not HistoryBuffer or arguments:
            raise ForeignObjectError(f'a new {getattr(kind, "__name__", kind)}')
        super().load_newobj()

    def load_build(self) -> None:
        """Set the state of an object."""
        owner, state = self.stack[-2:]
        if callable(owner):
            raise ForeignObjectError(f'an attribute of {getattr(owner, "__name__", owner)}')
        if isinstance(owner, HistoryBuffer):
            self.stack[-1] = _history(state)
        if isinstance(owner, np.dtype):
            if state[2:5] != (None, None, None):
                raise ForeignObjectError('a structured dtype')
            if owner.hasobject:  # nothing to set, but flags by which NumPy would take bytes for objects
                self.stack.pop()
                return
        super().load_build()

    def load_other(self) -> None:
        """Refuse further opcodes that make objects, which PyTorch does not write."""
        raise UnpicklingError('an object in another protocol')

    dispatch.update({pickle.GLOBAL[0]: load_global, pickle.REDUCE[0]: load_reduce, pickle.NEWOBJ[0]: load_newobj,
                     pickle.BUILD[0]: load_build,
                     **dict.fromkeys((pickle.INST[0], pickle.OBJ[0], pickle.NEWOBJ_EX[0]), load_other)})


def _history(state: dict) -> dict:
    """Arrays and length of a history; its statistics, which all histories would share, are those of this program."""
    state = {name: state[name] for name in ('_log_history', '_count_history', 'max_length') if name in state}
    if not all(type(value) in (np.ndarray, int) for value in state.values()):
        raise ForeignObjectError('a HistoryBuffer of other objects')
    return state


class _PlainUnpickler(pickle.Unpickler):

    def find_class(self, module: str, name: str) -> Any:
        """Refuse all names."""
        raise UnpicklingError(f'{module}.{name} where a number or text belongs')


def load(file: BinaryIO, **kwargs) -> Any:
    """Load the plain numbers and text in files of PyTorch before 1.6."""
    return _PlainUnpickler(file, **kwargs).load()
