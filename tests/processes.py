"""Processes that run a tool as a user would, copied from one that has read the libraries, which takes seconds."""
import multiprocessing
import os
import runpy
import signal
import socket
import sys
import tempfile
from collections.abc import Callable, Mapping
from multiprocessing.connection import wait
from pathlib import Path

import torch

# mmgcp first, as in all tools: it readies mmcv for mmdet. What mmgcp has below it, each process reads for itself.
_context = multiprocessing.get_context('forkserver')
_context.set_forkserver_preload([
    'mmgcp', 'mmpretrain.apis', 'mmpretrain.evaluation', 'mmdet.apis', 'mmdet.evaluation', 'mmdet.visualization',
    'matplotlib.pyplot', 'scipy.stats', 'imagecorruptions'])


class Processes:
    """Run a tool, in several processes as torchrun would, or in one.

    Args:
        tool (Path): Script to run.
        arguments (list[str]): Its command line.
        folder (Path): Where it runs.
        environment (Mapping[str, str]): Its environment.
        count (int): Number of processes. Default: 1.
    """

    def __init__(self, tool: Path, arguments: list[str], folder: Path, environment: Mapping[str, str],
                 count: int = 1) -> None:
        self._output = tempfile.NamedTemporaryFile(mode='r')
        commands = [(arguments, dict(environment))]
        if count > 1:
            group = dict(environment, WORLD_SIZE=str(count), MASTER_ADDR='127.0.0.1', MASTER_PORT=str(free_port()))
            commands = [([*arguments, '--launcher', 'pytorch'], dict(group, RANK=str(rank), LOCAL_RANK=str(rank)))
                        for rank in range(count)]
        self._processes = [_context.Process(target=_work, args=(tool, *command, folder, self._output.name))
                           for command in commands]
        for process in self._processes:
            process.start()

    def ended(self, within: float) -> bool:
        """Whether one of them has ended, or does within so many seconds."""
        return bool(wait([process.sentinel for process in self._processes], within))

    def kill(self) -> None:
        """End them and what they have started."""
        for process in self._processes:
            os.killpg(process.pid, signal.SIGKILL)

    def wait(self) -> tuple[int, str]:
        """Highest exit code, and what they have printed."""
        for process in self._processes:
            process.join()
        with self._output as output:
            return max(abs(process.exitcode) for process in self._processes), output.read()


def _work(tool, arguments, environment, folder, output):
    from . import shortcuts  # noqa: F401
    os.setsid()
    os.environ.clear()
    os.environ.update(environment)
    os.chdir(folder)
    with open(output, 'a') as file:
        os.dup2(file.fileno(), 1)
        os.dup2(file.fileno(), 2)
    torch.set_num_threads(1)
    sys.argv = [str(tool), *arguments]
    runpy.run_path(str(tool), run_name='__main__')


def start_two(function: Callable, *arguments) -> None:
    """Call ``function(rank, *arguments)`` in two processes, and wait for both."""
    torch.multiprocessing.start_processes(function, arguments, nprocs=2, start_method='forkserver')


def free_port() -> int:
    """Number of a port that nothing listens to."""
    with socket.socket() as listener:
        listener.bind(('127.0.0.1', 0))
        return listener.getsockname()[1]
