r"""Loss variation, gradient predictiveness and effective beta-smoothness (Eqs. 3 and 4 of Wang et al., CVPR 2020).

At a point ``x`` with loss ``L`` and gradient ``g``, and for step sizes ``eta``, with the sign ``s`` of the direction:

    losses      L(x + s eta g)                                            Eq. 3
    distances   ||g - g(x + s eta g)||                                    Eq. 4
    smoothness  ||g - g(x + s eta g)|| / (eta ||g||)

The largest smoothness is the effective beta-smoothness of Santurkar et al., NeurIPS 2018. A point belongs to a place in
the network: the weights, the image or an activation. A place has a ``name``, returns its current ``point`` for a batch,
as tensors by name, and computes the ``loss`` of the batch at another point. A ``shared`` place has the same point in
all processes of a distributed training; otherwise each process has the part that belongs to its images.
"""
import difflib
from collections.abc import Callable, Sequence
from typing import NamedTuple

import torch
from mmengine.dist import all_reduce, get_world_size
from torch import Tensor, nn
from torch.utils.hooks import RemovableHandle

from mmgcp.ops import CovariancePooling, CrossCovariancePooling
from mmgcp.utils.errors import SetupError

from .probe import refused, training_loss

STEMS = ('maxpool', 'stem', 'conv1', 'patch_embed')
PLACES = ('stem', 'last_conv', 'image', 'weights')
SIGNS = {'ascent': 1, 'descent': -1}  # as in Eqs. 3 and 4, and as in training


class Landscape(NamedTuple):
    """One measurement; lists have an entry per step size, NaN or infinite where the network overflows."""
    loss: float  # L(x)
    gradient_norm: float  # ||g||
    losses: list[float]  # of Eq. 3
    distances: list[float]  # of Eq. 4
    smoothness: list[float]  # distances over step lengths; NaN where the gradient is zero


class Weights:
    """All trained weights, as in Santurkar et al."""

    name, shared = 'weights', True

    def point(self, model: nn.Module, data: dict) -> dict[str, Tensor]:
        """Return the weights."""
        return {name: weight.detach() for name, weight in model.named_parameters() if weight.requires_grad}

    def loss(self, model: nn.Module, data: dict, point: dict[str, Tensor]) -> Tensor:
        """Compute the loss with other weights."""
        return model.parse_losses(torch.func.functional_call(model, point, (), {**data, 'mode': 'loss'}))[0]


class Image:
    """The images after preprocessing."""

    name, shared = 'image', False

    def point(self, model: nn.Module, data: dict) -> dict[str, Tensor]:
        """Return the images."""
        return {'image': data['inputs'].detach()}

    def loss(self, model: nn.Module, data: dict, point: dict[str, Tensor]) -> Tensor:
        """Compute the loss of other images."""
        return training_loss(model, {**data, 'inputs': point['image']})


class Activation:
    """Output of a layer, or its input with ``of_input``; the last tensor of numbers if it is a tuple."""

    shared = False

    def __init__(self, name: str, of_input: bool = False) -> None:
        self.name, self.of_input = name, of_input

    def point(self, model: nn.Module, data: dict) -> dict[str, Tensor]:
        """Run the network and record the activation."""
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

    def _tapped(self, model: nn.Module, function: Callable[[Tensor], Tensor]) -> RemovableHandle:
        """Apply a function to the activation during forward passes, until the context of the handle ends."""

        def apply(value):
            applied = _to_last(value, function)
            if applied is None:
                raise SetupError(f'the layer {self.name} gives a {type(value).__name__} and no tensor of numbers: name '
                                 'another layer')
            return applied

        layer = model.get_submodule(self.name)
        if self.of_input:
            return layer.register_forward_pre_hook(lambda _, inputs: (apply(inputs[0]), *inputs[1:]))
        return layer.register_forward_hook(lambda _, inputs, output: apply(output))


def _to_last(value: object, function: Callable[[Tensor], Tensor]) -> object | None:
    """Apply a function to the last tensor of numbers in nested tuples and lists; return None if there is none."""
    if isinstance(value, Tensor):
        return function(value) if value.is_floating_point() else None
    for index in reversed(range(len(value) if isinstance(value, (tuple, list)) else 0)):
        applied = _to_last(value[index], function)
        if applied is not None:
            return type(value)([*value[:index], applied, *value[index + 1:]])
    return None


Place = Weights | Image | Activation


def find_place(model: nn.Module, at: str) -> Place:
    """Find a place in a classifier of MMPretrain by name, or raise a SetupError that lists the nearest names.

    Names are ``'stem'``, the input of the first stage, as in Fig. 2: output of ResNet's and ShuffleNetV2's max-pooling,
    of MobileNetV2's first convolution or of a transformer's patch embedding; ``'last_conv'``, the input of the global
    pooling, X of Section 3; ``'image'``; ``'weights'``; or the name of a layer, for its output.
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
        poolings = CovariancePooling, CrossCovariancePooling
        pooling = next((name for name, layer in layers.items() if isinstance(layer, poolings)), 'neck')
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

    The network, one batch and ``rewind`` come from :func:`~mmgcp.probes.probe.prepared`. Step sizes are positive;
    ``steps_at_once`` of them are evaluated in one pass by ``torch.func.vmap``, each with its own batch statistics, and
    memory grows in proportion. If ``vmap`` does not support the network, a SetupError asks for one at a time.

    In distributed training the loss is the mean over all processes, and the point combines theirs. Without batch
    statistics, or with synchronised ones, this equals one process with the joint batch. Steps act on the gradient of
    the mean loss: where each image has a point of its own, they shrink with the batch size. Values are in float32
    whatever the precision of training, as short steps vanish in 16 bits.
    """
    processes = get_world_size()

    def losses_and_gradients(points: dict[str, Tensor], function: Callable) -> tuple[Tensor, dict[str, Tensor]]:
        points = {name: value.detach().requires_grad_() for name, value in points.items()}
        rewind()
        with torch.enable_grad():
            losses = function(points) / processes
            gradients = torch.autograd.grad(losses.sum(), list(points.values()), materialize_grads=True)
        if place.shared:
            for gradient in gradients:
                all_reduce(gradient)
        return _total(losses), dict(zip(points, gradients, strict=True))

    def norms(vectors: dict[str, Tensor], batched: bool) -> Tensor:
        squares = sum(value.double().reshape(len(value) if batched else 1, -1).square().sum(-1)
                      for value in vectors.values())
        return (squares if place.shared else _total(squares)).sqrt()

    def loss_at(point: dict[str, Tensor]) -> Tensor:
        return place.loss(model, data, point)

    def loss_at_only(points: dict[str, Tensor]) -> Tensor:
        return loss_at({name: value[0] for name, value in points.items()})[None]

    rewind()
    start = place.point(model, data)
    loss, gradient = losses_and_gradients(start, loss_at)
    length = norms(gradient, batched=False)

    losses, distances = [], []
    for etas in torch.as_tensor(step_sizes, dtype=torch.float64).split(steps_at_once):
        moved = {name: torch.stack([value + SIGNS[direction] * eta * gradient[name] for eta in etas.tolist()])
                 for name, value in start.items()}
        if len(etas) == 1:
            some_losses, gradients = losses_and_gradients(moved, loss_at_only)
        else:
            with refused(model, 'evaluated at several step sizes in one pass', 'set steps_at_once=1'):
                some_losses, gradients = losses_and_gradients(moved, torch.vmap(loss_at, randomness='same'))
        losses.append(some_losses)
        distances.append(norms({name: value - gradient[name] for name, value in gradients.items()}, batched=True))
    losses, distances = torch.cat(losses).double(), torch.cat(distances)
    smoothness = distances / (torch.as_tensor(step_sizes, dtype=torch.float64, device=length.device) * length)
    return Landscape(loss.item(), length.item(), losses.tolist(), distances.tolist(), smoothness.tolist())


def _total(values: Tensor) -> Tensor:
    values = values.detach().clone()
    all_reduce(values)
    return values
