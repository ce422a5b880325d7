"""A small plan of the reproduction; its results are those of the plan of the same names in test_experiments."""
import pytest

from mmgcp.experiments import Measurement
from reproduction import figures, smoothness_figures
from reproduction.paper_plan import PaperPlan, PaperTraining, Variant

from ..test_experiments.conftest import CONFIG, results  # noqa: F401


def training(variant, config=CONFIG, network='resnet18', **more) -> PaperTraining:
    """A training by the fields of its variant."""
    return PaperTraining(network=network, variant=Variant(*variant), config=config, **more)


def small_plan(**settings) -> PaperPlan:
    """GAP and GCP_M under two schedules, a detector, and a test of robustness."""
    gcp_m = 'imagenette/resnet18_gcp_m_imagenette.py'
    return PaperPlan(**{**dict(
        title='A plan',
        name='small',
        seeds=(0, 1, 2),
        test_images=10000,
        options={'train_cfg.max_epochs': 4},
        trainings=[
            training(('gap', 'norm')),
            training(('gap', 'adju'), options={'train_cfg.max_epochs': 2}),
            training(('gcp_m', 'adju'), gcp_m, options={'train_cfg.max_epochs': 2}),
            training(('gcp_m', 'adju', '64-px'), gcp_m, seeds=(0, )),
            training(('gap', ), 'quickstart/mask_rcnn_r18_gcp_m_shapes.py', 'mask_rcnn_r18', shared=False,
                     starts_from='resnet18_gap_lr-adju'),
        ],
        measurements=[Measurement('robustness_c', 'test_robustness.py', ('{config}', '{checkpoint}', '--amp'),
                                  'robustness/*.json', ('resnet18_gap_lr-adju', 'resnet18_gcp_m_lr-adju'))],
    ), **settings})


@pytest.fixture
def plan() -> PaperPlan:
    return small_plan()


@pytest.fixture
def drawn(monkeypatch):
    """The figures that would have been written."""
    drawn = []
    for module in (figures, smoothness_figures):
        monkeypatch.setattr(module, 'save_figure', lambda figure, path, formats: drawn.append(figure) or [path])
    return drawn
