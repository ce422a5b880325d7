"""Check the versions of the OpenMMLab libraries."""
import re
import warnings
from contextlib import suppress
from importlib import import_module
from importlib.metadata import PackageNotFoundError, version
from importlib.util import find_spec

LIBRARIES = ('torch', 'torchvision', 'mmengine', 'mmcv', 'mmpretrain', 'mmdet')
LINES = ('the maintained line (pip install onedl-mmengine onedl-mmcv onedl-mmpretrain onedl-mmdetection) or the '
         'original one (mmengine mmcv mmpretrain mmdet), or let tools/setup_env.sh build either')
# Distributions of the original and the maintained line, with the first supported and the first unsupported version.
SUPPORTED = (
    (('mmengine', (0, 10, 7), (1, )), ('onedl-mmengine', (0, 10, 12), (1, ))),
    (('mmcv', (2, 1), (2, 2)), ('onedl-mmcv', (2, 3, 6), (2, 4))),
    (('mmpretrain', (1, 2), (2, )), ('onedl-mmpretrain', (1, 3, 6), (2, ))),
    (('mmdet', (3, 3), (4, )), ('onedl-mmdetection', (3, 5, 1), (4, ))),
)


def check_versions() -> None:
    """Raise an ImportError if an OpenMMLab library is installed from both lines; warn of untested versions."""
    for siblings in SUPPORTED:
        installed = [(name, _version(name), first, end) for name, first, end in siblings if _version(name)]
        if len(installed) == 2:
            (original, *_), (maintained, *_) = siblings
            raise ImportError(f'{original} and {maintained} are both installed and overwrite each other: uninstall '
                              f'both, then install one line: {LINES}.')
        for name, number, first, end in installed:
            if not first <= _numbers(number) < end:
                warnings.warn(f'{name} {number} was never tested with mmgcp, which supports {name} >= '
                              f"{'.'.join(map(str, first))}, < {'.'.join(map(str, end))}: install {LINES}.",
                              stacklevel=2)


def _version(distribution):
    with suppress(PackageNotFoundError):
        return version(distribution)
    return ''


def _numbers(number):
    return tuple(int(part) for part in re.findall(r'\d+', re.match(r'[\d.]*', number)[0]))


def library_versions() -> dict[str, str]:
    """Return the versions of the installed libraries that results depend on, by module."""
    versions = {}
    for name in LIBRARIES:
        if find_spec(name):  # MMDetection is optional
            try:
                versions[name] = import_module(name).__version__
            except Exception as error:  # such as MMDetection's AssertionError for another mmcv
                versions[name] = f'does not import: {type(error).__name__}: {error}'.partition('\n')[0]
    return versions


def installed_line() -> str:
    """Name the line of the installed OpenMMLab libraries: 'maintained', 'original', a mixture of both, or 'none'."""
    installed = [name for siblings in SUPPORTED for name, *_ in siblings if _version(name)]
    return ' and '.join(sorted({'maintained' if 'onedl' in name else 'original' for name in installed})) or 'none'
