"""Trainings of the reproduction, and the names that follow from what they train."""
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import NamedTuple

from mmgcp.experiments import Plan, Training
from mmgcp.utils.errors import SetupError

NETWORKS = {
    'resnet18': 'ResNet-18', 'resnet50': 'ResNet-50', 'mobilenetv2': 'MobileNetV2', 'mask_rcnn_r18': 'Mask R-CNN',
    'resnet18d': 'ResNet-18-D', 'resnet50d': 'ResNet-50-D'}
POOLINGS = {'gap': 'GAP', 'gap_wo-ds': 'GAP w/o DS', 'gcp': 'GCP w/o DS', 'gcp_d': 'GCP_D', 'gcp_m': 'GCP_M'}


class Variant(NamedTuple):
    """What is trained of a network.

    Attributes:
        pooling (str): A key of :data:`POOLINGS`.
        schedule (str): ``'norm'``, ``'fast'``, ``'adju'``, ``'short'``, or empty for that of the config.
        variation (str): The one thing that differs from the training without a variation; empty for none.
    """
    pooling: str
    schedule: str = ''
    variation: str = ''

    def name(self, network: str) -> str:
        """Name of the training: ``'resnet18_gcp_m_lr-short_64-px'``."""
        return '_'.join(filter(None, (network, self.pooling, self.schedule and f'lr-{self.schedule}', self.variation)))

    def pooling_title(self, network: str) -> str:
        """The pooling as text; MobileNetV2 has no conv5 whose down-sampling could be left out."""
        return 'GCP' if (network, self.pooling) == ('mobilenetv2', 'gcp') else POOLINGS[self.pooling]


@dataclass(frozen=True, kw_only=True)
class PaperTraining(Training):
    """A training named after what it trains.

    Attributes:
        name (str): Made from the following.
        network (str): A key of :data:`NETWORKS`.
        variant (Variant): Pooling, schedule and variation.
    """
    name: str = field(init=False)
    network: str
    variant: Variant

    def __post_init__(self) -> None:
        object.__setattr__(self, 'name', self.variant.name(self.network))  # the class is frozen

    @property
    def network_title(self) -> str:
        """``'ResNet-18'``."""
        return NETWORKS[self.network]

    @property
    def short_title(self) -> str:
        """``'GCP_M, LR_short, 64 px'``."""
        _, schedule, variation = self.variant
        return ', '.join(filter(None, (self.variant.pooling_title(self.network), schedule and f'LR_{schedule}',
                                       variation.replace('-', ' '))))

    @property
    def title(self) -> str:
        """``'ResNet-18, GCP_M, LR_short, 64 px'``."""
        return f'{self.network_title}, {self.short_title}'


@dataclass(frozen=True, kw_only=True)
class PaperPlan(Plan):
    """A plan whose trainings are compared.

    Attributes:
        trainings (Sequence[PaperTraining]): The trainings.
        test_images (int): Images that accuracies are measured on, which tell their sampling error.
        judged (bool): Whether its results are held against the paper's claims and drawn in ``docs/figures``.

    Raises:
        SetupError: As :class:`~mmgcp.experiments.Plan`, or if there are no test images.
    """
    trainings: Sequence[PaperTraining]
    test_images: int
    judged: bool = True

    def __post_init__(self) -> None:
        super().__post_init__()
        if self.test_images < 1:
            raise SetupError(f'test_images={self.test_images} must be the number of test images, at least 1: the '
                             'sampling error of accuracies comes from it')
