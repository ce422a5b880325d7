"""Optimizer wrapper that preconditions gradients with Kronecker-factored curvature (K-FAC)."""
from collections import Counter
from collections.abc import Iterator, Sequence
from contextlib import ExitStack, contextmanager
from functools import partial

import torch
from mmengine.dist import all_gather_object, all_reduce_params, broadcast, get_rank, get_world_size
from mmengine.logging import print_log
from mmengine.model import is_model_wrapper
from mmengine.optim import OptimWrapper
from torch import Tensor, nn
from torch.nn.parallel import DistributedDataParallel
from torch.optim import Optimizer

from mmgcp.probes import kronecker
from mmgcp.registry import OPTIM_WRAPPERS
from mmgcp.utils.errors import SetupError, check_counts

BUCKET = 256  # MiB of factors that processes exchange at a time


@OPTIM_WRAPPERS.register_module()
class KFACOptimWrapper(OptimWrapper):
    r"""Optimizer wrapper that multiplies gradients by the inverse of a Kronecker-factored Fisher matrix.

    K-FAC (Martens & Grosse, ICML 2015; for convolutions Grosse & Martens, ICML 2016) in its large-scale form (Osawa et
    al., CVPR 2019), the second-order method that Wang et al., CVPR 2020, compare covariance pooling with. For the
    factors see :mod:`~mmgcp.probes.kronecker`. Maintained packages measure them in separate passes over the data, and
    support neither running averages nor MMEngine's losses, gradient accumulation and distributed training.

    The Fisher matrix is the empirical one, of the loss with the true labels, whose gradients the training step computes
    anyway. Factors are running averages. All trained ``nn.Linear`` and ungrouped ``nn.Conv2d`` are preconditioned. The
    optimizer alone updates other weights, such as those of normalisation layers and depthwise convolutions, and each
    layer until its factors are first measured. The first dimension of a layer's input counts the examples.

    The optimizer adds its weight decay to the preconditioned gradient as an L2 term, then applies momentum.
    ``clip_grad`` also clips the preconditioned gradient. With gradient accumulation, factors are means over all parts
    of the batch. Processes average their factors and share the inversions.

    The state holds factors, inverses and counters, so that a resumed run continues exactly: about 1.2 GB per checkpoint
    for ResNet-50. ``default_hooks.checkpoint.save_optimizer=False`` omits it; a resumed run then starts with new ones.

    Args:
        optimizer (Optimizer): Optimizer of the preconditioned gradients.
        damping (float): Added to the eigenvalues of each layer's block; large ones give SGD times ``1 / damping``.
        factor_decay (float): Weight of the past in the running averages of the factors. Default: 0.95.
        factor_interval (int): Updates between measurements of the factors. Default: 1.
        inverse_interval (int): Updates between inversions. Default: 1.
        kl_clip (float, optional): Bound on ``sum lr^2 <preconditioned gradient, gradient>``, about twice the KL
            divergence between the predictions before and after the step; larger steps are shortened to it.
        skip (Sequence[str]): Names of layers, or of modules that contain them, to leave to the optimizer.
        **kwargs: ``accumulative_counts`` and ``clip_grad`` of MMEngine's ``OptimWrapper``.

    Raises:
        ValueError: If a setting is out of range.
        SetupError: In training, if the model has no layer to precondition, is distributed by other means than DDP, is
            compiled, or does not fit ``skip`` or a loaded state, or if factors cannot be inverted.
    """

    def __init__(self, optimizer: Optimizer, damping: float, factor_decay: float = 0.95, factor_interval: int = 1,
                 inverse_interval: int = 1, kl_clip: float | None = None, skip: Sequence[str] = (), **kwargs) -> None:
        for name, value in (('damping', damping), ('kl_clip', 1. if kl_clip is None else kl_clip)):
            if not 0 < value < float('inf'):
                raise ValueError(f'{name}={value} must be a positive number')
        if not 0 <= factor_decay < 1:
            raise ValueError(f'factor_decay={factor_decay} must be at least 0 and below 1')
        check_counts(factor_interval=factor_interval, inverse_interval=inverse_interval)
        if isinstance(skip, str):
            raise ValueError(f"skip='{skip}' must be a list of names")
        super().__init__(optimizer, **kwargs)
        self.damping = damping
        self.factor_decay = factor_decay
        self.factor_interval = factor_interval
        self.inverse_interval = inverse_interval
        self.kl_clip = kl_clip
        self.skip = tuple(skip)
        self.updates = 0
        self.factors: dict[str, list[Tensor]] = {}  # A and G by name of the layer
        self.inverses: dict[str, list[Tensor]] = {}
        self.layers: dict[str, nn.Module] | None = None
        self._sums: dict[str, list[Tensor]] = {}  # of this update, see _add
        self._parts = 0  # backward passes of this update
        self._hooks = ExitStack()  # on the layers, from the forward pass to the end of the backward pass

    @contextmanager
    def optim_context(self, model: nn.Module) -> Iterator[None]:
        """Wrap the forward pass of a training step; the first one finds the layers."""
        if self.layers is None:
            self.layers = self._find_layers(model)
            self._adopt_state()
        self._hooks.close()
        for name, layer in self.layers.items() if self._measures else ():
            self._hooks.enter_context(layer.register_forward_hook(partial(self._watch, name)))
        with super().optim_context(model):
            yield

    def backward(self, loss: Tensor, **kwargs) -> None:
        """Run the backward pass and measure the factors of this part of the batch."""
        super().backward(loss, **kwargs)
        self._parts += 1
        self._hooks.close()

    def step(self, **kwargs) -> None:
        """Precondition the gradients and update."""
        if self.layers is None:
            raise SetupError('KFACOptimWrapper.step has seen no forward pass: run it inside optim_context(model)')
        if self._measures:
            self._update_factors()
        self._parts = 0
        self._update_inverses()
        self._precondition()
        self.updates += 1
        super().step(**kwargs)

    def state_dict(self) -> dict:
        """Return the state of the optimizer, with factors, inverses and counter under ``kfac``."""
        kfac = dict(updates=self.updates, factors=dict(self.factors), inverses=dict(self.inverses))
        return {**super().state_dict(), 'kfac': kfac}

    def load_state_dict(self, state_dict: dict) -> None:
        """Load a state from :meth:`state_dict`."""
        state_dict = dict(state_dict)
        if 'kfac' not in state_dict:
            raise SetupError('the checkpoint is of a training without K-FAC and cannot be resumed with it: start from '
                             'its weights, load_from=CHECKPOINT without --resume')
        kfac = state_dict.pop('kfac')
        super().load_state_dict(state_dict)
        self.updates, self.factors, self.inverses = kfac['updates'], dict(kfac['factors']), dict(kfac['inverses'])
        if self.layers is not None:
            self._adopt_state()

    @property
    def _measures(self) -> bool:
        return self.updates % self.factor_interval == 0

    @torch.compiler.disable
    def _find_layers(self, model: nn.Module) -> dict[str, nn.Module]:
        if hasattr(getattr(model, 'train_step', None), '_torchdynamo_orig_callable'):
            raise SetupError('K-FAC measures while the network runs, which torch.compile does not see: leave compile '
                             'out of the config, or train with optim_wrapper.type=OptimWrapper')
        if is_model_wrapper(model):
            if not isinstance(model, DistributedDataParallel):
                raise SetupError(f'K-FAC needs whole layers, and {type(model).__name__} spreads them over processes: '
                                 'train with DDP, or with optim_wrapper.type=OptimWrapper')
            model = model.module
        known = {name: module for name, module in model.named_modules() if kronecker.is_supported(module)}
        unknown = [prefix for prefix in self.skip if not any(_below(name, prefix) for name in known)]
        if unknown:
            raise SetupError(f"skip names '{unknown[0]}', but {type(model).__name__} has no layer there that K-FAC "
                             f"could precondition: it has {', '.join(known) or 'none at all'}")
        trained = {id(weight) for group in self.optimizer.param_groups for weight in group['params']}
        holders = Counter(id(weight) for module in model.modules() for weight in module.parameters(recurse=False))
        own = {weight for weight, number in holders.items() if number == 1 and weight in trained}
        layers = {name: module for name, module in known.items()
                  if not any(_below(name, prefix) for prefix in self.skip)
                  and own.issuperset(map(id, module.parameters(recurse=False)))}
        weights = sum(weight.numel() for weight in model.parameters() if weight.requires_grad)
        active = {name: module for name, module in layers.items() if module.weight.requires_grad}
        if not active:
            raise SetupError(f'{type(model).__name__} has no trained nn.Linear or ungrouped nn.Conv2d that K-FAC could '
                             'precondition: shorten skip, or train with optim_wrapper.type=OptimWrapper')
        theirs = sum(weight.numel() for module in active.values() for weight in module.parameters(recurse=False))
        print_log(f'K-FAC preconditions {len(active)} layers with {theirs:,} parameters and leaves '
                  f"{weights - theirs:,} to {type(self.optimizer).__name__}. The layers: {', '.join(active)}.",
                  logger='current')
        return layers

    def _adopt_state(self) -> None:
        """Move a loaded state to the device of the layers, after checking that it fits them."""
        for kind in (self.factors, self.inverses):
            for name, matrices in kind.items():
                sizes = [len(matrix) for matrix in matrices]
                if name not in self.layers or sizes != _sizes(self.layers[name]):
                    raise SetupError('the K-FAC factors of the checkpoint do not fit this network, those of '
                                     f'{name} for one: resume with the model and the skip that it was trained with')
                kind[name] = [matrix.to(self.layers[name].weight.device) for matrix in matrices]

    def _watch(self, name: str, layer: nn.Module, inputs: tuple, output: Tensor) -> None:
        """Record the input, and the gradient by a tensor hook, because a ReLU may overwrite the output in place."""
        if output.requires_grad and layer.weight.requires_grad and output.numel():
            x = inputs[0].detach()
            output.register_hook(lambda grad: self._add(name, layer, x, grad))

    @torch.no_grad()
    def _add(self, name: str, layer: nn.Module, x: Tensor, grad: Tensor) -> None:
        """Add to the sums of a layer, which may run several times: A, G times positions, positions."""
        positions = kronecker.positions(layer, grad)
        loss_scale = float(self.scale_loss(torch.ones(())))
        parts = [kronecker.input_factor(layer, x),
                 kronecker.output_factor(layer, grad, loss_scale) * positions,
                 torch.tensor(float(positions), dtype=torch.float64, device=grad.device)]
        sums = self._sums.get(name)
        self._sums[name] = parts if sums is None else [a + b for a, b in zip(sums, parts, strict=True)]

    def _update_factors(self) -> None:
        """Average the factors over the parts of the batch and all processes, and update the running averages."""
        layers = {name: layer for name, layer in self.layers.items() if layer.weight.requires_grad}
        # A layer may run in some processes only, but all processes must exchange the same tensors.
        sums = {name: self._sums.get(name) or _zeros(layer) for name, layer in layers.items()}
        self._sums = {}
        all_reduce_params([total for totals in sums.values() for total in totals], bucket_size_mb=BUCKET)
        for name, (inputs, outputs, positions) in sums.items():
            if not positions:
                if layers[name].weight.grad is not None:
                    raise SetupError(f'the layer {name} has a gradient, but did not run as a layer, so that K-FAC has '
                                     f"no factors of it: leave it to the optimizer, optim_wrapper.skip=['{name}']")
                continue
            new = [inputs / (get_world_size() * self._parts), (outputs / positions).to(outputs.dtype)]
            old = self.factors.get(name, new)
            self.factors[name] = [torch.lerp(b, a, self.factor_decay) for a, b in zip(old, new, strict=True)]

    def _update_inverses(self) -> None:
        """Invert the factors, distributing the layers over the processes."""
        due = self.updates % self.inverse_interval == 0
        names = [name for name in self.factors if due or name not in self.inverses]
        failure = None
        for index, name in enumerate(names):
            self.inverses[name] = [torch.empty_like(factor) for factor in self.factors[name]]
            if index % get_world_size() == get_rank() and failure is None:
                try:
                    self.inverses[name] = kronecker.inverses(*self.factors[name], self.damping)
                except ValueError as error:
                    failure = f'K-FAC of {name}, update {self.updates + 1}: {error}; or lower the learning rate'
        if names:  # all must stop together: the others would wait for broadcasts
            failure = next(filter(None, all_gather_object(failure)), None)
        if failure:
            raise SetupError(failure)
        for index, name in enumerate(names):
            for inverse in self.inverses[name]:
                broadcast(inverse, src=index % get_world_size())

    @torch.no_grad()
    def _precondition(self) -> None:
        rates = {id(weight): group['lr'] for group in self.optimizer.param_groups for weight in group['params']}
        directions, divergence = [], 0.
        for name, layer in self.layers.items():
            weights = list(layer.parameters(recurse=False))
            if name not in self.inverses or any(weight.grad is None for weight in weights):
                continue
            matrix = kronecker.gradient_matrix(layer, *(weight.grad for weight in weights))
            matrix = kronecker.precondition(matrix, *self.inverses[name])
            for weight, direction in zip(weights, kronecker.split_matrix(layer, matrix), strict=True):
                divergence += rates[id(weight)]**2 * (direction * weight.grad).sum()
                directions.append((weight, direction))
        scale = 1. if self.kl_clip is None or divergence <= self.kl_clip else (self.kl_clip / divergence)**0.5
        for weight, direction in directions:
            weight.grad.copy_(direction * scale)


def _below(name: str, prefix: str) -> bool:
    return name == prefix or name.startswith(prefix + '.')


def _sizes(layer: nn.Module) -> list[int]:
    """Return the sizes of A and G."""
    return [layer.weight[0].numel() + (layer.bias is not None), len(layer.weight)]


def _zeros(layer: nn.Module) -> list[Tensor]:
    """Return zero sums for a layer that did not run."""
    weight = layer.weight
    return [*(weight.new_zeros(size, size) for size in _sizes(layer)), weight.new_zeros((), dtype=torch.float64)]
