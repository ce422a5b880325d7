"""Train and test on several machines without a shared folder."""
import torch.distributed
from mmengine.config import Config
from mmengine.dist import init_dist
from mmengine.runner.checkpoint import CheckpointLoader
from mmengine.utils.dl_utils import set_multi_processing

from .checkpoint import WORKDIR_SCHEME, load_checkpoint, settle_resume
from .errors import SetupError
from .processes import on_main_process

RANK_0_SCHEME = 'rank0://'


def use_machines(cfg: Config) -> None:
    """Let rank 0 read the checkpoint for all, and collect test results without a shared folder."""
    if not torch.distributed.is_initialized():
        env_cfg = cfg.get('env_cfg', {})
        set_multi_processing(**env_cfg.get('mp_cfg', {}), distributed=True)  # as in MMEngine's Runner
        init_dist(cfg.launcher, **env_cfg.get('dist_cfg', {}))
    settle_resume(cfg)
    if cfg.get('load_from') and ('://' not in cfg.load_from or cfg.load_from.startswith(WORKDIR_SCHEME)):
        cfg.load_from = RANK_0_SCHEME + cfg.load_from
    for evaluator in filter(None, (cfg.get('val_evaluator'), cfg.get('test_evaluator'))):
        metrics = evaluator.get('metrics', evaluator) if isinstance(evaluator, dict) else evaluator
        for metric in [metrics] if isinstance(metrics, dict) else metrics:
            metric.setdefault('collect_device', 'gpu')  # by the process group, even on CPUs


@CheckpointLoader.register_scheme(prefixes=RANK_0_SCHEME, force=True)
def load_from_rank_0(filename: str, map_location: str | None = None) -> dict:
    """Load ``rank0://FILE`` on rank 0, to the CPU, and send it, or its SetupError, to all ranks; all must call it."""
    try:
        return on_main_process(load_checkpoint, filename.removeprefix(RANK_0_SCHEME))
    except SetupError as error:
        raise SetupError(f'{error} (machine 0 reads it for all)') from error
