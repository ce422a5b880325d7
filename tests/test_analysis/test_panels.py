"""Tests of the command line of figures with several panels."""
import argparse

import pytest

from mmgcp.analysis.panels import Panel, panels_of
from mmgcp.utils.arguments import add_panel_arguments


def parse(*arguments, title=''):
    parser = argparse.ArgumentParser()
    add_panel_arguments(parser)
    args = parser.parse_args(arguments)
    return panels_of(args.work_dirs, args.panels, args.labels, title)


def test_work_dirs_are_one_panel():
    assert parse('a', 'b', title='t') == [Panel('t', ['a', 'b'], None)]
    assert parse('a', 'b', '--labels', 'A', 'B') == [Panel('', ['a', 'b'], ['A', 'B'])]


def test_panels_share_labels_or_have_their_own():
    panels = ('--panel', 'R', 'a', 'b', '--panel', 'M', 'c', 'd', '--labels')
    assert parse(*panels, 'A', 'B') == [Panel('R', ['a', 'b'], ['A', 'B']), Panel('M', ['c', 'd'], ['A', 'B'])]
    assert parse(*panels, *'ABCD') == [Panel('R', ['a', 'b'], ['A', 'B']), Panel('M', ['c', 'd'], ['C', 'D'])]
    uneven = parse('--panel', 'R', 'a', '--panel', 'M', 'b', 'c', '--labels', *'ABC')
    assert uneven == [Panel('R', ['a'], ['A']), Panel('M', ['b', 'c'], ['B', 'C'])]


@pytest.mark.parametrize('arguments, sentence', [
    ([], 'Give either WORK_DIR .*, or --panel'),
    (['a', '--panel', 'R', 'b'], 'Give either WORK_DIR .*, or --panel'),
    (['--panel', 'R'], "panel 'R' has no runs: .* the title first"),
    (['--panel', 'R', 'a', '--panel', 'R', 'b'], "Several panels are called 'R'"),
    (['a', 'b', '--labels', 'A'], r'1 labels for 2 runs: give one label per run\.$'),
    (['--panel', 'R', 'a', 'b', '--panel', 'M', 'c', 'd', '--labels', *'ABC'],
     '3 labels for 4 runs: give one label per run, or as many as each panel has runs'),
])
def test_mistakes(arguments, sentence):
    with pytest.raises(ValueError, match=sentence):
        parse(*arguments)
