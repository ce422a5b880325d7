r"""Class-activation maps for global covariance pooling: what each pixel of the last feature map adds to a score.

Let ``x_n`` be the N pooled pixels, ``m`` their mean, and ``S = sum_n (x_n - m)(x_n - m)^T / N``. A linear classifier
gives a class the score ``s = <w, f(S)> + b``. With ``G`` the gradient of the score with respect to ``S``, the terms
``(x_n - m)^T G (x_n - m) / N`` add up to ``<G, S>``. A power ``f(S) = S^alpha`` is homogeneous of degree alpha, so
that by Euler's theorem ``<G, S> = alpha (s - b)``: divided by alpha, the terms add up to the score without its bias,
exactly. They are the shares of the pixels. The same holds for iSQRT-COV's Newton-Schulz steps, which are taken between
a division by the trace and a multiplication by its root (alpha = 1/2), for the plain covariance (alpha = 1) and for
the cross-covariance of heads.

Half the product of the gradient with respect to ``x_n``, ``2 G (x_n - m) / N``, and ``x_n - m`` is the pixel's term, so
one backward pass gives all of them. For average pooling, the product of gradient and feature is ``w^T x_n / N``,
the class-activation map of Zhou et al. (CVPR 2016).
"""
import math

import torch
from mmpretrain.models import ImageClassifier
from mmpretrain.models.heads import LinearClsHead
from torch import Tensor, nn

from mmgcp.ops import CovariancePooling, CrossCovariancePooling
from mmgcp.utils.errors import SetupError

# Degree alpha of homogeneity in the covariance, by method; 'pade' has the gradient of the root that it approximates.
DEGREES = {'covariance': 1, 'dropcov': 1, 'newton_schulz': 0.5, 'polar_express': 0.5, 'eigh': 0.5}


def activation_map(model: ImageClassifier, inputs: Tensor, label: int) -> Tensor:
    """Divide the score of a class among the pixels of the feature map that the network pools.

    Args:
        model (ImageClassifier): Classifier in evaluation mode, with covariance or average pooling before a linear head.
        inputs (Tensor): One preprocessed image (1, 3, H, W).
        label (int): Number of the class.

    Returns:
        Tensor: Shares (h, w), which add up to the score before the softmax without its bias. If a class token is
        classified beside the covariance, they add up to the covariance's part of the score.

    Raises:
        SetupError: If the score does not divide exactly: other poolings and heads, methods that are no power of the
            covariance, ``'pade'``, and tokens that are no square.

    Examples:
        >>> import mmgcp.models
        >>> from mmpretrain.registry import MODELS
        >>> model = MODELS.build(dict(
        ...     type='ImageClassifier', backbone=dict(type='mmgcp.GCPResNet', depth=18, conv5_downsample='max_pool'),
        ...     neck=dict(type='mmgcp.GlobalCovariancePooling', in_channels=512, reduced_channels=16),
        ...     head=dict(type='LinearClsHead', in_channels=136, num_classes=10))).eval()
        >>> image = torch.randn(1, 3, 96, 96)
        >>> shares = activation_map(model, image, label=3)
        >>> score = model(image)[0, 3] - model.head.fc.bias[3]
        >>> shares.shape, torch.allclose(shares.sum(), score, rtol=1e-3, atol=1e-5)
        (torch.Size([3, 3]), True)
    """
    layer, degree, centered = _pooling(model)
    seen, pooled = [], []

    def see(_, args):
        seen.append(args[0][-1] if isinstance(args[0], tuple) else args[0])

    def detach(_, args):
        pooled.append(args[0].detach().requires_grad_())
        return pooled[-1], *args[1:]

    with torch.enable_grad(), model.neck.register_forward_pre_hook(see), layer.register_forward_pre_hook(detach):
        score = model(inputs, mode='tensor')[0, label]
        gradient, = torch.autograd.grad(score, pooled[-1])
    features = pooled[-1].detach()
    if centered:
        features = features - features.mean((2, 3), keepdim=True)
    shares = (gradient * features).sum(1)[0] / (2 * degree)
    if seen[-1].dim() == 4:
        return shares
    side = math.isqrt(shares.numel())
    if side**2 != shares.numel():
        raise SetupError(f'the {shares.numel()} pooled tokens are no square of patches, for which a map is made')
    return shares.reshape(side, side)


def _pooling(model: ImageClassifier) -> tuple[nn.Module, float, bool]:
    """Find the layer that pools, the degree of the score in its input products, and whether it is centred."""
    if not isinstance(model.head, LinearClsHead):
        raise SetupError(f'a map needs a linear classifier, and {type(model.head).__name__} is none')
    layers = [layer for layer in (model.neck.modules() if model.with_neck else ())
              if isinstance(layer, (CovariancePooling, CrossCovariancePooling, nn.AdaptiveAvgPool2d))]
    if len(layers) != 1:
        raise SetupError('a map needs a neck that pools by covariance or average, and the model has '
                         f"{type(model.neck).__name__ if model.with_neck else 'no neck'}")
    layer, = layers
    if isinstance(layer, nn.AdaptiveAvgPool2d):
        return layer, 0.5, False
    if isinstance(layer, CrossCovariancePooling):
        return layer, 0.5 if layer.normalize else 1, True
    options = layer.options
    degree = options.get('alpha', 0.5) if layer.method == 'power' else DEGREES.get(layer.method)
    if degree is None or options.get('pre_norm') == 'none':
        raise SetupError(f"the score behind method='{layer.method}'{' without pre_norm' if degree else ''} does not "
                         'divide exactly into shares of pixels')
    return layer, degree, options.get('center', True)
