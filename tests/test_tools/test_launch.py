"""What the shell scripts start, seen by stand-ins for python and srun."""
import subprocess

import pytest

from .conftest import ROOT

PYTHON = '''#!/bin/sh
if [ "$1" = -c ]; then echo 4; else echo "$@"; echo "reason here" > "$MMGCP_REASON_FILE"; exit 3; fi
'''


@pytest.fixture
def run(tmp_path):
    """Runs a script of tools/ with the stand-ins and returns its exit code and its lines."""

    def run(script, *arguments, **environment):
        for name, content in {'python': PYTHON, 'srun': '#!/bin/sh\necho "$@"\n'}.items():
            (tmp_path / name).write_text(content)
            (tmp_path / name).chmod(0o755)
        environment = dict(PATH=f'{tmp_path}:/usr/bin:/bin', PYTHON=str(tmp_path / 'python'), **environment)
        done = subprocess.run(['bash', ROOT / 'tools' / script, *arguments], env=environment, text=True,
                              stdout=subprocess.PIPE, stderr=subprocess.STDOUT)
        return done.returncode, done.stdout.splitlines()

    return run


def test_one_machine(run):
    code, lines = run('dist_train.sh', 'config.py', '4', '--resume', '--cfg-options', 'a=b c')
    assert lines[0].split(' --master_addr')[0] == '-m torch.distributed.run --nnodes=1 --node_rank=0 --nproc_per_node=4'
    assert lines[0].endswith('tools/train.py config.py --resume --cfg-options a=b c --launcher pytorch')
    # The exit code of the processes and the reason of their end come through.
    assert (code, lines[-1]) == (3, 'Stopped: reason here.')


def test_several_machines(run):
    machines = dict(NNODES='3', NODE_RANK='1', MASTER_ADDR='host', PORT='7')
    _, lines = run('dist_test.sh', 'config.py', 'file.pth', '2', **machines)
    assert lines[0].startswith('-m torch.distributed.run --nnodes=3 --node_rank=1 --nproc_per_node=2 '
                               '--master_addr=host --master_port=7')
    assert lines[0].endswith('tools/test.py config.py file.pth --launcher pytorch')


def test_slurm(run):
    _, lines = run('slurm_train.sh', 'gpu', 'job', 'config.py', '--amp', GPUS='16', SRUN_ARGS='--quotatype=spot -x a')
    assert lines[0].startswith('--partition=gpu --job-name=job --gres=gpu:8 --ntasks=16 --ntasks-per-node=8 '
                               '--cpus-per-task=5 --kill-on-bad-exit=1 --quotatype=spot -x a ')
    assert lines[0].endswith('tools/train.py config.py --amp --launcher slurm')
