"""ImageNet-P: short sequences of frames with growing perturbations, as videos or folders of images.

Hendrycks and Dietterich, Benchmarking neural network robustness to common corruptions and perturbations, ICLR 2019.
"""
import re
from collections import Counter
from collections.abc import Callable, Sequence
from functools import cached_property
from pathlib import Path

import mmcv
import numpy as np
from mmcv.transforms import LoadImageFromFile
from mmengine.dataset import pseudo_collate
from mmpretrain.datasets import CustomDataset

from mmgcp.registry import DATASETS, FUNCTIONS
from mmgcp.utils.errors import SetupError

from .class_folders import class_names
from .imagenet_c import check_pipeline
from .perturbations import check_perturbation, perturbation_folder
from .unreadable import UnreadableError, check_policy, read_image, read_or_stand_in


def pack_frames(pack: Callable[[dict], dict], frames: Sequence[np.ndarray], info: dict, tags: dict) -> list[dict]:
    """Pack BGR frames with the ``info`` that they share; samples get ``tags``, ``frame`` and ``frames``."""
    samples = []
    for number, frame in enumerate(frames):
        sample = pack({**info, 'img': frame, 'img_shape': frame.shape[:2], 'ori_shape': frame.shape[:2]})
        sample['data_samples'].set_metainfo(dict(**tags, frame=number, frames=len(frames)))
        samples.append(sample)
    return samples


@FUNCTIONS.register_module()
def collate_sequences(batch: Sequence[Sequence[dict]]) -> dict:
    """Concatenate the frames of several sequences to an ordinary batch."""
    return pseudo_collate([sample for sequence in batch for sample in sequence])


@DATASETS.register_module()
class ImageNetP(CustomDataset):
    """Sequences of one perturbation: DATA_ROOT/perturbation/class/NAME.mp4, or a folder NAME of image files.

    An item is the list of packed frames of a sequence, for :func:`collate_sequences`. The meta information of each
    frame has ``perturbation``, ``difficulty``, ``sequence`` (class/NAME), ``frame`` (from 0), ``frames`` and, if the
    sequence cannot be read, ``unreadable``. Frames in a folder are ordered by the numbers in their names.

    Args:
        data_root (str): Folder of the perturbations.
        perturbation (str): Name of the perturbation.
        difficulty (int): 1, 2 or 3. Noise has a folder for each, such as ``shot_noise_2``.
        classes (Sequence[str] | str | None): Class folders of the training in label order, or a file with one name per
            line. None takes the sorted folders, unless they are part of ImageNet's 1,000.
        unreadable (str): ``'stop'`` raises an error for an unreadable or truncated sequence. ``'skip'`` returns the
            next readable one instead, tagged for metrics to exclude.
        pipeline (Sequence[dict]): Transforms of a loaded frame; the last one packs it.
        resize_again (bool): Allow the pipeline to resize or crop, as in :class:`ImageNetC`. Default: False.
        **kwargs: Other arguments of ``mmpretrain.CustomDataset``.

    Raises:
        SetupError: If an argument is invalid, folders or sequences are missing, or class folders differ; on access, if
            a sequence is unreadable or not as long as the first.
    """

    def __init__(self, data_root: str, perturbation: str, difficulty: int = 1,
                 classes: Sequence[str] | str | None = None, unreadable: str = 'stop',
                 pipeline: Sequence[dict] = (dict(type='PackInputs'),), resize_again: bool = False, **kwargs) -> None:
        check_perturbation(perturbation, difficulty=difficulty)
        check_policy(unreadable)
        check_pipeline(pipeline, resize_again)
        self.perturbation = perturbation
        self.difficulty = difficulty
        self.unreadable = unreadable
        super().__init__(data_root=data_root, data_prefix=perturbation_folder(perturbation, difficulty),
                         classes=classes, pipeline=pipeline, test_mode=True, **kwargs)

    def load_data_list(self) -> list[dict]:
        """List ``img_path`` (the video or the folder of frames), ``gt_label`` and ``sequence`` of each sequence."""
        root = Path(self.img_prefix)
        self._metainfo['classes'] = class_names([root], self.CLASSES)
        samples = []
        for label, name in sorted(enumerate(self.CLASSES), key=lambda item: item[1]):
            paths = sorted(path for path in (root / name).iterdir()
                           if (path.suffix == '.mp4' or path.is_dir()) and not path.name.startswith('.'))
            if not paths:
                raise SetupError(f'{root / name} holds no sequences, neither .mp4 files nor folders of frames')
            samples += [dict(img_path=str(path), gt_label=label, sequence=f'{name}/{path.name.removesuffix(".mp4")}')
                        for path in paths]
        # A video with its extracted frames beside it would count twice.
        twice = [name for name, count in Counter(sample['sequence'] for sample in samples).items() if count > 1]
        if twice:
            raise SetupError(f'{root / twice[0]} is there as a video and as a folder: keep one of them')
        return samples

    @cached_property
    def frames(self) -> int:
        """Number of frames of the first readable sequence, which all others must match."""
        return len(read_or_stand_in(self._decode, 0, len(self), self.unreadable)[0])

    def prepare_data(self, idx: int) -> list[dict]:
        """Decode, transform, pack and tag the frames of a sequence."""
        info = self.get_data_info(idx)
        frames, tags = read_or_stand_in(self._read, idx, len(self), self.unreadable)
        return pack_frames(self.pipeline, frames, info, dict(
            perturbation=self.perturbation, difficulty=self.difficulty, sequence=info['sequence'], **tags))

    def _read(self, index: int) -> list[np.ndarray]:
        frames = self._decode(index)
        if len(frames) != self.frames:
            raise SetupError(f'{self.get_data_info(index)["img_path"]} has {len(frames)} frames, but the first '
                             f'sequence has {self.frames}: all of a perturbation must have the same length')
        return frames

    def _decode(self, index: int) -> list[np.ndarray]:
        path = Path(self.get_data_info(index)['img_path'])
        if not path.is_dir():
            return _decode_video(path)
        files = sorted((file for file in path.iterdir()
                        if self.is_valid_file(file.name) and not file.name.startswith('.')), key=_natural_order)
        if not files:
            raise UnreadableError(f'the sequence {path} holds no images')
        return [read_image(LoadImageFromFile(), dict(img_path=str(file)))['img'] for file in files]


def _decode_video(path: Path) -> list[np.ndarray]:
    with mmcv.VideoReader(str(path)) as video:
        # Not list(video), which calls len() first: the length is negative in some broken files.
        frames = [frame for frame in video]  # noqa: C416
        if not frames:
            raise UnreadableError(f'the video {path} cannot be decoded')
        if len(frames) < video.frame_cnt:
            raise UnreadableError(f'the video {path} is cut off: {len(frames)} of its {video.frame_cnt} frames can be '
                                  'decoded')
    return frames


def _natural_order(file: Path) -> list[str | int]:
    """Return a key that sorts frame_2 before frame_10."""
    return [int(part) if part.isdecimal() else part for part in re.split('([0-9]+)', file.stem)]
