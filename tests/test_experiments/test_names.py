import pytest

from mmgcp.experiments.names import network, short_title, title


@pytest.mark.parametrize('name, text, short', [
    ('resnet18_gap_lr-norm', 'ResNet-18, GAP, LR_norm', 'GAP, LR_norm'),
    ('resnet50_gap_wo-ds_lr-adju', 'ResNet-50, GAP w/o DS, LR_adju', 'GAP w/o DS, LR_adju'),
    ('resnet18_gcp_lr-adju', 'ResNet-18, GCP w/o DS, LR_adju', 'GCP w/o DS, LR_adju'),
    ('mobilenetv2_gcp_lr-fast', 'MobileNetV2, GCP, LR_fast', 'GCP, LR_fast'),
    ('resnet18_gcp_m_lr-short_classifier-lr-0.1', 'ResNet-18, GCP_M, LR_short, classifier lr 0.1',
     'GCP_M, LR_short, classifier lr 0.1'),
    ('mask_rcnn_r18_gcp_d', 'Mask R-CNN, GCP_D', 'GCP_D'),
    ('vgg_gap_lr-norm', 'vgg, GAP, LR_norm', 'GAP, LR_norm'),
    ('mine', 'mine', 'mine'),
])
def test_titles(name, text, short):
    assert (title(name), short_title(name)) == (text, short)


def test_network():
    assert [network(name) for name in ('mask_rcnn_r18_gcp_d', 'resnet18_gap_wo-ds_lr-adju', 'mine')] == [
        'mask_rcnn_r18', 'resnet18', 'mine']
