import json
import os
from pathlib import Path

import torch

from mmgcp.utils.errors import SetupError
from mmgcp.utils.processes import on_main_process

from ..processes import start_two


def _process(rank, folder):
    torch.distributed.init_process_group('gloo', f'file://{folder}/meeting', rank=rank, world_size=2)

    def read(name):
        if rank:
            raise AssertionError('only rank 0 reads')
        if name == 'missing':
            raise ValueError('there is no log.')
        return {1: 70.47}

    results = [on_main_process(read, 'log')]
    try:
        on_main_process(read, 'missing')
    except SetupError as error:
        results.append(str(error))
    Path(folder, f'{rank}.json').write_text(json.dumps(results))
    torch.distributed.barrier()
    os._exit(0)  # to take the group apart can hang in torch 2.1


def test_rank_0_reads_and_all_know(tmp_path):
    start_two(_process, str(tmp_path))
    for rank in range(2):
        assert json.loads((tmp_path / f'{rank}.json').read_text()) == [
            {'1': 70.47}, 'there is no log']
