"""Metric for ImageNet-P, see :mod:`mmgcp.robustness.perturbations`."""
from collections.abc import Sequence
from typing import Any

import numpy as np
import torch
from mmengine.evaluator import BaseMetric
from torch import Tensor

from mmgcp.registry import METRICS
from mmgcp.robustness.outcomes import pack_flips
from mmgcp.robustness.perturbations import (
    DIFFICULTIES,
    NOISES,
    PERTURBATIONS,
    flip_probability,
    load_perturbation_reference,
    stability,
    top5_distance,
)
from mmgcp.utils.errors import SetupError

from .common import count_unreadable, name_means, read_tags, stack_scores


def rank_top5(scores: Tensor) -> Tensor:
    """Rank the five best of (T, classes) scores: (T, 5) class ids on the CPU; of equal scores, the lower id first."""
    return torch.sort(scores, dim=1, descending=True, stable=True).indices[:, :5].cpu()


@METRICS.register_module()
class PerturbationStability(BaseMetric):
    """Flip probability and top-5 distance of sequences of perturbed images, and their means relative to a reference.

    A sample is a frame with ``perturbation``, ``sequence`` (its name), ``frame`` (from 0), ``frames`` (length of the
    sequence) and ``difficulty``. All frames of a sequence come in one batch, in order. Sequences with
    ``unreadable=True`` in a frame are counted, logged, and excluded.

    The metrics are ``flip/{perturbation}`` (%), ``top5/{perturbation}``, ``sequences/{perturbation}`` (a count),
    ``unreadable/{perturbation}`` (a count, if not 0) and, with a reference, ``mFR`` and ``mT5D`` (%).

    Args:
        reference (str, optional): JSON file, see :func:`~mmgcp.robustness.perturbations.load_perturbation_reference`.
        partial (bool): If perturbations are missing, return ``partial_mFR`` and ``partial_mT5D`` over the others
            instead of no mean and a warning. Default: False.
        collect_device (str): As in MMEngine. Default: ``'cpu'``.
        prefix (str, optional): Prefix of the metrics' names. Default: none.

    Attributes:
        outcomes (dict[str, dict]): On rank 0, :func:`~mmgcp.robustness.outcomes.pack_flips` of each perturbation.

    Raises:
        SetupError: If the reference cannot be read.
    """
    default_prefix = ''

    def __init__(self, reference: str | None = None, partial: bool = False, collect_device: str = 'cpu',
                 prefix: str | None = None) -> None:
        super().__init__(collect_device, prefix)
        self.reference = None if reference is None else load_perturbation_reference(reference)
        self.partial = partial
        self.outcomes = {}

    def process(self, data_batch: Any, data_samples: Sequence[dict]) -> None:
        """Record the tags and the stability of each sequence (None if unreadable)."""
        # One entry per sequence, readable or not: MMEngine truncates the gathered results to the length of the data.
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
        """Average over the sequences of each perturbation, and over the perturbations."""
        if not results:
            raise SetupError('PerturbationStability has seen no sequences: check the data set')
        difficulties = {difficulty for _, _, difficulty, _, _ in results}
        if len(difficulties) > 1:
            raise SetupError(f'the data have difficulties {sorted(difficulties)}: measure each separately')
        metrics, flip, top5 = {}, {}, {}
        for perturbation in dict.fromkeys(result[0] for result in results):
            sequences = [result for result in results if result[0] == perturbation]
            readable = [result for result in sequences if result[-1] is not None]
            metrics |= count_unreadable(perturbation, [name for _, name, *_, values in sequences if values is None])
            if readable:
                _check_lengths(readable)
                flip[perturbation], top5[perturbation] = np.mean([result[-1] for result in readable], axis=0).tolist()
                self.outcomes[perturbation] = _pack(sequences, readable[0][3])
                metrics[f'sequences/{perturbation}'] = len(readable)
                metrics[f'flip/{perturbation}'] = 100 * flip[perturbation]
                metrics[f'top5/{perturbation}'] = top5[perturbation]
        if self.reference is not None:
            _, mfr, _, mt5d = stability(flip, top5, self.reference)
            missing = [perturbation for perturbation in PERTURBATIONS if perturbation not in flip]
            metrics.update(name_means({'mFR': mfr, 'mT5D': mt5d}, missing, self.partial))
        return metrics


def _pack(sequences: Sequence[tuple], frames: int) -> dict:
    perturbation, _, difficulty, _, _ = sequences[0]
    flip, top5 = zip(*(values or (None, None) for *_, values in sequences), strict=True)
    return pack_flips([name for _, name, *_ in sequences], flip, top5,
                      frames - (1 if perturbation in NOISES else difficulty))


def _split(samples: Sequence[dict]) -> list[list[dict]]:
    """Split a batch into sequences, each of which begins at a frame 0."""
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
                             f"frames and '{name}' {others}: generate the data again")
