"""Metric for ImageNet-C and other errors of classification, see :mod:`mmgcp.robustness.corruptions`."""
from collections.abc import Mapping, Sequence
from typing import Any

import torch
from mmengine.evaluator import BaseMetric

from mmgcp.registry import METRICS
from mmgcp.robustness.corruptions import (
    C_BAR,
    CORRUPTIONS,
    SEVERITIES,
    THREE_D,
    corruption_errors,
    load_corruption_reference,
)
from mmgcp.robustness.outcomes import pack_errors
from mmgcp.robustness.reference import is_share
from mmgcp.utils.errors import SetupError

from .common import count_unreadable, name_means, read_tags, stack_scores


@METRICS.register_module()
class CorruptionError(BaseMetric):
    """Errors on clean and corrupted images, CE, relative CE and their means, all in %.

    A sample has ``corruption`` and ``severity`` (``'clean'`` and 0 for a clean image), and ``unreadable=True`` if its
    image could not be read. Unreadable images are counted, logged, and excluded. If the data set names ``labels`` in
    its meta information, as :class:`mmgcp.ImageNetC` does for ImageNet-A and -R, scores of other classes are ignored.

    The metrics are ``error/{corruption}/{severity}``, ``images/{corruption}/{severity}`` (a count),
    ``unreadable/{corruption}/{severity}`` (a count, if not 0), ``CE/{corruption}``, ``mCE`` and, if the clean error is
    known, ``relative_CE/{corruption}`` and ``relative_mCE``; without a reference ``mean_error`` instead of ``CE`` and
    ``mCE``. The means are over the 15 corruptions at 5 severities (10 of ImageNet-C-bar, 12 of ImageNet-3DCC); other
    corruptions get a CE if the reference has them.

    Args:
        reference (str, optional): Argument of :func:`~mmgcp.robustness.corruptions.load_corruption_reference`; None for
            plain means. Default: ``'alexnet'``, which was measured on the published files: set None for other images.
        clean_error (float, optional): Error on clean images as a fraction, if the data contain none.
        partial (bool): If sets are missing, return ``partial_mCE`` and ``partial_relative_mCE`` over the others instead
            of no mean and a warning. Default: False.
        clean (bool): Treat all samples as clean images, which then need no tags. Default: False.
        collect_device (str): As in MMEngine. Default: ``'cpu'``.
        prefix (str, optional): Prefix of the metrics' names. Default: none.

    Attributes:
        outcomes (dict[str, dict]): On rank 0, :func:`~mmgcp.robustness.outcomes.pack_errors` by set, as ``'fog/3'``.

    Raises:
        SetupError: If the reference cannot be read, or ``clean_error`` is not in [0, 1].
    """
    default_prefix = ''

    def __init__(self, reference: str | None = 'alexnet', clean_error: float | None = None, partial: bool = False,
                 clean: bool = False, collect_device: str = 'cpu', prefix: str | None = None) -> None:
        super().__init__(collect_device, prefix)
        if clean_error is not None and not is_share(clean_error):
            raise SetupError(f'clean_error must be a share in [0, 1], but is {clean_error!r}')
        self.reference = None if reference is None else load_corruption_reference(reference)
        self.clean_error = clean_error
        self.partial = partial
        self.clean = clean
        self.outcomes = {}

    def process(self, data_batch: Any, data_samples: Sequence[dict]) -> None:
        """Record the set and file of each image, and whether it is misclassified (None if it is unreadable)."""
        sets = [self._set_of(sample) for sample in data_samples]
        meta = self.dataset_meta or {}
        readable = [sample for sample in data_samples if not sample.get('unreadable')]
        wrong = iter(_wrong(readable, meta.get('classes'), meta.get('labels')))
        # One entry per image, readable or not: MMEngine truncates the gathered results to the length of the data.
        for (corruption, severity), sample in zip(sets, data_samples, strict=True):
            outcome = None if sample.get('unreadable') else next(wrong)
            self.results.append((corruption, severity, str(sample.get('img_path', 'an image')), outcome))

    def _set_of(self, sample: dict) -> tuple[str, int]:
        if self.clean:
            return 'clean', 0
        corruption, severity = read_tags(sample, ('corruption', 'severity'))
        if severity not in ((0, ) if corruption == 'clean' else SEVERITIES):
            raise SetupError(f"'{corruption}' has no severity {severity!r}: corrupted images have 1 to 5, and clean "
                             "ones are corruption='clean', severity=0")
        if corruption in CORRUPTIONS and self.reference and corruption not in self.reference['errors']:
            raise SetupError(f"the reference has no errors on '{corruption}': give a reference that was measured on "
                             'it, or reference=None')
        return corruption, severity

    def compute_metrics(self, results: list[tuple[str, int, str, bool | None]]) -> dict[str, float]:
        """Compute percentages and counts."""
        if not results:
            raise SetupError('CorruptionError has seen no images: check the data set')
        sets, metrics, errors = {}, {}, {}
        for corruption, severity, file, outcome in results:
            sets.setdefault((corruption, severity), []).append((file, outcome))
        for (corruption, severity), seen in sets.items():
            files, known = zip(*seen, strict=True)
            wrong, right = known.count(True), known.count(False)
            name = f'{corruption}/{severity}'
            metrics |= count_unreadable(name, [file for file, outcome in seen if outcome is None])
            if wrong + right:
                self.outcomes[name] = pack_errors(files, known)
                metrics[f'images/{name}'] = wrong + right
                error = wrong / (wrong + right)
                metrics[f'error/{name}'] = 100 * error
                errors.setdefault(corruption, {})[severity] = error
        clean = errors.pop('clean', {0: self.clean_error})[0]
        if not errors:  # clean images alone
            return metrics
        measured = {corruption: shares for corruption, shares in errors.items()
                    if self.reference is None or corruption in self.reference['errors']}
        ce, mce, relative_ce, relative_mce = corruption_errors(measured, clean, self.reference)
        one, mean = ('CE', 'mCE') if self.reference else ('mean_error', 'mean_error')
        metrics |= {f'{one}/{corruption}': value for corruption, value in ce.items()}
        metrics |= {f'relative_{one}/{corruption}': value for corruption, value in (relative_ce or {}).items()}
        means = {mean: mce} if clean is None else {mean: mce, f'relative_{mean}': relative_mce}
        return metrics | name_means(means, _missing(errors), self.partial)


def _wrong(samples: Sequence[dict], classes: Sequence[str] | None, known: Sequence[int] | None) -> list[bool]:
    """Whether each sample is misclassified, by the scores of the classes that are ``known`` to occur.

    Ties go to the first class.
    """
    if not samples:
        return []
    scores = stack_scores(samples)
    if classes and len(classes) != scores.shape[1]:
        raise SetupError(f'the data have {len(classes)} classes and the network {scores.shape[1]}, so that labels do '
                         'not mean the same: test on the classes that it was trained on')
    labels = torch.cat([sample['gt_label'] for sample in samples]).to(scores.device)
    if labels.max() >= scores.shape[1]:
        raise SetupError(f'the data have the label {int(labels.max())}, but the network knows {scores.shape[1]} '
                         'classes: test on the classes that it was trained on')
    if known is not None:
        masked = torch.full_like(scores, -torch.inf)
        masked[:, known] = scores[:, known]
        scores = masked
    return (scores.argmax(1) != labels).tolist()


def _missing(errors: Mapping[str, Mapping[int, float]]) -> list[str]:
    """List the sets of the benchmark that are missing, such as ``'snow'`` (all severities) or ``'fog (2, 3)'``."""
    missing = []
    for corruption in next((kinds for kinds in (C_BAR, THREE_D) if set(kinds) & set(errors)), CORRUPTIONS):
        severities = [severity for severity in SEVERITIES if severity not in errors.get(corruption, {})]
        if severities:
            part = f" ({', '.join(map(str, severities))})" if corruption in errors else ''
            missing.append(corruption + part)
    return missing
