"""Load configs and build runners for training and testing."""
import os
from collections.abc import Mapping, Sequence
from pathlib import Path

import torch
import torch.distributed
from mmengine.config import Config
from mmengine.dist import get_rank
from mmengine.hooks import Hook
from mmengine.registry import RUNNERS
from mmengine.runner import Runner

from mmgcp.engine.hooks import LogPositionHook, ResumedSettingsHook, ResumedValidationHook
from mmgcp.models import GlobalCovariancePooling
from mmgcp.utils.checkpoint import (
    assert_fits,
    assert_resumable,
    classes_of,
    load_checkpoint,
    settle_resume,
    tensors_of,
    under_prefix,
)
from mmgcp.utils.errors import SetupError, explained, sentence_of
from mmgcp.utils.machines import choose_port, machines
from mmgcp.utils.mmcv_operators import operators
from mmgcp.utils.rank_0 import use_machines

from .checks_evaluators import check_evaluators
from .checks_images import check_images
from .checks_options import check_optimizer, check_options
from .checks_schedule import check_schedule
from .config_data import kind, library_of, require_model
from .config_file import read_config
from .preflight import check_data


def load_config(path: str, work_dir: str | None = None, cfg_options: Mapping | None = None,
                launcher: str = 'none', local_rank: int = 0) -> Config:
    """Load the config of a run.

    Args:
        path (str): Config file.
        work_dir (str, optional): For logs and checkpoints. Default: the config's, or ``work_dirs/NAME_OF_CONFIG``.
        cfg_options (Mapping, optional): Settings that override the config, ``{'model.head.topk': (1, )}``.
        launcher (str): Job launcher: ``'none'``, ``'pytorch'``, ``'slurm'`` or ``'mpi'``.
        local_rank (int): Rank of this process on its machine if the launcher does not set ``LOCAL_RANK``.

    Returns:
        Config: The config with ``work_dir`` and ``launcher`` set.

    Raises:
        SetupError: If the file cannot be read, or nothing reads one of the settings.

    Examples:
        >>> load_config('configs/gcp/resnet18_gcp_m_imagenet.py').work_dir
        'work_dirs/resnet18_gcp_m_imagenet'
    """
    os.environ.setdefault('LOCAL_RANK', str(local_rank))
    cfg = read_config(path)
    check_options(cfg, cfg_options or {})
    cfg.launcher = launcher
    cfg.work_dir = work_dir or cfg.get('work_dir') or str(Path('work_dirs') / Path(path).stem)
    try:
        cfg.merge_from_dict(dict(cfg_options or {}))
    except (AttributeError, KeyError, TypeError, ValueError) as error:
        raise SetupError(f'the options {", ".join(cfg_options)} do not fit the config: {type(error).__name__}: '
                         f'{error}') from error
    return cfg


def load_configs(paths: Sequence[str], work_dirs: Sequence[str] | None = None, labels: Sequence[str] | None = None,
                 **settings) -> dict[str, Config]:
    """Load the configs of several runs, by name: ``labels``, or the names of the work directories.

    Further arguments are those of :func:`load_config`, the same for all.

    Raises:
        SetupError: If a config cannot be read or has no model, or two runs have the same name.
    """
    cfgs = {}
    for index, path in enumerate(paths):
        cfg = load_config(path, work_dirs and work_dirs[index], **settings)
        require_model(cfg)
        name = labels[index] if labels else Path(cfg.work_dir).resolve().name
        if name in cfgs:
            raise SetupError(f"several runs are called '{name}': give each its own name with --labels")
        cfgs[name] = cfg
    return cfgs


def scale_lr(cfg: Config) -> None:
    """Scale the learning rate linearly with the number of images per step.

    Raises:
        SetupError: If the config does not set ``auto_scale_lr.base_batch_size`` to a number of images.
    """
    base = (cfg.get('auto_scale_lr') or {}).get('base_batch_size')
    if not isinstance(base, (int, float)) or base <= 0:
        raise SetupError('--auto-scale-lr needs a config that says for how many images per step its learning rate is, '
                         f'not {base}: set auto_scale_lr.base_batch_size')
    if cfg.auto_scale_lr.get('enable'):
        return  # as in the config that a training with this option has left in its work directory
    cfg.auto_scale_lr.enable = True
    # MMEngine counts the images of one forward pass, not of all passes that a step accumulates.
    cfg.auto_scale_lr.base_batch_size /= cfg.optim_wrapper.get('accumulative_counts', 1)


def use_amp(cfg: Config) -> None:
    """Train in mixed precision.

    Raises:
        SetupError: If there is no GPU, or mixed precision would replace the config's optimizer wrapper.
    """
    wrapper = kind(cfg.optim_wrapper)
    if wrapper not in ('', 'OptimWrapper', 'AmpOptimWrapper'):
        raise SetupError(f"--amp trains with AmpOptimWrapper instead of the config's {wrapper}: leave out --amp, or "
                         'set optim_wrapper.type=OptimWrapper')
    if not torch.cuda.is_available():
        raise SetupError('--amp needs a GPU, and none is visible: for bfloat16 on a CPU set --cfg-options '
                         'optim_wrapper.type=mmgcp.BFloat16OptimWrapper')
    cfg.optim_wrapper.type = 'AmpOptimWrapper'
    cfg.optim_wrapper.setdefault('loss_scale', 'dynamic')


def build_runner(cfg: Config, splits: Sequence[str], whole_model: bool) -> Runner:
    """Check data, settings and checkpoint, then build the runner and its model.

    Args:
        cfg (Config): Config of the run.
        splits (Sequence[str]): Data that the run reads: any of ``'train'``, ``'val'`` and ``'test'``.
        whole_model (bool): Whether ``cfg.load_from`` must fill the whole model, for testing, or only its backbone,
            for fine-tuning with a new head. A run that resumes always fills the whole model.

    Raises:
        SetupError: If something is missing or does not fit.
    """
    require_model(cfg)
    _make_work_dir(cfg.work_dir)
    detects = library_of(cfg) == 'mmdet'
    if detects:
        operators()  # otherwise MMEngine reports operators that cannot be loaded as unregistered types
    if cfg.launcher in ('slurm', 'mpi'):
        choose_port()
    if not torch.cuda.is_available():
        _use_cpu(cfg)
    if 'train' not in splits:
        cfg.resume = False  # as configs say that a resumed training has left in its work directory
    for split in splits:
        if not cfg.get(f'{split}_dataloader') and (split != 'val' or cfg.get('val_cfg')):
            raise SetupError(f'the config has no {split}_dataloader, which this command reads')
    if cfg.launcher == 'pytorch' and machines() > 1:
        use_machines(cfg)
    settle_resume(cfg)
    whole_model = whole_model or bool(cfg.get('resume'))
    # DeepSpeed saves folders, and checks them itself.
    reads_file = bool(cfg.get('load_from')) and not ('runner_type' in cfg and Path(cfg.load_from).is_dir())
    loaded = load_checkpoint(cfg.load_from) if reads_file else {}
    if reads_file and cfg.get('resume'):
        assert_resumable(loaded, cfg.load_from)
    state_dict = tensors_of(loaded)
    notes = check_data(cfg, splits, classes_of(loaded) if whole_model else ()) + check_evaluators(cfg, splits)
    for loader in filter(None, (cfg.get(f'{split}_dataloader') for split in splits)):
        if not loader.get('num_workers'):
            loader.persistent_workers = False  # there are none to persist
    with explained(AssertionError, ValueError, TypeError, KeyError, FileNotFoundError):
        runner_class = Runner if 'train' in splits else _Tester
        runner = RUNNERS.build(cfg) if 'runner_type' in cfg else runner_class.from_cfg(cfg)
        for split in splits:  # MMEngine would build data sets, loaders and metrics after the start
            loader = getattr(getattr(runner, f'{split}_loop'), 'dataloader', None)  # none where a loop builds its own
            check_images(getattr(loader, 'dataset', None), f'{split}_dataloader')
    model = getattr(runner.model, 'module', runner.model)
    if reads_file and whole_model:
        assert_fits(model, state_dict, cfg.load_from)
    elif reads_file and hasattr(model, 'backbone'):
        assert_fits(model.backbone, state_dict, cfg.load_from, 'backbone')
        # A checkpoint trained with average pooling has no neck, which then starts from scratch.
        if under_prefix(state_dict, 'neck') and isinstance(getattr(model, 'neck', None), GlobalCovariancePooling):
            assert_fits(model.neck, state_dict, cfg.load_from, 'neck')
    if 'train' in splits:
        notes += [_batch_size_warning(cfg, runner.world_size), check_schedule(cfg, len(runner.train_dataloader))]
        if isinstance(runner, Runner) and 'optimizer' in cfg.optim_wrapper:
            notes += check_optimizer(cfg, model)
            if cfg.get('resume'):
                runner.register_hook(ResumedSettingsHook())
        if isinstance(runner, Runner):
            runner.register_hook(LogPositionHook())
            runner.register_hook(ResumedValidationHook())
    for note in filter(None, notes):
        runner.logger.warning(note)
    if detects:
        runner.logger.info(f'Operators of mmcv: {operators()}')
    return runner


def train(runner: Runner) -> None:
    """Train; errors before the first iteration, such as in optimizer settings, become a SetupError of one sentence."""
    started, hook = [], Hook()
    hook.before_train = started.append
    runner.register_hook(hook)
    try:
        runner.train()
    except (AssertionError, KeyError, TypeError, ValueError) as error:
        if started or isinstance(error, SetupError):
            raise
        raise SetupError(sentence_of(error)) from error


class _Tester(Runner):

    def dump_config(self) -> None:
        """Leave the config of the training in the work directory: that of a test is in the folder of its start."""


def _make_work_dir(folder: str) -> None:
    try:
        Path(folder).mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise SetupError(f'the work directory {folder} cannot be made: {error.strerror}') from error
    if not os.access(folder, os.W_OK | os.X_OK):
        raise SetupError(f'the work directory {folder} cannot be written to: set another with --work-dir')


def _batch_size_warning(cfg: Config, world_size: int) -> str | None:
    base = (cfg.get('auto_scale_lr') or {}).get('base_batch_size')
    images = world_size * cfg.train_dataloader.get('batch_size', 0) * cfg.optim_wrapper.get('accumulative_counts', 1)
    if not base or images in (0, base) or cfg.auto_scale_lr.get('enable'):
        return None
    return (f'A step has {images} images, but the learning rate is for {base}: --auto-scale-lr multiplies it by '
            f'{images / base:g} (linear scaling); without it the rate stays.')


def _use_cpu(cfg: Config) -> None:
    """Run on the CPU, processes connected by gloo, where MMEngine assumes CUDA devices."""
    for loader in filter(None, map(cfg.get, ('train_dataloader', 'val_dataloader', 'test_dataloader'))):
        loader.pin_memory = False
    if cfg.launcher == 'none':
        return
    if not torch.distributed.is_initialized():
        torch.distributed.init_process_group('gloo')
    wrapper = {'type': 'MMDistributedDataParallel', **(cfg.get('model_wrapper_cfg') or {})}
    if kind(wrapper) == 'MMDistributedDataParallel':
        wrapper = {'broadcast_buffers': False, 'find_unused_parameters': cfg.get('find_unused_parameters', False),
                   **wrapper, 'device_ids': None}
    cfg.model_wrapper_cfg = wrapper
    if get_rank() == 0:
        print('No GPU is visible: running on the CPU, processes connected by gloo.')
