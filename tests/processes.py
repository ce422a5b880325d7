"""Processes that run a tool as a user would, copied from one that has read the libraries, which takes seconds."""
import contextlib
import itertools
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
# Below those that the system gives to whoever asks for any, and other ones for each worker and each run of the tests.
_ports = itertools.count(
    10000 + 2500 * (int(os.environ.get('PYTEST_XDIST_WORKER', 'gw0')[2:]) % 8) + os.getpid() % 2000)
PATIENCE = 60  # seconds that others have to end once one of several processes has failed


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
            with contextlib.suppress(ProcessLookupError):
                os.killpg(process.pid, signal.SIGKILL)

    def wait(self) -> tuple[int, str]:
        """Highest exit code, and what they have printed; if one fails, those that wait for it are ended."""
        while running := [process for process in self._processes if process.is_alive()]:
            failed = any(process.exitcode for process in self._processes)
            if not wait([process.sentinel for process in running], PATIENCE if failed else None):
                self.kill()
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
    """Number of a port that nothing listens to, another one each time."""
    for port in _ports:
        with socket.socket() as listener, contextlib.suppress(OSError):
            listener.bind(('127.0.0.1', port))
            return port
