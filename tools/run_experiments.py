"""Run a plan of trainings and measurements with several seeds, and record the results.

Finished runs are skipped, and interrupted ones resumed. Results are written to results/PLAN/, a file per run.

Examples:
    python tools/run_experiments.py PLAN.py --at-once 8                                 # everything, 8 runs at a time
    python tools/run_experiments.py PLAN.py --only 'resnet18_gap*' --seeds 0 --again    # some, from scratch
    python tools/run_experiments.py PLAN.py --list                                      # what is left to do
"""
import argparse
import signal
import sys
from pathlib import Path

import torch

from mmgcp.analysis.tables import markdown_table
from mmgcp.experiments import read_plan
from mmgcp.experiments.driver import run, threads_per_job, with_needed
from mmgcp.experiments.jobs import choose, jobs_of
from mmgcp.experiments.results import as_run, last_validations, read_logs
from mmgcp.utils.arguments import at_least
from mmgcp.utils.reported import reported


def parse_args() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument('plan', metavar='PLAN', help='Python file of the plan')
    parser.add_argument('--only', nargs='+', default=[], metavar='NAME',
                        help='names of trainings or measurements, * for any part (default: all)')
    parser.add_argument('--seeds', nargs='+', type=int, default=[], help='(default: those of the plan)')
    parser.add_argument('--again', action='store_true', help='delete results and repeat the runs from the start')
    parser.add_argument('--at-once', type=at_least(1), metavar='N',
                        help='number of parallel runs, which share GPUs or cores (default: one per GPU, or one)')
    parser.add_argument('--list', action='store_true', help='list finished and unfinished runs, and exit')
    parser.add_argument('--results', type=Path, default=Path('results'), metavar='FOLDER',
                        help='(default: %(default)s)')
    return parser.parse_args()


def main() -> None:
    args = parse_args()
    signal.signal(signal.SIGTERM, lambda *_: sys.exit('Stopped by a signal.'))  # and the runs with it
    at_once = args.at_once or torch.cuda.device_count() or 1
    sys.path.append(str(Path.cwd()))  # a plan may import modules from this folder
    with reported(ValueError, OSError):
        plan = read_plan(args.plan)
        jobs = choose(jobs_of(plan), args.only, args.seeds)
        todo = with_needed(jobs, args.results, args.again)
        done = sum(job.is_done(args.results) for job in jobs)
        print(f'{plan.name}: {len(jobs)} runs, {done} of them done, {len(todo)} to do')
        for job in todo:
            print(f"  {job}{' (resumed)' if job.is_begun() and not args.again else ''}")
        if args.list:
            return
        failed = []
        if todo:
            again = jobs if args.again else []
            for job in todo:
                if not job.measurement and job not in again:
                    job.check()
            for job in again:
                job.forget(args.results)
            print(f'{at_once} at a time, {threads_per_job(at_once)} CPU threads each', flush=True)
            failed = run(todo, args.results, at_once, say=lambda line: print(line, flush=True))
        runs = {name: {seed: as_run(log, name) for seed, log in logs.items()}
                for name, logs in read_logs(plan, args.results).items()}
        for table in last_validations(runs):
            print('\n' + markdown_table(*table))
    if failed:
        sys.exit(f'\n{len(failed)} of {len(todo)} runs failed: {", ".join(map(str, failed))}. Run again'
                 f'{", without --again," if args.again else ""} to resume.')


if __name__ == '__main__':
    main()
