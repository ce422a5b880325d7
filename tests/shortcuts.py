"""Shortcuts through the libraries, in tests and in the processes that they start: each spares seconds."""
import copy
import functools
import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from unittest import mock

import mmengine.config.config
import mmengine.config.utils
import torch
import yapf.yapflib.yapf_api
from mmengine.config import Config

ROOT = Path(__file__).parents[1]

# For each base inherited from MMPretrain or MMDetection, MMEngine reads all metafiles of that library anew.
mmengine.config.utils.load = functools.cache(mmengine.config.utils.load)
# A Runner lays out its config four times, which takes longer than a few iterations.
for module in (yapf.yapflib.yapf_api, mmengine.config.config):
    module.FormatCode = lambda text, **_: (text, True)


_read_file, _read_once = Config._file2dict, functools.cache(Config._file2dict)


def _read(filename, *arguments, **settings):
    """Reads this project's configs, and those of the libraries, once: a few are inherited by all others."""
    path = Path(os.path.abspath(filename))
    if path.is_relative_to(ROOT) or 'site-packages' in path.parts:
        return copy.deepcopy(_read_once(filename, *arguments, **settings))
    return _read_file(filename, *arguments, **settings)


Config._file2dict = staticmethod(_read)


@contextmanager
def no_initial_weights() -> Iterator[None]:
    """Layers built inside have the weights that happen to lie in memory, where only their shapes matter."""
    def leave(tensor, *_, **__):
        return tensor

    with mock.patch.multiple(torch.nn.init, kaiming_uniform_=leave, uniform_=leave):
        yield
