"""Put pictures together in a grid."""
from collections.abc import Sequence
from pathlib import Path

from PIL import Image


def mosaic(paths: Sequence[str | Path], columns: int = 2) -> Image.Image:
    """Put pictures, at least one, side by side in white cells of the size of the largest."""
    if not paths:
        raise ValueError('There are no pictures to put together.')
    pictures = [Image.open(path).convert('RGB') for path in paths]
    width, height = (max(sizes) for sizes in zip(*(picture.size for picture in pictures), strict=True))
    columns = min(columns, len(pictures))
    sheet = Image.new('RGB', (columns * width, -(-len(pictures) // columns) * height), 'white')
    for index, picture in enumerate(pictures):
        sheet.paste(picture, (index % columns * width, index // columns * height))
    return sheet
