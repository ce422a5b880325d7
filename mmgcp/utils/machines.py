"""Several machines of torchrun: all stop if one does."""
import functools
import os
import threading
from contextlib import suppress
from datetime import timedelta
from pathlib import Path

from .errors import REASON_FILE

STOPPED = 'mmgcp/stopped'  # key of the store for the reason why a machine stopped


def machines() -> int:
    """Return the number of machines on which torchrun started the run."""
    return int(os.environ.get('GROUP_WORLD_SIZE', 1))


def choose_port() -> None:
    """Set the rendezvous port, if unset, to ``PORT`` or one derived from the Slurm job; MMEngine always uses 29500."""
    job, step = (int(os.environ.get(name) or 0) for name in ('SLURM_JOB_ID', 'SLURM_STEP_ID'))
    os.environ.setdefault('MASTER_PORT', os.environ.get('PORT') or str(20000 + (job + 100 * step) % 10000))


def _this_machine() -> str:
    return f"machine {os.environ['GROUP_RANK']}: "


def _store():
    """Connect to the key-value store of all machines, which torchrun runs on the first one."""
    from torch.distributed import TCPStore  # here, as importing it takes seconds

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
