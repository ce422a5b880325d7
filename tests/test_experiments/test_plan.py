import re
from pathlib import Path

import pytest

from mmgcp.experiments import Measurement, Training, read_plan
from mmgcp.experiments.plan import option_text
from mmgcp.utils.arguments import common_parser
from mmgcp.utils.errors import SetupError

from .conftest import CONFIG, small_plan


def measurement(name='m', arguments=(), **settings):
    return Measurement(name, 't.py', arguments, 'm.json', ('resnet18_gap_lr-norm', ), **settings)


@pytest.mark.parametrize('settings, sentence', [
    (dict(trainings=[Training('a', CONFIG), Training('a', CONFIG)]), "several .* called 'a'"),
    (dict(trainings=[Training('a', 'nowhere.py')]), "'a' has the config configs/nowhere.py, which does not exist"),
    (dict(trainings=[Training('a', CONFIG, starts_from='b'), Training('b', CONFIG)], measurements=[]),
     "'a' starts from 'b', which the plan does not train before it"),
    (dict(trainings=[Training('a', CONFIG, starts_from='a')], measurements=[]), "'a' starts from 'a', which"),
    (dict(trainings=[Training('a', CONFIG, seeds=(1, )), Training('b', CONFIG, starts_from='a')], measurements=[]),
     "'b' starts from 'a' with seed 0, which the plan does not train: it has the seeds 1"),
    (dict(measurements=[Measurement('m', 't.py', (), '*', ('b', ))]), "'m' is of 'b', which the plan does not train"),
    (dict(measurements=[measurement(seeds=(1, 2))]),
     "'m' is of 'resnet18_gap_lr-norm' with seed 2, which the plan does not train: it has the seeds 0, 1"),
    (dict(measurements=[measurement(), measurement(name='n', seeds=(1, ))]),
     r"'m' and 'n' both leave m\.json of 'resnet18_gap_lr-norm' seed 1: tell the files apart, or"),
    (dict(seeds=3), r'the plan has seeds=3: list integers, as in seeds=\(0, 1, 2\)'),
    (dict(trainings=[Training('a', CONFIG, seeds='01')]), "the training 'a' has seeds='01': list integers"),
    (dict(measurements=[measurement(seeds=1)]), "the measurement 'm' has seeds=1: list integers"),
    *((dict(measurements=[measurement(arguments=('{config}', argument))]),
       f'the measurement \'m\' has the argument {re.escape(repr(argument))}: give strings, in which braces hold config')
      for argument in ('a={oops}', '{}', '{', '{config.x}', 3)),
])
def test_impossible_plans_are_refused(settings, sentence):
    with pytest.raises(SetupError, match=sentence):
        small_plan(**settings)


def test_measurements_of_different_seeds_may_leave_the_same_file():
    small_plan(measurements=[measurement(arguments=('{config}', '{{}}'), seeds=(0, )), measurement('n', seeds=(1, ))])


@pytest.mark.parametrize('value', [
    ['American, robin', 'crow'], 'data/my,birds', '007', 'None', 'true', "'quoted'", '[a,b', [''], {'max_norm': 1.0},
    [{'type': 'X'}], Path('data'), {1, 2}])
def test_options_that_the_command_line_would_change_are_refused(value):
    for settings, owner in ((dict(options={'a.b': value}), 'the plan'),
                            (dict(trainings=[Training('x', CONFIG, {'a.b': value})]), "the training 'x'")):
        with pytest.raises(SetupError, match=f'{owner} has the option a.b={re.escape(repr(value))}, which'):
            small_plan(**settings)


@pytest.mark.parametrize('value', [
    1, 1.0, 1e-7, True, None, '', 'SGD', 'data/my birds', [], (1, ), [1, [2.5, None], 'a', False], float('inf'),
    ['American robin', 'crow']])
def test_options_that_reach_the_config_as_they_are(value):
    text = option_text(value)
    found = common_parser('').parse_args(['config', '--cfg-options', f'a.b={text}']).cfg_options
    assert small_plan(options={'a.b': value}) and found == {'a.b': list(value) if isinstance(value, tuple) else value}


def test_plan_is_read_by_its_file(tmp_path):
    path = tmp_path / 'mine.py'
    path.write_text(f"from mmgcp.experiments import Plan, Training\nplan = Plan('t', [Training('a', '{CONFIG}')])")
    assert read_plan(path).name == 'mine'
    for text, sentence in (('plan = 3', 'must assign a Plan'), ('plan = (', 'cannot be read'),
                           ('import no_such', "cannot be read: ModuleNotFoundError: No module named 'no_such'"),
                           ("from mmgcp.experiments import Training\nTraining('a', 'b', option={})",
                            "cannot be read: TypeError: .* unexpected keyword argument 'option'"),
                           ("from mmgcp.experiments import Plan\nPlan('t', [], seeds=3)",
                            r'^in .*mine\.py, the plan has seeds=3')):
        path.write_text(text)
        with pytest.raises(SetupError, match=sentence):
            read_plan(path)
    with pytest.raises(SetupError, match=r'other\.py does not exist: there are .*mine\.py'):
        read_plan(tmp_path / 'other.py')
