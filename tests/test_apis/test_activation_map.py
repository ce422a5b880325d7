"""Maps are compared in float64 with scores, with the textbook formulas and with images of one changed pixel."""
import pytest
import torch
from mmengine.registry import MODELS, init_default_scope
from torch import nn

from mmgcp.apis.activation_map import activation_map
from mmgcp.ops import METHODS
from mmgcp.utils.errors import SetupError

CHANNELS, CLASSES = 6, 5


class Backbone(nn.Conv2d):
    def __init__(self, kernel_size, tokens=False):
        super().__init__(3, CHANNELS, kernel_size, padding=kernel_size // 2)
        self.tokens = tokens

    def forward(self, x):
        x = super().forward(x)
        return (x.flatten(2).mT if self.tokens else x, )


def classifier(neck, head='LinearClsHead', **head_settings):
    init_default_scope('mmpretrain')
    torch.manual_seed(0)
    neck = MODELS.build(neck)
    width = neck((torch.rand(2, CHANNELS, 4, 4), ))[-1].shape[1]
    head = MODELS.build(dict(type=head, num_classes=CLASSES, in_channels=width, **head_settings))
    model = MODELS.build(dict(type='ImageClassifier', backbone=Backbone(3), neck=neck, head=head))
    for parameter in model.parameters():  # not the small ones that they start with
        nn.init.uniform_(parameter, -1, 1)
    return model.double().eval()


def gcp(method='newton_schulz', **options):
    return dict(type='mmgcp.GlobalCovariancePooling', in_channels=CHANNELS, reduced_channels=4, act_cfg=None,
                method=method, **options)


def image():
    return torch.rand(1, 3, 7, 5, dtype=torch.float64, generator=torch.Generator().manual_seed(1))


def parts(model, inputs):
    """Scores without bias, and the features that are pooled."""
    with torch.no_grad():
        return (model(inputs, mode='tensor') - model.head.fc.bias)[0], model.neck.reduction(model.backbone(inputs)[0])


SUMS = [gcp(), gcp(num_iters=1), gcp(shrinkage=0.1), gcp('eigh'), gcp('power', alpha=0.3), gcp('covariance'),
        gcp('covariance', center=False), gcp('dropcov'), gcp(heads=2), gcp(heads=2, normalize=False)]


@pytest.mark.parametrize('neck', SUMS, ids=str)
def test_shares_add_up_to_the_score_without_bias(neck):
    model, inputs = classifier(neck), image()
    scores, _ = parts(model, inputs)
    shares = torch.stack([activation_map(model, inputs, label) for label in range(CLASSES)])
    assert shares.shape == (CLASSES, 7, 5)
    torch.testing.assert_close(shares.sum((1, 2)), scores)


def test_every_method_has_the_theorem_or_is_refused():
    for method in METHODS:
        model = classifier(gcp(method))
        try:
            shares = activation_map(model, image(), 2)
        except SetupError as error:
            assert f"method='{method}' does not divide exactly" in str(error)
            assert method in ('log', 'gaussian', 'pade', 'signed_power', 'compact_bilinear')
        else:
            torch.testing.assert_close(shares.sum(), parts(model, image())[0][2])


def test_a_share_is_the_pixels_quadratic_form_by_the_gradient_of_the_covariance():
    model, inputs = classifier(gcp('eigh')), image()
    _, features = parts(model, inputs)
    pixels = features[0].flatten(1)
    pixels = pixels - pixels.mean(1, keepdim=True)
    covariance = (pixels @ pixels.mT / pixels.shape[1]).requires_grad_()
    values, vectors = torch.linalg.eigh(covariance)
    rows, columns = torch.triu_indices(4, 4)
    root = (vectors * values.sqrt()) @ vectors.mT
    score = model.head.fc.weight.detach()[3] @ root[rows, columns]
    gradient, = torch.autograd.grad(score, covariance)
    expected = 2 * torch.einsum('cn,cd,dn->n', pixels, gradient, pixels) / pixels.shape[1]
    torch.testing.assert_close(activation_map(model, inputs, 3).flatten(), expected)


def test_average_pooling_has_the_classical_map():
    model, inputs = classifier(dict(type='GlobalAveragePooling')), image()
    features = model.backbone(inputs)[0][0].detach()
    expected = torch.einsum('c,chw->hw', model.head.fc.weight[1].detach(), features) / features[0].numel()
    torch.testing.assert_close(activation_map(model, inputs, 1), expected)


def test_the_one_pixel_that_differs_has_almost_all_of_the_score():
    model = classifier(gcp('covariance'))
    model.backbone = Backbone(1).double()
    inputs = torch.zeros(1, 3, 8, 8, dtype=torch.float64)
    inputs[0, :, 2, 5] = 1
    shares = activation_map(model, inputs, 0)
    # x_n - m is (1 - 1/N) d at this pixel and -d / N elsewhere: shares of (N - 1) / N and 1 / (N (N - 1)) of it.
    share = shares[2, 5] / shares.sum()
    torch.testing.assert_close(share, torch.tensor(63 / 64, dtype=torch.float64))


def test_tokens_become_a_grid_again():
    model, inputs = classifier(gcp()), image()[..., :5, :5]
    expected = activation_map(model, inputs, 0)
    model.backbone.tokens = True
    torch.testing.assert_close(activation_map(model, inputs, 0), expected)
    with pytest.raises(SetupError, match='the 35 pooled tokens are no square'):
        activation_map(model, image(), 0)


def test_beside_a_first_order_part_the_map_is_that_of_the_covariance():
    neck = dict(gcp(heads=2), type='mmgcp.FirstAndSecondOrderPooling', first='mean')
    model, inputs = classifier(neck, 'mmgcp.FusionClsHead', first_channels=CHANNELS), image()
    second = model.neck(model.backbone(inputs))[1][0]
    torch.testing.assert_close(activation_map(model, inputs, 4).sum(), (model.head.fc.weight[4] @ second).detach())


@pytest.mark.parametrize('neck, head, sentence', [
    (gcp(pre_norm='none'), 'LinearClsHead', "method='newton_schulz' without pre_norm does not divide"),
    (dict(type='mmgcp.AttentivePooling', in_channels=CHANNELS, heads=2), 'LinearClsHead', 'model has AttentivePooling'),
    (gcp(), 'StackedLinearClsHead', 'a map needs a linear classifier, and StackedLinearClsHead is none'),
])
def test_other_networks_are_refused(neck, head, sentence):
    settings = dict(mid_channels=[4]) if 'Stacked' in head else {}
    with pytest.raises(SetupError, match=sentence):
        activation_map(classifier(neck, head, **settings), image(), 0)
