import pytest
import torch
from mmengine.registry import MODELS
from mmpretrain.models.heads import LinearClsHead

from mmgcp.models import DropoutLinearClsHead


def build(**kwargs):
    return MODELS.build(dict(type='mmgcp.DropoutLinearClsHead', num_classes=3, in_channels=50, **kwargs))


def test_is_the_linear_head_when_evaluating(device):
    head, plain = build().to(device).eval(), LinearClsHead(num_classes=3, in_channels=50).to(device)
    plain.load_state_dict(head.state_dict())
    feats = (torch.rand(2, 50, device=device), )
    torch.testing.assert_close(head(feats), plain(feats))


def test_drops_a_share_of_the_features_in_training(device):
    head = build(dropout_rate=0.4).to(device).train()
    thinned = head.pre_logits((torch.ones(400, 50, device=device), ))
    kept = thinned != 0
    torch.testing.assert_close(thinned[kept], torch.full_like(thinned[kept], 1 / 0.6))
    assert kept.float().mean().item() == pytest.approx(0.6, abs=0.02)
    torch.testing.assert_close(build(dropout_rate=0.).train().pre_logits((torch.ones(2, 50), )), torch.ones(2, 50))


def test_published_rate():
    assert build().dropout.p == 0.2


@pytest.mark.parametrize('rate', [-0.1, 1.])
def test_wrong_rate(rate):
    with pytest.raises(ValueError, match=rf'dropout_rate={rate} must be in \[0, 1\)'):
        DropoutLinearClsHead(rate, num_classes=3, in_channels=5)
