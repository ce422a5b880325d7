"""Jobs of a plan: one training or measurement with one seed, run as a subprocess."""
import json
import os
import shutil
import sys
import zlib
from collections.abc import Mapping
from dataclasses import dataclass
from fnmatch import fnmatchcase
from functools import lru_cache
from pathlib import Path

from mmgcp.apis.config_file import read_config
from mmgcp.utils.checkpoint import latest_checkpoint
from mmgcp.utils.configs import configs_folder
from mmgcp.utils.errors import SetupError
from mmgcp.utils.records import read_records, write_whole

from .plan import Measurement, Plan, Training, option_text


@dataclass(frozen=True)
class Job:
    """One training or measurement with one seed."""
    plan: Plan
    training: Training  # or the one to measure
    seed: int
    measurement: Measurement | None = None  # None for the training itself

    def __str__(self) -> str:
        return f"{' '.join(reversed(self.names))} seed {self.seed}"

    @property
    def names(self) -> list[str]:
        """Names of the training and of the measurement, if it is one."""
        return [self.training.name] + ([self.measurement.name] if self.measurement else [])

    @property
    def work_dir(self) -> Path:
        """Work directory of the training."""
        return Path('work_dirs', self.plan.name, self.training.name, f'seed_{self.seed}')

    @property
    def result(self) -> Path:
        """File of the result, relative to the folder of results."""
        end = f'_{self.measurement.name}' if self.measurement else ''
        return Path(self.plan.name, self.training.name, f'seed_{self.seed}{end}.jsonl')

    def landscape(self, at: str) -> Path:
        """Return the file of ``LandscapeHook``'s measurements at a place, relative to the folder of results."""
        return self.result.with_name(f'{self.result.stem}_landscape_{at}.jsonl')

    @property
    def needs(self) -> 'Job | None':
        """The training whose last checkpoint it starts from."""
        if self.measurement:
            return Job(self.plan, self.training, self.seed)
        start = next((other for other in self.plan.trainings if other.name == self.training.starts_from), None)
        return start and Job(self.plan, start, self.seed)

    @property
    def options(self) -> dict:
        """Settings of the training that override its config."""
        options = {**(self.plan.options if self.training.shared else {}), **self.training.options,
                   'randomness.seed': self.seed}
        if self.training.starts_from:
            name = Path(self.plan.name, self.training.starts_from, f'seed_{self.seed}')
            options['model.backbone.init_cfg.checkpoint'] = f'workdir://{name}'
        return options

    def identity(self) -> dict:
        """Return everything that decides the result, as JSON values."""
        identity = dict(config=self.training.config, options=self.options)
        if self.measurement:
            identity |= dict(tool=self.measurement.tool, arguments=list(self.measurement.arguments))
        return json.loads(json.dumps(identity))

    def inputs(self) -> dict[str, int]:
        """CRC-32 of what else decides the result: config, with its bases, and needed checkpoint, if that is there."""
        start = self.needs.checkpoint() if self.needs else None
        return dict(config=_config_crc(configs_folder() / self.training.config),
                    **({'checkpoint': zlib.crc32(Path(start).read_bytes())} if start and Path(start).is_file() else {}))

    def is_of(self, made: Mapping) -> bool:
        """Whether what was recorded with an ``identity`` and ``inputs`` was made with the settings of this job."""
        return self._deciding(made.get('identity')) == self._deciding(self.identity()) and all(
            made.get('inputs', {}).get(name, value) == value for name, value in self.inputs().items())

    def check(self) -> None:
        """Raise a SetupError if the work directory holds a training with other settings, which would go on.

        A measurement that was begun with other settings, or on another checkpoint, is deleted.
        """
        if self._note.is_file() and not self.is_of(json.loads(self._note.read_text())):
            if not self.measurement:
                raise SetupError(f'{self.work_dir} holds a training with other settings: repeat it from the start with '
                                 '--again')
            self.clear()

    def note(self, ended: bool = False) -> None:
        """Note in the work directory what runs there, and whether it has ended: a hook may stop a training early."""
        write_whole(self._note, json.dumps(dict(identity=self.identity(), inputs=self.inputs(), ended=ended)))

    def checkpoint(self) -> str | None:
        """Return the path of the training's last checkpoint; None until it has ended."""
        latest = latest_checkpoint(self.work_dir)
        made = json.loads(self._note.read_text()) if self._note.is_file() else None
        if not latest or made and not self.is_of(made):
            return None
        return latest if Path(latest).stem == self._last() or made and made['ended'] else None

    def is_begun(self) -> bool:
        """Whether there is a checkpoint to resume from."""
        return not self.measurement and latest_checkpoint(self.work_dir) is not None

    def is_done(self, results: Path) -> bool:
        """Whether the folder of results holds its result, made with the same settings."""
        path = results / self.result
        return path.is_file() and self.is_of(read_records(path).settings)

    def forget(self, results: Path) -> None:
        """Delete its result and its files, so that it counts as unfinished, however often it is interrupted anew."""
        (results / self.result).unlink(missing_ok=True)
        for path in (results / self.result).parent.glob(self.landscape('*').name):
            path.unlink()
        self.clear()

    def clear(self) -> None:
        """Delete its files in the work directory, so that it starts anew."""
        if self.measurement:
            for path in self.work_dir.glob(self.measurement.keep):
                path.unlink()
        elif self.work_dir.is_dir():
            shutil.rmtree(self.work_dir)

    def command(self, root: Path | None = None) -> list[str]:
        """Return the command to run it from the folder of ``work_dirs``; ``root`` holds ``tools`` and ``configs``."""
        root = Path(os.path.relpath(configs_folder().resolve().parent)) if root is None else root
        if not self.measurement:
            return [sys.executable, str(root / 'tools' / 'train.py'), str(root / 'configs' / self.training.config),
                    '--work-dir', str(self.work_dir), '--resume', '--cfg-options',
                    *(f'{key}={option_text(value)}' for key, value in self.options.items())]
        config = self.work_dir / Path(self.training.config).name  # as trained, with all options
        places = dict(config=str(config), checkpoint=self.needs.checkpoint(), work_dir=str(self.work_dir))
        return [sys.executable, str(root / 'tools' / self.measurement.tool),
                *(argument.format(**places) for argument in self.measurement.arguments)]

    def is_called(self, pattern: str) -> bool:
        """Whether the name of its training or measurement matches a pattern with ``*`` for any part."""
        return any(fnmatchcase(name, pattern) for name in self.names)

    @property
    def _note(self) -> Path:
        return self.work_dir / f"{self.measurement.name if self.measurement else 'training'}.job"

    def _deciding(self, identity: Mapping | None) -> dict | None:
        """Leave out of an identity the options that change no result."""
        return identity and {**identity, 'options': {
            name: value for name, value in identity['options'].items()
            if not any(fnmatchcase(name, pattern) for pattern in self.plan.ignored)}}

    def _last(self) -> str:
        """Name of the checkpoint after the last epoch, or iteration."""
        settings = dict(read_config(configs_folder() / self.training.config).train_cfg)
        settings |= {key.removeprefix('train_cfg.'): value for key, value in self.options.items()}
        return f"iter_{settings['max_iters']}" if settings.get('max_iters') else f"epoch_{settings['max_epochs']}"


def jobs_of(plan: Plan) -> list[Job]:
    """List all jobs of a plan: trainings seed by seed, in the order of the plan, then the measurements.

    So an interrupted plan has covered as many trainings as possible.
    """
    seeds = sorted({seed for training in plan.trainings for seed in training.seeds or plan.seeds})
    trainings = [Job(plan, training, seed) for seed in seeds for training in plan.trainings
                 if seed in (training.seeds or plan.seeds)]
    measured = [Job(plan, training, seed, measurement) for measurement in plan.measurements
                for training in plan.trainings if training.name in measurement.of
                for seed in measurement.seeds or training.seeds or plan.seeds]
    return trainings + measured


def choose(jobs: list[Job], patterns: list[str], seeds: list[int]) -> list[Job]:
    """Choose jobs by names of trainings or measurements, with ``*`` for any part, and by seeds; empty for all.

    Raises:
        SetupError: If no job has one of the names or seeds.
    """
    for pattern in patterns:
        if not any(job.is_called(pattern) for job in jobs):
            names = dict.fromkeys(name for job in jobs for name in job.names)
            raise SetupError(f"no training or measurement of the plan is called '{pattern}': there are "
                             f"{', '.join(names)}")
    for seed in seeds:
        if seed not in {job.seed for job in jobs}:
            raise SetupError(f'no job of the plan has seed {seed}')
    chosen = [job for job in jobs if (not patterns or any(map(job.is_called, patterns)))
              and (not seeds or job.seed in seeds)]
    if not chosen:
        raise SetupError(f"nothing that is called {' or '.join(patterns)} has seed {' or '.join(map(str, seeds))}")
    return chosen


@lru_cache
def _config_crc(path: Path) -> int:
    return zlib.crc32(repr(read_config(path).to_dict()).encode())
