"""Choose the operators of mmcv: its own if they are compiled, else torchvision's.

MMDetection calls operators of ``mmcv.ops`` (NMS, RoIAlign, ...), which need the compiled module ``mmcv._ext``. A plain
installation by pip lacks it. torchvision ships most, which :mod:`mmgcp.utils.mmcv_ext` provides under mmcv's names.

``import mmgcp`` suffices if it precedes the first import of ``mmcv.ops``, by ``mmdet.models`` or ``mmdet.apis``. For
programs that import those first, :mod:`mmgcp.serve_mmcv` installs the operators permanently.
"""
import importlib
import sys
from importlib.machinery import ModuleSpec, PathFinder
from importlib.metadata import PackageNotFoundError, version
from importlib.util import find_spec
from types import ModuleType
from typing import Any

from .errors import SetupError

NAME = 'mmcv._ext'
_REINSTALL = '--force-reinstall --no-deps --no-cache-dir'


class _StandIn(ModuleType):
    """Module that imports the operators on first access, because importing torch and torchvision takes seconds."""

    def __getattr__(self, name: str) -> Any:
        if name.startswith('__'):  # module attributes of Python
            raise AttributeError(name)
        return getattr(importlib.import_module('mmgcp.utils.mmcv_ext'), name)


def serve_mmcv() -> None:
    """Let ``mmcv.ops`` find torchvision's operators if mmcv has no compiled ones; they are imported on first use."""
    if NAME not in sys.modules and find_spec('mmcv') and not installed():
        sys.modules[NAME] = _StandIn(NAME, __doc__)
        sys.modules[NAME].__spec__ = ModuleSpec(NAME, None)


def installed() -> ModuleSpec | None:
    """Find ``mmcv._ext`` in the folder of mmcv, without importing mmcv."""
    return PathFinder.find_spec(NAME, find_spec('mmcv').submodule_search_locations)


def are_compiled() -> bool:
    """Whether ``mmcv.ops`` uses its own compiled operators; a SetupError if these or torchvision do not fit torch."""
    return 'torchvision' not in _compiler()


def operators() -> str:
    """Name the operators that ``mmcv.ops`` uses, as ``'torchvision 0.26.0'``; errors as in :func:`are_compiled`."""
    return f'compiled by {_compiler()}' if are_compiled() else _compiler()


def _compiler():
    try:
        return importlib.import_module(NAME).get_compiler_version()
    except (ImportError, OSError, RuntimeError) as error:
        reason = str(error).splitlines()[0]
    torch = f'torch {version("torch")} ({reason})'
    try:
        import torchvision  # noqa: F401
    except (ImportError, OSError, RuntimeError):
        raise SetupError(f'torchvision {version("torchvision")} does not work with {torch}: install versions that '
                         'belong together, as in requirements/*.txt') from None
    raise SetupError(f"mmcv's compiled operators do not work with {torch}: recompile them with "
                     f'`{compile_command()}`, or leave them out with `pip install {_REINSTALL} {_distribution()}`')


def compile_command() -> str:
    """Return the command that compiles mmcv's operators in this environment."""
    return f'MMCV_WITH_OPS=1 pip install --no-build-isolation --no-binary :all: {_REINSTALL} {_distribution()}'


def _distribution():
    try:
        return f'onedl-mmcv=={version("onedl-mmcv")}'
    except PackageNotFoundError:
        return f'mmcv=={version("mmcv")}'
