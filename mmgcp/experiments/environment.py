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
    """Describe this machine, its libraries and the state of the code.

    Args:
        threads (int, optional): CPU threads of a job. Default: those of this process.
        device (torch.device, optional): Device that computes. Default: the GPU if there is one.

    Returns:
        dict: JSON values: ``python`` and the versions of the installed libraries, ``mmcv operators`` (torchvision's or
        compiled), ``hardware`` (name of the GPU or the processor), ``threads``, and, in a checkout, ``commit``, which
        ends in ``+`` if files have changed since.
    """
    on_gpu = device.type == 'cuda' if device else torch.cuda.is_available()
    made = dict(python=platform.python_version(), **library_versions(), mmgcp=mmgcp.__version__)
    with suppress(SetupError, ImportError):
        made['mmcv operators'] = operators()
    made.update(hardware=torch.cuda.get_device_name(0) if on_gpu else _processor(),
                threads=threads or torch.get_num_threads())
    commit = checkout_commit(Path(mmgcp.__file__).resolve().parents[1])
    return {**made, 'commit': commit} if commit else made


def checkout_commit(root: Path) -> str | None:
    """Describe the commit of a checkout of this project.

    Args:
        root (Path): Folder with the package ``mmgcp``.

    Returns:
        str | None: Output of ``git describe``; None if the folder is no checkout of this project: the commit of another
        repository that mmgcp is installed or copied into says nothing about mmgcp.
    """
    setup = root / 'setup.cfg'
    if not (root / '.git').exists() or not setup.is_file() or 'name = mm-gcp\n' not in setup.read_text():
        return None
    with suppress(OSError):  # git may be missing
        described = subprocess.run(['git', 'describe', '--always', '--dirty=+', '--abbrev=12'], capture_output=True,
                                   text=True, cwd=root)
        return described.stdout.strip() or None
    return None


def _processor():
    lines = Path('/proc/cpuinfo').read_text().splitlines() if Path('/proc/cpuinfo').is_file() else []
    names = [line.partition(':')[2].strip() for line in lines if line.startswith('model name')]
    return f'{os.cpu_count()} cores of {names[0] if names else platform.processor() or platform.machine()}'
