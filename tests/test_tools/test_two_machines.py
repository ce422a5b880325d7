"""Runs on two machines, which are here two folders: they share neither checkpoints nor, at first, data."""
import os
import re
import signal
import subprocess
from concurrent.futures import ThreadPoolExecutor

import pytest
import torch

from mmgcp.utils.checkpoint import load_state_dict

from .conftest import CLASSIFIER, ROOT, SMALL
from .test_train import log_of

LIMIT = 300  # seconds; a machine that waited for the other would do so for at least 600


@pytest.fixture
def machines(trained, tmp_path):
    """Starts a tool on both machines with one process each, for the classifier."""
    processes = []

    def start(*command):
        command = ['bash', str(ROOT / 'tools' / command[0]), str(trained.folder / CLASSIFIER), *command[1:]]
        environment = dict(trained.environment, NNODES='2', MASTER_ADDR='127.0.0.1')
        started = [subprocess.Popen(command, cwd=tmp_path / rank, env=dict(environment, NODE_RANK=rank), text=True,
                                    stdout=subprocess.PIPE, stderr=subprocess.STDOUT, start_new_session=True)
                   for rank in '01']
        processes.extend(started)
        return started

    for rank in '01':
        (tmp_path / rank).mkdir()
        (tmp_path / rank / 'data').symlink_to(trained.folder / 'data')
    yield start
    stop(processes)


def stop(processes):
    """Ends torchrun, which ends the processes that it started."""
    for process in processes:
        if process.poll() is None:
            os.killpg(process.pid, signal.SIGTERM)


def ended(processes):
    """Output of each start, once all that it started has ended."""
    with ThreadPoolExecutor() as pool:
        return list(pool.map(lambda process: process.communicate(timeout=LIMIT)[0], processes))


def test_two_machines_train_and_resume_as_one(trained, machines, tmp_path):
    expected, found = trained.folder / 'work_dirs/resnet18_gcp_m_shapes', tmp_path / '0/run'
    command = ('dist_train.sh', '1', '--work-dir', 'run', '--resume', '--cfg-options', *SMALL)
    processes = machines(*command)
    assert any(re.search(r'Epoch\(train\) +\[2]', line) for line in processes[0].stdout)
    stop(processes)
    ended(processes)

    processes = machines(*command)
    outputs = ended(processes)
    assert [process.returncode for process in processes] == [0, 0], outputs
    (losses, results), (expected_losses, expected_results) = log_of(found), log_of(expected)
    assert losses == expected_losses
    assert results == expected_results
    whole, resumed = (load_state_dict(str(folder / 'epoch_3.pth')) for folder in (expected, found))
    assert all(torch.equal(resumed[name], value) for name, value in whole.items())
    # The second machine, which saves nothing, read what the first one saved.
    assert not [path for path in (tmp_path / '1/run').rglob('*') if path.is_file()]
    assert re.search(r'epoch_\d\.pth', outputs[1])


def test_what_one_machine_lacks_stops_the_other(trained, machines, tmp_path):
    (tmp_path / '1/data').unlink()
    checkpoint = trained.folder / 'work_dirs/resnet18_gcp_m_shapes/epoch_3.pth'
    processes = machines('dist_test.sh', checkpoint, '1')
    last = [output.splitlines()[-1] for output in ended(processes)]
    assert [process.returncode for process in processes] == [1, 1]
    assert last[1].startswith('Stopped: the data root data/shapes/imagenet does not exist: put the data there')
    assert last[0] == last[1].replace('Stopped: ', 'Stopped: machine 1: ')


@pytest.mark.parametrize('environment, sentence', [
    (dict(NNODES='two'), "NNODES must be a number of at least 1, got 'two'"),
    (dict(NNODES='0'), "NNODES must be a number of at least 1, got '0'"),
    (dict(NNODES='2', MASTER_ADDR='host'), "must be a number below NNODES=2, another one on each machine, got ''"),
    (dict(NNODES='2', MASTER_ADDR='host', NODE_RANK='first'), "another one on each machine, got 'first'"),
    (dict(NNODES='2', MASTER_ADDR='host', NODE_RANK='2'), "another one on each machine, got '2'"),
    (dict(NODE_RANK='1'), "NODE_RANK must be a number below NNODES=1, another one on each machine, got '1'"),
    (dict(NNODES='2', NODE_RANK='1'),
     'NNODES is 2, but MASTER_ADDR is not set: set it to the address of the machine with NODE_RANK=0'),
    (dict(PORT='http'), "PORT must be a number from 1 to 65535, got 'http'"),
    (dict(PORT='65536'), "PORT must be a number from 1 to 65535, got '65536'"),
])
def test_settings(environment, sentence, tmp_path):
    """Nothing is started: there is no Python."""
    environment = dict(PATH='/usr/bin:/bin', PYTHON=str(tmp_path / 'python'), **environment)
    for command in (('dist_train.sh', 'config.py', '4'), ('dist_test.sh', 'config.py', 'file.pth', '4')):
        done = subprocess.run(['bash', ROOT / 'tools' / command[0], *command[1:]], env=environment, text=True,
                              capture_output=True)
        assert (done.returncode, done.stdout) == (2, '')
        assert done.stderr.startswith('Stopped: ') and done.stderr.endswith(f'{sentence}.\n')
        assert done.stderr.count('\n') == 1
