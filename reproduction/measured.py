"""What the files of results say of a plan, by training and seed."""
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path

from mmgcp.analysis.curvature import CurvatureLog, curvature_of
from mmgcp.analysis.figure_2 import LandscapeLog, landscape_of
from mmgcp.analysis.robustness import RobustnessResult, RobustnessSummary
from mmgcp.apis.robustness.networks import as_result
from mmgcp.experiments.jobs import Job, jobs_of
from mmgcp.experiments.results import as_run, read_logs, read_result
from mmgcp.utils.logs import Run
from mmgcp.utils.records import Records

from .paper_plan import PaperPlan, PaperTraining

BENCHMARKS = {'robustness_c': 'imagenet-c', 'robustness_p': 'imagenet-p', 'augmix_c': 'imagenet-c'}


@dataclass(frozen=True)
class Measured:
    """The results of a plan; what is missing is left out.

    Attributes:
        plan (PaperPlan): The plan.
        folder (Path): Folder of results.
    """
    plan: PaperPlan
    folder: Path

    @cached_property
    def logs(self) -> dict[str, dict[int, Records]]:
        """Logs by name of the training and seed."""
        return read_logs(self.plan, self.folder)

    @cached_property
    def runs(self) -> dict[str, dict[int, Run]]:
        """Logs as :class:`~mmgcp.utils.logs.Run`, by name of the training and seed."""
        return {name: {seed: as_run(log, f'{name} seed {seed}') for seed, log in logs.items()}
                for name, logs in self.logs.items()}

    @cached_property
    def trainings(self) -> list[PaperTraining]:
        """Trainings of which there are logs, in the order of the plan."""
        return [training for training in self.plan.trainings if training.name in self.runs]

    @cached_property
    def networks(self) -> list[str]:
        """Networks of the plan, in its order."""
        return list(dict.fromkeys(training.network for training in self.plan.trainings))

    def final(self, name: str, metric: str = 'accuracy/top1') -> dict[int, float]:
        """A metric after the last epoch, by seed: no choice of the best epoch by the images that it is tested on."""
        return {seed: float(run.curve(metric)[1][-1]) for seed, run in self.runs.get(name, {}).items()
                if metric in run.metrics}

    def measurements(self, measurement: str, name: str) -> dict[int, Records]:
        """What was measured of a training, by seed."""
        return self._read([(job, job.result) for job in jobs_of(self.plan) if job.measurement
                           and job.measurement.name == measurement and job.training.name == name])

    def landscapes(self, name: str, at: str = 'stem') -> dict[int, LandscapeLog]:
        """Landscapes along a training at a place of the network, by seed."""
        found = self._read([(job, job.landscape(at)) for job in jobs_of(self.plan)
                            if not job.measurement and job.training.name == name])
        return {seed: landscape_of(records.settings['measured'], records.records, f'{name} seed {seed}')
                for seed, records in found.items()}

    def curvatures(self, name: str) -> dict[int, CurvatureLog]:
        """Curvature at the end of a training, by seed."""
        return {seed: curvature_of(found.settings['measured'], found.records, f'{name} seed {seed}')
                for seed, found in self.measurements('curvature', name).items()}

    def robustness(self, measurement: str, name: str) -> dict[int, RobustnessResult]:
        """Robustness of a network, by seed; ``measurement`` is a key of :data:`BENCHMARKS`."""
        return {seed: as_result(f'{name} seed {seed}', BENCHMARKS[measurement], found.records)
                for seed, found in self.measurements(measurement, name).items()}

    def _read(self, files: list[tuple[Job, Path]]) -> dict[int, Records]:
        found = {job.seed: read_result(job, self.folder / path) for job, path in files}
        return {seed: records for seed, records in found.items() if records}


def photos_and_sets(summary: RobustnessSummary) -> str:
    """On how many photos and sets of a benchmark a network was measured: ``'246 photos, all 75 sets'``."""
    photos = next(record['items'] for record in summary.result.records if record['set'] != 'clean')
    complete = summary.measured == summary.needed
    return f'{photos:,} photos, {"all" if complete else f"{summary.measured} of"} {summary.needed} sets'
