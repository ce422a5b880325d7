"""Which operators mmcv computes with: its own, if it has compiled ones, else torchvision's.

MMDetection calls a few operators of ``mmcv.ops`` (NMS, RoIAlign, ...), which load them from the compiled module
``mmcv._ext``. A plain ``pip install`` of mmcv brings none. torchvision ships most of them compiled, and
:mod:`mmgcp.utils.mmcv_ext` offers them under mmcv's names.

``import mmgcp`` is enough if it comes before the first import of ``mmcv.ops``, which is that of ``mmdet.models`` or
``mmdet.apis``. For programs that import those first, ``python -m mmgcp.utils.mmcv_operators`` makes it last: it writes
a module ``mmcv/_ext.py`` into the environment. Python prefers a compiled module in the same folder, whichever came
first.
"""
import importlib
import sys
from importlib.machinery import ModuleSpec, PathFinder
from importlib.metadata import PackageNotFoundError, version
from importlib.util import find_spec
from pathlib import Path
from types import ModuleType
from typing import Any

NAME = 'mmcv._ext'
LASTING = f'''"""torchvision's operators under the names of mmcv's compiled ones, as long as mmcv has none (see mmgcp)."""
import sys

import mmgcp.utils.mmcv_ext

sys.modules['{NAME}'] = mmgcp.utils.mmcv_ext
'''


class _StandIn(ModuleType):
    """Imports what it stands for when it is first asked for an operator: torch and torchvision take seconds."""

    def __getattr__(self, name: str) -> Any:
        if name.startswith('__'):  # what Python asks of modules
            raise AttributeError(name)
        return getattr(importlib.import_module('mmgcp.utils.mmcv_ext'), name)


def serve_mmcv() -> None:
    """Let ``mmcv.ops`` find torchvision's operators where mmcv has no compiled ones; costs nothing until it looks."""
    if NAME not in sys.modules and find_spec('mmcv') and not _installed():
        sys.modules[NAME] = _StandIn(NAME, __doc__)
        sys.modules[NAME].__spec__ = ModuleSpec(NAME, None)


def _installed() -> ModuleSpec | None:
    """The module ``mmcv._ext`` in mmcv's folder, found without importing mmcv."""
    return PathFinder.find_spec(NAME, find_spec('mmcv').submodule_search_locations)


def operators() -> str:
    """Tell which operators ``mmcv.ops`` computes with, for logs and records.

    Returns:
        str: Such as ``'torchvision 0.26.0'`` or ``'compiled by GCC 12.2'``.

    Raises:
        ImportError: If mmcv has no operators, or its compiled ones cannot be loaded.
    """
    compiler = importlib.import_module(NAME).get_compiler_version()
    return compiler if 'torchvision' in compiler else f'compiled by {compiler}'


def compile_command() -> str:
    """The command that compiles mmcv's operators in this environment."""
    try:
        name = f'onedl-mmcv=={version("onedl-mmcv")}'
    except PackageNotFoundError:
        name = 'mmcv==' + version('mmcv')
    return (f'MMCV_WITH_OPS=1 pip install --no-build-isolation --no-cache-dir --force-reinstall --no-deps '
            f'--no-binary :all: {name}')


def main() -> None:
    """Write ``mmcv/_ext.py``, unless mmcv has such a module."""
    if find_spec('mmcv') is None:
        sys.exit('Stopped: mmcv is not installed in this environment.')
    found = _installed()
    if found is not None:
        print(f'Nothing to do: {found.origin} is there.')
        return
    target = Path(find_spec('mmcv').origin).with_name('_ext.py')
    target.write_text(LASTING)
    print(f"Wrote {target}: torchvision's operators serve mmcv for all programs of this environment. "
          'Delete it to undo this.')


if __name__ == '__main__':
    main()
