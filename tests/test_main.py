import platform
import sys

import mmcv
import mmengine
import mmpretrain
import pytest
import torch
import torchvision

import mmgcp
from mmgcp.__main__ import COMMANDS, TOOLS, main
from mmgcp.experiments.environment import environment
from mmgcp.utils.mmcv_operators import operators
from mmgcp.utils.versions import installed_line


@pytest.fixture(autouse=True)
def keep_command_line(monkeypatch):
    monkeypatch.setattr(sys, 'argv', sys.argv)


def test_env_prints_what_a_bug_report_needs(capsys):
    main(['env'])
    lines = capsys.readouterr().out.splitlines()
    printed = {line[:14].strip(): line[15:] for line in lines}
    libraries = (torch, torchvision, mmengine, mmcv, mmpretrain, mmgcp)
    expected = {library.__name__: library.__version__ for library in libraries}
    expected.update(system=platform.platform(), python=platform.python_version(), line=installed_line(),
                    hardware=environment()['hardware'], **{'mmcv operators': operators()})
    assert expected.items() <= printed.items()
    assert printed.get('commit') == environment().get('commit')


@pytest.mark.parametrize('arguments', [[], ['--help']])
def test_without_a_command_all_are_listed(arguments, capsys):
    main(arguments)
    printed = capsys.readouterr().out.splitlines()
    assert [line.split()[0] for line in printed if line.startswith('  ')] == [*TOOLS, *COMMANDS]
    assert '  train       Train a classifier or a detector from a config.' in printed


@pytest.mark.parametrize('wrong, nearest', [('trian', 'train'), ('with_gcp', 'with-gcp'), ('xyz', '')])
def test_an_unknown_command_ends_in_a_sentence_with_the_nearest(wrong, nearest):
    with pytest.raises(SystemExit, match=f"^\nStopped: mmgcp has no command '{wrong}': the nearest name is {nearest}"):
        main([wrong])


@pytest.mark.parametrize('name', [*TOOLS, *COMMANDS])
def test_help_is_that_of_the_command(name, capsys):
    with pytest.raises(SystemExit, match='^0$'):
        main([name, '--help'])
    assert f'usage: mmgcp {name} ' in capsys.readouterr().out


def test_errors_of_a_tool_pass_through(capsys):
    with pytest.raises(SystemExit, match='^2$'):
        main(['train'])
    assert 'mmgcp train: error: the following arguments are required: config' in capsys.readouterr().err
    with pytest.raises(SystemExit, match='^\nStopped: the config no.py does not exist'):
        main(['train', 'no.py'])


def test_zoo_lists_networks_by_pattern(capsys):
    main(['zoo', 'resnet18_g?p_imagenet'])
    _, _, gap, gcp, *_ = capsys.readouterr().out.splitlines()
    assert [cell.strip() for cell in gcp.split('|')][1:-1] == [
        'gcp/resnet18_gcp_imagenet.py', 'ResNet GCP', '44.2', '74.86', '74.86', '-']
    assert '| 70.47 |' in gap
    with pytest.raises(SystemExit, match="no network of the zoo is called 'resnet19_gcp'; the nearest name is resnet"):
        main(['zoo', 'resnet19_gcp'])
