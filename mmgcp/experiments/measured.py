"""What the files of results say of a plan, by training and seed."""
from collections.abc import Callable
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path

from mmgcp.analysis.landscape import Landscape, landscape_of
from mmgcp.analysis.robustness import RobustnessResult
from mmgcp.apis.robustness.networks import as_result
from mmgcp.utils.logs import Run
from mmgcp.utils.records import Records, read_records

from .plan import Plan

BENCHMARKS = {'robustness_c': 'imagenet-c', 'robustness_p': 'imagenet-p'}


@dataclass(frozen=True)
class Measured:
    """The results of a plan; what is missing is left out.

    Attributes:
        plan (Plan): The plan.
        folder (Path): Folder of results.
    """
    plan: Plan
    folder: Path

    @cached_property
    def trainings(self) -> dict[str, dict[int, Records]]:
        """Logs by training and seed, in the order of the plan; trainings without any are left out."""
        found = {training.name: self._files(training.name, 'seed_*.jsonl', lambda path: path.stem.count('_') == 1)
                 for training in self.plan.trainings}
        return {name: {seed: read_records(path) for seed, path in files.items()}
                for name, files in found.items() if files}

    @cached_property
    def runs(self) -> dict[str, dict[int, Run]]:
        """Logs as :class:`~mmgcp.utils.logs.Run`, by training and seed."""
        return {name: {seed: as_run(log, f'{name} seed {seed}') for seed, log in logs.items()}
                for name, logs in self.trainings.items()}

    def final(self, name: str, metric: str = 'accuracy/top1') -> dict[int, float]:
        """A metric after the last epoch, by seed: no choice of the best epoch by the images that it is tested on."""
        return {seed: float(run.curve(metric)[1][-1]) for seed, run in self.runs.get(name, {}).items()
                if metric in run.metrics}

    def measurements(self, measurement: str, name: str) -> dict[int, Records]:
        """What was measured of a training, by seed."""
        return {seed: read_records(path) for seed, path in self._files(name, f'seed_*_{measurement}.jsonl').items()}

    def landscapes(self, name: str) -> dict[int, Landscape]:
        """Landscapes along a training, by seed."""
        return {seed: landscape_of(found.settings['measured'], found.records, f'{name} seed {seed}')
                for seed, found in self.measurements('landscape', name).items()}

    def robustness(self, measurement: str, name: str) -> dict[int, RobustnessResult]:
        """Robustness of a network, by seed; ``measurement`` is a key of :data:`BENCHMARKS`."""
        return {seed: as_result(f'{name} seed {seed}', BENCHMARKS[measurement], found.records)
                for seed, found in self.measurements(measurement, name).items()}

    def _files(self, name, pattern, condition: Callable[[Path], bool] = lambda path: True) -> dict[int, Path]:
        files = (self.folder / self.plan.name / name).glob(pattern)
        return dict(sorted((int(path.stem.split('_')[1]), path) for path in files if condition(path)))


def as_run(log: Records, name: str) -> Run:
    """Log of a training from its file of results."""
    train = tuple(record for record in log.records if 'iter' in record)
    return Run(name, 'epoch', train, tuple(record for record in log.records if 'iter' not in record))
