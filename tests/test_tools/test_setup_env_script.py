"""tools/setup_env.sh, driven with a stand-in for Python and pip, on a PATH without a compiler."""
import re
import shutil
import subprocess

import pytest

from .conftest import ROOT

# What the script takes from the system.
SYSTEM = 'awk bash cat cksum cp cut df dirname du grep ls mkdir mv rm sed tail tee touch tr'.split()
WHEEL = 'onedl_mmcv-2.3.6-cp311-cp311-linux_x86_64.whl'
# Says the version that its name ends with, notes what pip is asked for, and fails when told to.
PYTHON = """#!/bin/sh
[ -n "$FAILS" ] && case "$*" in *"$FAILS"*) printf '%s\\n' "$SAYS"; exit 1 ;; esac
case "$*" in
  "-c import sys; print"*) echo {version} ;;
  "-c import sys, torch"*) echo torch2.11.0-cp311-cpu ;;
  "-m venv "*) mkdir -p "$3/bin" "$3/lib/python{version}/site-packages"
               cp "$0" "$3/bin/python"
               touch "$3/pyvenv.cfg" ;;
  "-m pip "*) shift 2; echo "$*${MMCV_WITH_OPS:+ [$MAX_JOBS compilers]}" >>"$PIP_CALLS"
              if [ $1 = wheel ]; then mkdir -p .venv/.mmgcp/wheels; touch .venv/.mmgcp/wheels/$WHEEL; fi
              case "$*" in *--editable*) mkdir -p mmgcp/.mim/configs ;; esac ;;
  -I*) cat >/dev/null; echo "        torch        2.11.0" ;;
esac
"""
STEPS = {'onedl': ['1/4 virtual environment .venv with Python 3.11', '2/4 torch and torchvision',
                   "3/4 onedl-mmcv with torchvision's operators",
                   '4/4 mmgcp, the other libraries and the tools for tests'],
         'openmmlab': ['1/4 virtual environment .venv-openmmlab with Python 3.11', '2/4 torch and torchvision',
                       "3/4 mmcv with torchvision's operators",
                       '4/4 mmgcp, the other libraries and the tools for tests']}


class Project:
    """A checkout with the script, and a PATH on which Python is a stand-in."""

    def __init__(self, folder):
        self.folder, self.bin, self.calls = folder / 'project', folder / 'bin', folder / 'calls'
        for name in ('tools/setup_env.sh', 'requirements/onedl.txt', 'requirements/openmmlab.txt',
                     'requirements/docs.txt', 'setup.cfg'):
            (self.folder / name).parent.mkdir(parents=True, exist_ok=True)
            shutil.copy(ROOT / name, self.folder / name)
        self.bin.mkdir()
        for name in SYSTEM:
            (self.bin / name).symlink_to(shutil.which(name))
        self.stand_in('df', 'echo; echo disk 1 2 90000000 4 /')
        self.python('3.11')

    def stand_in(self, name, script):
        (self.bin / name).unlink(missing_ok=True)
        (self.bin / name).write_text(script if script.startswith('#!') else f'#!/bin/sh\n{script}\n')
        (self.bin / name).chmod(0o755)

    def python(self, version):
        self.stand_in(f'python{version}', PYTHON.replace('{version}', version))

    def run(self, fails='', says='', cwd=None, **environment):
        """Lines that the script prints, and what it asks pip for; it must stop if something fails."""
        self.calls.unlink(missing_ok=True)
        environment = dict(PATH=str(self.bin), HOME=str(self.folder.parent), PIP_CALLS=str(self.calls), WHEEL=WHEEL,
                           FAILS=fails, SAYS=says, **environment)
        done = subprocess.run([self.bin / 'bash', self.folder / 'tools/setup_env.sh'], env=environment, text=True,
                              cwd=cwd, stdout=subprocess.PIPE, stderr=subprocess.STDOUT)
        lines = done.stdout.splitlines()
        assert (done.returncode, lines[-1].split()[0]) in ((0, 'Environment'), (2, 'Stopped:')), done.stdout
        return lines, self.calls.read_text().splitlines() if self.calls.exists() else []

    def stops(self, *arguments, **environment):
        """The sentence with which the script stops."""
        sentence = self.run(*arguments, **environment)[0][-1]
        assert sentence.startswith('Stopped: ') and sentence.endswith('.')
        return sentence.removeprefix('Stopped: ')

    @property
    def steps(self):
        return [line.split()[0] for line in (self.folder / '.venv/.mmgcp/steps').read_text().splitlines()]


@pytest.fixture
def project(tmp_path):
    return Project(tmp_path)


def started(lines):
    return [int(line.split()[1][0]) for line in lines if line.startswith('[start]')]


@pytest.mark.parametrize('stack, mmcv', [('onedl', 'onedl-mmcv'), ('openmmlab', 'mmcv')])
def test_steps_and_a_second_run(project, stack, mmcv):
    lines, calls = project.run(MMGCP_STACK=stack)
    assert [line[8:] for line in lines if line.startswith('[start]')] == STEPS[stack]
    done = [re.fullmatch(r'\[done\]  (.*): \d+ s', line) for line in lines]
    assert [match[1] for match in done if match] == STEPS[stack]
    upgrade, torch, wheel, uninstall, exchange, mmgcp = calls
    assert upgrade == 'install --upgrade pip>=25.3'
    assert torch.endswith(' --force-reinstall torch torchvision')
    # Built apart from torch and not taken from pip's cache: a wheel without operators.
    assert wheel.startswith('wheel --no-cache-dir') and f'--no-binary {mmcv} ' in wheel and 'isolation' not in wheel
    assert {'mmcv', 'onedl-mmcv', 'mmdet', 'onedl-mmdetection'} < set(uninstall.split())
    assert '--no-index' in exchange and exchange.endswith(f' {mmcv}')
    assert mmgcp.endswith(f' --editable .[{stack}-det,test]')

    lines, calls = project.run(MMGCP_STACK=stack)
    assert [line[8:] for line in lines if line.startswith('[kept]')] == STEPS[stack]
    assert calls == [] and '        torch        2.11.0' in lines


@pytest.mark.parametrize('command, step', [('-m venv', 1), ('--upgrade pip', 1), ('torchvision', 2),
                                           ('wheel', 3), ('--no-index', 3), ('--editable', 4)])
def test_a_failed_step_is_done_anew_and_those_before_it_are_kept(project, command, step):
    assert started(project.run(fails=command)[0]) == list(range(1, step + 1))
    assert started(project.run()[0]) == list(range(step, 5))


def test_what_changed_is_done_anew_with_what_builds_on_it(project):
    project.run()
    pins = project.folder / 'requirements/onedl.txt'
    for old, new, steps in [('onnx==', 'onnx!=', [4]), ('onedl-mmcv==', 'onedl-mmcv==1', [3, 4]),
                            ('torchvision==', 'torchvision==1', [2, 3, 4])]:
        pins.write_text(pins.read_text().replace(old, new, 1))
        assert started(project.run()[0]) == steps


def test_choices_are_remembered_until_they_are_emptied(project):
    project.run(MMGCP_TORCH='2.14.1')
    constraints = project.folder / '.venv/.mmgcp/pins'
    assert 'torch==2.14.1\n' in constraints.read_text() and 'torchvision' not in constraints.read_text()
    assert started(project.run()[0]) == []
    assert started(project.run(MMGCP_TORCH='')[0]) == [2, 3, 4]
    assert constraints.read_text() == (ROOT / 'requirements/onedl.txt').read_text()


@pytest.mark.parametrize('name, value, fault', [
    ('MMGCP_STACK', 'mmcv', "is unknown: use 'onedl' (maintained line) or 'openmmlab' (original line)."),
    ('MMGCP_MMCV', 'yes', "is unknown: use 'torchvision' (its operators serve mmcv) or 'compiled' (mmcv's own)."),
    ('MMGCP_TORCH', 'newest', 'is not a version: write it as 2.11.0.'),
    ('MMGCP_TORCH_INDEX', 'wheels', 'is neither a URL nor a folder.'),
    ('MMGCP_MMCV_INDEX', '/wheels', 'is neither a URL nor a folder.')])
def test_a_bad_value_is_refused_before_anything_is_done(project, name, value, fault):
    assert project.stops(**{name: value}) == f'{name}={value} {fault}'
    assert not (project.folder / '.venv').exists()


@pytest.mark.parametrize('says, fault', [
    ('ERROR: Could not install packages due to an OSError: [Errno 28] No space left on device', 'a disk is full: '),
    ('WARNING: Retrying after connection broken by X\nERROR: No matching distribution found for torch',
     'a package index was not reached. Check the network '),
    ('ERROR: No matching distribution found for torch==2.11.0', 'no index has the version above for this Python. '),
    ('g++: fatal error: Killed signal terminated program cc1plus', 'memory ran out while compiling. Lower MAX_JOBS '),
    ('ERROR: something else', 'the command failed; all of its output is in ')])
def test_a_failure_of_pip_is_told_with_the_end_of_its_output(project, says, fault):
    noise = "WARNING: Location 'file:///simple/' is ignored"
    lines, _ = project.run(fails='torchvision', says=f'{says}\n' + f'{noise}\n' * 20, MAX_JOBS='2')
    assert lines[-1].startswith(f'Stopped: {fault}') and lines[-1].endswith(', then run the same command again.')
    assert [line.strip() for line in lines[-1 - len(says.splitlines()):-1]] == says.splitlines()
    assert (project.folder / '.venv/.mmgcp/log').read_text().startswith(says)


@pytest.mark.parametrize('step, repaired, fault', [
    ('torch', [2, 3, 4], 'torchvision 0.29.1 does not fit torch 2.11.0 (RuntimeError: operator torchvision::nms ...)'),
    ('mmcv', [3, 4], 'mmgcp and its libraries do not work together (ImportError: mmcv and onedl-mmcv ...)')])
def test_an_environment_that_does_not_work_is_repaired_by_the_next_run(project, step, repaired, fault):
    project.run()
    assert project.stops('-I', f'a warning\n{step}|{fault}') == (
        f'in {project.folder}/.venv {fault}. Run the same command again: it reinstalls {step} and what '
        'depends on it (if that does not help, remove .venv).')
    assert started(project.run()[0]) == repaired


def test_links_that_git_removed_are_made_anew(project):
    project.run()
    shutil.rmtree(project.folder / 'mmgcp')  # git clean -x
    assert started(project.run()[0]) == [4]


def test_an_environment_that_crashes_is_repaired_too(project):
    project.run()
    assert 'Python crashed after the import of torch 2.11.0. Run' in project.stops('-I', '        torch    2.11.0')
    assert started(project.run()[0]) == [2, 3, 4]


def test_compiled_wheels_come_from_the_index_that_is_named(project):
    project.run()
    wheels = project.folder.parent / 'wheels'
    wheels.mkdir()
    choice = dict(MMGCP_MMCV='compiled', MMGCP_MMCV_INDEX='wheels')
    (wheels.parent / 'elsewhere/wheels').mkdir(parents=True)
    lines, calls = project.run(cwd=wheels.parent, CDPATH=str(wheels.parent / 'elsewhere'), **choice)
    assert started(lines) == [3, 4]
    assert calls[0].endswith(f' --only-binary onedl-mmcv --no-index --find-links {wheels} onedl-mmcv')
    assert started(project.run()[0]) == []
    assert project.stops('-I', 'mmcv|they do not fit').endswith(
        'they do not fit. Name wheels for this torch with MMGCP_MMCV_INDEX, or do without (MMGCP_MMCV=torchvision), '
        'then run the same command again.')
    assert started(project.run(MMGCP_MMCV='torchvision')[0]) == [3, 4]


def test_compiled_wheels_are_kept(project):
    kept = project.folder.parent / '.cache/mmgcp/wheels/torch2.11.0-cp311-cpu'
    project.stand_in('g++', 'exit 1')
    lines, calls = project.run(MMGCP_MMCV='compiled', MAX_JOBS='3')
    assert "[start] 3/4 onedl-mmcv with compiled operators" in lines
    assert calls[2].endswith(' setuptools wheel ninja psutil packaging')
    assert calls[3].endswith(' --no-binary onedl-mmcv --no-build-isolation onedl-mmcv [3 compilers]')
    assert calls[5].endswith(f' --find-links {kept} onedl-mmcv')
    assert [path.name for path in kept.iterdir()] == [WHEEL]

    project.run(MMGCP_MMCV='torchvision')
    (project.bin / 'g++').unlink()
    lines, calls = project.run(MMGCP_MMCV='compiled')
    assert started(lines) == [3, 4] and not any('wheel --no-cache-dir' in call for call in calls)


def test_without_a_compiler_the_environment_stays_as_it_is(project):
    project.run()
    lines, calls = project.run(MMGCP_MMCV='compiled')
    assert lines[-1].startswith('Stopped: compiling mmcv takes g++, which is not on PATH. ') and calls == []
    assert started(project.run()[0]) == [3, 4]  # with torchvision's operators, as before


@pytest.mark.parametrize('index, alone, too', [
    ('https://host/whl/cpu', '--index-url {}', '--extra-index-url {}'),
    ('https://host/torch.html', '--no-index --find-links {}', '--find-links {}')])
def test_torch_comes_from_the_index_that_is_named(project, index, alone, too):
    _, calls = project.run(MMGCP_TORCH_INDEX=index)
    assert calls[1].endswith(f' --force-reinstall --no-deps {alone.format(index)} torch')
    assert calls[3].endswith(f' {too.format(index)} torch torchvision')
    assert started(project.run()[0]) == []


def test_pythons_that_do_not_fit(project):
    (project.bin / 'python3.11').unlink()
    project.python('3.9')
    assert project.stops(MMGCP_PYTHON='python3.9') == (
        'no Python of 3.11, 3.12, 3.13, 3.10 was found: python3.9 is 3.9. Install one, or name it with MMGCP_PYTHON.')
    project.python('3.12')
    assert project.stops(MMGCP_STACK='openmmlab', MMGCP_PYTHON='python3.12').startswith(
        'no Python of 3.11, 3.10 was found: python3.12 is 3.12. ')
    assert 'python3.12 has no venv (Debian: apt-get install python3.12-venv)' in project.stops('import venv')
    assert 'virtual environment .venv with Python 3.12' in project.run()[0][0]


def test_another_python_or_one_that_is_gone_makes_a_new_environment(project):
    project.run()
    old = project.folder / '.venv/lib/old'
    old.mkdir()
    project.python('3.10')
    lines, _ = project.run(MMGCP_PYTHON='python3.10')
    assert lines[0] == '.venv has Python 3.11: it is rebuilt with 3.10.'
    assert started(lines) == [1, 2, 3, 4] and not old.exists()
    assert started(project.run()[0]) == []  # 3.10 it stays, though 3.11 is there

    (project.folder / '.venv/bin/python').unlink()
    lines, _ = project.run()
    assert lines[0] == 'The Python 3.10 of .venv is gone: the environment is rebuilt.'
    assert started(lines) == [1, 2, 3, 4]


def test_an_environment_made_by_hand_is_left_alone(project):
    (project.folder / '.venv').mkdir()
    (project.folder / '.venv/pyvenv.cfg').touch()
    assert 'was not made by this version of the script' in project.stops()
    assert [path.name for path in (project.folder / '.venv').iterdir()] == ['pyvenv.cfg']


def test_what_an_interruption_left_half_installed_does_not_pass_for_installed(project):
    project.run(fails='--editable')
    packages = project.folder / '.venv/lib/python3.11/site-packages'
    for name in ('whole-1.dist-info', 'half-1.dist-info', '~hole'):
        (packages / name).mkdir()
    (packages / 'whole-1.dist-info/INSTALLER').write_text('pip\n')
    project.run()
    assert [path.name for path in packages.iterdir()] == ['whole-1.dist-info']


def test_a_short_disk_is_told_before_torch_is_fetched(project):
    project.stand_in('df', 'echo; echo disk 1 2 4000000 4 /')
    lines, calls = project.run()
    assert lines[-1] == (f'Stopped: the environment takes about 7000 MB, and {project.folder} has 4000 MB free. '
                         'Make room, then run the same command again.')
    assert len(calls) == 1
    assert started(project.run(MMGCP_TORCH_INDEX='https://host/whl/cpu')[0]) == [2, 3, 4]
