from dataclasses import replace

import pytest

from mmgcp.experiments import read_plan
from mmgcp.experiments.jobs import jobs_of
from mmgcp.experiments.measured import Measured
from mmgcp.experiments.report import pages, report
from mmgcp.utils.configs import configs_folder
from mmgcp.utils.errors import SetupError

ROOT = configs_folder().resolve().parent


def test_report_is_made_from_results_alone(plan, results, tmp_path):
    root = tmp_path / 'root'
    (root / 'docs').mkdir(parents=True)
    (root / 'README.md').write_text('<!-- results: small/accuracy.csv -->\n<!-- /results -->\n')
    changed = report(plan, 'plans/small.py', results, root)
    assert changed == [root / 'docs/results.md', root / 'README.md']
    page = (root / 'docs/results.md').read_text()
    assert '| ResNet-18, GCP_M, LR_adju |      2 |     2 | 75.5 ± 0.7 |' in page
    assert page.count('| holds ') == 4  # two accuracies, the matching epoch, robustness
    assert '4 hold' in page and 'plans/small.py --only NAME' in page and 'Curvature' not in page
    assert 'ResNet-18, GAP, LR_norm' in (root / 'README.md').read_text()
    for name in ('results_convergence', 'results_robustness'):
        assert (root / f'docs/figures/{name}.png').stat().st_size > 10000
        assert f'figures/{name}.png' in page
    assert report(plan, 'plans/small.py', results, root) == []


def test_plan_without_a_page_makes_tables_alone(plan, results, tmp_path):
    (tmp_path / 'root').mkdir()
    (tmp_path / 'root/README.md').write_text('<!-- results: small/accuracy.csv -->\n<!-- /results -->\n')
    changed = report(replace(plan, page=False), 'plans/small.py', results, tmp_path / 'root')
    assert changed == [tmp_path / 'root/README.md'] and not (tmp_path / 'root/docs').exists()
    assert (results / 'small/accuracy.csv').is_file() and not list((results / 'small').glob('claims_*'))


def test_nothing_can_be_told_without_results(plan, tmp_path):
    with pytest.raises(SetupError, match='no_such holds no results of a training'):
        report(replace(plan, name='no_such'), 'plan.py', tmp_path, tmp_path)


def test_pages_of_the_project_are_those_of_its_results():
    """Numbers in the docs and files of results cannot come apart."""
    plan = read_plan(ROOT / 'plans' / 'imagenette_cpu.py')
    for path, text in pages(Measured(plan, ROOT / 'results'), 'plans/imagenette_cpu.py', ROOT):
        assert path.read_text(encoding='utf-8') == text, f'{path} is old: call tools/run_experiments.py PLAN --report'


def test_results_of_the_project_are_those_of_its_plan():
    plan = read_plan(ROOT / 'plans' / 'imagenette_cpu.py')
    jobs = {job.result: job for job in jobs_of(plan)}
    files = [path.relative_to(ROOT / 'results') for path in (ROOT / 'results' / plan.name).glob('*/*.jsonl')]
    for file in files:
        if not file.stem.endswith('landscape'):
            assert jobs[file].is_done(ROOT / 'results'), f'{file} was made with other settings'
    assert files
