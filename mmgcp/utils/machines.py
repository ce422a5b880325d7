"""Run on several machines by torchrun, without a shared folder; all stop if one does."""
import functools
import os
import threading
from contextlib import suppress
from datetime import timedelta
from pathlib import Path

import torch.distributed
from mmengine.config import Config
from mmengine.dist import init_dist
from mmengine.runner.checkpoint import CheckpointLoader
from mmengine.utils.dl_utils import set_multi_processing
from torch.distributed import TCPStore

from .checkpoint import WORKDIR_SCHEME, load_checkpoint, settle_resume
from .errors import REASON_FILE, SetupError
from .processes import on_main_process

STOPPED = 'mmgcp/stopped'  # key of the store for the reason why a machine stopped
RANK_0_SCHEME = 'rank0://'


def machines() -> int:
    """Return the number of machines on which torchrun started the run."""
    return int(os.environ.get('GROUP_WORLD_SIZE', 1))


def choose_port() -> None:
    """Set the rendezvous port, if unset, to ``PORT`` or one derived from the Slurm job; MMEngine always uses 29500."""
    job, step = (int(os.environ.get(name) or 0) for name in ('SLURM_JOB_ID', 'SLURM_STEP_ID'))
    os.environ.setdefault('MASTER_PORT', os.environ.get('PORT') or str(20000 + (job + 100 * step) % 10000))


def _this_machine() -> str:
    return f"machine {os.environ['GROUP_RANK']}: "


def _store() -> TCPStore:
    """Connect to the key-value store of all machines, which torchrun runs on the first one."""
    return TCPStore(os.environ['MASTER_ADDR'], int(os.environ['MASTER_PORT']), is_master=False,
                    timeout=timedelta(seconds=10))


def tell_other_machines(sentence: str) -> None:
    """Tell the other machines why this one stops: torchrun does not, and they would wait until a timeout."""
    if machines() > 1:
        with suppress(RuntimeError):  # the first machine, and with it the store, has ended already
            _store().set(STOPPED, _this_machine() + sentence)


@functools.cache
def stop_with_other_machines() -> None:
    """End the processes of this machine as soon as another machine stops."""
    if machines() > 1 and os.environ['LOCAL_RANK'] == '0':
        threading.Thread(target=_wait_for_a_stop, daemon=True).start()


def _wait_for_a_stop() -> None:
    with suppress(RuntimeError):
        store = _store()
        store.wait([STOPPED], timedelta(days=20))  # 2^31 ms are 24 days
        sentence = store.get(STOPPED).decode()
        if sentence.startswith(_this_machine()):
            return
        if os.environ.get(REASON_FILE):
            Path(os.environ[REASON_FILE]).write_text(sentence)
        # The main thread may be blocked in a collective. torchrun ends the other processes of this machine.
        os._exit(1)


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
