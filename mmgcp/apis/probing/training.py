"""Train probes on cached features and compare them."""
import statistics
from collections.abc import Sequence
from typing import NamedTuple

import numpy as np
import torch
from mmengine.registry import MODELS
from mmengine.runner import set_random_seed
from torch import Tensor, nn

from mmgcp.utils.errors import SetupError

from .cache import Features

# Probes, and the out_type of a backbone with a class token that each reads.
PROBES = dict(linear='cls_token', gcp='featmap', moment='raw', attentive='featmap')
HELD_OUT = 0.1  # share of the training photos on which the learning rate is chosen
WEIGHT_DECAY = 1e-4


class Probe(nn.Module):
    """Neck and head on the features of a frozen backbone.

    Args:
        name (str): A name in :data:`PROBES`.
        shape (Sequence[int]): Shape of the features of an image, (C, H, W), or (N, C) with a class token.
        extra_tokens (int): Tokens in front of those of the image; 0 for a map.
        classes (int): Number of classes.
        channels (int): Channels whose covariance ``gcp`` takes. Default: 64.
        heads (int): Heads of ``attentive``. Default: 8.

    Raises:
        SetupError: If the heads do not divide the channels.
    """

    def __init__(self, name: str, shape: Sequence[int], extra_tokens: int, classes: int, channels: int = 64,
                 heads: int = 8) -> None:
        super().__init__()
        width = shape[-1] if extra_tokens else shape[0]
        necks = dict(
            linear=None if extra_tokens else dict(type='GlobalAveragePooling'),
            gcp=dict(type='mmgcp.GlobalCovariancePooling', in_channels=width, reduced_channels=channels),
            moment=dict(type='mmgcp.MomentPooling', in_channels=width, extra_tokens=extra_tokens),
            attentive=dict(type='mmgcp.AttentivePooling', in_channels=width, heads=heads))
        self.name, self.extra_tokens = name, extra_tokens
        self.neck = necks[name] and MODELS.build(necks[name])
        head = dict(type='LinearClsHead', num_classes=classes, in_channels=getattr(self.neck, 'out_channels', width))
        self.layers = dict(neck=necks[name], head=head)
        self.head = MODELS.build(head)
        for part in (self.neck, self.head):
            if hasattr(part, 'init_weights'):  # MMPretrain's average pooling has none
                part.init_weights()

    def forward(self, features: Tensor) -> Tensor:
        """Compute the scores (B, classes) of features (B, C, H, W), or (B, N, C) with a class token."""
        if self.extra_tokens and self.name != 'moment':
            features = features[:, 0] if self.name == 'linear' else features[:, self.extra_tokens:]
        return self.head(self.neck((features, )) if self.neck else (features, ))


class Result(NamedTuple):
    """Result of a probe.

    Attributes:
        probe (Probe): The one trained with the first seed.
        lr (float): Learning rate, the best on held-out photos.
        held_out (float): Accuracy in per cent on held-out photos, mean over seeds.
        accuracies (list[float]): Accuracies in per cent on the validation photos, one per seed.
    """
    probe: Probe
    lr: float
    held_out: float
    accuracies: list[float]

    @property
    def parameters(self) -> int:
        """Number of trained parameters."""
        return sum(parameter.numel() for parameter in self.probe.parameters())


def check_settings(labels: np.ndarray, seeds: Sequence[int], lrs: Sequence[float], epochs: int,
                   fraction: float = 1) -> None:
    """Check the settings of :func:`compare` against the labels of the training photos, before anything is computed.

    Raises:
        SetupError: If one is out of range, or the fraction leaves a class less than two photos.
    """
    for name, value, valid, rule in (
            ('seeds', seeds, all(seed >= 0 for seed in seeds), 'be 0 or more'),
            ('lrs', lrs, all(lr > 0 for lr in lrs), 'be above 0'), ('epochs', epochs, epochs >= 1, 'be at least 1'),
            ('fraction', fraction, 0 < fraction <= 1, 'be above 0 and at most 1')):
        if not valid:
            raise SetupError(f'{name}={value} must {rule}')
    if min(np.bincount(labels[draw_rows(labels, np.arange(len(labels)), fraction, seeds[0])])) < 2:
        raise SetupError(f'fraction={fraction} leaves a class with a single photo, and one is held out to choose the '
                         'learning rate: take a larger fraction')


def draw_rows(labels: np.ndarray, rows: np.ndarray, share: float, seed: int) -> np.ndarray:
    """Draw a share of each class, at least one of its rows."""
    generator = np.random.default_rng(seed)
    drawn = [generator.permutation(of_class)[:max(1, round(share * len(of_class)))]
             for of_class in (rows[labels[rows] == label] for label in np.unique(labels[rows]))]
    return np.sort(np.concatenate(drawn))


def train_probe(probe: Probe, features: Features, rows: np.ndarray, lr: float, epochs: int, seed: int,
                batch_size: int = 64) -> None:
    """Train with AdamW and cross-entropy, the learning rate falling along a cosine to zero."""
    device = next(probe.parameters()).device
    generator, batches = np.random.default_rng(seed), -(-len(rows) // batch_size)
    optimizer = torch.optim.AdamW(probe.parameters(), lr, weight_decay=WEIGHT_DECAY)
    schedule = torch.optim.lr_scheduler.CosineAnnealingLR(optimizer, epochs * batches)
    probe.train()
    for _ in range(epochs):
        for batch in np.array_split(generator.permutation(rows), batches):
            loss = nn.functional.cross_entropy(probe(_values(features, batch, device)),
                                               torch.from_numpy(features.labels[batch]).to(device))
            optimizer.zero_grad()
            loss.backward()
            optimizer.step()
            schedule.step()


@torch.no_grad()
def accuracy(probe: Probe, features: Features, rows: np.ndarray | None = None, batch_size: int = 64) -> float:
    """Compute the top-1 accuracy in per cent on some rows, or on all."""
    rows = np.arange(len(features.labels)) if rows is None else rows
    device = next(probe.parameters()).device
    probe.eval()
    right = sum(int((probe(_values(features, batch, device)).argmax(1).cpu().numpy() == features.labels[batch]).sum())
                for batch in np.array_split(rows, -(-len(rows) // batch_size)))
    return 100 * right / len(rows)


def compare(name: str, train: Features, val: Features, extra_tokens: int, seeds: Sequence[int], lrs: Sequence[float],
            epochs: int, fraction: float = 1, **settings) -> Result:
    """Choose the learning rate of a probe on a tenth of the training photos, then train on all of them and test.

    Each seed draws its own labelled photos, held-out photos, initial weights and order.

    Args:
        name (str): A name in :data:`PROBES`.
        train (Features): Training photos.
        val (Features): Validation photos.
        extra_tokens (int): See :class:`Probe`.
        seeds (Sequence[int]): Random seeds.
        lrs (Sequence[float]): Learning rates to choose from.
        epochs (int): Passes over the labelled photos.
        fraction (float): Share of the labels of each class, in (0, 1]. Default: 1.
        **settings: Further arguments of :class:`Probe`.

    Raises:
        SetupError: As :func:`check_settings`.
    """
    check_settings(train.labels, seeds, lrs, epochs, fraction)
    device = 'cuda' if torch.cuda.is_available() else 'cpu'
    if name == 'linear' and not extra_tokens:  # averaged once rather than in each epoch
        train, val = (Features(data.values.mean((2, 3), np.float32, keepdims=True), data.labels)
                      for data in (train, val))

    def trained(rows, lr, seed):
        set_random_seed(seed)
        probe = Probe(name, train.values.shape[1:], extra_tokens, len(np.unique(train.labels)), **settings).to(device)
        train_probe(probe, train, rows, lr, epochs, seed)
        return probe

    labelled = [draw_rows(train.labels, np.arange(len(train.labels)), fraction, seed) for seed in seeds]
    held = [draw_rows(train.labels, rows, HELD_OUT, seed) for rows, seed in zip(labelled, seeds, strict=True)]
    scores = {lr: statistics.mean(accuracy(trained(np.setdiff1d(rows, out), lr, seed), train, out)
                                  for rows, out, seed in zip(labelled, held, seeds, strict=True)) for lr in lrs}
    lr = max(scores, key=scores.get)
    probes = [trained(rows, lr, seed) for rows, seed in zip(labelled, seeds, strict=True)]
    return Result(probes[0], lr, scores[lr], [accuracy(probe, val) for probe in probes])


def _values(features, rows, device):
    return torch.from_numpy(np.asarray(features.values[rows], dtype=np.float32)).to(device)
