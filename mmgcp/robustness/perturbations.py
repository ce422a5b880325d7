"""Stability under small perturbations: mFR and mT5D of ImageNet-P (Table 4).

Hendrycks & Dietterich, *Benchmarking neural network robustness to common corruptions and perturbations*, ICLR 2019.
"""
import sys
from collections.abc import Mapping
from pathlib import Path
from typing import NamedTuple

import numpy as np
from numpy.typing import ArrayLike

from mmgcp.utils.errors import SetupError

from .reference import is_share, mean_or_none, read_reference

PERTURBATIONS = ('gaussian_noise', 'shot_noise', 'motion_blur', 'zoom_blur', 'brightness', 'translate', 'rotate',
                 'tilt', 'scale', 'snow')
# The noise of their frames is independent, so that frames are compared with the first one.
NOISES = ('gaussian_noise', 'shot_noise')
DIFFICULTIES = (1, 2, 3)


def flip_probability(top1: ArrayLike, noise: bool, difficulty: int = 1) -> float:
    """Compute the share of frames, given as (T,) class ids, whose class differs from the frame they are compared with.

    That is the frame ``difficulty`` (1 to 3) earlier or, for :data:`NOISES`, which are made at a difficulty, the first.

    Raises:
        ValueError: If the difficulty is invalid, or there are too few frames to compare.
    """
    before, after = _pairs(top1, 1, noise, difficulty)
    return float(np.mean(before != after))


def top5_distance(top5: ArrayLike, noise: bool, difficulty: int = 1) -> float:
    r"""Compute the mean top-5 distance between frames, given as (T, 5) class ids, and those they are compared with.

    With :math:`\sigma(i)` the rank in the later frame of the class that has rank i in the earlier one, the distance
    :math:`\sum_{i=1}^5 \sum_{j=\min(i,\sigma(i))+1}^{\max(i,\sigma(i))} 1(1 \le j - 1 \le 5)` equals
    :math:`\sum_{i=1}^5 |\min(i - 1, 5) - \min(\sigma(i) - 1, 5)|`, for which the first five ranks suffice. There are
    fewer columns if there are fewer classes. Other arguments are those of :func:`flip_probability`.

    Raises:
        ValueError: If the difficulty is invalid, there are too few frames to compare, or more than five columns.
    """
    before, after = _pairs(top5, 2, noise, difficulty)
    if before.shape[1] > 5:
        raise ValueError(f'top5_distance takes the five best classes of each frame, got {before.shape[1]}')
    same = before[:, :, None] == after[:, None, :]
    later = np.where(same.any(2), same.argmax(2), 5)
    return float(np.abs(np.arange(before.shape[1]) - later).sum(1).mean())


def _pairs(frames: ArrayLike, dims: int, noise: bool, difficulty: int) -> tuple[np.ndarray, np.ndarray]:
    """Return the earlier and the later frames to compare."""
    frames = np.asarray(frames)
    if frames.ndim != dims:
        raise ValueError(f'the predictions of a sequence must have {dims} dimension(s), got the shape {frames.shape}')
    if difficulty not in DIFFICULTIES:
        raise ValueError(f'the difficulty must be 1, 2 or 3, but is {difficulty!r}')
    step = 1 if noise else difficulty
    if len(frames) <= step:
        raise ValueError(f'a sequence of {len(frames)} frames is too short: frames {step} apart are compared')
    # All pairs `step` apart are those of neighbours in the interleaved sub-sequences i::step of the definition.
    return (frames[:1] if noise else frames[:-step]), frames[step:]


class Stability(NamedTuple):
    """Stability of a network; lower is better."""
    fr: dict[str, float]  # flip rate by perturbation in % of the reference's, or flip probability in %
    mfr: float | None  # its mean over the measured perturbations
    t5d: dict[str, float]  # top-5 distance in % of the reference's, or the distance itself
    mt5d: float | None


def stability(flip: Mapping[str, float], top5: Mapping[str, float], reference: Mapping | None = None) -> Stability:
    """Compute flip rates, top-5 distances and their means; as arrays over photos if those of the arguments are.

    Args:
        flip (Mapping[str, float]): Mean flip probability in [0, 1] over the sequences, by perturbation.
        top5 (Mapping[str, float]): Mean top-5 distance, likewise.
        reference (Mapping, optional): Values of another network, from :func:`load_perturbation_reference`.

    Raises:
        ValueError: If both have different or unknown perturbations, a value is invalid, or the reference lacks a
            perturbation or never changes its predictions on it.
    """
    if set(flip) != set(top5) or not set(flip) <= set(PERTURBATIONS):
        raise ValueError(f"flip has {', '.join(flip)} and top5 {', '.join(top5)}: both must have the same ones of "
                         f"{', '.join(PERTURBATIONS)}")
    for perturbation in flip:
        if not is_share(flip[perturbation]) or not _is_distance(top5[perturbation]):
            raise ValueError(f"'{perturbation}' must have a flip probability in [0, 1] and a distance of at least 0, "
                             f'but has {flip[perturbation]!r} and {top5[perturbation]!r}')
    if reference is None:
        fr, t5d = {name: 100 * value for name, value in flip.items()}, dict(top5)
    else:
        fr, t5d = _percent_of(reference, 'flip', flip), _percent_of(reference, 'top5', top5)
    return Stability(fr, mean_or_none(fr.values()), t5d, mean_or_none(t5d.values()))


def _percent_of(reference: Mapping, key: str, values: Mapping[str, float]) -> dict[str, float]:
    for perturbation in values:
        if not reference[key].get(perturbation):
            lack = 'is 0' if perturbation in reference[key] else 'is missing'
            raise ValueError(f"'{key}' of '{perturbation}' {lack} in the reference, and cannot be divided by: take "
                             'another reference')
    return {perturbation: 100 * value / reference[key][perturbation] for perturbation, value in values.items()}


def _is_distance(value: object) -> bool:
    return is_share(value, sys.float_info.max)


def load_perturbation_reference(path: str | Path) -> dict:
    """Load the stability of a reference network from a JSON file.

    The file has ``{"source": text, "difficulty": 1 to 3, "flip": {perturbation: probability}, "top5": {perturbation:
    distance}}``.

    Raises:
        SetupError: If it cannot be read or has another format, or for ``'alexnet'``, whose values are not published.
    """
    if path == 'alexnet':
        raise SetupError("AlexNet's values on ImageNet-P are not published: measure them by "
                         'tools/test_robustness.py configs/robustness/alexnet_imagenet.py pretrained '
                         '--benchmark imagenet-p, and give the JSON file of its values as the reference')
    reference = read_reference(path, ('source', 'difficulty', 'flip', 'top5'))
    if reference['difficulty'] not in DIFFICULTIES:
        raise SetupError(f"'difficulty' of the reference '{path}' must be 1, 2 or 3, but is "
                         f"{reference['difficulty']!r}")
    for key, valid, form in (('flip', is_share, 'shares in [0, 1]'), ('top5', _is_distance, 'distances')):
        values = reference[key]
        if not isinstance(values, dict) or not values or not all(map(valid, values.values())):
            raise SetupError(f"'{key}' of the reference '{path}' must map perturbations to {form}, but is {values!r}")
    return reference
