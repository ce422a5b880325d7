import pytest
from PIL import Image

from mmgcp.analysis.mosaic import mosaic


def test_pictures_stand_row_by_row(tmp_path):
    colours = ['red', 'green', 'blue']
    for name, size in zip(colours, [(4, 3), (5, 2), (4, 3)], strict=True):
        Image.new('RGB', size, name).save(tmp_path / f'{name}.png')
    sheet = mosaic([tmp_path / f'{name}.png' for name in colours], columns=2)
    assert sheet.size == (10, 6)
    assert [sheet.getpixel(p) for p in [(0, 0), (5, 0), (0, 3), (5, 3)]] == [
        (255, 0, 0), (0, 128, 0), (0, 0, 255), (255, 255, 255)]
    assert sheet.getpixel((4, 0)) == (255, 255, 255)


def test_nothing_to_show():
    with pytest.raises(ValueError, match='no pictures'):
        mosaic([])
