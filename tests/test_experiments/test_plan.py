import pytest

from mmgcp.experiments import Measurement, Training, read_plan
from mmgcp.utils.errors import SetupError

from .conftest import CONFIG, small_plan


@pytest.mark.parametrize('settings, sentence', [
    (dict(trainings=[Training('a', CONFIG), Training('a', CONFIG)]), "several .* called 'a'"),
    (dict(trainings=[Training('a', 'nowhere.py')]), "'a' has the config configs/nowhere.py, which does not exist"),
    (dict(trainings=[Training('a', CONFIG, starts_from='b'), Training('b', CONFIG)], measurements=[]),
     "'a' starts from 'b', which the plan does not train before it"),
    (dict(trainings=[Training('a', CONFIG, starts_from='a')], measurements=[]), "'a' starts from 'a', which"),
    (dict(measurements=[Measurement('m', 't.py', (), '*', ('b', ))]), "'m' is of 'b', which the plan does not train"),
])
def test_impossible_plans_are_refused(settings, sentence):
    with pytest.raises(SetupError, match=sentence):
        small_plan(**settings)


def test_plan_is_read_by_its_file(tmp_path):
    path = tmp_path / 'mine.py'
    path.write_text(f"from mmgcp.experiments import Plan, Training\nplan = Plan('t', [Training('a', '{CONFIG}')])")
    assert read_plan(path).name == 'mine'
    for text, sentence in (('plan = 3', 'must assign a Plan'), ('plan = (', 'cannot be read'),
                           ('import no_such', "cannot be read: No module named 'no_such'")):
        path.write_text(text)
        with pytest.raises(SetupError, match=sentence):
            read_plan(path)
    with pytest.raises(SetupError, match=r'other\.py does not exist: there are .*mine\.py'):
        read_plan(tmp_path / 'other.py')
