"""Plans: trainings, each with several seeds, and measurements of the trained networks."""
import json
import runpy
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path

from mmgcp.utils.arguments import Options
from mmgcp.utils.configs import configs_folder
from mmgcp.utils.errors import SetupError


@dataclass(frozen=True)
class Training:
    """A training with ``tools/train.py``.

    Attributes:
        name (str): Name in results, tables and on the command line.
        config (str): Config file, relative to ``configs/``.
        options (Mapping[str, object]): Settings that override the config, as for ``--cfg-options``: numbers, strings,
            booleans, None, and lists of them.
        starts_from (str): Training whose last checkpoint, with the same seed, the backbone starts from; empty for none.
        seeds (Sequence[int]): Seeds; empty for those of the plan.
        shared (bool): Whether the options of the plan apply.
    """
    name: str
    config: str
    options: Mapping[str, object] = field(default_factory=dict)
    starts_from: str = ''
    seeds: Sequence[int] = ()
    shared: bool = True


@dataclass(frozen=True)
class Measurement:
    """A measurement of the last checkpoints of trainings with one of the tools.

    Attributes:
        name (str): Name in results and on the command line.
        tool (str): The tool, relative to ``tools/``.
        arguments (Sequence[str]): Its arguments. ``{config}``, ``{checkpoint}`` and ``{work_dir}`` stand for those of
            the training; the config is the dumped one, with all options.
        keep (str): Pattern, relative to the work directory, of the one file of records that the tool writes.
        of (Sequence[str]): Names of the trainings to measure.
        seeds (Sequence[int]): Seeds; empty for those of the trainings.
    """
    name: str
    tool: str
    arguments: Sequence[str]
    keep: str
    of: Sequence[str]
    seeds: Sequence[int] = ()


@dataclass(frozen=True)
class Plan:
    """Trainings and measurements, run in this order except where one has to wait for another.

    Attributes:
        title (str): What the plan compares, in one sentence.
        trainings (Sequence[Training]): The trainings.
        measurements (Sequence[Measurement]): Measurements of them.
        seeds (Sequence[int]): Seeds of each training.
        options (Mapping[str, object]): Settings of all trainings, which those of each override.
        name (str): Name of the file it was read from; names the folders of results and work directories.
        ignored (Sequence[str]): Patterns of options that change no result, such as those of hooks that only measure:
            results with others of these still count.

    Raises:
        SetupError: If two items have the same name, a config does not exist, an item needs a training, or a seed of it,
            that the plan lacks, two measurements are kept from the same file, or seeds, options or arguments are of a
            wrong form.
    """
    title: str
    trainings: Sequence[Training]
    measurements: Sequence[Measurement] = ()
    seeds: Sequence[int] = (0, )
    options: Mapping[str, object] = field(default_factory=dict)
    name: str = ''
    ignored: Sequence[str] = ()

    def __post_init__(self) -> None:
        names = [item.name for item in (*self.trainings, *self.measurements)]
        for name in names:
            if names.count(name) > 1:
                raise SetupError(f"the plan has several trainings or measurements called '{name}': give each its own")
        _check_seeds('the plan', self.seeds)
        _check_options('the plan', self.options)
        trained = {}  # seeds by name
        for training in self.trainings:
            seeds = training.seeds or self.seeds
            _check_training(training, seeds, trained)
            trained[training.name] = seeds
        for measurement in self.measurements:
            _check_measurement(measurement, trained)
        _check_kept(self.measurements, trained)


def option_text(value: object) -> str:
    """Return the value of an option as it is given on the command line."""
    return '[' + ','.join(map(option_text, value)) + ']' if isinstance(value, (list, tuple)) else str(value)


def read_plan(path: str | Path) -> Plan:
    """Read a plan from the Python file that assigns it to ``plan``; the file's name becomes the plan's.

    Raises:
        SetupError: If there is no such file, it cannot be executed, or it assigns no plan, or an impossible one.
    """
    path = Path(path)
    if not path.is_file():
        raise SetupError(f'the plan {path} does not exist: there are '
                         f"{', '.join(sorted(str(other) for other in path.parent.glob('*.py'))) or 'none beside it'}")
    try:
        plan = runpy.run_path(str(path)).get('plan')
    except SetupError as error:
        raise SetupError(f'in {path}, {error}') from error
    except Exception as error:  # a plan is a program, which may fail in any way
        raise SetupError(f'the plan {path} cannot be read: {type(error).__name__}: {error}') from error
    if not isinstance(plan, Plan):
        raise SetupError(f'the plan {path} must assign a Plan of mmgcp.experiments to plan')
    return replace(plan, name=path.stem)


def _check_training(training, seeds, trained):
    called = f"the training '{training.name}'"
    if not (configs_folder() / training.config).is_file():
        raise SetupError(f'{called} has the config configs/{training.config}, which does not exist')
    _check_seeds(called, seeds)
    _check_options(called, training.options)
    if training.starts_from:
        _check_trained(f"{called} starts from '{training.starts_from}'", trained.get(training.starts_from), seeds)


def _check_measurement(measurement, trained):
    called = f"the measurement '{measurement.name}'"
    _check_seeds(called, measurement.seeds)
    for name in measurement.of:
        _check_trained(f"{called} is of '{name}'", trained.get(name), measurement.seeds)
    for argument in measurement.arguments:
        try:
            str.format(argument, config='', checkpoint='', work_dir='')
        except (AttributeError, LookupError, TypeError, ValueError) as error:
            raise SetupError(f'{called} has the argument {argument!r}: give strings, in which braces hold config, '
                             'checkpoint or work_dir, and are doubled to stand for themselves') from error


def _check_kept(measurements, trained):
    kept = {}
    for measurement in measurements:
        for name in measurement.of:
            for seed in measurement.seeds or trained[name]:
                other = kept.setdefault((measurement.keep, name, seed), measurement.name)
                if other != measurement.name:
                    raise SetupError(f"the measurements '{other}' and '{measurement.name}' both leave "
                                     f"{measurement.keep} of '{name}' seed {seed}: tell the files apart, or give "
                                     'different seeds')


def _check_seeds(called, seeds):
    if not isinstance(seeds, Sequence) or not all(isinstance(seed, int) for seed in seeds):
        raise SetupError(f'{called} has seeds={seeds!r}: list integers, as in seeds=(0, 1, 2)')


def _check_trained(needs, trained, seeds):
    if trained is None:
        raise SetupError(f'{needs}, which the plan does not train before it')
    for seed in seeds:
        if seed not in trained:
            raise SetupError(f"{needs} with seed {seed}, which the plan does not train: it has the seeds "
                             f"{', '.join(map(str, trained))}")


def _check_options(called, options):
    for name, value in options.items():
        if not _survives(value):
            raise SetupError(f'{called} has the option {name}={value!r}, which --cfg-options cannot say: give numbers, '
                             'booleans, None, plain strings or lists of these, name the settings of a dict one by one, '
                             'or write a config')


def _survives(value):
    """Whether an option is the same after the command line, which has no quotes and guesses types."""
    try:
        return repr(Options._parse_iterable(option_text(value))) == repr(json.loads(json.dumps(value)))
    except (TypeError, AssertionError):  # of no type that JSON knows, or with brackets that do not match
        return False
