"""What the shell scripts start, seen by stand-ins for python and srun."""
import os
import re
import shutil
import socket
import subprocess
import sys

import pytest
import torch
from mmengine.config import Config
from mmengine.logging import MMLogger
from mmengine.registry import MODELS

from mmgcp.apis import launch
from mmgcp.apis.launch import build_runner, load_config, scale_lr
from mmgcp.engine.hooks import LogPositionHook, ResumedSettingsHook
from mmgcp.utils.errors import SetupError
from mmgcp.utils.machines import choose_port

from .conftest import CLASSIFIER, ROOT

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
        environment = {'PATH': f'{tmp_path}:/usr/bin:/bin', 'PYTHON': str(tmp_path / 'python'), **environment}
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


def test_port_of_another_job(run, tmp_path):
    real = f'#!/bin/sh\nif [ "$1" = -c ]; then exec {sys.executable} "$@"; else echo "$@"; fi\n'
    (tmp_path / 'real').write_text(real)
    (tmp_path / 'real').chmod(0o755)
    with socket.socket() as other:
        other.bind(('', 0))
        other.listen()
        port = str(other.getsockname()[1])
        code, lines = run('dist_train.sh', 'config.py', '1', PYTHON=str(tmp_path / 'real'), PORT=port)
        assert (code, lines) == (2, [f'Stopped: port {port} is taken, perhaps by another job: set another PORT.'])
        code, lines = run('dist_train.sh', 'config.py', '1', PYTHON=str(tmp_path / 'real'))
    found = re.search(r'--master_port=(\d+)', lines[0])[1]
    assert code == 0 and int(found) >= 1024 and found not in (port, '29500')


@pytest.mark.parametrize('script, started', [
    ('tools/run_tests.sh', 'tools/setup_env.sh'), ('tools/quickstart.sh', 'tools/setup_env.sh'),
    ('.ci/run', 'tools/run_tests.sh')])
def test_scripts_run_in_their_own_checkout(script, started, tmp_path):
    for folder in ('here', 'other'):
        (tmp_path / folder / script).parent.mkdir(parents=True)
        (tmp_path / folder / 'tools').mkdir(exist_ok=True)
        (tmp_path / folder / started).write_text('pwd; exit 1')
    shutil.copy(ROOT / script, tmp_path / 'here' / script)
    done = subprocess.run(['bash', script], cwd=tmp_path / 'here', env=dict(os.environ, CDPATH=str(tmp_path / 'other')),
                          text=True, stdout=subprocess.PIPE)
    assert done.stdout.splitlines()[-1] == str(tmp_path / 'here')


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


@pytest.mark.parametrize('environment, port', [
    (dict(), '20000'), (dict(SLURM_JOB_ID='12345678', SLURM_STEP_ID='1'), '25778'),
    (dict(SLURM_JOB_ID='5', PORT='7'), '7'), (dict(SLURM_JOB_ID='5', PORT='7', MASTER_PORT='8'), '8')])
def test_each_job_of_slurm_has_a_port(environment, port, monkeypatch):
    monkeypatch.setattr('os.environ', dict(environment))
    choose_port()
    assert os.environ['MASTER_PORT'] == port


@pytest.mark.parametrize('launcher, port', [('slurm', '20005'), ('mpi', '20005'), ('pytorch', '29511')])
def test_runs_under_slurm_meet_at_the_port_of_their_job(launcher, port, tmp_path, monkeypatch):
    monkeypatch.setattr('os.environ', dict(os.environ, SLURM_JOB_ID='5', SLURM_STEP_ID='0'))
    os.environ.pop('PORT', None)
    os.environ.pop('MASTER_PORT', None)
    if launcher == 'pytorch':  # torchrun has set it
        os.environ['MASTER_PORT'] = port
    monkeypatch.setattr(launch, '_use_cpu', lambda cfg: None)
    cfg = Config(dict(model=dict(type='ImageClassifier'), work_dir=str(tmp_path), launcher=launcher))
    with pytest.raises(SetupError, match='no test_dataloader'):
        build_runner(cfg, ['test'], whole_model=True)
    assert os.environ['MASTER_PORT'] == port


def test_slurm_refuses_what_is_no_port(run):
    assert run('slurm_train.sh', 'gpu', 'job', 'config.py', PORT='70000') == (
        2, ["Stopped: PORT must be a number from 1 to 65535, got '70000'."])


@pytest.mark.parametrize('name', ['GPUS', 'GPUS_PER_NODE', 'CPUS_PER_TASK'])
@pytest.mark.parametrize('value', ['0', 'abc', '-1', '1.5'])
def test_slurm_refuses_what_is_no_number(name, value, run):
    for command in (('slurm_train.sh', 'gpu', 'job', 'config.py'),
                    ('slurm_test.sh', 'gpu', 'job', 'config.py', 'file.pth')):
        assert run(*command, **{name: value}) == (
            2, [f"Stopped: {name} must be a number of at least 1, got '{value}'."])


@pytest.mark.parametrize('arguments, script', [
    (['--benchmark', 'imagenet-c'], 'test_robustness.py'), (['--benchmark=imagenet-c'], 'test_robustness.py'),
    (['--bench=imagenet-c', '--amp'], 'test_robustness.py'), (['--out', 'scores.pkl'], 'test.py')])
def test_benchmarks_have_a_tool_of_their_own(arguments, script, run):
    _, lines = run('dist_test.sh', 'config.py', 'file.pth', '2', *arguments)
    assert f'tools/{script} config.py file.pth {arguments[0]}' in lines[0]
    _, lines = run('slurm_test.sh', 'gpu', 'job', 'config.py', 'file.pth', *arguments)
    assert f'tools/{script} config.py file.pth {arguments[0]}' in lines[0]


@pytest.mark.parametrize('batch, accumulated, scaled, lr', [
    (32, 1, False, 0.04), (8, 1, False, 0.04), (8, 4, False, 0.04), (8, 1, True, 0.01), (8, 4, True, 0.04),
    (8, 2, True, 0.02)])
def test_learning_rate_follows_the_images_of_a_step(batch, accumulated, scaled, lr, workplace, monkeypatch, capsys):
    """The quick start's rate of 0.04 is for 32 images."""
    monkeypatch.chdir(workplace.folder)
    options = {'train_dataloader.batch_size': batch, 'optim_wrapper.accumulative_counts': accumulated}
    cfg = load_config(CLASSIFIER, 'scaled', options)
    if scaled:
        scale_lr(cfg)
        cfg.dump('again.py')  # as the Runner does in the work directory
        cfg = load_config('again.py', 'scaled')
        scale_lr(cfg)
    runner = build_runner(cfg, ['train'], whole_model=False)
    told = 'A step has 8 images, but the learning rate is for 32: --auto-scale-lr multiplies it by 0.25'
    assert (told in ''.join(capsys.readouterr())) == (not scaled and batch * accumulated == 8)
    optim_wrapper = runner.build_optim_wrapper(runner.optim_wrapper)
    runner.scale_lr(optim_wrapper, runner.auto_scale_lr)
    assert optim_wrapper.param_groups[0]['lr'] == pytest.approx(lr)


def test_schedules_that_do_not_fit_and_changed_settings_of_resumed_trainings(workplace, monkeypatch):
    warnings = []
    monkeypatch.setattr(MMLogger, 'warning', lambda self, message, *_, **__: warnings.append(message))
    monkeypatch.chdir(workplace.folder)
    cfg = load_config(CLASSIFIER, 'unfit', {'param_scheduler.final_epoch': 2, 'train_cfg.max_epochs': 9})
    torch.save(dict(state_dict=MODELS.build(cfg.model).state_dict(), meta=dict(epoch=1, iter=6), message_hub={}),
               'epoch_1.pth')
    cfg.load_from = 'epoch_1.pth'
    for resume in (False, True):
        cfg.resume = resume
        runner = build_runner(cfg.copy(), ['train'], whole_model=False)
        assert any(isinstance(hook, ResumedSettingsHook) for hook in runner.hooks) == resume
        assert any(isinstance(hook, LogPositionHook) for hook in runner.hooks)
        assert 'The learning rate is 0 in 8 of 9 epochs (2 to 9)' in ''.join(warnings)
        warnings.clear()


@pytest.mark.parametrize('settings, expected', [
    (dict(), dict(find_unused_parameters=False, broadcast_buffers=False)),
    (dict(find_unused_parameters=True), dict(find_unused_parameters=True)),
    (dict(model_wrapper_cfg=dict(find_unused_parameters=True)), dict(find_unused_parameters=True)),
    (dict(model_wrapper_cfg=dict(type='MMDistributedDataParallel', broadcast_buffers=True, static_graph=True)),
     dict(broadcast_buffers=True, static_graph=True)),
    (dict(model_wrapper_cfg=dict(type='mmengine.MMDistributedDataParallel')), dict(broadcast_buffers=False)),
])
def test_settings_of_ddp_count_on_the_cpu(settings, expected, monkeypatch):
    monkeypatch.setattr(torch.distributed, 'is_initialized', lambda: True)
    monkeypatch.setattr(launch, 'get_rank', lambda: 1)
    cfg = Config(dict(settings, launcher='pytorch'))
    launch._use_cpu(cfg)
    wrapper = cfg.model_wrapper_cfg.to_dict()
    assert wrapper['type'].endswith('MMDistributedDataParallel') and wrapper['device_ids'] is None
    assert {name: wrapper[name] for name in expected} == expected


def test_other_wrappers_get_no_settings_of_ddp(monkeypatch):
    monkeypatch.setattr(torch.distributed, 'is_initialized', lambda: True)
    monkeypatch.setattr(launch, 'get_rank', lambda: 1)
    cfg = Config(dict(launcher='pytorch', model_wrapper_cfg=dict(type='MyWrapper', size=3)))
    launch._use_cpu(cfg)
    assert cfg.model_wrapper_cfg == dict(type='MyWrapper', size=3)


def test_a_network_with_average_pooling_lends_its_backbone(workplace, monkeypatch):
    """Fine-tuning with a neck that the checkpoint does not have: it starts anew."""
    monkeypatch.chdir(workplace.folder)
    cfg = load_config(CLASSIFIER, 'lent')
    average = MODELS.build(dict(cfg.model, neck=dict(type='GlobalAveragePooling'),
                                head=dict(cfg.model.head, in_channels=128)))
    torch.save(average.state_dict(), 'average.pth')
    cfg.load_from = 'average.pth'
    runner = build_runner(cfg, ['train'], whole_model=False)
    runner.load_or_resume()
    loaded = runner.model.state_dict()
    assert all(torch.equal(loaded[name], value) for name, value in average.state_dict().items() if 'backbone.' in name)


@pytest.mark.parametrize('split', ['train', 'test'])
def test_configs_without_the_data_that_a_command_reads(split, tmp_path):
    cfg = Config(dict(model=dict(type='ImageClassifier'), work_dir=str(tmp_path), launcher='none', resume=True))
    with pytest.raises(SetupError, match=f'the config has no {split}_dataloader, which this command reads'):
        build_runner(cfg, [split], whole_model=True)
    assert cfg.resume == (split == 'train')  # a test of a config from a resumed training resumes nothing
