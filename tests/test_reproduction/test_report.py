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
from reproduction.measured import Measured
from reproduction.pages import filled_pages
from reproduction.report import fill_pages, write_tables
from reproduction.result_tables import make_tables

from .conftest import CONFIG

ROOT = configs_folder().resolve().parent
PLAN = ROOT / 'reproduction/plans/imagenette_cpu.py'


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


def test_tables_of_the_project_are_those_of_its_results():
    plan = read_plan(PLAN)
    made = make_tables(Measured(plan, ROOT / 'results'))
    assert {path.stem for path in (ROOT / 'results' / plan.name).glob('*.csv')} == set(made)
    for name, table in made.items():
        with (ROOT / 'results' / plan.name / f'{name}.csv').open(newline='', encoding='utf-8') as file:
            assert list(csv.reader(file)) == [table.header, *table.rows], f'{name} is old: call reproduction.report'


def test_results_of_the_project_are_those_of_its_plan():
    plan = read_plan(PLAN)
    jobs = {job.result: job for job in jobs_of(plan)}
    files = [path.relative_to(ROOT / 'results') for path in (ROOT / 'results' / plan.name).glob('*/*.jsonl')]
    for file in files:
        if '_landscape_' not in file.stem:
            made = read_records(ROOT / 'results' / file).settings
            assert jobs[file].is_of(made), f'{file} was made with other settings'
    assert files
