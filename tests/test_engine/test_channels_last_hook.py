import inspect
from pathlib import Path
from types import SimpleNamespace

import pytest
import torch
from mmengine.config import Config
from mmengine.registry import MODELS, init_default_scope
from torch import nn

from mmgcp.engine.hooks import ChannelsLastHook
from mmgcp.registry import HOOKS

DETECTOR = Path(__file__).parents[2] / 'configs/quickstart/mask_rcnn_r18_gcp_m_shapes.py'
SMALL = dict(
    type='mmpretrain.ImageClassifier',
    backbone=dict(type='mmgcp.GCPResNet', depth=18, conv5_downsample='max_pool'),
    neck=dict(type='mmgcp.GlobalCovariancePooling', in_channels=512, reduced_channels=16),
    head=dict(type='mmpretrain.LinearClsHead', num_classes=5, in_channels=136))
NO_STATE = SimpleNamespace(state={})  # of an optimizer before its first step


def is_channels_last(tensor):
    return tensor.is_contiguous(memory_format=torch.channels_last)


def apply_hook(model, optimizer=NO_STATE):
    hook = HOOKS.build(dict(type='mmgcp.ChannelsLastHook'))
    runner = SimpleNamespace(model=model, optim_wrapper=SimpleNamespace(optimizer=optimizer))
    assert isinstance(hook, ChannelsLastHook)
    hook.before_run(runner)
    hook.before_train(runner)


def value_and_gradients(model, x):
    """Logits, and the gradients of their squared sum by name."""
    model.zero_grad()
    logits = model(x)
    logits.square().sum().backward()
    return logits.detach(), {name: p.grad.clone() for name, p in model.named_parameters()}


def test_values_and_gradients_stay(device):
    model = MODELS.build(SMALL).to(device, torch.float64)
    x = torch.randn(4, 3, 64, 64, dtype=torch.float64, device=device)
    before = value_and_gradients(model, x)
    apply_hook(model)
    torch.testing.assert_close(value_and_gradients(model, x), before)


def test_weights_and_activations_get_the_layout_without_converting_the_input(device):
    model = MODELS.build(SMALL).to(device)
    apply_hook(model)
    layouts = []
    for module in model.modules():
        if isinstance(module, nn.Conv2d):
            assert is_channels_last(module.weight)
            module.register_forward_hook(lambda module, args, out: layouts.append(is_channels_last(out)))
    x = torch.randn(2, 3, 64, 64, device=device)
    assert not is_channels_last(x)
    model(x)
    assert len(layouts) == 21 and all(layouts)


@pytest.mark.parametrize('stage', ['before_train', 'before_val', 'before_test'])
def test_every_stage_converts(stage):
    model = nn.Conv2d(3, 4, 3)
    getattr(ChannelsLastHook(), stage)(SimpleNamespace(model=model, optim_wrapper=SimpleNamespace(optimizer=NO_STATE)))
    assert is_channels_last(model.weight) and not model.weight.is_contiguous()


def test_before_the_weights_are_drawn_it_leaves_them_alone():
    model = nn.Conv2d(3, 4, 3)
    ChannelsLastHook().before_run(SimpleNamespace(model=model))
    assert model.weight.is_contiguous()


def test_checkpoints_are_interchangeable(tmp_path):
    plain, laid_out = nn.Conv2d(3, 4, 3), nn.Conv2d(3, 4, 3)
    apply_hook(laid_out)
    torch.save(laid_out.state_dict(), tmp_path / 'checkpoint.pth')
    plain.load_state_dict(torch.load(tmp_path / 'checkpoint.pth'))
    assert plain.weight.is_contiguous() and torch.equal(plain.weight, laid_out.weight)


def test_detection_gets_the_right_pixels_from_roi_align(device):
    pytest.importorskip('mmdet')
    ops = pytest.importorskip('mmcv.ops')
    layer = ops.RoIAlign(3, sampling_ratio=2)
    x = torch.randn(1, 4, 8, 8, device=device)
    boxes = torch.tensor([[0., 1, 1, 6, 6]], device=device)
    expected = layer(x, boxes)
    apply_hook(layer)
    torch.testing.assert_close(layer(x.to(memory_format=torch.channels_last), boxes), expected)


@pytest.mark.parametrize('compiled', [True, False])
def test_weights_of_compiled_operators_stay_contiguous(compiled, monkeypatch):
    """Those of deformable convolutions are read without their strides, and so are the offsets that they compute."""

    class Operator(nn.Module):
        __module__ = 'mmcv.ops.modulated_deform_conv'

        def __init__(self):
            super().__init__()
            self.weight = nn.Parameter(torch.ones(4, 3, 3, 3))
            self.conv_offset = nn.Conv2d(3, 27, 3, padding=1)

        def forward(self, x):
            return self.conv_offset(x)

    monkeypatch.setattr('mmgcp.engine.hooks.channels_last_hook.are_compiled', lambda: compiled)
    model = nn.Sequential(nn.Conv2d(3, 3, 3), Operator())
    apply_hook(model)
    assert is_channels_last(model[0].weight) and not model[0].weight.is_contiguous()
    assert model[1].weight.is_contiguous() is model[1].conv_offset.weight.is_contiguous() is compiled
    assert model(torch.randn(2, 3, 9, 9)).is_contiguous() is compiled


def test_mask_rcnn_keeps_losses_and_gradients():
    pytest.importorskip('mmdet')
    from mmdet.testing import demo_mm_inputs
    cfg = Config.fromfile(DETECTOR).model
    cfg.backbone.init_cfg = None
    init_default_scope('mmdet')
    model = MODELS.build(cfg).eval()
    packed = demo_mm_inputs(batch_size=2, image_shapes=[(3, 128, 128)] * 2, num_items=[3, 2], num_classes=12,
                            with_mask=True, with_semantic=False)

    def losses_and_gradient():
        torch.manual_seed(0)  # the samplers draw
        data = model.data_preprocessor({k: list(v) for k, v in packed.items()}, True)
        losses, _ = model.parse_losses(model(**data, mode='loss'))
        model.zero_grad()
        losses.backward()
        return losses.detach(), torch.cat([p.grad.flatten() for p in model.parameters() if p.grad is not None])

    loss, gradient = losses_and_gradient()
    apply_hook(model)
    new_loss, new_gradient = losses_and_gradient()
    # Rounding may choose another of two regions with nearly the same score; misread features change most of the
    # gradient.
    torch.testing.assert_close(new_loss, loss, rtol=1e-3, atol=0)
    assert (new_gradient - gradient).norm() < 0.02 * gradient.norm()


@pytest.mark.parametrize('fused', [False, True])
def test_momentum_follows_the_weights_on_a_change_of_the_layout(fused):
    """A fused optimizer goes through the memory of both side by side: entries of a k x k convolution would mix."""
    if fused and 'fused' not in inspect.signature(torch.optim.SGD).parameters:
        pytest.skip('this torch has no fused SGD')
    settings = dict(lr=0.1, momentum=0.9, **dict(fused=True) if fused else {})

    def train(switch):
        torch.manual_seed(0)
        model = nn.Sequential(nn.Conv2d(3, 4, 3), nn.Flatten(), nn.Linear(16, 2)).double()
        optimizer = torch.optim.SGD(model.parameters(), **settings)
        for step in range(4):
            if step == 2 and switch:
                apply_hook(model, optimizer)
            optimizer.zero_grad()
            model(torch.randn(8, 3, 4, 4, dtype=torch.float64)).square().mean().backward()
            optimizer.step()
        return model[0].weight.detach().contiguous(), is_channels_last(model[0].weight)

    (plain, _), (switched, is_switched) = train(False), train(True)
    assert is_switched
    torch.testing.assert_close(switched, plain)
