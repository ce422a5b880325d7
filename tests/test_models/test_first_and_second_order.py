import pytest
import torch
from mmengine.registry import MODELS
from mmpretrain.structures import DataSample
from torch.nn.functional import cross_entropy

from mmgcp.models import GlobalCovariancePooling
from mmgcp.ops import covariance_pool, cross_covariance_pool
from mmgcp.utils.errors import SetupError


def neck(**kwargs):
    settings = dict(type='mmgcp.FirstAndSecondOrderPooling', in_channels=6, reduced_channels=8, norm_cfg=None,
                    act_cfg=None)
    return MODELS.build(settings | kwargs).double()


def head(fusion='sum', **kwargs):
    built = MODELS.build(dict(type='mmgcp.FusionClsHead', num_classes=3, in_channels=36, first_channels=6,
                              fusion=fusion, **kwargs)).double()
    built.init_weights()
    return built


@pytest.mark.parametrize('extra', [1, 2])
def test_class_token_and_second_order_of_the_words(extra):
    tokens = torch.randn(2, 12, 6, dtype=torch.float64)
    for settings, pool in ((dict(heads=2), lambda x: cross_covariance_pool(x, 2).flatten(1)),
                           ({}, lambda x: covariance_pool(x, vector=True))):
        layer = neck(num_extra_tokens=extra, **settings)
        weight, bias = layer.reduction.conv.weight[:, :, 0, 0], layer.reduction.conv.bias
        first, second = layer((tokens, ))
        assert torch.equal(first, tokens[:, 0])
        torch.testing.assert_close(second, pool(tokens[:, extra:] @ weight.T + bias))
        assert second.shape[1] == layer.out_channels


def test_padded_words_count_neither_in_the_mean_nor_in_the_covariance():
    x, mask = torch.randn(2, 6, 3, 4, dtype=torch.float64), torch.ones(2, 3, 4, dtype=torch.bool)
    mask[1, :, 2:] = False
    layer = neck(first='mean', heads=1)
    padded, cropped = layer(x, mask), layer(x[1:, :, :, :2])
    for one, other in zip(padded, cropped, strict=True):
        torch.testing.assert_close(one[1:], other)
    torch.testing.assert_close(layer(x)[0], x.mean((2, 3)))
    torch.testing.assert_close(layer(x.flatten(2).mT)[0], x.mean((2, 3)))


@pytest.mark.parametrize('settings, shape', [
    (dict(), (2, 2, 6)), (dict(num_extra_tokens=2), (2, 3, 6)), (dict(first='mean'), (2, 6, 1, 1))])
def test_one_word_has_no_covariance(settings, shape):
    with pytest.raises(SetupError, match='one pixel alone'):
        neck(**settings)(torch.rand(shape, dtype=torch.float64))


def test_fusions():
    feats = torch.randn(4, 6, dtype=torch.float64), torch.randn(4, 36, dtype=torch.float64)
    samples = [DataSample().set_gt_label(label) for label in (0, 1, 2, 1)]
    target = torch.tensor([0, 1, 2, 1])
    layer = head('sum')
    scores = layer.fc_first(feats[0]), layer.fc(feats[1])
    torch.testing.assert_close(layer(feats), sum(scores))
    torch.testing.assert_close(layer.loss(feats, samples)['loss'], cross_entropy(sum(scores), target))
    both = head('loss')
    both.load_state_dict(layer.state_dict())
    torch.testing.assert_close(both(feats), sum(scores) / 2)
    losses = both.loss(feats, samples)
    torch.testing.assert_close(sum(losses.values()), sum(cross_entropy(s, target) for s in scores))
    one = head('concat')
    one.fc.weight.data = torch.cat([layer.fc_first.weight, layer.fc.weight], 1).data
    one.fc.bias.data = (layer.fc_first.bias + layer.fc.bias).data
    torch.testing.assert_close(one(feats), sum(scores))
    assert [s.pred_label.item() for s in one.predict(feats, samples)] == sum(scores).argmax(1).tolist()


def test_heads_are_a_line_of_the_neck_for_maps():
    layer = GlobalCovariancePooling(512, 256, heads=8)
    assert layer(torch.rand(2, 512, 7, 7)).shape == (2, 2048) and layer.out_channels == 2048


@pytest.mark.parametrize('build, sentence', [
    (lambda: neck(first='last'), "first='last' must be one of class_token, mean"),
    (lambda: neck(num_extra_tokens=0), 'num_extra_tokens=0'),
    (lambda: neck(heads=3), '8 channels cannot be divided into heads=3'),
    (lambda: neck(heads=2, method='eigh'), "heads=2 takes the cross-covariance in place of method='eigh'"),
    (lambda: neck()(torch.rand(2, 6, 3, 3)), "set out_type='raw' of the backbone, or first='mean'"),
    (lambda: neck()((torch.rand(2, 5, 6), ) * 2), 'takes one feature map, the backbone gives 2'),
    (lambda: head('product'), "fusion='product' must be one of sum, concat, loss"),
    (lambda: head()((torch.rand(2, 36), )), 'use the neck mmgcp.FirstAndSecondOrderPooling'),
])
def test_refuses(build, sentence):
    with pytest.raises(ValueError, match=sentence):
        build()
