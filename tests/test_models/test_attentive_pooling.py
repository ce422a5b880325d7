import pytest
import torch
from torch import nn

from mmgcp.models import AttentivePooling
from mmgcp.utils.errors import SetupError


def test_straight_line():
    """Keys, values and attention of each head and token, of which PyTorch's module makes one query's answer."""
    neck = AttentivePooling(12, heads=3).double()
    for parameter in neck.parameters():
        nn.init.normal_(parameter)
    tokens = torch.randn(2, 7, 12, dtype=torch.float64)
    expected = torch.zeros(2, 12, dtype=torch.float64)
    for image in range(2):
        x = [(t - t.mean()) / torch.sqrt(((t - t.mean())**2).mean() + neck.norm.eps) * neck.norm.weight + neck.norm.bias
             for t in tokens[image]]
        for head in range(3):
            part = slice(4 * head, 4 * head + 4)
            scores = [torch.exp((neck.query[head] * t).sum() / 12**0.5) for t in x]
            for score, t in zip(scores, x, strict=True):
                expected[image, part] += score / sum(scores) * (neck.value.weight[part] @ t + neck.value.bias[part])
    torch.testing.assert_close(neck(tokens), expected, rtol=1e-9, atol=1e-12)


def test_folded_keys_lose_nothing():
    """PyTorch's attention with a matrix of keys gives the same for queries that contain it."""
    attention = nn.MultiheadAttention(12, 3, batch_first=True).double()
    neck, tokens = AttentivePooling(12, heads=3).double(), torch.randn(2, 7, 12, dtype=torch.float64)
    query, (_, key, value) = torch.randn(12, dtype=torch.float64), attention.in_proj_weight.chunk(3)
    nn.init.eye_(attention.out_proj.weight)
    nn.init.normal_(attention.in_proj_bias)
    projected = attention.in_proj_weight[:12] @ query + attention.in_proj_bias[:12]
    # Scores are q . k / sqrt(4) there and q . x / sqrt(12) here; the bias of the keys adds the same to all tokens.
    neck.query.data = 3**0.5 * torch.stack([key[4 * h:4 * h + 4].T @ projected[4 * h:4 * h + 4] for h in range(3)])
    neck.value.weight.data, neck.value.bias.data = value, attention.in_proj_bias[24:]
    normed = neck.norm(tokens)
    expected, _ = attention(query.expand(2, 1, 12), normed, normed)
    torch.testing.assert_close(neck(tokens), expected[:, 0], rtol=1e-9, atol=1e-12)


def test_map_and_tokens_agree():
    neck, x = AttentivePooling(12, channels=10, heads=5), torch.rand(2, 12, 3, 5)
    assert neck((x, ))[0].shape == (2, neck.out_channels) == (2, 10)
    torch.testing.assert_close(neck(x), neck(x.flatten(2).mT))


def test_bad_heads():
    with pytest.raises(SetupError, match='heads=8 must be at least 1 and divide channels=12'):
        AttentivePooling(12)
