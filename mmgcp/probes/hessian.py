r"""Curvature of the training loss: the largest eigenvalues and the trace of its Hessian.

Section 3 of Wang et al. (CVPR 2020) attributes a smoother loss to covariance pooling. The Hessian ``H`` of the loss
with respect to all trained weights measures this directly: the gradient changes by ``H d`` along a short step ``d``,
the largest eigenvalue bounds the learning rate of stable gradient descent (``2 / lambda_1``), and the trace sums the
curvature over all directions.

The loss is the mean training loss over the given batches; normalisation layers use the statistics of each batch, and
dropout and batch augmentations are drawn once and then fixed. ReLU and max-pooling have kinks: the Hessian is that of
the smooth piece around the weights. It depends on the scale of the weights, which batch normalisation leaves free, so
compare networks at the same stage of equal trainings.

The Hessian is never formed: :class:`Hessian` multiplies it by vectors. curvlinops has such operators too, but needs a
network that maps tensors to outputs and a loss of torch; MMPretrain's networks compute their losses themselves.
"""
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from typing import NamedTuple

import numpy as np
import torch
from mmengine.runner import set_random_seed
from scipy.sparse.linalg import ArpackError, ArpackNoConvergence, LinearOperator, eigsh
from torch import Tensor, nn

from mmgcp.utils.errors import SetupError

from .probe import prepared, refused, training_loss


class NonFiniteCurvatureError(SetupError):
    """The loss, or a product with its Hessian, is NaN or infinite."""


class Eigenvalues(NamedTuple):
    """Converged eigenvalues, largest first, and ``||H v - lambda v|| / |lambda|`` of each for ``v`` of length 1."""
    values: list[float]
    residuals: list[float]


class Curvature(NamedTuple):
    """Curvature of one network; incomplete if a value was not finite."""
    loss: float  # mean over the batches
    eigenvalues: list[float]  # largest ones that converged, in order; if not all did, larger ones may be missing
    residuals: list[float]  # of these eigenvalues, see Eigenvalues
    smallest: list[float]  # the most negative eigenvalue, if requested and converged
    trace: float  # estimate; NaN if the measurement failed
    trace_error: float  # its standard error
    products: int  # number of Hessian-vector products
    seconds: float  # time taken by the products
    fault: str  # non-finite value that ended the measurement; empty if there was none


class Hessian(LinearOperator):
    """Hessian of the training loss as a scipy operator: ``hessian @ vector``, (n,) for n trained weights.

    Weights are in the order of ``model.named_parameters()``. Created by :func:`loss_hessian`. ``loss`` is the mean over
    the batches, NaN before the first of the ``products``, which took ``seconds``.
    """

    def __init__(self, model: nn.Module, data: Sequence[dict], rewind: Callable[[], None],
                 progress: Callable[[int], None] | None) -> None:
        self.model, self.data, self.rewind, self.progress = model, data, rewind, progress
        self.weights = trained_weights(model)
        self.sizes = [weight.numel() for weight in self.weights.values()]
        self.loss, self.products, self.seconds = float('nan'), 0, 0.
        first = next(iter(self.weights.values()))
        super().__init__(torch.empty(0, dtype=first.dtype).numpy().dtype, (sum(self.sizes), ) * 2)

    def _matvec(self, vector: np.ndarray) -> np.ndarray:
        start = time.perf_counter()
        weights = list(self.weights.values())
        flat = torch.from_numpy(np.array(vector, self.dtype).ravel()).to(weights[0].device)
        vectors = [part.view_as(weight) for part, weight in zip(flat.split(self.sizes), weights, strict=True)]
        product, losses, faults = torch.zeros_like(flat), [], []
        self.rewind()
        for number, data in enumerate(self.data, 1):
            loss, parts = hessian_vector_product(self.model, data, weights, vectors)
            faults += self._faults(loss, parts, f'batch {number} of {len(self.data)}')
            product += torch.cat([part.reshape(-1) for part in parts]) / len(self.data)
            losses.append(loss.item())
        result = product.cpu().numpy()
        self.loss = sum(losses) / len(losses)
        self.products += 1
        self.seconds += time.perf_counter() - start
        if faults:
            raise NonFiniteCurvatureError(faults[0])
        if self.progress:
            self.progress(self.products)
        return result

    def _faults(self, loss, parts, where):
        if not loss.isfinite():
            return [f'the loss of {where} is {loss.item()}, so it has no curvature: measure weights that were saved '
                    'before the training diverged']
        bad = [name for name, part in zip(self.weights, parts, strict=True) if not part.isfinite().all()]
        return [f'the Hessian of {where} overflows at {bad[0]} ({len(bad)} of {len(parts)} weights), where the loss is '
                f'{loss.item():.4g}: measure weights at which the loss is less steep'] if bad else []


@contextmanager
def loss_hessian(model: nn.Module, batches: Sequence[dict],
                 progress: Callable[[int], None] | None = None) -> Iterator[Hessian]:
    """Provide the Hessian of a network's training loss, the mean over some batches, and restore the network afterwards.

    The network, of MMPretrain or MMDetection, is in training mode and not inside a wrapper such as DDP. Dropout masks
    and batch augmentations follow the current state of the random generators: seed them first to compare networks.
    ``progress`` is called after each product with the number of products so far.

    Raises:
        SetupError: If no weight is trained. Products raise it if the network cannot be differentiated twice or does
            not fit into the GPU's memory, and :class:`NonFiniteCurvatureError` if they overflow.
        ValueError: If there are no batches.
    """
    if not batches:
        raise ValueError('a Hessian needs at least one batch')
    with prepared(model, batches) as (data, rewind):
        yield Hessian(model, data, rewind, progress)


def trained_weights(model: nn.Module) -> dict[str, nn.Parameter]:
    """Return the trained weights by name, or raise a SetupError if there are none."""
    weights = {name: weight for name, weight in model.named_parameters() if weight.requires_grad}
    if not weights:
        raise SetupError(f'{type(model).__name__} has no weights that are trained, so its loss has no Hessian: '
                         'unfreeze some of its layers')
    return weights


def hessian_vector_product(model: nn.Module, data: dict, weights: Sequence[Tensor],
                           vectors: Sequence[Tensor]) -> tuple[Tensor, tuple[Tensor, ...]]:
    """Multiply the Hessian of one batch's loss by a vector, exactly, by double backward (Pearlmutter, 1994).

    The vector and the product have the shapes of the weights. Returned are the loss, a scalar, and the product.
    """
    try:
        with torch.enable_grad():
            loss = training_loss(model, data)
            with refused(model, 'differentiated twice', 'replace the layer'):
                return loss.detach(), _second_derivative(loss, weights, vectors)
    except torch.cuda.OutOfMemoryError as error:
        raise SetupError('the GPU has too little memory for the second derivatives of a batch of '
                         f"{len(data['inputs'])} images: take smaller batches, and more of them") from error


def _second_derivative(loss, weights, vectors):
    gradients = torch.autograd.grad(loss, weights, create_graph=True, materialize_grads=True)
    # A constant gradient has no graph and contributes nothing to the product.
    curved = [pair for pair in zip(gradients, vectors, strict=True) if pair[0].requires_grad]
    if not curved:
        return tuple(torch.zeros_like(weight) for weight in weights)
    _refuse_once_differentiable(gradients)
    gradients, vectors = zip(*curved, strict=True)
    products = torch.autograd.grad(gradients, weights, vectors, materialize_grads=True)
    return tuple(product.detach() for product in products)


def _refuse_once_differentiable(gradients):
    """Raise if a graph has a node of ``once_differentiable``, at which autograd stops silently."""
    open_nodes, seen = [gradient.grad_fn for gradient in gradients], {None}
    while open_nodes:
        node = open_nodes.pop()
        if node in seen:
            continue
        seen.add(node)
        if node.name() == 'torch::autograd::Error':
            raise RuntimeError('a backward pass is marked once_differentiable')
        open_nodes += [following for following, _ in node.next_functions]


def largest_eigenvalues(hessian: LinearOperator, number: int = 1, tolerance: float = 1e-3, seed: int = 0,
                        max_restarts: int = 100) -> Eigenvalues:
    """Compute the algebraically largest eigenvalues by the restarted Lanczos method of ARPACK.

    For the most negative ones, pass ``hessian * hessian.dtype.type(-1)`` and negate the result. Takes memory for
    ``max(20, 2 number + 1)`` vectors and tens to hundreds of products, more for close eigenvalues. ``tolerance`` is the
    relative accuracy, 0 for that of the dtype. Eigenvalues not converged after ``max_restarts`` are left out.
    """
    size = hessian.shape[0]
    if not 0 < number < size:
        raise ValueError(f'{number} eigenvalues cannot be computed of a {size} x {size} Hessian: ask for 1 to '
                         f'{size - 1}')
    start = np.random.default_rng(seed).standard_normal(size).astype(hessian.dtype)
    try:
        values, vectors = eigsh(hessian, number, which='LA', v0=start, tol=tolerance, maxiter=max_restarts)
    except ArpackNoConvergence as error:
        values, vectors = error.eigenvalues, error.eigenvectors
    except ArpackError as error:
        if 'Starting vector is zero' not in str(error):
            raise
        return Eigenvalues([0.] * number, [0.] * number)  # the Hessian is zero, as that of a linear loss
    order = np.argsort(values)[::-1]
    lengths = [np.linalg.norm(hessian @ vectors[:, i] - values[i] * vectors[:, i]) for i in order]
    with np.errstate(divide='ignore', invalid='ignore'):
        residuals = np.array(lengths, float) / np.abs(values[order])
    return Eigenvalues(values[order].tolist(), residuals.tolist())


def trace(hessian: LinearOperator, samples: int = 10, seed: int = 0) -> tuple[float, float]:
    """Estimate the trace by Hutchinson's method: the mean of ``v^T H v`` over vectors of random signs.

    Returned are estimate and standard error, which decreases with the square root of ``samples``, at least 2.
    """
    if samples < 2:
        raise ValueError(f'samples={samples} must be at least 2, for the error of the trace')
    generator = np.random.default_rng(seed)
    estimates = []
    for _ in range(samples):
        signs = (2 * generator.integers(0, 2, hessian.shape[0], np.int8) - 1).astype(hessian.dtype)
        estimates.append(np.sum(signs * (hessian @ signs), dtype=np.float64))
    return float(np.mean(estimates)), float(np.std(estimates, ddof=1) / np.sqrt(samples))


def measure_curvature(model: nn.Module, batches: Sequence[dict], eigenvalues: int = 1, smallest: bool = False,
                      samples: int = 10, tolerance: float = 1e-3, seed: int = 0,
                      progress: Callable[[int], None] | None = None) -> Curvature:
    """Measure trace and eigenvalues of the Hessian of one network.

    Args:
        model (nn.Module): As in :func:`loss_hessian`.
        batches (Sequence[dict]): As in :func:`loss_hessian`.
        eigenvalues (int): Number of largest eigenvalues.
        smallest (bool): Also compute the most negative one.
        samples (int): Number of vectors for the trace.
        tolerance (float): Relative accuracy of eigenvalues.
        seed (int): Seed of start vectors, samples, dropout and batch augmentations.
        progress (Callable[[int], None], optional): As in :func:`loss_hessian`.

    Raises:
        SetupError: As in :func:`loss_hessian`.
        ValueError: If a setting is out of range.
    """
    fault, estimate = '', (float('nan'), float('nan'))
    largest = lowest = Eigenvalues([], [])
    set_random_seed(seed)
    with loss_hessian(model, batches, progress) as hessian:
        try:
            estimate = trace(hessian, samples, seed)
            largest = largest_eigenvalues(hessian, eigenvalues, tolerance, seed)
            if smallest:
                # A Python -1 would give a float64 operator, with twice the memory for ARPACK.
                lowest = largest_eigenvalues(hessian * hessian.dtype.type(-1), 1, tolerance, seed)
        except NonFiniteCurvatureError as error:
            fault = str(error)
    return Curvature(hessian.loss, largest.values, largest.residuals, [-value for value in lowest.values],
                     *estimate, hessian.products, hessian.seconds, fault)
