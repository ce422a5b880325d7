r"""Measure Table 1 of Wang et al., CVPR 2020: gradients of GAP, GCP and GAP with K-FAC for the same weights.

The weights are those of the last convolution before the pooling. Its output passes normalisation and activation to
become the features ``X``, the input of the pooling. Each row of the table is a ``dL/dX``
(:mod:`mmgcp.ops.closed_form_gradients`), propagated back to the weights by autograd and averaged over the images.

A network with covariance pooling gives six rows. The first four share ``G``, the gradient of its own loss with respect
to its pooled matrix, and differ only in the step from there to ``X``:

- the gradient it is trained with, through the Newton-Schulz steps;
- Eq. 6, the gradient of the exact square root;
- Eq. 7, the trimmed gradient;
- the gradient of a covariance without a root, which lacks the preconditioner of Eq. 6;
- GAP: the gradient of a head for average pooling, fitted on the same ``X`` by :func:`fit_average_head`;
- GAP with K-FAC: the row before, times the inverse Kronecker-factored Fisher matrix of this layer.

A network with average pooling gives the last two, with its own head.

The Fisher matrix is the empirical one, of the gradients of the GAP loss with true labels, as in
``mmgcp.KFACOptimWrapper`` and in Table 1, whose ``H^-1`` contains ``dL/dX`` itself. Batch normalisation uses the
statistics of the batch, as in training, so that the gradient at one image depends a little on the other images.
"""
import math
from collections.abc import Sequence
from typing import NamedTuple

import torch
import torch.nn.functional as F
from mmpretrain.models.necks import GlobalAveragePooling
from torch import Tensor, nn
from torch.nn.modules.module import register_module_forward_hook

from mmgcp.analysis.table_1 import COVARIANCE, EXACT, GAP, KFAC, TRAINED, TRIMMED
from mmgcp.ops import CovariancePooling
from mmgcp.ops.closed_form_gradients import (
    average_gradient,
    covariance_gradient,
    root_gradient,
    symmetric_gradient,
    trimmed_root_gradient,
)
from mmgcp.utils.errors import SetupError

from .kronecker import gradient_matrix, input_factor, inverses, is_supported, output_factor, precondition
from .probe import preprocess, training_loss, undisturbed

ROOTS = ('newton_schulz', 'eigh')
SPECTRUM = 64  # number of singular values to keep


class WeightGradients(NamedTuple):
    """Rows of Table 1 as gradients with respect to the same weights."""
    layer: str  # name of the convolution
    loss: float  # the network's own loss, mean over the images
    # By name of the row, (out, in * kernel height * kernel width), and the bias, if any, as last column; float64.
    rows: dict[str, Tensor]


class Row(NamedTuple):
    """Statistics of a gradient."""
    norm: float  # Frobenius
    effective_rank: float  # exp of the entropy of the singular values over their sum (Roy & Vetterli, 2007)
    singular_values: list[float]  # up to 64 largest, relative to the largest
    cosines: dict[str, float]  # cosine similarity to each row by name, including itself


class _Flow(NamedTuple):
    """Forward pass: input and output of the convolution, ``X`` (B, D, H, W), input of the head, and loss."""
    inputs: Tensor
    outputs: Tensor
    features: Tensor
    pooled: Tensor
    loss: Tensor


def weight_gradients(model: nn.Module, batches: Sequence[dict], damping: float) -> WeightGradients:
    """Compute the rows of Table 1 for a network, without changing it.

    Args:
        model (nn.Module): Classifier of MMPretrain in training mode, not inside a wrapper such as DDP.
        batches (Sequence[dict]): Batches from the data loader; more images give a better Fisher matrix.
        damping (float): Added to the eigenvalues of the Fisher block, in the unit of the squared gradient.

    Raises:
        SetupError: If the network has no or several poolings, K-FAC does not support the convolution before it or that
            is not trained, the covariance pooling is not the centred square root, or a gradient is zero or not finite.
        ValueError: If there are no batches, or ``damping`` is not positive or too small for float64.
    """
    if not batches:
        raise ValueError('gradients need at least one batch')
    if not 0 < damping < math.inf:
        raise ValueError(f'damping={damping} must be a positive number')
    with undisturbed(model) as rewind:
        data = [preprocess(model, batch) for batch in batches]
        images = sum(len(batch['inputs']) for batch in data)
        name, conv, pooling = _find_layers(model, data[0])
        head = None
        if isinstance(pooling, CovariancePooling):
            rewind()
            head = _fit_head(model, conv, pooling, data)

        rewind()
        loss, rows, factors = 0., {}, [0., 0.]
        for batch in data:
            flow = _forward(model, conv, pooling, batch)
            share = len(flow.features) / images
            loss += share * flow.loss.item()
            gradients = _feature_gradients(flow, head, batch)
            for row, gradient in gradients.items():
                rows[row] = rows.get(row, 0) + share * _by_weights(conv, flow, gradient)
            by_outputs, = torch.autograd.grad(flow.features, flow.outputs, gradients[GAP])
            factors[0] += share * input_factor(conv, flow.inputs).double()
            factors[1] += share * output_factor(conv, by_outputs).double()
        _check_rows(rows)
        rows[KFAC] = precondition(rows[GAP], *inverses(*factors, damping))
    return WeightGradients(name, loss, rows)


def compare_gradients(rows: dict[str, Tensor]) -> dict[str, Row]:
    """Compare norms, directions and spectra of gradients, nonzero matrices of one shape, by name."""
    unit = {name: row / row.norm() for name, row in rows.items()}
    compared = {}
    for name, row in rows.items():
        values = torch.linalg.svdvals(row)
        compared[name] = Row(
            norm=row.norm().item(),
            effective_rank=torch.special.entr(values / values.sum()).sum().exp().item(),
            singular_values=(values / values[0])[:SPECTRUM].tolist(),
            cosines={other: (unit[name] * unit[other]).sum().item() for other in rows})
    return compared


def fit_average_head(features: Tensor, targets: Tensor) -> nn.Linear:
    r"""Fit a linear classifier on averaged features, as a network with average pooling would have.

    It minimises the cross-entropy summed over the images, plus half the squared length of all weights and biases, for
    features that are centred and divided by their root-mean-square length: the posterior mode under a standard normal
    prior. Without a prior, a head with more channels than images fits all images, and the gradient vanishes; with it,
    an image changes its own scores by no more than its residuals, whatever the number of channels.

    ``features`` are averages (n, D), ``targets`` class probabilities (n, K). The float64 head takes averages unscaled.
    """
    features, targets = features.double(), targets.double()
    mean = features.mean(0)
    length = (features - mean).square().sum(1).mean().sqrt()
    if not 0 < length < math.inf:
        raise SetupError('the averaged features are not finite, or the same for all images, so that no head can '
                         'classify them: take more images, or a checkpoint from before the training diverged')
    normed = F.pad((features - mean) / length, (0, 1), value=1.)
    weights = normed.new_zeros(targets.shape[1], normed.shape[1], requires_grad=True)
    solver = torch.optim.LBFGS([weights], max_iter=1000, history_size=20, tolerance_grad=1e-10, tolerance_change=0,
                               line_search_fn='strong_wolfe')

    def closure() -> Tensor:
        solver.zero_grad()
        loss = F.cross_entropy(normed @ weights.T, targets) + weights.square().sum() / (2 * len(normed))
        loss.backward()
        return loss

    with torch.enable_grad():
        solver.step(closure)
    head = nn.Linear(features.shape[1], targets.shape[1], dtype=features.dtype, device=features.device)
    head.requires_grad_(False)
    head.weight.copy_(weights.detach()[:, :-1] / length)
    head.bias.copy_(weights.detach()[:, -1] - head.weight @ mean)
    return head


def _find_layers(model: nn.Module, data: dict) -> tuple[str, nn.Conv2d, nn.Module]:
    """Find the last convolution that runs before the pooling, with its name, and the pooling."""
    poolings = [layer for layer in model.modules() if isinstance(layer, (CovariancePooling, GlobalAveragePooling))]
    if len(poolings) != 1:
        raise SetupError(f'{type(model).__name__} has {len(poolings)} layers that pool by GlobalAveragePooling or '
                         "mmgcp's CovariancePooling, where Table 1 compares the gradients of one: set model.neck to "
                         'one of them')
    pooling = poolings[0]
    if isinstance(pooling, CovariancePooling):
        _check_root(pooling)
    run = []

    def watch(layer: nn.Module, *_) -> None:
        if layer is pooling or isinstance(layer, nn.Conv2d):
            run.append(layer)

    with register_module_forward_hook(watch), torch.no_grad():
        training_loss(model, data)
    if run.count(pooling) != 1 or run[0] is pooling:
        raise SetupError(f'{type(model).__name__} pools {run.count(pooling)} times in a forward pass, or has no '
                         'convolution before: gradients are compared by the weights of the last convolution before '
                         'one pooling, so take a convolutional network that pools once')
    conv = run[run.index(pooling) - 1]
    name = next(name for name, layer in model.named_modules() if layer is conv)
    if run.count(conv) != 1 or not is_supported(conv) or not conv.weight.requires_grad:
        raise SetupError(f'the last convolution before the pooling, {name}, is grouped, shared, frozen, or pads with '
                         'other values than zero, which K-FAC has no factors for: take another network')
    return name, conv, pooling


def _check_root(pooling: CovariancePooling) -> None:
    options = pooling.options
    if (pooling.method not in ROOTS or pooling.scale_off_diagonal or options.get('shrinkage')
            or not options.get('center', True) or options.get('pre_norm', 'trace') != 'trace'):
        raise SetupError('Eq. 6 is the gradient of the square root of the sample covariance, but this network has '
                         f'{pooling}: set model.neck.method to {" or ".join(ROOTS)}, and leave center, '
                         'shrinkage, pre_norm and scale_off_diagonal at their defaults')


def _forward(model: nn.Module, conv: nn.Conv2d, pooling: nn.Module, data: dict) -> _Flow:
    seen = {}

    def watch_conv(_, inputs: tuple, output: Tensor) -> Tensor:
        seen.update(inputs=inputs[0].detach(), outputs=output)
        return output.clone()  # a later activation may overwrite its input

    def watch_pooling(_, inputs: tuple, output: Tensor | tuple[Tensor]) -> None:
        seen.update(features=_last(inputs[0]), pooled=_last(output))

    with conv.register_forward_hook(watch_conv), pooling.register_forward_hook(watch_pooling):
        loss = training_loss(model, data)
    if seen['features'].dim() != 4:
        raise SetupError(f"the pooling receives features of shape {tuple(seen['features'].shape)}, no feature maps "
                         '(B, C, H, W): take a convolutional network')
    return _Flow(**seen, loss=loss)


def _last(value):
    return value[-1] if isinstance(value, (tuple, list)) else value


def _fit_head(model: nn.Module, conv: nn.Conv2d, pooling: nn.Module, data: Sequence[dict]) -> nn.Linear:
    with torch.no_grad():
        features = [_forward(model, conv, pooling, batch).features.double().mean((2, 3)) for batch in data]
    targets = [_targets(batch['data_samples'], model.head.num_classes) for batch in data]
    return fit_average_head(torch.cat(features), torch.cat(targets).to(features[0]))


def _targets(samples: Sequence, classes: int) -> Tensor:
    """Return the class probabilities: soft after batch augmentation, else one-hot."""
    if 'gt_score' in samples[0]:
        return torch.stack([sample.gt_score for sample in samples])
    return F.one_hot(torch.cat([sample.gt_label for sample in samples]), classes)


def _feature_gradients(flow: _Flow, head: nn.Linear | None, data: dict) -> dict[str, Tensor]:
    """dL/dX of all rows but K-FAC's, (B, D, H, W); ``head`` is given for networks with covariance pooling."""
    if head is None:
        return {GAP: torch.autograd.grad(flow.loss, flow.features, retain_graph=True)[0]}
    trained, by_pooled = torch.autograd.grad(flow.loss, (flow.features, flow.pooled), retain_graph=True)
    # float64 separates small eigenvalues from rounding errors.
    x = flow.features.detach().flatten(2).mT.double()
    by_root = symmetric_gradient(by_pooled.double())
    averaged = x.mean(1).requires_grad_()
    targets = _targets(data['data_samples'], head.out_features).to(averaged)
    by_average, = torch.autograd.grad(F.cross_entropy(head(averaged), targets), averaged)
    computed = {
        EXACT: root_gradient(x, by_root),
        TRIMMED: trimmed_root_gradient(x, by_root),
        COVARIANCE: covariance_gradient(x, by_root),
        GAP: average_gradient(by_average, x.shape[1]),
    }
    return {TRAINED: trained} | {name: gradient.mT.reshape(trained.shape).to(trained)
                                 for name, gradient in computed.items()}


def _by_weights(conv: nn.Conv2d, flow: _Flow, gradient: Tensor) -> Tensor:
    """dL/dW from dL/dX, as a matrix."""
    gradients = torch.autograd.grad(flow.features, list(conv.parameters()), gradient, retain_graph=True)
    return gradient_matrix(conv, *gradients).double()


def _check_rows(rows: dict[str, Tensor]) -> None:
    for name, row in rows.items():
        if not 0 < row.norm() < math.inf:
            raise SetupError(f"the gradient of the row '{name}' is {'zero' if row.norm() == 0 else 'not finite'}, so "
                             'that it has no direction to compare: take a checkpoint that has trained a little '
                             '(zero_init_residual starts with zeros) and from before the training diverged')
