"""RAdamW is torch's RAdam with decoupled weight decay of matrices."""
import inspect

import pytest
import torch
from mmengine.registry import OPTIMIZERS

import mmgcp  # noqa: F401

SETTINGS = dict(lr=0.1, betas=(0.95, 0.99), eps=1e-6)
DECOUPLED = 'decoupled_weight_decay' in inspect.signature(torch.optim.RAdam).parameters


def steps(optimizer, params, number=12):
    """Gradients that differ from step to step; beyond the tenth, RAdam divides by their size."""
    generator = torch.Generator().manual_seed(1)
    for _ in range(number):
        for param in params:
            param.grad = torch.randn(param.shape, generator=generator, dtype=param.dtype)
        optimizer.step()


def parameters():
    generator = torch.Generator().manual_seed(0)
    return [torch.nn.Parameter(torch.randn(shape, generator=generator, dtype=torch.float64))
            for shape in ((3, 2, 1, 1), (4, 3), (5, ))]


def build(params, **settings):
    return OPTIMIZERS.build(dict(type='mmgcp.RAdamW', params=params, **SETTINGS, **settings))


@pytest.mark.skipif(not DECOUPLED, reason="torch's RAdam has no decoupled weight decay before 2.2")
def test_is_torchs_with_decoupled_weight_decay_of_matrices():
    mine, expected = parameters(), parameters()
    optimizer = build(mine, weight_decay=0.2)
    steps(optimizer, mine)
    groups = [dict(params=expected[:2], weight_decay=0.2), dict(params=expected[2:], weight_decay=0.)]
    steps(torch.optim.RAdam(groups, **SETTINGS, decoupled_weight_decay=True), expected)
    for param, other in zip(mine, expected, strict=True):
        torch.testing.assert_close(param, other, rtol=1e-12, atol=0)
    assert optimizer.param_groups[0]['weight_decay'] == 0.2


def test_without_gradient_only_weights_decay():
    params = parameters()
    before = [param.detach().clone() for param in params]
    optimizer = build([dict(params=params[:1], weight_decay=0.5), dict(params=params[1:])], weight_decay=0.2)
    for param in params[:1] + params[2:]:
        param.grad = torch.zeros_like(param)
    optimizer.step()
    torch.testing.assert_close(params[0].detach(), before[0] * (1 - 0.1 * 0.5))
    assert torch.equal(params[1], before[1]) and torch.equal(params[2], before[2])  # no gradient; a vector


def test_without_decay_is_torchs_and_closures_are_called():
    mine, expected = parameters(), parameters()
    steps(build(mine), mine)
    steps(torch.optim.RAdam(expected, **SETTINGS), expected)
    assert all(map(torch.equal, mine, expected))
    optimizer = build(mine)

    def closure():
        optimizer.zero_grad()
        loss = sum(param.square().sum() for param in mine)
        loss.backward()
        return loss

    first = optimizer.step(closure)
    assert optimizer.step(closure) < first
