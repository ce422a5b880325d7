"""Training in bfloat16 is the forward pass under autocast, on any device, and nothing else."""
import copy

import torch
from mmengine.registry import OPTIM_WRAPPERS
from torch import nn

import mmgcp  # noqa: F401


class Model(nn.Module):
    """A layer and its loss; keeps the type of what the layer gave."""

    def __init__(self) -> None:
        super().__init__()
        self.layer = nn.Linear(8, 4)

    def forward(self, x):
        out = self.layer(x)
        self.dtype = out.dtype
        return out.float().square().mean()


def step(model, wrapper, x):
    with wrapper.optim_context(model):
        loss = model(x)
    wrapper.update_params(loss)
    return loss.item()


def build(model, kind):
    optimizer = torch.optim.SGD(model.parameters(), lr=0.5, momentum=0.9)
    return OPTIM_WRAPPERS.build(dict(type=kind, optimizer=optimizer))


def test_step_is_that_of_autocast(device):
    model = Model().to(device)
    x = torch.randn(16, 8, device=device)
    by_hand = copy.deepcopy(model)
    with torch.autocast(device.type, torch.bfloat16):
        expected = by_hand(x)
    expected.backward()
    before = model.layer.weight.detach().clone()
    loss = step(model, build(model, 'mmgcp.BFloat16OptimWrapper'), x)
    assert loss == expected.item() and model.dtype == torch.bfloat16
    assert model.layer.weight.dtype == torch.float32
    torch.testing.assert_close(model.layer.weight, before - 0.5 * by_hand.layer.weight.grad, rtol=0, atol=1e-7)


def test_differs_from_float32_by_its_rounding(device):
    model = Model().to(device)
    plain, x = copy.deepcopy(model), torch.randn(16, 8, device=device)
    wrapper, plain_wrapper = build(model, 'mmgcp.BFloat16OptimWrapper'), build(plain, 'OptimWrapper')
    losses = [(step(model, wrapper, x), step(plain, plain_wrapper, x)) for _ in range(5)]
    assert all(a != b and abs(a - b) < 2e-2 * b for a, b in losses)
    assert plain.dtype == torch.float32
