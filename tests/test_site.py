"""The documentation site: builds without a warning, and shows all of the reference without other servers."""
import importlib
import os
import re
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]


@pytest.fixture(scope='module')
def pages(tmp_path_factory):
    folder = tmp_path_factory.mktemp('site')
    # Not --quiet, which hides warnings from --strict.
    result = subprocess.run([sys.executable, '-m', 'mkdocs', 'build', '--strict', '--site-dir', folder], cwd=ROOT,
                            env={**os.environ, 'NO_MKDOCS_2_WARNING': '1'}, capture_output=True, text=True)
    assert result.returncode == 0, result.stdout + result.stderr
    return {str(path.relative_to(folder)): path.read_text() for path in folder.rglob('*') if
            path.suffix in ('.html', '.css')}


def test_nothing_comes_from_other_servers(pages):
    loads = re.compile(r'''<(?:script|img|iframe|link)\b[^>]*(?:src|href)=["']?(?:https?:)?//|'''
                       r'''url\(["']?(?:https?:)?//|@import''')
    assert not [name for name, text in pages.items() if loads.search(text)]


@pytest.mark.parametrize('package', ['ops', 'models', 'engine', 'datasets', 'evaluation'])
def test_the_reference_is_complete(package, pages):
    reference = ''.join(text for name, text in pages.items() if name.startswith('reference/'))
    for name in importlib.import_module(f'mmgcp.{package}').__all__:
        assert re.search(rf'id="mmgcp\.{package}\.(\w+\.)?{name}"', reference), name


def test_markdown_and_docstrings_are_rendered(pages):
    for name, text in pages.items():
        text = re.sub(r'<(pre|details)\b.*?</\1>', '', text, flags=re.DOTALL)  # code
        # An equation, a role of Sphinx, a reference without its link, a list without a blank line before it.
        for mark in ('class="arithmatex"', ':<code>', '<autoref', '\n- ', '\n```'):
            assert mark not in text, name
    assert '<math' in pages['table_1.html']


def test_links_to_the_code_lead_to_pages_of_the_site(pages):
    assert 'href="repository/mmgcp/ops/dropcov.py.html"' in pages['operator.html']
    assert '<code>mmgcp/ops/dropcov.py</code>' in pages['repository/mmgcp/ops/dropcov.py.html']
