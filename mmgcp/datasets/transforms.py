"""Transform that corrupts images."""
import numpy as np
from mmcv.transforms import BaseTransform

from mmgcp.registry import TRANSFORMS
from mmgcp.utils.errors import SetupError

from .corruptions import check_corruption, corrupt_image, image_key, image_seed


@TRANSFORMS.register_module()
class Corrupt(BaseTransform):
    """Corrupt an image as in ImageNet-C, on the fly.

    The pixels depend only on the seed, the corruption, the severity and the image's class folder and name. They equal
    those written by ``tools/dataset_tools/corrupt.py --format png``. Place it after resizing and cropping, before
    normalising; ``PackInputs(meta_keys=('corruption', 'severity'))`` passes the tags on.

    **Required Keys:** img (BGR, uint8), img_path. **Modified Keys:** img. **Added Keys:** corruption, severity.

    Args:
        corruption (str): One of the 15 corruptions of ImageNet-C or its 4 extra ones, such as ``'fog'``.
        severity (int): From 1 to 5.
        seed (int): Random seed. Default: 0.

    Raises:
        SetupError: If there is no such corruption; on use, if an image is too small, not of uint8, or has no path.
    """

    def __init__(self, corruption: str, severity: int, seed: int = 0) -> None:
        check_corruption(corruption, severity)
        self.corruption = corruption
        self.severity = severity
        self.seed = seed

    def transform(self, results: dict) -> dict:
        """Corrupt ``results['img']``."""
        if 'img_path' not in results:
            raise SetupError("mmgcp.Corrupt seeds its noise by results['img_path'], which is missing: place it after "
                             'LoadImageFromFile.')
        seed = image_seed(self.seed, self.corruption, self.severity, image_key(results['img_path']))
        corrupted = corrupt_image(results['img'][..., ::-1], self.corruption, self.severity, seed)
        results['img'] = np.ascontiguousarray(corrupted[..., ::-1])
        results['corruption'] = self.corruption
        results['severity'] = self.severity
        return results

    def __repr__(self) -> str:
        return f'{type(self).__name__}(corruption={self.corruption!r}, severity={self.severity}, seed={self.seed})'
