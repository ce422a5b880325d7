"""Helpers of the robustness metrics: read samples, and name means over part of a benchmark."""
import logging
import warnings
from collections.abc import Sequence

import torch
from mmengine.logging import print_log
from torch import Tensor

from mmgcp.utils.errors import SetupError


def read_tags(sample: dict, names: Sequence[str]) -> list:
    """Read values from the meta information of a sample, or raise SetupError if one is missing."""
    missing = [name for name in names if name not in sample]
    if missing:
        raise SetupError(f"samples of a robustness metric must carry {', '.join(map(repr, missing))}: take the data "
                         'sets mmgcp.ImageNetC and mmgcp.ImageNetP, or add the names to meta_keys of PackInputs')
    return [sample[name] for name in names]


def stack_scores(samples: Sequence[dict]) -> Tensor:
    """Stack the class scores of N samples to (N, classes), or raise SetupError if some are missing or NaN."""
    if not all('pred_score' in sample for sample in samples):
        raise SetupError("the network gives no 'pred_score': robustness is measured on classifiers that score classes")
    scores = torch.stack([sample['pred_score'] for sample in samples])
    bad = scores.isnan().any(1)
    if bad.any():
        path = samples[bad.int().argmax()].get('img_path', 'an image')
        raise SetupError(f'the network gives NaN for {path}: test a checkpoint whose training did not diverge')
    return scores


def count_unreadable(name: str, files: Sequence[str]) -> dict[str, int]:
    """Count the files of a set that could not be read, and log them if there are any."""
    if not files:
        return {}
    print_log(f"Unreadable and left out of '{name}': {', '.join(files)}", 'current', logging.WARNING)
    return {f'unreadable/{name}': len(files)}


def name_means(means: dict[str, float | None], missing: Sequence[str], partial: bool) -> dict[str, float]:
    """Name means over part of a benchmark ``partial_...``, or warn and return none unless ``partial`` is set."""
    if missing and not partial:
        warnings.warn(f"No {' and '.join(means)} without {', '.join(missing)}: measure these too, or set "
                      'partial=True for the means over the rest.', stacklevel=3)
        return {}
    prefix = 'partial_' if missing else ''
    return {prefix + name: value for name, value in means.items() if value is not None}
