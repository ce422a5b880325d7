import argparse

import pytest

from mmgcp.utils.arguments import Options, at_least, common_parser


@pytest.mark.parametrize('text, value', [
    ('/data/my birds', '/data/my birds'), ('"/data/my birds"', '/data/my birds'),  # MMEngine's would read /data/mybirds
    ('[1, 2.5]', [1, 2.5]), ('(1, None)', (1, None)), ('1,2', [1, 2]), ('[(a, b), c]', [('a', 'b'), 'c']), ('0.5', 0.5),
    ('True', True), ('data', 'data'), ('[traffic light, car ]', ['traffic light', 'car']),
    ("['traffic light','stop  sign']", ['traffic light', 'stop  sign']), ('[(a b, 2), [c d]]', [('a b', 2), ['c d']]),
])
def test_options_keep_spaces(text, value):
    parser = argparse.ArgumentParser()
    parser.add_argument('--cfg-options', nargs='+', action=Options)
    assert parser.parse_args(['--cfg-options', f'a.b={text}']).cfg_options == {'a.b': value}


@pytest.mark.parametrize('arguments', [['--local_rank', '1'], ['--local_rank=1'], ['--local-rank=1']])
def test_launchers_spell_the_rank_in_two_ways(arguments):
    assert common_parser('').parse_args(['config.py', *arguments]).local_rank == 1


@pytest.mark.parametrize('text, message', [('0', '0 must be an integer of at least 1'), ('1.5', 'invalid integer')])
def test_lower_bound(text, message, capsys):
    parser = argparse.ArgumentParser()
    parser.add_argument('--number', type=at_least(1))
    assert parser.parse_args(['--number', '1']).number == 1
    with pytest.raises(SystemExit):
        parser.parse_args(['--number', text])
    assert message in capsys.readouterr().err
