"""Marked places in Markdown pages, which a command fills."""
import re
from collections.abc import Callable


def fill_blocks(text: str, mark: str, content: Callable[[str], str]) -> str:
    r"""Replace what stands in the marked places of a page.

    Args:
        text (str): Page with places ``<!-- MARK: ARGUMENT -->`` ... ``<!-- /MARK -->``; the argument may be left out.
        mark (str): Word that marks the places.
        content (Callable[[str], str]): Maps the argument of a place, empty if there is none, to what belongs there.

    Returns:
        str: The page.

    Examples:
        >>> print(fill_blocks('<!-- sum: 1 2 -->\n<!-- /sum -->', 'sum', lambda it: str(sum(map(int, it.split())))))
        <!-- sum: 1 2 -->
        3
        <!-- /sum -->
    """
    place = re.compile(rf'(<!-- {mark}(?:: ([^\n>]+?))? -->\n).*?(<!-- /{mark} -->)', re.DOTALL)
    return place.sub(lambda found: f"{found[1]}{content(found[2] or '')}\n{found[3]}", text)
