"""Robustness in numbers, as in Table 4 (Wang et al., CVPR 2020), on the benchmarks of the catalogue.

Values are in %, except average precisions, which are shares as in MMDetection, and top-5 distances without a reference.
"""
import math
from collections.abc import Mapping, Sequence
from statistics import fmean
from typing import NamedTuple

import numpy as np

from mmgcp.robustness.catalogue import BENCHMARKS
from mmgcp.robustness.corruptions import EXTRA_CORRUPTIONS, corruption_errors
from mmgcp.robustness.outcomes import unpack
from mmgcp.robustness.perturbations import stability
from mmgcp.robustness.reference import mean_or_none

# Kinds of corruptions, perturbations and photos, in the order of the benchmarks. Others are 'extra' and enter no mean.
GROUPS = {
    'noise': ('gaussian_noise', 'shot_noise', 'impulse_noise', 'blue_noise_sample', 'brownish_noise', 'perlin_noise',
              'plasma_noise', 'single_frequency_greyscale', 'cocentric_sine_waves', 'iso_noise'),
    'blur': ('defocus_blur', 'glass_blur', 'motion_blur', 'zoom_blur', 'near_focus', 'far_focus', 'xy_motion_blur',
             'z_motion_blur'),
    'weather': ('snow', 'frost', 'fog', 'brightness', 'fog_3d', 'flash', 'low_light', 'sparkles', 'inverse_sparkles',
                'caustic_refraction'),
    'digital': ('contrast', 'elastic_transform', 'pixelate', 'jpeg_compression', 'translate', 'rotate', 'tilt',
                'scale', 'checkerboard_cutout', 'bit_error', 'color_quant', 'h265_abr', 'h265_crf'),
    'photos': tuple(kind for form in BENCHMARKS.values() if form.photos for kind in form.kinds),
}
GROUP_OF = {name: group for group, names in GROUPS.items() for name in names}
REPORTED = {'error': ('error', 100), 'flip': ('FP', 100), 'top5': ('uT5D', 1)}  # name and factor of what was measured


class RobustnessResult(NamedTuple):
    """Measurements of a network, by set ('clean', 'fog/3'; 'tilt' of ImageNet-P).

    Those of ImageNet-P are 'flip' in [0, 1], 'top5' (a distance) and 'sequences'; of COCO-C the metrics of
    MMDetection's ``CocoMetric``; of all other benchmarks 'error' in [0, 1] and 'images'.
    """
    name: str  # of the network
    benchmark: str  # a key of BENCHMARKS
    sets: dict[str, dict[str, float]]
    unreadable: Sequence[str] = ()  # files that were left out
    difficulty: int = 1  # of ImageNet-P, 1 to 3
    records: Sequence[Mapping] = ()  # of the sets, for per_image()
    subset: str = ''  # of the photos, as text; empty for all
    origin: str = ''  # how the images were made, as text; empty for the published files

    @property
    def photos(self) -> int | None:
        """Number of photos that all sets are made of; None if unknown."""
        return max((record['items'] for record in self.records), default=None)


class RobustnessSummary(NamedTuple):
    """Numbers of a network; those that need clean images are missing without them.

    The metrics of ImageNet-C are 'clean error', 'mCE', 'relative mCE' (without a reference 'mean error', 'relative mean
    error'); of ImageNet-P 'mFR', 'mT5D' ('mean FP', 'mean uT5D'); of COCO-C, for each average precision, 'bbox_mAP P'
    (clean), 'bbox_mAP mPC', 'bbox_mAP rPC'; of clean images 'clean error'; of other photos 'error', for each variant if
    there are several. Those of a corruption are 'error', 'relative error', 'CE', 'relative CE'; 'FP', 'uT5D', 'FR',
    'T5D'; 'bbox_mAP' etc.
    """
    result: RobustnessResult
    reference: str | None  # source of the reference that divides errors
    metrics: dict[str, float]
    corruptions: dict[str, dict[str, float]]  # means over the severities, in the order of GROUPS
    sets: dict[str, dict[str, float]]  # measurements in the units of this module
    measured: int  # sets that the means are over
    needed: int  # sets of the benchmark
    images: dict[str, np.ndarray]  # (n,) values of the photos, whose means are the metrics, as of per_image()

    def label(self, metric: str) -> str:
        """Name a metric, with the benchmark unless it is in the paper, and marked if it is not over all sets."""
        if metric == 'clean error':
            return metric
        title = ' '.join(filter(None, (BENCHMARKS[self.result.benchmark].title, metric)))
        if self.measured == self.needed or metric.endswith(' P') or metric.removesuffix(' error') in self.sets:
            return title
        return f'partial {title} ({self.measured} of {self.needed} sets)'

    @property
    def headline(self) -> 'RobustnessSummary':
        """The summary with only the clean error and the first other metric, one number for the benchmark."""
        names = [name for name in self.metrics if name != 'clean error']
        return self._replace(metrics={name: value for name, value in self.metrics.items() if name not in names[1:]})


def summaries(results: Sequence[RobustnessResult], reference: Mapping | None = None,
              partial: bool = False) -> list[RobustnessSummary]:
    """Average the measurements of networks on one benchmark, in the order given.

    Args:
        results (Sequence[RobustnessResult]): The networks.
        reference (Mapping, optional): Errors to divide by, see :func:`reference_of`. COCO-C and other photos have none.
        partial (bool): Allow means over part of the sets.

    Raises:
        ValueError: If networks cannot be compared, a set is missing and ``partial`` is not set, a measurement is not
            finite, or the reference does not fit.
    """
    check_comparable(results)
    benchmark, difficulty = results[0].benchmark, results[0].difficulty
    if reference is not None:
        check_divisible(benchmark)
    if reference is not None and benchmark == 'imagenet-p' and reference['difficulty'] != difficulty:
        raise ValueError(f"The reference has difficulty {reference['difficulty']}, the networks were measured with "
                         f'{difficulty}: measure the reference with it too.')
    measured = [_check_complete(result, partial) for result in results]
    for result, known in zip(results, measured, strict=True):
        if known != measured[0]:
            raise ValueError(f"'{result.name}' and '{results[0].name}' were measured on different sets "
                             f'({_listing(known ^ measured[0])}): measure them on the same ones.')
    return [_summarise(result, reference, len(measured[0])) for result in results]


def reference_of(result: RobustnessResult) -> dict:
    """Make a reference of a network that was measured on all corruptions and clean images, or all of ImageNet-P.

    It has the format of :func:`mmgcp.robustness.corruptions.load_corruption_reference` or
    :func:`mmgcp.robustness.perturbations.load_perturbation_reference`.

    Raises:
        ValueError: If a set is missing, a measurement is not finite, or the benchmark has no reference.
    """
    check_divisible(result.benchmark)
    _check_complete(result, partial=False)
    made = {'source': f'{result.name} on {result.benchmark}', 'subset': result.subset, 'origin': result.origin}
    if result.benchmark == 'imagenet-p':
        return {**made, 'difficulty': result.difficulty,
                **{key: {name: entry[key] for name, entry in result.sets.items()} for key in ('flip', 'top5')}}
    if 'clean' not in result.sets:
        raise ValueError(f"'{result.name}' was not measured on clean images: a reference needs their error.")
    errors = {name: [share for _, share in sorted(by_severity.items())]
              for name, by_severity in _by_corruption(result.sets, 'error').items() if len(by_severity) == 5}
    return {**made, 'clean': result.sets['clean']['error'], 'errors': errors}


def check_divisible(benchmark: str) -> None:
    """Raise a ValueError if a benchmark's measurements are not divided by those of a reference."""
    form = BENCHMARKS[benchmark]
    if form.measure == 'precision':
        raise ValueError('COCO-C has no reference: rPC is relative to the clean images.')
    if form.photos:
        raise ValueError(f'{benchmark} has no reference: its errors are not divided.')


def per_image(records: Sequence[Mapping], metric: str, reference: Mapping | None = None) -> np.ndarray | None:
    """Compute a metric of each photo; metrics of ImageNet-C and ImageNet-P are means over the photos.

    Args:
        records (Sequence[Mapping]): Records of a network's sets, from :class:`mmgcp.apis.robustness.BenchmarkLoop`.
        metric (str): 'clean error', 'mean error', 'relative mean error' (corrupted minus clean), 'mean FP' or
            'mean uT5D'; with a reference 'mCE', 'relative mCE', 'mFR' or 'mT5D'. Over ``records``, without extra ones.
        reference (Mapping, optional): Errors to divide by, as for :func:`summaries`.

    Returns:
        np.ndarray | None: (n,) values whose mean is the metric, in its unit, sorted by the photos' file names. None if
        a set is missing, was recorded without outcomes or has other photos, and for metrics of detectors.
    """
    return _by_image(records, reference).get(metric)


def _by_image(records, reference):
    """Compute metrics per photo: the formulas are linear, so they apply to single photos as to means."""
    outcomes, photos = [record.get('outcomes') for record in records], _photos_of(records)
    if not outcomes or None in outcomes:
        return {}
    if len({*photos.values()}) > 1 and any(GROUP_OF.get(name) != 'photos' for name in photos):
        return {}
    sets = {record['set']: unpack(record['outcomes'], record['items']) for record in records}
    return (_stability if 'flip' in outcomes[0] else _errors)(sets, reference)[0]


def paired_error(left: RobustnessSummary, right: RobustnessSummary, metric: str) -> float | None:
    """Compute the standard error over photos of the difference of two networks; None unless photos are the same."""
    ours, theirs = (_photos_of(summary.result.records) for summary in (left, right))
    if (any(ours[name] != theirs[name] for name in ours.keys() & theirs) or metric not in left.images
            or metric not in right.images or len(left.images[metric]) < 2):
        return None
    difference = left.images[metric] - right.images[metric]
    return float(np.std(difference, ddof=1) / len(difference) ** 0.5)


def _photos_of(records):
    """Return checksums of the photos' names, by set."""
    return {record['set']: (record.get('outcomes') or {}).get('photos') for record in records}


def main_metrics(summary: RobustnessSummary) -> list[str]:
    """List the metrics by corruption that tables and figures show."""
    measure, divided = BENCHMARKS[summary.result.benchmark].measure, summary.reference is not None
    if measure == 'precision':
        return [metric for metric in next(iter(summary.corruptions.values())) if metric.endswith('mAP')]
    if measure == 'flip':
        return ['FR', 'T5D'] if divided else ['FP', 'uT5D']
    return ['CE' if divided else 'error']


def rows_of(summaries: Sequence[RobustnessSummary], metric: str) -> list[tuple[str, str]]:
    """List group and name of the corruptions that have a metric in any network, in the order of :data:`GROUPS`."""
    names = {name for summary in summaries for name, values in summary.corruptions.items() if metric in values}
    return [(GROUP_OF.get(name, 'extra'), name) for name in _in_order(names)]


def severity_curve(summary: RobustnessSummary, metric: str) -> tuple[list[int], list[float]]:
    """Average 'error', or a metric of COCO-C, over the corruptions without extra ones, by severity; 0 is clean.

    Return the severities that all measured corruptions have, and the means.
    """
    values = {name: by_severity for name, by_severity in _by_corruption(summary.sets, metric).items()
              if name in GROUP_OF}
    common = sorted(set.intersection(*map(set, values.values())))
    means = [fmean(by_severity[severity] for by_severity in values.values()) for severity in common]
    if metric in summary.sets.get('clean', {}):
        return [0, *common], [summary.sets['clean'][metric], *means]
    return common, means


def check_comparable(results: Sequence[RobustnessResult]) -> None:
    """Raise a ValueError unless networks of different names were measured on one benchmark."""
    if not results:
        raise ValueError('There are no measurements of robustness: measure a network first.')
    for result in results:
        if (result.benchmark, result.difficulty) != (results[0].benchmark, results[0].difficulty):
            raise ValueError(f"'{result.name}' was measured on {result.benchmark}, difficulty {result.difficulty}, "
                             f"'{results[0].name}' on {results[0].benchmark}, difficulty {results[0].difficulty}: "
                             'compare networks on one benchmark.')
        if [other.name for other in results].count(result.name) > 1:
            raise ValueError(f"Several networks are called '{result.name}': give each its own name.")


def _check_complete(result, partial):
    """Check a network's measurements, and return the names of the benchmark's sets among them."""
    for name, entry in result.sets.items():
        for key, value in entry.items():
            if isinstance(value, float) and not math.isfinite(value):
                raise ValueError(f"The measurement '{key}' of '{result.name}' on {name} is {value}: measure this set "
                                 'again.')
    needed = BENCHMARKS[result.benchmark].sets()
    missing = [name for name in needed if name not in result.sets]
    if len(missing) == len(needed) or missing and not partial:
        raise ValueError(f"'{result.name}' lacks {len(missing)} of the {len(needed)} sets of {result.benchmark}: "
                         f'{_listing(missing)}. Measure them: only partial means do with fewer.')
    return {name for name in needed if name in result.sets}


def _summarise(result, reference, measured):
    form = BENCHMARKS[result.benchmark]
    if form.measure == 'precision':
        metrics, corruptions = _precision(result)
    else:
        metrics, corruptions = (_errors if form.measure == 'error' else _stability)(result.sets, reference)
    corruptions = {name: corruptions[name] for name in _in_order(corruptions)}
    sets = {name: _reported(entry) for name, entry in result.sets.items()}
    return RobustnessSummary(result, reference and reference['source'], metrics, corruptions, sets, measured,
                             len(form.sets()), _by_image(result.records, reference))


def _errors(sets, reference):
    """Compute errors by corruption and severity, or of each set of photos."""
    if any('/' in name for name in sets):
        return _corruption_errors(sets, reference)
    errors = {name: {'error': 100 * entry['error']} for name, entry in sets.items()}
    names = {name: 'error' if name in BENCHMARKS and name != 'clean' else f'{name} error' for name in errors}
    return {names[name]: value['error'] for name, value in errors.items()}, errors


def _corruption_errors(sets, reference):
    errors = _by_corruption(sets, 'error')
    clean = sets.get('clean', {}).get('error')
    name, mean = ('CE', 'mCE') if reference else ('error', 'mean error')
    corruptions = {c: {'error': 100 * mean_or_none(values.values())} for c, values in errors.items()}
    if reference:  # extra corruptions that it lacks have only an error
        errors = {c: values for c, values in errors.items()
                  if c in reference['errors'] or c not in EXTRA_CORRUPTIONS}
    scores = corruption_errors(errors, clean, reference)
    for c in errors:
        corruptions[c] |= {name: scores.ce[c]} | ({} if clean is None else {f'relative {name}': scores.relative_ce[c]})
    if clean is None:
        return {mean: scores.mce}, corruptions
    return {'clean error': 100 * clean, mean: scores.mce, f'relative {mean}': scores.relative_mce}, corruptions


def _stability(sets, reference):
    scores = stability(*({p: entry[key] for p, entry in sets.items()} for key in ('flip', 'top5')), reference)
    perturbations = {p: {'FP': 100 * entry['flip'], 'uT5D': entry['top5']} for p, entry in sets.items()}
    if not reference:
        return {'mean FP': scores.mfr, 'mean uT5D': scores.mt5d}, perturbations
    for p in perturbations:
        perturbations[p] |= {'FR': scores.fr[p], 'T5D': scores.t5d[p]}
    return {'mFR': scores.mfr, 'mT5D': scores.mt5d}, perturbations


def _precision(result):
    """Compute P (clean), mPC (mean over corruptions) and rPC (quotient in %) of Michaelis et al., arXiv:1907.07484."""
    sets = {name: _reported(entry) for name, entry in result.sets.items()}
    names = [metric for metric in next(iter(sets.values()))
             if 'mAP' in metric and all(metric in entry for entry in sets.values())]
    if not names:
        raise ValueError(f"'{result.name}' has no mAP that all its sets have: measure it with one CocoMetric.")
    metrics, corruptions = {}, {}
    for metric in names:
        means = {c: fmean(values.values()) for c, values in _by_corruption(sets, metric).items()}
        for c, mean in means.items():
            corruptions.setdefault(c, {})[metric] = mean
        mean, clean = fmean(mean for c, mean in means.items() if c in GROUP_OF), sets.get('clean')
        if clean:
            metrics[f'{metric} P'] = clean[metric]
        metrics[f'{metric} mPC'] = mean
        if clean and clean[metric]:
            metrics[f'{metric} rPC'] = 100 * mean / clean[metric]
    return metrics, corruptions


def _reported(entry):
    """Measurements of a set in the units of this module, without MMDetection's -1 (no such objects) and texts."""
    numbers = {key: value for key, value in entry.items() if not isinstance(value, str) and value != -1}
    named = {key: REPORTED.get(key, (key.rpartition('/')[2], 1)) for key in numbers}
    return {name: factor * numbers[key] for key, (name, factor) in named.items()}


def _by_corruption(sets, metric):
    """Collect the values of a metric, ``{corruption: {severity: value}}``."""
    values = {}
    for name, entry in sets.items():
        corruption, _, severity = name.partition('/')
        if severity and metric in entry:
            values.setdefault(corruption, {})[int(severity)] = entry[metric]
    return values


def _in_order(names):
    return [*(name for name in GROUP_OF if name in names), *sorted(set(names) - set(GROUP_OF))]


def _listing(names):
    """Join names of sets, all five severities of a corruption in one."""
    severities = {}
    for name in sorted(names):
        corruption, _, severity = name.partition('/')
        severities.setdefault(corruption, []).append(severity)
    return ', '.join(f'{corruption}/{"1-5" if len(known) == 5 else ",".join(known)}'.rstrip('/')
                     for corruption, known in severities.items())
