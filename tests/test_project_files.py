"""Changelog, citation, pre-commit, workflows, issue templates and Dockerfile agree with the code that they speak of."""
import re
from configparser import ConfigParser
from pathlib import Path

import pytest
import yaml

from mmgcp.__main__ import main
from mmgcp.version import __version__

ROOT = Path(__file__).parents[1]
WORKFLOWS = sorted((ROOT / '.github/workflows').glob('*.yml'))
TEMPLATES = sorted((ROOT / '.github/ISSUE_TEMPLATE').glob('*.yml'))
NAMES_COMMANDS = [*WORKFLOWS, *TEMPLATES, ROOT / 'Dockerfile']


def name_of(path):
    return path.name


def read(name):
    return (ROOT / name).read_text()


def test_the_changelog_begins_with_this_version():
    assert re.search(r'^## \[(.+)\] - (Unreleased|\d{4}-\d\d-\d\d)$', read('CHANGELOG.md'), re.M)[1] == __version__


def test_the_citation_has_this_version_and_the_papers():
    citation = yaml.safe_load(read('CITATION.cff'))
    assert {'cff-version', 'message', 'title', 'authors'} <= citation.keys()
    assert citation['version'] == __version__
    papers = [(paper['authors'][0]['family-names'], paper['year']) for paper in citation['references']]
    assert papers == [('Wang', 2020), ('Wang', 2023), ('Li', 2018)]


def test_pre_commit_runs_the_linters_of_the_test_command():
    setup = ConfigParser()
    setup.read(ROOT / 'setup.cfg')
    installed = setup['options.extras_require']['test'].split('\n')
    assert '-det,test]' in read('tools/setup_env.sh')
    hooks = [hook for repo in yaml.safe_load(read('.pre-commit-config.yaml'))['repos'] for hook in repo['hooks']]
    assert all(set(hook['additional_dependencies']) <= set(installed) for hook in hooks)
    linters = re.findall(r'(?<=-m )ruff check|(?<=/)lint-imports', read('tools/run_tests.sh'))
    assert [hook['entry'].partition(' --')[0] for hook in hooks] == linters


@pytest.mark.parametrize('path', NAMES_COMMANDS, ids=name_of)
def test_named_scripts_and_commands_exist(path, capsys):
    text = path.read_text()
    for script in re.findall(r'\b(?:bash|python) ([\w/]+\.\w+)|uses: \./(\S+)', text):
        assert (ROOT / ''.join(script)).is_file()
    for command in re.findall(r'python -m mmgcp (\w+)', text):
        with pytest.raises(SystemExit, match='^0$'):
            main([command, '--help'])


@pytest.mark.parametrize('path', WORKFLOWS, ids=name_of)
def test_workflows_pin_actions_and_may_read_alone(path):
    workflow = yaml.safe_load(path.read_text())
    assert set(workflow['permissions'].values()) <= {'read'}
    for name, job in workflow['jobs'].items():
        rights = {right for right, access in job.get('permissions', {}).items() if access != 'read'}
        assert rights <= ({'id-token'} if name == 'publish' else set())
    for action in re.findall(r'uses: (?!\./)(.+)', path.read_text()):
        assert re.fullmatch(r'[\w/-]+@[0-9a-f]{40} # v[\d.]+', action)


def test_ci_tests_both_lines():
    jobs = yaml.safe_load(read('.github/workflows/ci.yml'))['jobs']
    lines = {path.stem for path in ROOT.glob('requirements/*.txt')} - {'docs'}
    assert set(jobs['test']['strategy']['matrix']['stack']) == lines
    assert 'bash tools/run_tests.sh' in [step.get('run') for step in jobs['test']['steps']]


@pytest.mark.parametrize('path', [path for path in TEMPLATES if path.stem != 'config'], ids=name_of)
def test_issue_templates_ask_for_the_environment(path):
    template = yaml.safe_load(path.read_text())
    assert {'name', 'description', 'body'} <= template.keys()
    assert 'python -m mmgcp env' in template['body'][-1]['attributes']['description']


def test_the_image_takes_choices_of_the_set_up_script_and_what_git_tracks():
    script, image = read('tools/setup_env.sh'), read('Dockerfile')
    choices = re.findall(r'^ARG (\w+)=', image, re.M)
    assert choices and all(re.search(rf'^# +{choice}\b', script, re.M) for choice in choices)
    assert image.index('\nUSER ') < image.index('\nRUN PIP_NO_CACHE_DIR=1 bash tools/setup_env.sh')
    ignored = read('.dockerignore').splitlines()
    assert all(line in ignored or f'**/{line}' in ignored for line in read('.gitignore').splitlines())
