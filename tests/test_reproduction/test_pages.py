import json

import pytest

from mmgcp.utils.errors import SetupError
from reproduction.pages import fill_results

PAGE = '''Before

<!-- results: a/x.csv -->
old
<!-- /results -->
<!-- results: a/x.csv text -->
<!-- /results -->
<!-- results: a/x.json -->
<!-- /results -->
after
'''


def test_blocks_are_filled_again_and_again(tmp_path):
    (tmp_path / 'a').mkdir()
    (tmp_path / 'a/x.csv').write_text('name,number\n"one, two",3\n')
    (tmp_path / 'a/x.json').write_text(json.dumps(dict(command='python -m x', environment=dict(
        hardware='2 cores', threads=1, torch='2.11'))))
    filled = fill_results(PAGE, tmp_path)
    assert filled == '''Before

<!-- results: a/x.csv -->
| name     | number |
| -------- | -----: |
| one, two |      3 |
<!-- /results -->
<!-- results: a/x.csv text -->
| name     | number |
| -------- | ------ |
| one, two | 3      |
<!-- /results -->
<!-- results: a/x.json -->
`python -m x`: 2 cores, 1 thread, torch 2.11.
<!-- /results -->
after
'''
    assert fill_results(filled, tmp_path) == filled


def test_missing_file_is_named(tmp_path):
    with pytest.raises(SetupError, match=r'a page shows .*a/x\.csv, which does not exist'):
        fill_results(PAGE, tmp_path)
