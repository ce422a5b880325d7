"""Stability under small perturbations: ImageNet-P of Hendrycks & Dietterich, *Benchmarking neural network robustness to
common corruptions and perturbations*, ICLR 2019 (mFR and mT5D of Table 4)."""
import math
from collections.abc import Mapping, Sequence
from numbers import Real
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import torch
from mmengine.evaluator import BaseMetric
from numpy.typing import ArrayLike
from torch import Tensor

from mmgcp.registry import METRICS
from mmgcp.utils.errors import SetupError

from .common import is_share, log_unreadable, mean_or_none, name_means, read_reference, read_tags, stack_scores

PERTURBATIONS = ('gaussian_noise', 'shot_noise', 'motion_blur', 'zoom_blur', 'brightness', 'translate', 'rotate',
                 'tilt', 'scale', 'snow')
# Their frames are noisy independently of each other, and are therefore compared with the first.
NOISES = ('gaussian_noise', 'shot_noise')
DIFFICULTIES = (1, 2, 3)


def rank_top5(scores: Tensor) -> Tensor:
    """The five classes with the highest scores, best first; of equal ones the lower class id comes first.

    Args:
        scores (Tensor): (T, classes).

    Returns:
        Tensor: (T, 5) class ids on the CPU, or (T, classes) if there are fewer classes.
    """
    return torch.sort(scores, dim=1, descending=True, stable=True).indices[:, :5].cpu()


def flip_probability(top1: ArrayLike, noise: bool, difficulty: int = 1) -> float:
    """Share of the frames of a sequence whose class differs from that of the frame they are compared with.

    A frame is compared with the frame ``difficulty`` before, or, under noise, with the first; the difficulty of noise
    is in the images.

    Args:
        top1 (ArrayLike): (T,) class ids.
        noise (bool): Whether the perturbation is one of :data:`NOISES`.
        difficulty (int): From 1 to 3. Default: 1.

    Raises:
        ValueError: If the difficulty does not exist, or there are too few frames to compare.
    """
    before, after = _pairs(top1, 1, noise, difficulty)
    return float(np.mean(before != after))


def top5_distance(top5: ArrayLike, noise: bool, difficulty: int = 1) -> float:
    r"""Mean top-5 distance of the frames of a sequence to those they are compared with.

    With :math:`\sigma(i)` the rank in the later frame of the class that has rank i in the earlier one, the distance
    :math:`\sum_{i=1}^5 \sum_{j=\min(i,\sigma(i))+1}^{\max(i,\sigma(i))} 1(1 \le j - 1 \le 5)` equals
    :math:`\sum_{i=1}^5 |\min(i - 1, 5) - \min(\sigma(i) - 1, 5)|`, for which the first five ranks suffice.

    Args:
        top5 (ArrayLike): (T, 5) class ids, best first, as :func:`rank_top5` gives them; fewer columns if there are
            fewer classes in all.
        noise (bool): Whether the perturbation is one of :data:`NOISES`.
        difficulty (int): From 1 to 3, as in :func:`flip_probability`. Default: 1.

    Raises:
        ValueError: If the difficulty does not exist, there are too few frames to compare, or more than five columns.
    """
    before, after = _pairs(top5, 2, noise, difficulty)
    if before.shape[1] > 5:
        raise ValueError(f'top5_distance takes the five best classes of each frame, got {before.shape[1]}')
    same = before[:, :, None] == after[:, None, :]
    later = np.where(same.any(2), same.argmax(2), 5)
    return float(np.abs(np.arange(before.shape[1]) - later).sum(1).mean())


def _pairs(frames: ArrayLike, dims: int, noise: bool, difficulty: int) -> tuple[np.ndarray, np.ndarray]:
    """What is compared: the earlier and the later frames."""
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
    """Stability of a network; lower is better.

    Attributes:
        fr (dict[str, float]): Flip rate of each perturbation in %, 100 being that of the reference; without a
            reference the flip probability in %.
        mfr (float | None): Its mean over the 10 perturbations, or those of them that were measured; None without any.
        t5d (dict[str, float]): Top-5 distance of each in % of the reference's; without a reference the plain distance.
        mt5d (float | None): Its mean, likewise.
    """
    fr: dict[str, float]
    mfr: float | None
    t5d: dict[str, float]
    mt5d: float | None


def stability(flip: Mapping[str, float], top5: Mapping[str, float], reference: Mapping | None = None) -> Stability:
    """Flip rates, top-5 distances and their means.

    Args:
        flip (Mapping[str, float]): Flip probability in [0, 1] by perturbation, the mean over the sequences.
        top5 (Mapping[str, float]): Top-5 distance by perturbation, likewise.
        reference (Mapping, optional): Another network, as :func:`load_reference` reads it.

    Raises:
        ValueError: If the two are not of the same perturbations, one of these does not exist, a value is none, or the
            reference lacks a perturbation or never changes its predictions on it.
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
    return isinstance(value, Real) and 0 <= value < math.inf


def load_reference(path: str | Path) -> dict:
    """Stability of the network that others are divided by.

    Args:
        path (str | Path): JSON file ``{"source": text, "difficulty": 1 to 3, "flip": {perturbation: share},
            "top5": {perturbation: distance}}``.

    Raises:
        SetupError: If the file cannot be read or has another form, or for ``'alexnet'``, whose values are published
            nowhere.
    """
    if path == 'alexnet':
        raise SetupError("AlexNet's values on ImageNet-P are published nowhere: measure them by "
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


@METRICS.register_module()
class PerturbationStability(BaseMetric):
    """Flip probability and top-5 distance of sequences of perturbed images, and the means of the reference's share.

    A sample is a frame and carries ``perturbation``, ``sequence`` (its name), ``frame`` (from 0), ``frames`` (how many
    the sequence has) and ``difficulty``. All frames of a sequence come in one batch, in order. A sequence of which a
    frame has ``unreadable=True`` is counted, named in the log, and otherwise left out.

    The metrics are ``flip/{perturbation}`` (%), ``top5/{perturbation}``, ``sequences/{perturbation}`` (a count),
    ``unreadable/{perturbation}`` (a count, where not 0) and, with a reference, ``mFR`` and ``mT5D`` (%).

    Args:
        reference (str, optional): JSON file that :func:`load_reference` reads.
        partial (bool): If perturbations are missing, give ``partial_mFR`` and ``partial_mT5D`` over the others.
            Otherwise there is no mean then, and a warning. Default: False.
        collect_device (str): As in MMEngine. Default: ``'cpu'``.
        prefix (str, optional): Put before the names of the metrics. Default: none.

    Raises:
        SetupError: If the reference cannot be read.
    """
    default_prefix = ''

    def __init__(self,
                 reference: str | None = None,
                 partial: bool = False,
                 collect_device: str = 'cpu',
                 prefix: str | None = None) -> None:
        super().__init__(collect_device, prefix)
        self.reference = None if reference is None else load_reference(reference)
        self.partial = partial

    def process(self, data_batch: Any, data_samples: Sequence[dict]) -> None:
        """Note for each sequence what it is and how stable (None: unreadable).

        Raises:
            SetupError: If a sample lacks a tag or scores, a perturbation or difficulty is not known or not that of the
                reference, or a sequence is incomplete or too short.
        """
        # One entry for each sequence, unreadable or not: MMEngine cuts the results of all processes to their number.
        for samples in _split(data_samples):
            perturbation, name, difficulty = read_tags(samples[0], ('perturbation', 'sequence', 'difficulty'))
            self._check(perturbation, difficulty)
            values = None
            if not any(sample.get('unreadable') for sample in samples):
                _check_complete(samples)
                noise = perturbation in NOISES
                if len(samples) <= (1 if noise else difficulty):
                    raise SetupError(f"the sequence '{name}' of '{perturbation}' has {len(samples)} frame(s), too few "
                                     f'for difficulty {difficulty}')
                top5 = rank_top5(stack_scores(samples)).numpy()
                values = flip_probability(top5[:, 0], noise, difficulty), top5_distance(top5, noise, difficulty)
            self.results.append((perturbation, name, difficulty, len(samples), values))

    def _check(self, perturbation: str, difficulty: int) -> None:
        if perturbation not in PERTURBATIONS or difficulty not in DIFFICULTIES:
            raise SetupError(f"there is no perturbation '{perturbation}' of difficulty {difficulty!r}: choose from "
                             f"{', '.join(PERTURBATIONS)}, and from 1, 2, 3")
        if self.reference is None:
            return
        if difficulty != self.reference['difficulty']:
            raise SetupError(f'the data have difficulty {difficulty}, but the reference '
                             f"{self.reference['difficulty']}: give one that was measured at the same")
        if not self.reference['flip'].get(perturbation) or not self.reference['top5'].get(perturbation):
            raise SetupError(f"the reference must have a flip probability and a distance above 0 for '{perturbation}': "
                             'give one that was measured on it')

    def compute_metrics(self, results: list[tuple]) -> dict[str, float]:
        """Means over the sequences of each perturbation, and over the perturbations.

        Raises:
            SetupError: If there is no sequence at all, or there are several difficulties, or several lengths of
                sequences of one perturbation.
        """
        if not results:
            raise SetupError('PerturbationStability has seen no sequences: look at the data set')
        difficulties = {difficulty for _, _, difficulty, _, _ in results}
        if len(difficulties) > 1:
            raise SetupError(f'the data have difficulties {sorted(difficulties)}: measure each by itself')
        metrics, flip, top5 = {}, {}, {}
        for perturbation in dict.fromkeys(result[0] for result in results):
            sequences = [result for result in results if result[0] == perturbation]
            readable = [result for result in sequences if result[-1] is not None]
            if unreadable := [name for _, name, _, _, values in sequences if values is None]:
                metrics[f'unreadable/{perturbation}'] = len(unreadable)
                log_unreadable(perturbation, unreadable)
            if readable:
                _check_lengths(readable)
                flip[perturbation], top5[perturbation] = np.mean([result[-1] for result in readable], axis=0).tolist()
                metrics[f'sequences/{perturbation}'] = len(readable)
                metrics[f'flip/{perturbation}'] = 100 * flip[perturbation]
                metrics[f'top5/{perturbation}'] = top5[perturbation]
        if self.reference is not None:
            _, mfr, _, mt5d = stability(flip, top5, self.reference)
            missing = [perturbation for perturbation in PERTURBATIONS if perturbation not in flip]
            metrics.update(name_means({'mFR': mfr, 'mT5D': mt5d}, missing, self.partial))
        return metrics


def _split(samples: Sequence[dict]) -> list[list[dict]]:
    """Frames of a batch by sequence: one begins at each frame 0."""
    sequences = []
    for sample in samples:
        frame, = read_tags(sample, ('frame', ))
        if frame == 0 or not sequences:
            sequences.append([])
        sequences[-1].append(sample)
    return sequences


def _check_complete(samples: Sequence[dict]) -> None:
    names = ('perturbation', 'sequence', 'difficulty', 'frames', 'frame')
    tags = [tuple(read_tags(sample, names)) for sample in samples]
    perturbation, sequence, difficulty, frames, _ = tags[0]
    if tags != [(perturbation, sequence, difficulty, frames, frame) for frame in range(frames)]:
        raise SetupError(f"the {frames} frames of the sequence '{sequence}' of '{perturbation}' must come in one "
                         'batch, in order: set collate_fn of the data loader to mmgcp.collate_sequences')


def _check_lengths(results: Sequence[tuple]) -> None:
    perturbation, first, _, frames, _ = results[0]
    for _, name, _, others, _ in results:
        if others != frames:
            raise SetupError(f"all sequences of '{perturbation}' must have the same length, but '{first}' has {frames} "
                             f"frames and '{name}' {others}: make the data anew")
