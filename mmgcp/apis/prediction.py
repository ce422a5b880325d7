"""Predict single pictures: classes with a class-activation map, or boxes and masks."""
from collections.abc import Sequence
from importlib.util import find_spec
from pathlib import Path

import mmcv
import torch
from mmcv.transforms import Compose, LoadImageFromFile
from mmengine.config import Config
from mmengine.dataset import pseudo_collate
from mmpretrain.models import ImageClassifier

from mmgcp.analysis.prediction_figure import plot_prediction
from mmgcp.datasets.unreadable import UnreadableError, read_image
from mmgcp.utils.checkpoint import classes_of
from mmgcp.utils.errors import SetupError, explained
from mmgcp.utils.mmcv_operators import operators

from .activation_map import activation_map
from .config_data import datasets, library_of
from .trained import trained_model


def pictures_to_write(images: Sequence[str], out: str) -> list[Path]:
    """Check that images can be read, and name the picture that is written for each.

    Args:
        images (Sequence[str]): Image files.
        out (str): PNG file for a single image, or folder for ``NAME_OF_IMAGE.png``, created if missing.

    Raises:
        SetupError: If an image is missing or cannot be read, or the pictures cannot be written.
    """
    for image in images:
        if not Path(image).is_file():
            raise SetupError(f'{image} is a folder: name the images in it' if Path(image).is_dir() else
                             f'the image {image} does not exist')
        try:
            read_image(LoadImageFromFile(), dict(img_path=image))
        except UnreadableError as error:
            raise SetupError(f'{error}: first come the images, then CONFIG and CHECKPOINT') from error
    suffix = '' if Path(out).is_dir() else Path(out).suffix
    if suffix not in ('', '.png'):
        raise SetupError(f'--out {out} must end in .png, or be a folder')
    if suffix and len(images) > 1:
        raise SetupError(f'--out {out} is one picture, and {len(images)} images are given: name a folder')
    pictures = [Path(out)] if suffix else [Path(out, Path(image).stem + '.png') for image in images]
    for picture in pictures:
        if pictures.count(picture) > 1:
            raise SetupError(f'several images would become {picture}: predict them one by one')
        if picture.resolve() in [Path(image).resolve() for image in images]:
            raise SetupError(f'{picture} is an image to predict: write elsewhere with --out')
    try:
        pictures[0].parent.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise SetupError(f'the folder {pictures[0].parent} cannot be made: {error.strerror}') from error
    return pictures


class Predictor:
    """A trained classifier of MMPretrain or detector of MMDetection, on the GPU if there is one.

    Args:
        cfg (Config): Its config.
        checkpoint (str): File, URL or ``workdir://NAME_OF_CONFIG``.
        threshold (float): Minimum score of an object. Default: 0.3.

    Raises:
        SetupError: If the checkpoint does not fit, the config has no suitable model or pipeline, or mmdet is missing.
    """

    def __init__(self, cfg: Config, checkpoint: str, threshold: float = 0.3) -> None:
        self.cfg, self.threshold = cfg, threshold
        self.detects = library_of(cfg) == 'mmdet'
        if self.detects:
            if find_spec('mmdet') is None:
                raise SetupError('this is the config of a detector, which needs MMDetection: install onedl-mmdetection '
                                 'or, beside the original line, mmdet')
            operators()
        pipeline = next((settings.get('pipeline') for _, settings in datasets(cfg, ['test'])), None)
        if not pipeline:
            raise SetupError('the config has no test_dataloader with a pipeline, by which images are prepared')
        self.model, meta = trained_model(cfg, checkpoint)
        if not self.detects and not isinstance(self.model, ImageClassifier):
            raise SetupError(f'the model is {type(self.model).__name__}: classifiers of MMPretrain and detectors of '
                             'MMDetection can predict a picture')
        fusion = getattr(self.model, 'panoptic_fusion_head', None)
        if fusion is not None and not fusion.test_cfg.get('instance_on'):
            raise SetupError(f'the model, {type(self.model).__name__}, predicts panoptic segments alone: networks that '
                             'find objects, with scores, can predict a picture')
        self.model.eval().to('cuda' if torch.cuda.is_available() else 'cpu')
        self.classes = classes_of(dict(meta=meta))
        with explained(AssertionError, KeyError, TypeError, ValueError):
            self.pipeline = Compose(pipeline)

    def predict(self, image: str, picture: Path) -> list[str]:
        """Draw the prediction for an image into a PNG file, and return it as lines of text."""
        packed = self.pipeline(dict(img_path=image, img_id=0, instances=[]))
        with torch.no_grad():
            batch = self.model.data_preprocessor(pseudo_collate([packed]), False)
            sample, = self.model(**batch, mode='predict')
        return (self._detected if self.detects else self._classified)(image, packed, batch, sample, picture)

    def _name(self, label: int) -> str:
        return self.classes[label] if label < len(self.classes) else f'class {label}'

    def _classified(self, image, packed, batch, sample, picture):
        scores, labels = sample.pred_score.cpu().topk(min(5, len(sample.pred_score)))
        names = [self._name(label) for label in labels.tolist()]
        lines = [f'{score:7.1%}  {name}' for name, score in zip(names, scores.tolist(), strict=True)]
        try:
            shares = activation_map(self.model, batch['inputs'], labels[0].item()).cpu().numpy()
        except SetupError as error:
            shares = None
            lines.append(f'No class-activation map: {error}.')
        seen = packed['inputs'].numpy().transpose(1, 2, 0)[..., ::-1]  # OpenCV's channels are blue, green, red
        plot_prediction(seen, names, scores.tolist(), shares, picture)
        return lines

    def _detected(self, image, packed, batch, sample, picture):
        from mmdet.visualization import DetLocalVisualizer
        found = sample.pred_instances
        found = found[found.scores > self.threshold].cpu()
        visualizer = DetLocalVisualizer()
        visualizer.dataset_meta = dict(classes=self.classes or None)
        visualizer.add_datasample('prediction', mmcv.imread(image, channel_order='rgb'), sample, draw_gt=False,
                                  pred_score_thr=self.threshold, out_file=str(picture))
        return [f'{score:7.1%}  {self._name(label)} at ' + ', '.join(f'{edge:.0f}' for edge in box)
                for score, label, box in zip(found.scores.tolist(), found.labels.tolist(), found.bboxes.tolist(),
                                             strict=True)] or [f'nothing scores above {self.threshold:g}']
