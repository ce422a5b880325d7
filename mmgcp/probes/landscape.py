r"""Loss variation, gradient predictiveness and effective beta-smoothness (Eqs. 3 and 4 of Wang et al., CVPR 2020).

At a point ``x`` with loss ``L`` and gradient ``g``, and for step sizes ``eta``, with the sign ``s`` of the direction:

    losses      L(x + s eta g)                                            Eq. 3
    distances   ||g - g(x + s eta g)||                                    Eq. 4
    smoothness  ||g - g(x + s eta g)|| / (eta ||g||)

The largest smoothness is the effective beta-smoothness of Santurkar et al., NeurIPS 2018. A :class:`Place` defines the
point: an activation, the image or the weights.
"""
import difflib
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from typing import NamedTuple

import torch
from mmengine.dist import all_reduce, get_world_size
from torch import Tensor, nn

from mmgcp.ops import CovariancePooling
from mmgcp.utils.errors import SetupError

from .probe import training_loss

STEMS = ('maxpool', 'stem', 'conv1', 'patch_embed')
PLACES = ('stem', 'last_conv', 'image', 'weights')
SIGNS = {'ascent': 1, 'descent': -1}


class Landscape(NamedTuple):
    """One measurement; lists have an entry per step size, NaN or infinite where the network overflows.

    Attributes:
        loss (float): ``L(x)``.
        gradient_norm (float): ``||g||``.
        losses (list[float]): Losses of Eq. 3.
        distances (list[float]): Distances of Eq. 4.
        smoothness (list[float]): Distances over step lengths; NaN where the gradient is zero.
    """
    loss: float
    gradient_norm: float
    losses: list[float]
    distances: list[float]
    smoothness: list[float]


class Place:
    """Place in a network where the landscape is measured.

    Attributes:
        name (str): Name of the layer or of the place.
        shared (bool): Whether all processes of a distributed training have the same point, as for weights; otherwise
            each has the part that belongs to its images.
    """

    name: str
    shared = False

    def point(self, model: nn.Module, data: dict) -> dict[str, Tensor]:
        """Compute the current point for a batch, as tensors by name."""
        raise NotImplementedError

    def loss(self, model: nn.Module, data: dict, point: dict[str, Tensor]) -> Tensor:
        """Compute the loss of a batch at another point."""
        raise NotImplementedError


class Weights(Place):
    """All trained weights, as in Santurkar et al."""

    name, shared = 'weights', True

    def point(self, model: nn.Module, data: dict) -> dict[str, Tensor]:
        """Return the weights."""
        return {name: weight.detach() for name, weight in model.named_parameters() if weight.requires_grad}

    def loss(self, model: nn.Module, data: dict, point: dict[str, Tensor]) -> Tensor:
        """Compute the loss with other weights."""
        return model.parse_losses(torch.func.functional_call(model, point, (), {**data, 'mode': 'loss'}))[0]


class Image(Place):
    """The images after preprocessing."""

    name = 'image'

    def point(self, model: nn.Module, data: dict) -> dict[str, Tensor]:
        """Return the images."""
        return {'image': data['inputs'].detach()}

    def loss(self, model: nn.Module, data: dict, point: dict[str, Tensor]) -> Tensor:
        """Compute the loss of other images."""
        return training_loss(model, {**data, 'inputs': point['image']})


class Activation(Place):
    """Output or input of a layer; the last tensor if it is a tuple.

    Args:
        name (str): Name of the layer in the model.
        of_input (bool): Take its input instead of its output.
    """

    def __init__(self, name: str, of_input: bool = False) -> None:
        self.name, self.of_input = name, of_input

    def point(self, model: nn.Module, data: dict) -> dict[str, Tensor]:
        """Run the network and record the activation.

        Raises:
            SetupError: If the layer does not run exactly once, or gives no floating-point tensor.
        """
        seen = []  # copies: an in-place operation may follow, such as a ReLU
        with torch.no_grad(), self._tapped(model, lambda x: seen.append(x.clone()) or x):
            training_loss(model, data)
        if len(seen) != 1:
            raise SetupError(f'the layer {self.name} runs {len(seen)} times in a forward pass, so that its '
                             'landscape is ambiguous: name a layer that runs once')
        return {'activation': seen[0]}

    def loss(self, model: nn.Module, data: dict, point: dict[str, Tensor]) -> Tensor:
        """Compute the loss with another activation."""
        def replace(_: Tensor) -> Tensor:
            torch.set_grad_enabled(True)  # earlier layers are constant here and need no graph
            return point['activation'].clone()  # as autograd allows no in-place operation on the point itself

        with torch.no_grad(), self._tapped(model, replace):
            return training_loss(model, data)

    @contextmanager
    def _tapped(self, model: nn.Module, function: Callable[[Tensor], Tensor]) -> Iterator[None]:
        """Apply a function to the activation during forward passes."""

        def apply(value):
            if isinstance(value, (tuple, list)) and value:
                return type(value)([*value[:-1], apply(value[-1])])
            if not (isinstance(value, Tensor) and value.is_floating_point()):
                raise SetupError(f'the layer {self.name} gives a {type(value).__name__} and no tensor of numbers: name '
                                 'another layer')
            return function(value)

        layer = model.get_submodule(self.name)
        if self.of_input:
            handle = layer.register_forward_pre_hook(lambda _, inputs: (apply(inputs[0]), *inputs[1:]))
        else:
            handle = layer.register_forward_hook(lambda _, inputs, output: apply(output))
        try:
            yield
        finally:
            handle.remove()


def find_place(model: nn.Module, at: str) -> Place:
    """Find a place by name.

    Args:
        model (nn.Module): Classifier of MMPretrain.
        at (str): ``'stem'``, the input of the first stage, as in Fig. 2: output of ResNet's and ShuffleNetV2's
            max-pooling or of MobileNetV2's first convolution; ``'last_conv'``, the input of the global pooling, X of
            Section 3; ``'image'``; ``'weights'``; or the name of a layer, for its output.

    Raises:
        SetupError: If the model has no such place; the message lists the nearest names.
    """
    if at in ('weights', 'image'):
        return Weights() if at == 'weights' else Image()
    layers = dict(model.named_modules())
    if at == 'stem':
        stem = next((f'backbone.{name}' for name in STEMS if f'backbone.{name}' in layers), None)
        if stem is None:
            raise SetupError(f"{type(model).__name__} has no stem that is known ({', '.join(STEMS)} of the backbone): "
                             'name a layer of the backbone instead of at=stem')
        return Activation(stem)
    if at == 'last_conv':
        pooling = next((name for name, layer in layers.items() if isinstance(layer, CovariancePooling)), 'neck')
        if layers.get(pooling) is None:
            raise SetupError(f'{type(model).__name__} has no neck that pools: name a layer instead of at=last_conv')
        return Activation(pooling, of_input=True)
    if not at or at not in layers:
        near = difflib.get_close_matches(at, [*PLACES, *filter(None, layers)], n=5, cutoff=0.3)
        nearest = f" (the nearest are {', '.join(near)})" if near else ''
        raise SetupError(f"{type(model).__name__} has no layer '{at}'{nearest}: give the name of a layer or one of "
                         f"{', '.join(PLACES)}")
    return Activation(at)


def measure_landscape(model: nn.Module, data: dict, place: Place, step_sizes: Sequence[float],
                      direction: str = 'ascent', steps_at_once: int = 1,
                      rewind: Callable[[], None] = lambda: None) -> Landscape:
    """Evaluate loss and gradient at several points along the gradient.

    In distributed training the loss is the mean over all processes, and the point combines theirs. Without batch
    statistics, or with synchronised ones, this equals one process with the joint batch. Steps act on the gradient of
    the mean loss: at a place that each image has for itself they shrink with the batch.

    Args:
        model (nn.Module): Classifier of MMPretrain, inside :func:`~mmgcp.probes.probe.undisturbed`.
        data (dict): Batch from :func:`~mmgcp.probes.probe.preprocess`.
        place (Place): Place to measure at.
        step_sizes (Sequence[float]): ``eta``, positive.
        direction (str): ``'ascent'``, as in Eqs. 3 and 4, or ``'descent'``, as in training.
        steps_at_once (int): Step sizes evaluated in one pass by ``torch.func.vmap``, each with its own batch
            statistics. Memory grows in proportion.
        rewind (Callable[[], None]): From ``undisturbed``, called before each evaluation.

    Returns:
        Landscape: The measurement, in float32 whatever the precision of training, as short steps vanish in 16 bits.

    Raises:
        SetupError: If the place cannot be measured, or ``vmap`` does not support the network and ``steps_at_once`` is
            above 1.
    """
    processes = get_world_size()

    def losses_and_gradients(points: dict[str, Tensor], function: Callable) -> tuple[Tensor, dict[str, Tensor]]:
        points = {name: value.detach().requires_grad_() for name, value in points.items()}
        rewind()
        with torch.enable_grad():
            losses = function(points) / processes
            gradients = torch.autograd.grad(losses.sum(), list(points.values()), allow_unused=True)
        gradients = {name: torch.zeros_like(point) if gradient is None else gradient
                     for (name, point), gradient in zip(points.items(), gradients, strict=True)}
        if place.shared:
            for gradient in gradients.values():
                all_reduce(gradient)
        return _total(losses), gradients

    def norms(vectors: dict[str, Tensor], batched: bool) -> Tensor:
        squares = sum(value.double().flatten(1 if batched else 0).square().sum(-1) for value in vectors.values())
        return (squares if place.shared else _total(squares)).sqrt()

    def loss_at(point: dict[str, Tensor]) -> Tensor:
        return place.loss(model, data, point)

    rewind()
    start = place.point(model, data)
    loss, gradient = losses_and_gradients(start, loss_at)
    length = norms(gradient, batched=False)

    losses, distances = [], []
    for etas in torch.as_tensor(step_sizes, dtype=torch.float64).split(steps_at_once):
        moved = {name: torch.stack([value + SIGNS[direction] * eta * gradient[name] for eta in etas.tolist()])
                 for name, value in start.items()}
        if len(etas) == 1:
            some_losses, gradients = losses_and_gradients(
                moved, lambda points: loss_at({name: value[0] for name, value in points.items()})[None])
        else:
            try:
                some_losses, gradients = losses_and_gradients(moved, torch.vmap(loss_at, randomness='same'))
            except torch.cuda.OutOfMemoryError:
                raise
            except RuntimeError as error:
                raise SetupError(f'{type(model).__name__} cannot be evaluated at several step sizes in one pass '
                                 f'({str(error).splitlines()[0]}): set steps_at_once=1') from error
        losses.append(some_losses)
        distances.append(norms({name: value - gradient[name] for name, value in gradients.items()}, batched=True))
    losses, distances = torch.cat(losses).double(), torch.cat(distances)
    smoothness = distances / (torch.as_tensor(step_sizes, dtype=torch.float64, device=length.device) * length)
    return Landscape(loss.item(), length.item(), losses.tolist(), distances.tolist(), smoothness.tolist())


def _total(values: Tensor) -> Tensor:
    """Sum over all processes."""
    values = values.detach().clone()
    all_reduce(values)
    return values
