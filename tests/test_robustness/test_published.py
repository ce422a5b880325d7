"""Others' errors by set give their published means through ours.

Accuracies in % by set, and the means, are those of RobustBench (Croce et al., NeurIPS 2021 Datasets and Benchmarks;
github.com/RobustBench/robustbench: logs of its evaluations and ``model_info/imagenet/corruptions``), which tests on
5,000 images. The networks are torchvision's ResNet-50 and AugMix's (Hendrycks et al., ICLR 2020).
"""
import pytest

from mmgcp.analysis.robustness import RobustnessResult, summaries
from mmgcp.robustness.catalogue import BENCHMARKS
from mmgcp.robustness.corruptions import load_corruption_reference

RESNET_50 = '''
shot_noise 58.28 44.86 28.56 10.26 3.52
motion_blur 63.60 53.42 37.54 21.58 14.52
snow 54.68 31.20 34.94 23.44 16.50
pixelate 63.80 64.34 45.98 29.30 20.88
gaussian_noise 60.20 48.78 31.24 14.22 2.88
defocus_blur 59.14 51.54 38.08 27.52 18.24
brightness 73.60 72.22 69.58 64.96 58.86
fog 60.92 56.00 46.74 40.24 23.60
zoom_blur 52.58 43.02 35.60 28.44 21.94
frost 61.06 43.66 30.64 28.64 22.58
glass_blur 53.62 39.74 17.08 13.06 10.34
impulse_noise 48.54 38.62 29.04 11.30 2.44
contrast 64.28 58.24 46.60 20.98 5.42
jpeg_compression 66.44 62.34 60.04 47.86 32.54
elastic_transform 66.84 45.14 54.56 41.22 17.02'''
AUGMIX = '''
shot_noise 67.22 59.80 50.22 31.60 19.24
motion_blur 71.48 67.34 57.78 41.92 29.66
snow 60.60 41.00 42.56 30.14 23.16
pixelate 69.86 68.36 59.78 47.64 42.12
gaussian_noise 67.20 61.00 50.22 33.68 11.88
defocus_blur 64.50 60.66 50.68 38.54 25.90
brightness 74.70 73.00 70.60 66.76 60.86
fog 63.62 58.34 48.04 41.62 24.20
zoom_blur 61.98 55.24 51.62 43.28 35.58
frost 64.24 48.70 36.72 34.78 27.76
glass_blur 60.48 48.26 26.86 22.66 17.40
impulse_noise 64.52 57.60 50.96 32.70 12.74
contrast 70.64 67.64 60.94 41.74 15.60
jpeg_compression 67.90 64.96 63.12 56.80 48.44
elastic_transform 69.38 47.98 62.32 51.90 28.72'''
RESNET_50_3D = '''
bit_error 63.38 56.96 48.86 40.26 24.76
h265_abr 70.64 69.64 64.64 51.40 52.16
h265_crf 70.78 70.64 68.88 65.50 62.48
near_focus 66.70 62.98 58.92 55.90 52.30
far_focus 67.08 60.64 53.72 48.88 44.56
color_quant 73.00 71.76 67.76 50.74 18.54
flash 49.24 45.32 39.76 33.12 21.96
fog_3d 65.42 51.76 40.16 31.28 25.26
iso_noise 40.60 37.00 28.96 19.00 8.04
low_light 55.50 51.90 46.44 39.90 28.28
xy_motion_blur 51.12 39.34 29.72 22.92 17.90
z_motion_blur 47.60 39.78 32.80 27.60 24.92'''


def result_of(table, benchmark, clean):
    sets = {'clean': dict(error=1 - clean / 100)}
    for name, *accuracies in map(str.split, table.strip().splitlines()):
        sets |= {f'{name}/{severity}': dict(error=1 - float(accuracy) / 100)
                 for severity, accuracy in enumerate(accuracies, 1)}
    assert set(sets) == {'clean', *BENCHMARKS[benchmark].sets()}
    return RobustnessResult('network', benchmark, sets)


@pytest.mark.parametrize('table, clean, accuracy, mce', [
    (RESNET_50, 76.72, 39.48, 76.38), (AUGMIX, 77.34, 49.33, 64.17)])
def test_imagenet_c(table, clean, accuracy, mce):
    result = result_of(table, 'imagenet-c', clean)
    plain, = summaries([result])
    assert plain.metrics['mean error'] == pytest.approx(100 - accuracy, abs=0.005)
    assert plain.metrics['relative mean error'] == pytest.approx(clean - accuracy, abs=0.005)
    divided, = summaries([result], load_corruption_reference('alexnet'))
    # RobustBench divides by AlexNet's errors on its 5,000 images, we by those on all 50,000.
    assert divided.metrics['mCE'] == pytest.approx(mce, abs=0.05)


def test_imagenet_3dcc():
    summary, = summaries([result_of(RESNET_50_3D, 'imagenet-3dcc', 76.72)])
    assert summary.metrics['mean error'] == pytest.approx(100 - 47.12, abs=0.005)
    assert summary.label('mean error') == '3DCC mean error'
    with pytest.raises(ValueError, match="the reference has no errors on 'bit_error'"):
        summaries([summary.result], load_corruption_reference('alexnet'))
