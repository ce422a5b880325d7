"""Data set that makes ImageNet-P's sequences from clean images on the fly."""
import mmcv
import numpy as np
from mmcv.transforms import CenterCrop
from mmengine.dataset import BaseDataset
from mmpretrain.datasets import PackInputs
from torch.utils.data import Dataset

from mmgcp.registry import DATASETS
from mmgcp.utils.errors import SetupError

from .corruptions import image_key, image_seed
from .imagenet_p import pack_frames
from .perturbations import check_perturbation, perturb_image
from .unreadable import check_policy, read_image, read_or_stand_in


@DATASETS.register_module()
class PerturbedDataset(Dataset):
    """Sequences of one perturbation from a data set of clean images, with items as in :class:`ImageNetP`.

    The clean pipeline runs up to packing. A CenterCrop at its end is applied to the frames, so that they show what was
    outside the crop when the image moves.

    Args:
        dataset (dict | BaseDataset): Clean images. The first transform must load them, the last be PackInputs.
        perturbation (str): Name of the perturbation.
        frames (int | None): Frames per sequence; None takes the published number.
        difficulty (int): 1, 2 or 3.
        seed (int): Seed. A sequence depends only on it, the perturbation and the name class/stem of the image.
        unreadable (str): ``'stop'`` raises an error for an unreadable image. ``'skip'`` returns the next readable one
            instead, tagged for metrics to exclude.
        lazy_init (bool): Do not list the images yet.

    Raises:
        SetupError: If an argument or the end of the pipeline is invalid; on access, if an image is unreadable.
    """

    def __init__(self, dataset: dict | BaseDataset, perturbation: str, frames: int | None = None, difficulty: int = 1,
                 seed: int = 0, unreadable: str = 'stop', lazy_init: bool = False) -> None:
        check_perturbation(perturbation, frames, difficulty)
        check_policy(unreadable)
        self.dataset = DATASETS.build(dataset) if isinstance(dataset, dict) else dataset
        transforms = self.dataset.pipeline.transforms
        if len(transforms) < 2 or not isinstance(transforms[-1], PackInputs):
            raise SetupError('the pipeline of the clean images must begin by loading them and end in PackInputs')
        self.perturbation = perturbation
        self.frames = frames
        self.difficulty = difficulty
        self.seed = seed
        self.unreadable = unreadable
        if not lazy_init:
            self.full_init()

    @property
    def metainfo(self) -> dict:
        """Meta information of the clean images."""
        return self.dataset.metainfo

    def full_init(self) -> None:
        """List the clean images."""
        self.dataset.full_init()

    def __len__(self) -> int:
        return len(self.dataset)

    def __getitem__(self, idx: int) -> list[dict]:
        """Make the packed frames of a sequence."""
        info = self.dataset.get_data_info(idx)
        results, tags = read_or_stand_in(self._read, idx, len(self), self.unreadable)
        sequence = image_key(info['img_path'])
        seed = image_seed(self.seed, self.perturbation, sequence)
        frames = perturb_image(mmcv.bgr2rgb(results['img']), self.perturbation, self.frames, self.difficulty, seed,
                               self._crop)
        return pack_frames(
            self.dataset.pipeline.transforms[-1], [mmcv.rgb2bgr(frame) for frame in frames], {**results, **info},
            dict(perturbation=self.perturbation, difficulty=self.difficulty, sequence=sequence, **tags))

    def _crop(self, image: np.ndarray) -> np.ndarray:
        crop = self.dataset.pipeline.transforms[-2]
        return crop(dict(img=image))['img'] if isinstance(crop, CenterCrop) else image

    def _read(self, index: int) -> dict:
        load, *transforms, _ = self.dataset.pipeline.transforms
        if transforms and isinstance(transforms[-1], CenterCrop):
            transforms.pop()
        results = read_image(load, self.dataset.get_data_info(index))
        for transform in transforms:
            results = transform(results)
        return results
