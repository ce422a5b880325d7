import json
import math

import pytest

from mmgcp.utils.records import append_record, open_records, read_lines, read_records

SETTINGS = dict(at='stem', step_sizes=[0.1, 75])


def test_what_was_written_is_read(tmp_path):
    path = tmp_path / 'new' / 'folder' / 'records.json'
    assert open_records(path, SETTINGS) == []
    assert read_records(path) == (SETTINGS, [])
    records = [dict(step=1, losses=[2.5, float('inf')]), dict(step=2, losses=[])]
    for record in records:
        append_record(path, record)
    assert read_records(path) == (SETTINGS, records)
    assert [json.loads(line) for line in path.read_text().splitlines()] == [dict(settings=SETTINGS), *records]
    append_record(path, dict(loss=float('nan')))
    assert math.isnan(read_records(path).records[-1]['loss'])


def test_goes_on_with_the_same_settings_alone(tmp_path):
    path = tmp_path / 'records.json'
    open_records(path, SETTINGS)
    append_record(path, dict(step=1))
    assert open_records(str(path), dict(SETTINGS, step_sizes=(0.1, 75))) == [dict(step=1)]  # JSON knows no tuples
    append_record(path, dict(step=2))
    assert read_records(path).records == [dict(step=1), dict(step=2)]
    known = path.read_text()
    with pytest.raises(ValueError, match=r'holds measurements with other settings \(at, seed\): move it away'):
        open_records(path, dict(SETTINGS, at='image', seed=0))
    assert path.read_text() == known and list(tmp_path.iterdir()) == [path]


def test_a_line_that_was_cut_off_is_removed(tmp_path):
    path = tmp_path / 'records.json'
    open_records(path, SETTINGS)
    append_record(path, dict(step=1))
    whole = path.read_text()
    path.write_text(whole + '{"step": 2, "lo')
    with pytest.warns(UserWarning, match="The last line of '.*records.json' is cut off and was left out"):
        assert read_records(path).records == [dict(step=1)]
    with pytest.warns(UserWarning, match='is cut off'):
        assert open_records(path, SETTINGS) == [dict(step=1)]
    assert path.read_text() == whole


def test_an_empty_file_is_started_anew(tmp_path):
    path = tmp_path / 'records.json'
    path.touch()
    assert open_records(path, SETTINGS) == [] and read_records(path).settings == SETTINGS


def test_files_that_are_no_records(tmp_path):
    path = tmp_path / 'records.json'
    with pytest.raises(ValueError, match="records.json' does not exist: measure first"):
        read_records(path)
    path.write_text('{"step": 1}\n{"step": 2}\n')
    for function in (read_records, lambda path: open_records(path, SETTINGS)):
        with pytest.raises(ValueError, match='is not a file of measurements: its first line must hold their settings'):
            function(path)
    path.write_text('{"settings": {}}\nhello\n{"step": 2}\n')
    with pytest.raises(ValueError, match="Line 2 of '.*records.json' is not JSON: repair or delete that line"):
        read_records(path)


def test_logs_without_settings(tmp_path):
    (tmp_path / 'scalars.json').write_text('{"loss": 1}\n{"loss": 2}\n\n')
    assert read_lines(tmp_path / 'scalars.json') == [dict(loss=1), dict(loss=2)]
    (tmp_path / 'empty.json').touch()
    assert read_lines(tmp_path / 'empty.json') == []
