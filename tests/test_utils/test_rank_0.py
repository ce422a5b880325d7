import pytest
import torch
from mmengine.config import Config

from mmgcp.utils.rank_0 import use_machines


@pytest.mark.parametrize('form', [
    lambda metric: metric, lambda metric: [metric], lambda metric: dict(metrics=metric),
    lambda metric: dict(type='Evaluator', metrics=[metric])])
def test_results_are_collected_without_a_shared_folder(form, monkeypatch):
    monkeypatch.setattr(torch.distributed, 'is_initialized', lambda: True)
    cfg = Config(dict(val_evaluator=form(dict(type='Accuracy')), test_evaluator=None))
    use_machines(cfg)
    assert cfg.val_evaluator == form(dict(type='Accuracy', collect_device='gpu'))
