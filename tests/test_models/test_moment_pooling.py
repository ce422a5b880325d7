import pytest
import torch
from torch import nn

from mmgcp.models import MomentPooling
from mmgcp.utils.errors import SetupError


def straight_line(neck, tokens, extra):
    """The published operation for one image in float64, number by number where it is not a layer of PyTorch."""
    words, (out, size) = tokens[extra:], (neck.projection.out_features, neck.norm.normalized_shape[0])
    if extra:
        first = tokens[0]
    else:
        mean = sum(words) / len(words)
        first = (mean - mean.mean()) / torch.sqrt(((mean - mean.mean())**2).mean() + 1e-6)
        first = first * neck.first_norm.weight + neck.first_norm.bias
    heads = []
    for start in range(0, out, size):
        rows = []
        for word in words:
            z = neck.projection.weight[start:start + size] @ word + neck.projection.bias[start:start + size]
            z = (z - z.mean()) / torch.sqrt(((z - z.mean())**2).mean() + neck.norm.eps)
            rows.append(z * neck.norm.weight + neck.norm.bias)
        heads.append(torch.stack(rows))
    images = []
    for left, right in zip(heads, heads[1:], strict=False):
        cross = torch.zeros(size, size, dtype=torch.float64)
        for a, b in zip(left - left.mean(0), right - right.mean(0), strict=True):
            cross += torch.outer(a, b) / len(words)
        images.append(cross / torch.sqrt((cross**2).sum(0)))
    image = torch.stack(images)
    for layer in (neck.shrink[0], neck.shrink[2]):
        if layer is neck.shrink[2]:
            image = image * (1 + torch.erf(image / 2**0.5)) / 2
        side = (image.shape[1] - 3) // 2 + 1
        image = torch.stack([torch.stack([torch.stack([
            (layer.weight[o] * image[:, 2 * i:2 * i + 3, 2 * j:2 * j + 3]).sum() for j in range(side)])
            for i in range(side)]) for o in range(len(images))])
    return torch.cat([first, image.flatten()]) / 2


@pytest.mark.parametrize('extra', [0, 1, 2])
def test_straight_line(extra):
    neck = MomentPooling(12, channels=33, heads=3, extra_tokens=extra).double()
    for parameter in neck.parameters():  # scales and shifts of the norms, too
        nn.init.normal_(parameter)
    tokens = torch.randn(2, 9 + extra, 12, dtype=torch.float64)
    expected = torch.stack([straight_line(neck, image, extra) for image in tokens])
    assert expected.shape == (2, neck.out_channels) == (2, 12 + 2 * 2**2)
    torch.testing.assert_close(neck(tokens), expected, rtol=1e-9, atol=1e-12)


def test_published_size():
    neck = MomentPooling(24)
    assert neck.out_channels == 24 + 2883
    assert neck((torch.rand(2, 24, 3, 5), ))[0].shape == (2, 24 + 2883)


def test_one_classifier_is_the_mean_of_two():
    neck = MomentPooling(12, channels=33, heads=3)
    z, one, two = neck(torch.rand(4, 12, 3, 3)), nn.Linear(12, 5), nn.Linear(8, 5)
    both = nn.Linear(20, 5)
    both.weight.data = torch.cat([one.weight, two.weight], 1)
    both.bias.data = (one.bias + two.bias) / 2
    torch.testing.assert_close(both(z), (one(2 * z[:, :12]) + two(2 * z[:, 12:])) / 2)


def test_map_and_tokens_agree():
    neck, x = MomentPooling(12, channels=33, heads=3), torch.rand(2, 12, 3, 5)
    torch.testing.assert_close(neck(x), neck(x.flatten(2).mT))


def test_equal_tokens_have_no_second_moment():
    x = torch.rand(2, 64, 1, 1).expand(-1, -1, 14, 14).clone().requires_grad_()
    second = MomentPooling(64, channels=64)(x)[:, 64:]
    gradient, = torch.autograd.grad(second, x, torch.randn_like(second))
    assert not second.any() and not gradient.any()


@pytest.mark.parametrize(('settings', 'sentence'), [
    (dict(channels=512, heads=3), 'heads=3 must be at least 2 and divide channels=512'),
    (dict(channels=512, heads=1), 'heads=1 must be at least 2'),
    (dict(channels=24, heads=4), 'leave 6 channels per head'),
])
def test_bad_heads(settings, sentence):
    with pytest.raises(SetupError, match=sentence):
        MomentPooling(12, **settings)


def test_bad_features():
    neck = MomentPooling(12, channels=33, heads=3)
    with pytest.raises(SetupError, match='at least two pixels or tokens'):
        neck(torch.rand(2, 12, 1, 1))
    with pytest.raises(SetupError, match='MomentPooling pools the features of one stage, the backbone gives 2'):
        neck((torch.rand(2, 12, 2, 2), ) * 2)
