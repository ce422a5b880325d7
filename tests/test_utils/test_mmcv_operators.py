"""Who serves mmcv with operators, in programs of their own and in environments where something is amiss."""
import subprocess
import sys
from importlib.machinery import EXTENSION_SUFFIXES
from importlib.metadata import version
from pathlib import Path

import pytest
import torchvision

from mmgcp.utils.mmcv_operators import are_compiled, operators

ROOT = Path(__file__).parents[2]
# A package that has as much of mmcv as these programs need.
FAKE_MMCV = {'__init__.py': '__version__ = "2.1.0"',
             'ops.py': 'import importlib\nprint(type(importlib.import_module("mmcv._ext")).__name__)'}


@pytest.fixture
def run(tmp_path):
    """Runs a program beside a folder in place of an installed mmcv, whose files are given; returns code and output."""

    def run(program, **files):
        folder = tmp_path / 'mmcv'
        folder.mkdir(exist_ok=True)
        for name, content in {**FAKE_MMCV, **files}.items():
            (folder / name).write_text(content)
        start = ['-c', program] if ' ' in program else ['-m', program]
        done = subprocess.run([sys.executable, *start], cwd=tmp_path, text=True, stdout=subprocess.PIPE,
                              stderr=subprocess.STDOUT, env=dict(PYTHONPATH=f'{tmp_path}:{ROOT}', PATH='/usr/bin:/bin'))
        return done.returncode, done.stdout.strip()

    return run


def test_what_serves_is_told():
    if are_compiled():
        assert operators().startswith('compiled by ')
    else:
        assert operators() == f'torchvision {torchvision.__version__}'


def test_import_before_the_operators_is_enough_and_imports_nothing(run):
    program = ('import mmcv, mmgcp\nimport mmcv.ops, inspect, sys\nfrom mmcv import _ext\n'
               'inspect.getmodule(sys.exit)\n'
               'print(hasattr(_ext, "__file__"), "torch" in sys.modules)')
    assert run(program) == (0, '_StandIn\nFalse False')


def test_after_a_failed_import_it_still_serves(run):
    program = 'try:\n    import mmcv.ops\nexcept ImportError:\n    print("none")\nimport mmgcp, mmcv.ops'
    assert run(program) == (0, 'none\n_StandIn')


def test_compiled_operators_are_never_replaced(run):
    assert run('import mmgcp, mmcv.ops', **{'_ext.py': ''}) == (0, 'module')


def test_lasting_operators(run, tmp_path):
    """They serve programs that never import mmgcp, and give way to compiled ones."""
    file = tmp_path / 'mmcv/_ext.py'
    code, output = run('mmgcp.serve_mmcv')
    assert code == 0 and output.startswith(f"Wrote {file}: torchvision's operators serve mmcv in all programs")
    program = 'from mmcv import _ext\nprint(_ext.get_compiler_version())'
    assert run(program) == (0, f'torchvision {torchvision.__version__}')
    assert run('mmgcp.serve_mmcv') == (0, f'Nothing to do: {file} is there.')
    compiled = file.with_suffix(EXTENSION_SUFFIXES[0])  # by its name alone
    compiled.write_bytes(b'')
    code, output = run('import mmgcp, mmcv.ops')
    assert code == 1 and str(compiled) in output.splitlines()[-1]


BROKEN = 'raise ImportError("mmcv/_ext.so: undefined symbol: _ZN3c10")'


def test_operators_compiled_for_another_torch_become_a_sentence(run):
    code, output = run('import mmgcp.utils.mmcv_operators as o\no.operators()', **{'_ext.py': BROKEN})
    *_, sentence = output.splitlines()
    assert code == 1 and sentence.startswith(
        f"mmgcp.utils.errors.SetupError: mmcv's compiled operators do not work with torch {version('torch')} "
        '(mmcv/_ext.so: undefined symbol: _ZN3c10): recompile them with `MMCV_WITH_OPS=1 pip install ')
    assert 'or leave them out with `pip install --force-reinstall ' in sentence


def test_torchvision_that_does_not_fit_torch_becomes_a_sentence(run, tmp_path):
    (tmp_path / 'torchvision.py').write_text('raise RuntimeError("operator torchvision::nms does not exist")')
    code, output = run('import mmgcp.utils.mmcv_operators as o\no.operators()')
    assert code == 1 and output.splitlines()[-1] == (
        f"mmgcp.utils.errors.SetupError: torchvision {version('torchvision')} does not work with torch "
        f"{version('torch')} (operator torchvision::nms does not exist): install versions that belong together, as in "
        'requirements/*.txt')


def test_without_mmcv_nothing_happens(tmp_path):
    program = 'import sys\nsys.modules["mmcv"] = None\nimport mmgcp\nprint("mmcv._ext" in sys.modules)'
    done = subprocess.run([sys.executable, '-c', program], cwd=ROOT, capture_output=True, text=True)
    assert done.stdout.strip() == 'False', done.stderr
