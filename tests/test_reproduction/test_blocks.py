from reproduction.blocks import fill_blocks

PAGE = '''Before
<!-- sum: 1 2 -->
old
<!-- /sum -->
<!-- sum -->
<!-- /sum -->
<!-- other: 1 -->
old
<!-- /other -->
A line with `<!-- sum: 1 -->` and `<!-- /sum -->` in it.
'''


def test_places_with_one_mark_are_filled_again_and_again():
    filled = fill_blocks(PAGE, 'sum', lambda numbers: str(sum(map(int, numbers.split()))))
    assert filled == PAGE.replace('-->\nold\n<!-- /sum', '-->\n3\n<!-- /sum').replace(
        '<!-- sum -->\n', '<!-- sum -->\n0\n')
    assert fill_blocks(filled, 'sum', lambda numbers: str(sum(map(int, numbers.split())))) == filled
