"""Software and hardware on which a result was made."""
import os
import platform
import subprocess
from contextlib import suppress
from pathlib import Path

import torch

import mmgcp
from mmgcp.utils.errors import SetupError
from mmgcp.utils.mmcv_operators import operators
from mmgcp.utils.versions import library_versions


def environment(threads: int | None = None, device: torch.device | None = None) -> dict:
    """Describe this machine, its libraries and the state of the code, as JSON values by name.

    They are ``python`` and the versions of the installed libraries, ``mmcv operators`` (torchvision's or compiled, or
    why there are none), ``hardware`` (name of the GPU, or of the processor), ``threads`` of the CPU, by default those
    of this process, and, in a checkout, ``commit``, which ends in ``+`` if files other than results were changed since.
    ``device`` is the one that computes, by default the GPU if there is one.
    """
    on_gpu = device.type == 'cuda' if device else torch.cuda.is_available()
    made = dict(python=platform.python_version(), **_versions(),
                hardware=torch.cuda.get_device_name(0) if on_gpu else _processor(),
                threads=threads or torch.get_num_threads())
    commit = checkout_commit(Path(mmgcp.__file__).resolve().parents[1])
    return {**made, 'commit': commit} if commit else made


def checkout_commit(root: Path) -> str | None:
    """Return ``git describe`` of the folder that contains ``mmgcp``, or None if it is not a checkout of mmgcp.

    ``+`` follows if tracked files were changed, except in ``results``, where a repeated experiment replaces its own.
    The commit of another repository that mmgcp is installed or copied into says nothing about mmgcp.
    """
    setup = root / 'setup.cfg'
    if not (root / '.git').exists() or not setup.is_file() or 'name = mmgcp\n' not in setup.read_text():
        return None
    # As options, because git sets GIT_DIR where it runs this, such as in a hook.
    git = ['git', f'--git-dir={root / ".git"}', f'--work-tree={root}']
    with suppress(OSError):  # git may be missing
        commit = subprocess.run([*git, 'describe', '--always', '--abbrev=12'], capture_output=True, text=True, cwd=root)
        diff = subprocess.run([*git, 'diff', '--quiet', 'HEAD', '--', '.', ':!results'], capture_output=True, cwd=root)
        return commit.stdout.strip() + '+' * (diff.returncode == 1) or None
    return None


def _versions():
    versions = dict(library_versions(), mmgcp=mmgcp.__version__)
    with suppress(ImportError):  # without mmcv
        try:
            versions['mmcv operators'] = operators()
        except SetupError as error:
            versions['mmcv operators'] = f'none: {error}'
    return versions


def _processor():
    lines = Path('/proc/cpuinfo').read_text().splitlines() if Path('/proc/cpuinfo').is_file() else []
    names = [line.partition(':')[2].strip() for line in lines if line.startswith('model name')]
    return f'{os.cpu_count()} cores of {names[0] if names else platform.processor() or platform.machine()}'
