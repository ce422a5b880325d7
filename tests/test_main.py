import platform

import mmcv
import mmengine
import mmpretrain
import pytest
import torch
import torchvision

import mmgcp
from mmgcp.__main__ import main
from mmgcp.experiments.environment import environment
from mmgcp.utils.mmcv_operators import operators
from mmgcp.utils.versions import installed_line


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


def test_a_command_is_asked_for(capsys):
    with pytest.raises(SystemExit):
        main([])
    assert 'arguments are required: COMMAND' in capsys.readouterr().err
