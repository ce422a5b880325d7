"""The results of a plan as tables: CSV files for whoever wants to go on with the numbers, and what the pages show."""
import math
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from statistics import fmean
from typing import NamedTuple

import numpy as np
from mmengine.config import Config

from mmgcp.analysis.convergence import matching_epoch
from mmgcp.analysis.curvature import curvature_rows
from mmgcp.analysis.figure_2 import landscape_rows
from mmgcp.analysis.robustness import RobustnessResult, summaries
from mmgcp.analysis.robustness_tables import corruption_rows, digits_of
from mmgcp.analysis.tables import save_table
from mmgcp.experiments.results import mean_and_spread
from mmgcp.utils.configs import configs_folder
from mmgcp.utils.logs import Run

from .claims import ACCURACY, Finding, findings
from .measured import BENCHMARKS, Measured, photos_and_sets
from .paper_plan import PaperTraining, Variant
from .smoothness import ratios
from .verdict import REVERSED, WORDS, judge

ACCURACIES = {'top-1': 'accuracy/top1', 'top-5': 'accuracy/top5'}
PRECISIONS = {'box AP': 'coco/bbox_mAP', 'mask AP': 'coco/segm_mAP'}
SCHEDULES = ('norm', 'fast', 'adju')  # those of Table 2
SHARED = ('python', 'torch', 'torchvision', 'mmengine', 'mmcv', 'mmpretrain', 'mmdet', 'mmgcp', 'hardware', 'threads',
          'commit')


class Table(NamedTuple):
    """A table of text.

    Attributes:
        header (list[str]): Names of the columns.
        rows (list[list[str]]): Cells.
    """
    header: list[str]
    rows: list[list[str]]


def make_tables(measured: Measured) -> dict[str, Table]:
    """All tables of a plan by the names of their files; without those that would be empty."""
    made = {
        'runs': run_table(measured),
        'curves': curve_table(measured),
        'accuracy': accuracy_table(measured),
        'variants': variant_table(measured),
        'representations': representation_table(measured),
        'landscape': landscape_table(measured),
        'curvature': curvature_table(measured),
        'smoothness': smoothness_table(measured),
        'gradients': gradients_table(measured),
        'robustness_c': robustness_means(measured, 'robustness_c'),
        'corruptions': corruption_means(measured, 'robustness_c', 'error'),
        'augmix': augmix_table(measured),
        'robustness_p': robustness_means(measured, 'robustness_p'),
        'perturbations': corruption_means(measured, 'robustness_p', 'FP'),
        'detection': detection_table(measured),
        'made_on': environment_table(measured),
    }
    if measured.plan.judged:
        found = findings(measured)
        made |= {f'claims_{subject}': findings_table(some) for subject, some in found.items()}
        made['verdicts'] = verdict_table(found)
        made['against'] = against_table([finding for some in found.values() for finding in some])
    else:
        made['over_gap'] = over_gap_table(measured)
    return {name: table for name, table in made.items() if table.rows}


def save_tables(made: Mapping[str, Table], folder: Path) -> None:
    """Write tables as CSV files, and remove those that are no longer made."""
    for path in folder.glob('*.csv'):
        path.unlink()
    for name, table in made.items():
        save_table(*table, folder / f'{name}.csv')


def run_table(measured: Measured) -> Table:
    """How every run was made and what it ended with: a row per training and seed."""
    metrics = ACCURACIES | PRECISIONS
    rows = []
    for name, logs in measured.logs.items():
        for seed, log in logs.items():
            made, run = log.settings['environment'], measured.runs[name][seed]
            rows.append([name, seed, run.val[-1]['step'], *(
                f'{run.curve(metric)[1][-1]:.6g}' if metric in run.metrics else '' for metric in metrics.values()),
                f"{_seconds_per_iteration(run):.4f}", f"{log.settings['seconds']:.0f}",
                *(made.get(key, '') for key in SHARED), log.settings['command']])
    return _table(['training', 'seed', 'epochs', *metrics, 's per iteration', 'seconds', *SHARED, 'command'], rows)


def curve_table(measured: Measured) -> Table:
    """Every validation of every run."""
    metrics = ACCURACIES | PRECISIONS
    return _table(['training', 'seed', 'epoch', *metrics], [
        [name, seed, record['step'], *(f'{record[metric]:.6g}' if metric in record else ''
                                       for metric in metrics.values())]
        for name, runs in measured.runs.items() for seed, run in runs.items() for record in run.val])


def accuracy_table(measured: Measured) -> Table:
    """Table 2: accuracy after the last epoch, and when a run first reaches what GAP under LR_norm ends with."""
    rows = []
    for training in measured.trainings:
        name, runs, (_, schedule, variation) = training.name, measured.runs[training.name], training.variant
        if (varied(measured, training) is not None) if variation else (schedule not in SCHEDULES):
            continue
        goal = Variant('gap', 'norm').name(training.network)
        goals = measured.final(goal)
        epochs = [matching_epoch(run.curve(ACCURACIES['top-1']), goals[seed]) for seed, run in runs.items()
                  if seed in goals]
        matching = 'N/A' if name == goal else ', '.join('-' if epoch is None else str(epoch) for epoch in epochs)
        rows.append([training.title, epochs_of(runs), len(runs),
                     *(mean_and_spread(list(measured.final(name, metric).values())) for metric in ACCURACIES.values()),
                     matching])
    header = ['training', 'epochs', 'seeds', *ACCURACIES, 'matching epoch, by seed']
    if not any(row[-1] for row in rows):  # no GAP under LR_norm in the plan
        header, rows = header[:-1], [row[:-1] for row in rows]
    return _table(header, rows)


def variant_table(measured: Measured) -> Table:
    """Trainings that differ from another in one thing: their accuracy, and its difference from that of the other."""
    groups = {}
    for training in measured.trainings:
        base = varied(measured, training)
        if base:
            groups.setdefault(base.name, [base]).append(training)
    rows = []
    for base, *variants in groups.values():
        reference = measured.final(base.name)
        for training in (base, *variants):
            final = measured.final(training.name)
            differences = [final[seed] - reference[seed] for seed in final if seed in reference]
            if final:
                rows.append([training.title, len(final), mean_and_spread(list(final.values())),
                             f'{fmean(differences):+.1f}' if differences and training is not base else ''])
    return _table(['training', 'seeds', 'top-1', 'difference, same seeds'], rows)


def representation_table(measured: Measured) -> Table:
    """Accuracy against the numbers that the classifier reads: variations that change these, after what they vary."""
    key, rows = 'model.head.in_channels', []
    for training in measured.trainings:
        base = varied(measured, training)
        if base and key in training.options and measured.final(base.name):
            width = Config.fromfile(configs_folder() / base.config).model.head.in_channels
            finals = [measured.final(one.name) for one in (base, training)]
            shared = sorted(finals[0].keys() & finals[1].keys())
            known = [base.title, f'{width:,}', len(finals[0]), mean_and_spread(list(finals[0].values())), '']
            rows += [] if known in rows else [known]
            rows.append([training.title, f'{training.options[key]:,}', len(finals[1]),
                         mean_and_spread(list(finals[1].values())),
                         f'{fmean(finals[1][seed] - finals[0][seed] for seed in shared):+.1f}' if shared else ''])
    return _table(['training', 'numbers', 'seeds', 'top-1', 'difference, same seeds'], rows)


def landscape_table(measured: Measured) -> Table:
    """Fig. 2 in numbers: ranges over the step sizes, of the untrained network and after, by seed."""
    shown = ['measurements', *(f'{when} {what}' for what in ('loss range', 'gradient range', 'beta')
                               for when in ('first', 'later')), 'not finite']
    return _table(['training', 'seed', 'step sizes', *shown], [
        [training.title, seed, landscape.steps, *_last_row(landscape_rows([landscape]), shown)]
        for training in measured.trainings for seed, landscape in measured.landscapes(training.name).items()])


def robustness_means(measured: Measured, kind: str) -> Table:
    """Table 4 in plain means, by seed, with the number of photos and the part of the benchmark."""
    tested = [result._replace(name=f'{training.title}, seed {seed}') for training in measured.trainings
              for seed, result in measured.robustness(kind, training.name).items()]
    numbers = summaries(tested, partial=True) if tested else []
    metrics = list(numbers[0].metrics) if numbers else []
    return _table(['network', 'measured on', *metrics],
                  [[summary.result.name, photos_and_sets(summary),
                    *(f'{summary.metrics[metric]:.{digits_of(metric)}f}' for metric in metrics)]
                   for summary in numbers])


def augmix_table(measured: Measured) -> Table:
    """Errors on clean and on corrupted photos without and with AugMix, means over the seeds that have both."""
    rows = []
    for training in measured.trainings:
        base = varied(measured, training)
        if base is None or training.variant.variation != 'augmix':
            continue
        tested = [measured.robustness('augmix_c', name) for name in (base.name, training.name)]
        seeds = sorted(tested[0].keys() & tested[1].keys())
        if seeds:
            numbers = [[summaries([found[seed]], partial=True)[0] for seed in seeds] for found in tested]
            errors = [fmean(summary.metrics[metric] for summary in some)
                      for metric in ('clean error', 'mean error') for some in numbers]
            rows.append([base.title, len(seeds), photos_and_sets(numbers[0][0]), *(f'{value:.1f}' for value in errors),
                         f'{errors[3] - errors[2]:+.1f}'])
    return _table(['training', 'seeds', 'errors on', 'clean error', 'clean error with AugMix', 'mean error',
                   'mean error with AugMix', 'difference'], rows)


def corruption_means(measured: Measured, kind: str, metric: str) -> Table:
    """A metric by corruption or perturbation: a column per network, means over the seeds."""
    averaged = averaged_robustness(measured, kind)
    numbers = summaries(averaged, partial=True) if averaged else []
    return _table([metric, *(summary.result.name for summary in numbers)], corruption_rows(numbers, metric))


def averaged_robustness(measured: Measured, kind: str) -> list[RobustnessResult]:
    """Networks with their measurements averaged over the seeds, set by set."""
    averaged = []
    for training in measured.trainings:
        results = list(measured.robustness(kind, training.name).values())
        if results:
            sets = {key: {entry: fmean(result.sets[key][entry] for result in results) for entry in values}
                    for key, values in results[0].sets.items()}
            averaged.append(RobustnessResult(training.title, BENCHMARKS[kind], sets))
    return averaged


def detection_table(measured: Measured) -> Table:
    """Tables 6 and 7: average precision after the last epoch, in %."""
    rows = []
    for training in measured.trainings:
        name, runs = training.name, measured.runs[training.name]
        if measured.final(name, PRECISIONS['box AP']):
            rows.append([training.title, epochs_of(runs), len(runs), *(
                mean_and_spread([100 * value for value in measured.final(name, metric).values()])
                for metric in PRECISIONS.values())])
    return _table(['detector', 'epochs', 'seeds', *PRECISIONS], rows)


def curvature_table(measured: Measured) -> Table:
    """Largest eigenvalue and trace of the Hessian after the training, by seed."""
    shown = ['loss', 'lambda_1', 'trace']
    return _table(['training', 'seed', *shown], [
        [training.title, seed, *_last_row(curvature_rows([curvature]), shown)] for training in measured.trainings
        for seed, curvature in measured.curvatures(training.name).items()])


def smoothness_table(measured: Measured) -> Table:
    """GCP over GAP by all notions of smoothness, with verdicts.

    Where fewer seeds reach equal losses than equal iterations, both numbers of seeds are told, in that order.
    """

    def cells(effect, verdict):
        word, p = verdict
        mean, low, high = (f'{math.exp(min(value, 700)):.3g}' for value in effect[:3])
        return [f'{mean} [{low}, {high}]' if math.isfinite(effect.high) else mean,
                word if math.isnan(p) else f'{word} (p {p:.2g})'] if effect.seeds else ['', word]

    return _table(['network', 'over', 'where', 'quantity', 'seeds', 'untrained', 'at equal iterations [95 % interval]',
                   'verdict', 'at equal loss [95 % interval]', 'verdict at equal loss'], [
        [ratio.network, ratio.over, ratio.place, ratio.quantity,
         ', '.join(str(seeds) for seeds in dict.fromkeys((ratio.same_step.seeds, ratio.same_loss.seeds))),
         '' if math.isnan(ratio.untrained) else f'{math.exp(ratio.untrained):.2g}',
         *cells(ratio.same_step, ratio.verdicts[0]), *cells(ratio.same_loss, ratio.verdicts[1])]
        for ratio in ratios(measured)])


def gradients_table(measured: Measured) -> Table:
    """Table 1 in cosines after the training, the mean over the seeds."""
    found = {training.title: [one.records[-1]['rows'] for one in measured.measurements(
        'gradients', training.name).values()] for training in measured.trainings}
    names = list(dict.fromkeys(name for some in found.values() for rows in some for name in rows))

    def mean(some, name, other):
        return f"{fmean(rows[name]['cosines'][other] for rows in some):.3f}" if other in some[0] else ''

    return _table(['gradient', 'seeds', *names], [
        [f'{title}: {name}', len(some), *(mean(some, name, other) for other in names)]
        for title, some in found.items() if some for name in some[0]])


def environment_table(measured: Measured) -> Table:
    """On what the trainings ran: a row per combination of hardware and versions, with the hours of its runs."""
    hours = {}
    for logs in measured.logs.values():
        for log in logs.values():
            made = log.settings['environment']
            key = tuple(str(made.get(name, '')) for name in SHARED[:-1])
            hours[key] = hours.get(key, 0) + log.settings['seconds'] / 3600
    return _table([*SHARED[:-1], 'hours of all runs'], [[*key, f'{value:.1f}'] for key, value in hours.items()])


def over_gap_table(measured: Measured) -> Table:
    """Accuracy of trainings beyond that of the same trainings with GAP, by the seeds that both have.

    Where there is no GAP with the same factor for the rate of the classifier, it is GAP with one rate for all layers.
    """
    trained = {(training.network, training.variant): training for training in measured.trainings}
    found = []
    for training in measured.trainings:
        same = training.variant._replace(pooling='gap')
        one_rate = same._replace(variation=same.variation.partition('classifier-lr-')[0].rstrip('-'))
        gap = trained.get((training.network, same)) or trained.get((training.network, one_rate))
        if gap not in (None, training):
            outcome = replace(ACCURACY, margin=math.nan)(
                measured, training.network, training.variant, gap.variant, higher=True)
            if outcome.estimate.seeds:
                found.append((training, gap, outcome))
    verdicts = judge([outcome.estimate for *_, outcome in found], [True] * len(found))
    return _table(['training', 'over', 'seeds', 'top-1 of both', 'difference [95 % interval]', 'corrected p'], [
        [training.title, gap.short_title, outcome.estimate.seeds, outcome.text, outcome.effect,
         word if math.isnan(p) else f'{p:.2g}'] for (training, gap, outcome), (word, p) in zip(
             found, verdicts, strict=True)])


def findings_table(found: Sequence[Finding]) -> Table:
    """The claims, the effects and the verdicts."""
    return _table(['claim', 'where', "the paper's number", 'compared here', 'measured', 'seeds',
                   'effect [95 % interval]', 'corrected p', 'verdict'], [
        [*finding[:4], finding.outcome.text, finding.outcome.estimate.seeds or '', finding.outcome.effect,
         '' if math.isnan(finding.p) else f'{finding.p:.2g}', finding.verdict] for finding in found])


def against_table(found: Sequence[Finding]) -> Table:
    """Effects against the claims: first those that are significant, then the others."""
    against = [finding for finding in found if finding.outcome.estimate.mean < 0]
    header, rows = findings_table(sorted(against, key=lambda finding: finding.verdict != REVERSED))
    return Table(header, rows or [['none', *[''] * (len(header) - 1)]])


def verdict_table(found: Mapping[str, Sequence[Finding]]) -> Table:
    """How many comparisons of each subject ended how."""
    counts = {subject: Counter(finding.verdict for finding in some) for subject, some in found.items() if some}
    counts['all'] = sum(counts.values(), Counter())
    return _table(['subject', *WORDS], [[subject, *(count[word] for word in WORDS)]
                                        for subject, count in counts.items()])


def varied(measured: Measured, training: PaperTraining) -> PaperTraining | None:
    """Training of the plan that another one varies in one thing; None if it varies none."""
    if not training.variant.variation:
        return None
    base = training.variant._replace(variation='')
    return next((other for other in measured.plan.trainings
                 if (other.network, other.variant) == (training.network, base)), None)


def epochs_of(runs: Mapping[int, Run]) -> int:
    """How long the runs of a training, by seed, are."""
    return next(iter(runs.values())).val[-1]['step']


def _last_row(table, names):
    """Some cells of the last row of a table."""
    header, rows = table
    return [rows[-1][header.index(name)] for name in names]


def _seconds_per_iteration(run):
    """Median of what the log tells, which is smoothed over some iterations; NaN if it does not."""
    times = [record['time'] for record in run.train if 'time' in record]
    return float(np.median(times)) if times else float('nan')


def _table(header, rows):
    return Table(list(header), [list(map(str, row)) for row in rows])
