"""Catalogue of the robustness benchmarks: their sets, folders and classes.

The clean test images as they are. Images corrupted in one more way: ImageNet-C (Hendrycks & Dietterich, ICLR 2019),
ImageNet-C-bar (Mintun et al., NeurIPS 2021), ImageNet-3DCC (Kar et al., CVPR 2022) and COCO-C (Michaelis et al., 2019).
Sequences: ImageNet-P. Other photos of the same classes: ImageNet-A (Hendrycks et al., CVPR 2021), ImageNet-R (Hendrycks
et al., ICCV 2021), ImageNet-V2 (Recht et al., ICML 2019) and ImageNet-Sketch (Wang et al., NeurIPS 2019).
"""
from collections.abc import Sequence
from itertools import product
from pathlib import Path
from typing import NamedTuple

from mmgcp.utils.errors import SetupError

from .corruptions import C_BAR, CORRUPTIONS, EXTRA_CORRUPTIONS, SEVERITIES, THREE_D
from .perturbations import PERTURBATIONS


class Form(NamedTuple):
    """Contents of a benchmark, and what is measured on it."""
    kinds: tuple[str, ...]  # corruptions, perturbations, or sets of photos as they are
    severities: tuple[int, ...] = ()  # of each corruption
    extra: tuple[str, ...] = ()  # kinds that enter no mean
    title: str = ''  # put before its metrics
    measure: str = 'error'  # of classification, 'flip' along sequences, or 'precision' of detection
    folder: str = '{kind}/{severity}'  # of a set, in the data root
    classes: str | None = None  # argument of wnid_folders(); None: those of the clean images
    made: bool = False  # can be made from clean images

    @property
    def photos(self) -> bool:
        """Whether its sets are photos as they are."""
        return self.measure == 'error' and not self.severities

    def sets(self, kinds: Sequence[str] = (), severities: Sequence[int] = ()) -> dict[str, tuple[str, int]]:
        """Map the names of sets, such as ``'fog/3'`` or ``'tilt'``, to kind and severity (0 where there is none)."""
        pairs = product(kinds or self.kinds, (severities or self.severities) if self.severities else (0, ))
        return {f'{kind}/{severity}' if severity else kind: (kind, severity) for kind, severity in pairs}

    def path(self, data_root: str | Path, kind: str, severity: int) -> Path:
        """Return the folder of a set."""
        return Path(data_root, self.folder.format(kind=kind, severity=severity))


BENCHMARKS = {
    'clean': Form(('clean', ), made=True),
    'imagenet-c': Form(CORRUPTIONS, SEVERITIES, EXTRA_CORRUPTIONS, made=True),
    'imagenet-c-bar': Form(C_BAR, SEVERITIES, title='C-bar'),
    'imagenet-3dcc': Form(THREE_D, SEVERITIES, title='3DCC'),
    'imagenet-p': Form(PERTURBATIONS, measure='flip', made=True),
    'imagenet-a': Form(('imagenet-a', ), title='A', folder='.', classes='imagenet_a'),
    'imagenet-r': Form(('imagenet-r', ), title='R', folder='.', classes='imagenet_r'),
    'imagenet-v2': Form(('matched-frequency', 'threshold0.7', 'top-images'), title='V2',
                        folder='imagenetv2-{kind}-format-val', classes='number'),
    'imagenet-sketch': Form(('imagenet-sketch', ), title='Sketch', folder='.', classes='imagenet'),
    'coco-c': Form(CORRUPTIONS, SEVERITIES, EXTRA_CORRUPTIONS, measure='precision', made=True),
}


def form_of(benchmark: str) -> Form:
    """Return the entry of a benchmark, or raise SetupError if there is none."""
    if benchmark not in BENCHMARKS:
        raise SetupError(f"there is no benchmark '{benchmark}': choose from {', '.join(BENCHMARKS)}")
    return BENCHMARKS[benchmark]


def wnid_folders(classes: str = 'imagenet') -> dict[str, str]:
    """Map class folders to the WordNet ids of ImageNet's classes, in ImageNet's order.

    ``'imagenet'`` and ``'number'`` (folders 0 to 999) have 1,000 classes, ``'imagenet_a'`` and ``'imagenet_r'`` 200.

    >>> wnid_folders('number')['2'], list(wnid_folders('imagenet_a'))[0]
    ('n01484850', 'n01498041')
    """
    listed = 'imagenet' if classes == 'number' else classes
    wnids = Path(__file__).with_name('references').joinpath(f'{listed}_wnids.txt').read_text().split()
    return {str(label): wnid for label, wnid in enumerate(wnids)} if classes == 'number' else {w: w for w in wnids}
