import csv
import sys
from dataclasses import replace

import pytest

from mmgcp.experiments import Plan, Training, read_plan
from mmgcp.experiments.jobs import jobs_of
from mmgcp.utils.configs import configs_folder
from mmgcp.utils.errors import SetupError
from mmgcp.utils.records import read_records
from reproduction import report
from reproduction.imagenette import LR
from reproduction.measured import Measured
from reproduction.pages import filled_pages
from reproduction.report import fill_pages, write_tables
from reproduction.result_tables import make_tables

from ..test_experiments.conftest import ENVIRONMENT, write
from .conftest import CONFIG

ROOT = configs_folder().resolve().parent
# Those of which there are results.
PLANS = [plan for plan in map(read_plan, sorted((ROOT / 'reproduction/plans').glob('*.py')))
         if (ROOT / 'results' / plan.name).is_dir()]


@pytest.fixture
def root(tmp_path):
    """A project whose README and docs show a table each."""
    (tmp_path / 'root/docs').mkdir(parents=True)
    for name, file in (('README.md', 'accuracy.csv'), ('docs/x.md', 'claims_accuracy.csv text')):
        (tmp_path / 'root' / name).write_text(f'<!-- results: small/{file} -->\n<!-- /results -->\n')
    return tmp_path / 'root'


def test_report_is_made_from_results_alone(plan, results, root):
    write_tables(plan, results, root)
    assert fill_pages(results, root) == [root / 'README.md', root / 'docs/x.md']
    assert '| ResNet-18, GCP_M, LR_adju |      2 |     3 | 76.0 ± 1.0 |' in (root / 'README.md').read_text()
    assert (root / 'docs/x.md').read_text().count('| holds ') == 2
    for name in ('small_convergence', 'small_robustness'):
        assert (root / f'docs/figures/{name}.png').stat().st_size > 10000
    assert fill_pages(results, root) == []


def test_plan_that_is_not_judged_makes_tables_alone(plan, results, root):
    write_tables(replace(plan, judged=False), results, root)
    assert not (root / 'docs/figures').exists()
    assert (results / 'small/accuracy.csv').is_file() and not list((results / 'small').glob('claims_*'))


def test_plan_that_is_not_judged_has_the_figure_of_its_rates(plan, results, root):
    trainings = [replace(one, options={**one.options, LR: rate}) for one, rate in zip(
        (plan.trainings[0], ) * 3, (0.1, 0.2, 0.4), strict=True)]
    trainings = [replace(one, variant=one.variant._replace(variation=f'at-{one.options[LR]:g}')) for one in trainings]
    for one in trainings:
        write(results / f'small/{one.name}/seed_0.jsonl', dict(environment=ENVIRONMENT, seconds=1, command=''), [
            {'step': 4, 'accuracy/top1': 70., 'accuracy/top5': 95.}])
    write_tables(replace(plan, judged=False, trainings=trainings, measurements=[]), results, root)
    assert [path.name for path in (root / 'docs/figures').iterdir()] == ['small_rates.png']


def test_what_cannot_be_told(plan, tmp_path):
    with pytest.raises(SetupError, match='no_such holds no results of a training'):
        write_tables(replace(plan, name='no_such'), tmp_path, tmp_path)
    with pytest.raises(SetupError, match="'other' is no PaperPlan"):
        write_tables(Plan('t', [Training('a', CONFIG)], name='other'), tmp_path, tmp_path)


def test_command_line(results, root, monkeypatch, capsys):
    monkeypatch.setattr(sys, 'argv', ['report', '--results', str(results), '--root', str(root)])
    with pytest.raises(SystemExit, match='accuracy.csv, which does not exist'):
        report.main()
    (root / 'README.md').unlink()
    (root / 'docs/x.md').unlink()
    report.main()
    assert capsys.readouterr().out == 'Pages: unchanged\n'


def test_pages_of_the_project_show_its_results():
    """Numbers in the docs and files of results cannot come apart."""
    for path, text in filled_pages(ROOT / 'results', ROOT).items():
        assert path.read_text(encoding='utf-8') == text, f'{path} is old: call python -m reproduction.report'


@pytest.mark.parametrize('plan', PLANS, ids=lambda plan: plan.name)
def test_tables_of_the_project_are_those_of_its_results(plan):
    made = make_tables(Measured(plan, ROOT / 'results'))
    assert {path.stem for path in (ROOT / 'results' / plan.name).glob('*.csv')} == set(made)
    for name, table in made.items():
        with (ROOT / 'results' / plan.name / f'{name}.csv').open(newline='', encoding='utf-8') as file:
            assert list(csv.reader(file)) == [table.header, *table.rows], f'{name} is old: call reproduction.report'


@pytest.mark.parametrize('plan', PLANS, ids=lambda plan: plan.name)
def test_results_of_the_project_are_those_of_its_plan(plan):
    jobs = {job.result: job for job in jobs_of(plan)}
    files = [path.relative_to(ROOT / 'results') for path in (ROOT / 'results' / plan.name).glob('*/*.jsonl')]
    for file in files:
        if '_landscape_' not in file.stem:
            made = read_records(ROOT / 'results' / file).settings
            assert jobs[file].is_of(made), f'{file} was made with other settings'
    assert files
