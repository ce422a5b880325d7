import pytest

from mmgcp.utils.errors import SetupError
from reproduction.paper_plan import PaperPlan, PaperTraining, Variant

from .conftest import CONFIG


@pytest.mark.parametrize('network, variant, name, title, short', [
    ('resnet18', ('gap', 'norm'), 'resnet18_gap_lr-norm', 'ResNet-18, GAP, LR_norm', 'GAP, LR_norm'),
    ('resnet50', ('gap_wo-ds', 'adju'), 'resnet50_gap_wo-ds_lr-adju', 'ResNet-50, GAP w/o DS, LR_adju',
     'GAP w/o DS, LR_adju'),
    ('resnet18', ('gcp', 'adju'), 'resnet18_gcp_lr-adju', 'ResNet-18, GCP w/o DS, LR_adju', 'GCP w/o DS, LR_adju'),
    ('mobilenetv2', ('gcp', 'fast'), 'mobilenetv2_gcp_lr-fast', 'MobileNetV2, GCP, LR_fast', 'GCP, LR_fast'),
    ('resnet18', ('gcp_m', 'short', 'classifier-lr-0.1'), 'resnet18_gcp_m_lr-short_classifier-lr-0.1',
     'ResNet-18, GCP_M, LR_short, classifier lr 0.1', 'GCP_M, LR_short, classifier lr 0.1'),
    ('mask_rcnn_r18', ('gcp_d', ), 'mask_rcnn_r18_gcp_d', 'Mask R-CNN, GCP_D', 'GCP_D'),
    ('resnet18d', ('gap', '', '5-epochs'), 'resnet18d_gap_5-epochs', 'ResNet-18-D, GAP, 5 epochs', 'GAP, 5 epochs'),
])
def test_names_and_titles(network, variant, name, title, short):
    training = PaperTraining(network=network, variant=Variant(*variant), config=CONFIG)
    assert (training.name, training.title, training.short_title) == (name, title, short)


def test_plan_without_test_images_is_refused():
    """Their number is the sampling error of accuracies, which must not vanish unnoticed."""
    with pytest.raises(SetupError, match='test_images=0 must be the number of test images'):
        PaperPlan(title='t', trainings=[], test_images=0)
    with pytest.raises(TypeError, match='test_images'):
        PaperPlan(title='t', trainings=[])
