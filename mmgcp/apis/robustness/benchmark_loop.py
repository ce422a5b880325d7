"""Test one network on all data sets of a robustness benchmark in one process."""
import time
from datetime import timedelta
from numbers import Real

from mmengine.dist import is_main_process
from mmengine.runner import BaseLoop, Runner, TestLoop

from mmgcp.registry import LOOPS
from mmgcp.utils.errors import SetupError
from mmgcp.utils.processes import on_main_process
from mmgcp.utils.records import append_record, open_records

from .benchmarks import Benchmark, benchmark_sets, build_set


@LOOPS.register_module()
class BenchmarkLoop(BaseLoop):
    """Test loop that runs over all sets of a benchmark and records each as soon as it is finished.

    Sets that are in the file already are skipped, so that an interrupted run resumes where it stopped. The network
    stays loaded; each set is tested as by ``tools/test.py``, including all hooks.

    Loader and evaluator are those of the clean test images, and ``benchmark`` the arguments of
    :class:`~mmgcp.apis.robustness.benchmarks.Benchmark`. The file ``path`` (see :mod:`mmgcp.utils.records`) gets a line
    per set with its name (``set``), ``metrics``, ``items`` (number of images or sequences), ``size`` (all that the set
    has, of which ``items`` may be a subset), ``seconds`` and, of classifiers, ``outcomes`` (see
    :mod:`mmgcp.robustness.outcomes`); all sets in it share ``settings``, JSON values.
    """

    def __init__(self, runner: Runner, dataloader: dict, evaluator: list | dict, benchmark: dict, path: str,
                 settings: dict, fp16: bool = False) -> None:
        super().__init__(runner, None)
        self.benchmark = Benchmark(**benchmark)
        self.sets = benchmark_sets(self.benchmark, dataloader, evaluator)
        self.shared, self.path, self.settings, self.fp16 = dataloader, path, settings, fp16

    def run(self) -> dict[str, dict]:
        """Test on all sets that are not recorded yet, and return their metrics by name of the set."""
        records = on_main_process(open_records, self.path, self.settings)
        tested = {record['set']: record.get('size', record['items']) for record in records}
        missing = [name for name in self.sets if name not in tested]
        say = self.runner.logger.info
        say(f'{len(self.sets)} sets, {len(self.sets) - len(missing)} of them tested before ({self.path})')
        begin, results = time.perf_counter(), {}
        for number, name in enumerate(missing, 1):
            say(f'[{number}/{len(missing)}] {name}')
            start = time.perf_counter()
            record = self._test(name, tested, **self.sets[name])
            results[name], tested[name] = record['metrics'], record['size']
            seconds = time.perf_counter() - start
            if is_main_process():
                append_record(self.path, dict(set=name, **record, seconds=seconds))
            left = timedelta(seconds=round((time.perf_counter() - begin) / number * (len(missing) - number)))
            say(f'[{number}/{len(missing)}] {name}: {record["items"] / seconds:.3g} {self.benchmark.items} per second, '
                f'{left} left in all')
        return results

    def _test(self, name, tested, loader, evaluator):
        # Persistent workers of all sets would pile up.
        settings = {**self.shared, 'persistent_workers': False, **loader}
        settings['dataset'], size = build_set(self.benchmark, settings['dataset'])
        loader = self.runner.build_dataloader(settings, seed=self.runner.seed)
        for other, number in tested.items():
            if number != size:
                raise SetupError(f"'{name}' has {size} {self.benchmark.items} and '{other}' has {number}: all sets, "
                                 'the clean one too, must be made of the same images')
        self.dataloader = loader  # hooks read its length
        scalars = self.runner.message_hub.log_scalars
        for scalar in [scalar for scalar in scalars if scalar.startswith('test/')]:
            del scalars[scalar]  # otherwise the log repeats the metrics of all earlier sets
        loop = TestLoop(self.runner, loader, evaluator, self.fp16)
        metrics = {name: float(value) for name, value in loop.run().items() if isinstance(value, Real)}
        outcomes = [entry for metric in loop.evaluator.metrics for entry in getattr(metric, 'outcomes', {}).values()]
        return dict(metrics=metrics, items=len(loader.dataset), size=size,
                    **(dict(outcomes=outcomes[0]) if outcomes else {}))
