"""What the metrics of robustness share: reading samples, and naming means over a part of a benchmark."""
import logging
import warnings
from collections.abc import Sequence

import torch
from mmengine.logging import print_log
from torch import Tensor

from mmgcp.utils.errors import SetupError


def read_tags(sample: dict, names: Sequence[str]) -> list:
    """Values that the data set must have put into the meta information of a sample.

    Raises:
        SetupError: If one is missing.
    """
    missing = [name for name in names if name not in sample]
    if missing:
        raise SetupError(f"samples of a robustness metric must carry {', '.join(map(repr, missing))}: take the data "
                         'sets mmgcp.ImageNetC and mmgcp.ImageNetP, or add the names to meta_keys of PackInputs')
    return [sample[name] for name in names]


def stack_scores(samples: Sequence[dict]) -> Tensor:
    """Scores of all classes for all samples.

    Returns:
        Tensor: (N, classes), where the network left them.

    Raises:
        SetupError: If a sample has none, or NaN among them.
    """
    if not all('pred_score' in sample for sample in samples):
        raise SetupError("the network gives no 'pred_score': robustness is measured on classifiers that score classes")
    scores = torch.stack([sample['pred_score'] for sample in samples])
    bad = scores.isnan().any(1)
    if bad.any():
        path = samples[bad.int().argmax()].get('img_path', 'an image')
        raise SetupError(f'the network gives NaN for {path}: test a checkpoint whose training did not diverge')
    return scores


def log_unreadable(name: str, files: Sequence[str]) -> None:
    """Name the files of a set that could not be read."""
    print_log(f"Unreadable and left out of '{name}': {', '.join(files)}", 'current', logging.WARNING)


def name_means(means: dict[str, float | None], missing: Sequence[str], partial: bool) -> dict[str, float]:
    """Means under names that do not hide that a part of the benchmark was not measured.

    Args:
        means (dict[str, float | None]): Means over what was measured, by name; those that are None are left out.
        missing (Sequence[str]): What was not measured.
        partial (bool): Give the means of a part, as ``'partial_mCE'``. Otherwise they are left out, with a warning.
    """
    if missing and not partial:
        warnings.warn(f"No {' and '.join(means)}, for lack of {', '.join(missing)}: measure these too, or set "
                      'partial=True for the means over the rest.', stacklevel=3)
        return {}
    prefix = 'partial_' if missing else ''
    return {prefix + name: value for name, value in means.items() if value is not None}
