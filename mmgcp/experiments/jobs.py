"""The single runs that a plan amounts to: one training or measurement with one seed, in a process of its own."""
import json
import os
import shutil
import sys
from dataclasses import dataclass
from fnmatch import fnmatchcase
from pathlib import Path

from mmengine.config import Config
from mmengine.runner.checkpoint import find_latest_checkpoint

from mmgcp.utils.configs import configs_folder
from mmgcp.utils.errors import SetupError
from mmgcp.utils.records import read_records

from .plan import Measurement, Plan, Training


@dataclass(frozen=True)
class Job:
    """One training or measurement with one seed.

    Attributes:
        plan (Plan): The plan that it is part of.
        training (Training): The training, or the one that is measured.
        seed (int): The seed.
        measurement (Measurement | None): The measurement; None for the training itself.
    """
    plan: Plan
    training: Training
    seed: int
    measurement: Measurement | None = None

    def __str__(self) -> str:
        return f'{self.name} seed {self.seed}'

    @property
    def name(self) -> str:
        """Name of the measurement, if it is one, and of the training."""
        return ' '.join(filter(None, (self.measurement and self.measurement.name, self.training.name)))

    @property
    def work_dir(self) -> Path:
        """Work directory of the training."""
        return Path('work_dirs', self.plan.name, self.training.name, f'seed_{self.seed}')

    @property
    def result(self) -> Path:
        """File of results, relative to the folder of results."""
        end = f'_{self.measurement.name}' if self.measurement else ''
        return Path(self.plan.name, self.training.name, f'seed_{self.seed}{end}.jsonl')

    @property
    def landscape(self) -> Path:
        """File of what ``LandscapeHook`` measured while training, relative to the folder of results."""
        return self.result.with_name(f'{self.result.stem}_landscape.jsonl')

    @property
    def needs(self) -> 'Job | None':
        """The training whose last checkpoint it starts from."""
        if self.measurement:
            return Job(self.plan, self.training, self.seed)
        start = next((other for other in self.plan.trainings if other.name == self.training.starts_from), None)
        return start and Job(self.plan, start, self.seed)

    @property
    def options(self) -> dict:
        """Settings of the training that replace those of its config."""
        options = {**(self.plan.options if self.training.shared else {}), **self.training.options,
                   'randomness.seed': self.seed}
        if self.training.starts_from:
            name = Path(self.plan.name, self.training.starts_from, f'seed_{self.seed}')
            options['model.backbone.init_cfg.checkpoint'] = f'workdir://{name}'
        return options

    def identity(self) -> dict:
        """What must be the same for a result to be this job's; JSON values."""
        identity = dict(config=self.training.config, options=self.options)
        if self.measurement:
            identity |= dict(tool=self.measurement.tool, arguments=list(self.measurement.arguments))
        return json.loads(json.dumps(identity))

    def checkpoint(self) -> str | None:
        """The last checkpoint of the training, once it has ended; None before."""
        if not self.work_dir.is_dir():
            return None
        latest = find_latest_checkpoint(str(self.work_dir))
        if not latest or Path(latest).stem != f'epoch_{self._epochs()}':
            return None
        return str(self.work_dir / Path(latest).name)  # the folder may have been moved since the path was noted

    def is_begun(self) -> bool:
        """Whether a checkpoint is there to go on from."""
        return not self.measurement and self.work_dir.is_dir() and bool(find_latest_checkpoint(str(self.work_dir)))

    def is_done(self, results: Path) -> bool:
        """Whether the folder of results holds its result, made with the same settings.

        Raises:
            ValueError: If the file of the result is no file of records.
        """
        path = results / self.result
        return path.is_file() and read_records(path).settings.get('identity') == self.identity()

    def clear(self) -> None:
        """Forget what it left in its work directory, so that it starts anew."""
        if self.measurement:
            for path in self.work_dir.glob(self.measurement.keep):
                path.unlink()
        elif self.work_dir.is_dir():
            shutil.rmtree(self.work_dir)

    def command(self, root: Path | None = None) -> list[str]:
        """Command that carries it out, from the folder that work directories are made in.

        Args:
            root (Path, optional): Folder of ``tools`` and ``configs``, as the command names it. Default: the path that
                leads there from the current folder.
        """
        root = Path(os.path.relpath(configs_folder().resolve().parent)) if root is None else root
        if not self.measurement:
            return [sys.executable, str(root / 'tools' / 'train.py'), str(root / 'configs' / self.training.config),
                    '--work-dir', str(self.work_dir), '--resume', '--cfg-options',
                    *(f'{key}={_text(value)}' for key, value in self.options.items())]
        config = self.work_dir / Path(self.training.config).name  # as trained, with all options
        places = dict(config=str(config), checkpoint=self.needs.checkpoint(), work_dir=str(self.work_dir))
        return [sys.executable, str(root / 'tools' / self.measurement.tool),
                *(argument.format(**places) for argument in self.measurement.arguments)]

    def _epochs(self) -> int:
        if 'train_cfg.max_epochs' in self.options:
            return self.options['train_cfg.max_epochs']
        return Config.fromfile(configs_folder() / self.training.config).train_cfg.max_epochs


def jobs_of(plan: Plan) -> list[Job]:
    """All jobs of a plan: trainings seed by seed, in the order of the plan, then the measurements.

    With the second seed only once all trainings have run with the first: what is there when a plan is cut off is as
    broad as possible.
    """
    seeds = sorted({seed for training in plan.trainings for seed in training.seeds or plan.seeds})
    trainings = [Job(plan, training, seed) for seed in seeds for training in plan.trainings
                 if seed in (training.seeds or plan.seeds)]
    measured = [Job(plan, training, seed, measurement) for measurement in plan.measurements
                for training in plan.trainings if training.name in measurement.of
                for seed in measurement.seeds or training.seeds or plan.seeds]
    return trainings + measured


def choose(jobs: list[Job], patterns: list[str], seeds: list[int]) -> list[Job]:
    """Jobs of some trainings or measurements, with some seeds.

    Args:
        jobs (list[Job]): All jobs.
        patterns (list[str]): Names of trainings or measurements, with ``*`` for any part; empty for all.
        seeds (list[int]): Seeds; empty for all.

    Raises:
        SetupError: If a pattern or a seed is that of no job.
    """
    for pattern in patterns:
        if not any(_is_called(job, pattern) for job in jobs):
            raise SetupError(f"no training or measurement of the plan is called '{pattern}': there are "
                             f"{', '.join(dict.fromkeys(name for job in jobs for name in _names(job)))}")
    for seed in seeds:
        if seed not in {job.seed for job in jobs}:
            raise SetupError(f'no job of the plan has seed {seed}')
    return [job for job in jobs if (not patterns or any(_is_called(job, pattern) for pattern in patterns))
            and (not seeds or job.seed in seeds)]


def _names(job):
    return [job.training.name] + ([job.measurement.name] if job.measurement else [])


def _is_called(job, pattern):
    return any(fnmatchcase(name, pattern) for name in _names(job))


def _text(value) -> str:
    """A setting as ``--cfg-options`` reads it."""
    if isinstance(value, (list, tuple)):
        return '[' + ','.join(map(_text, value)) + ']'
    return str(value)
