from pathlib import Path

from mmgcp.analysis.robustness import GROUP_OF
from mmgcp.robustness.catalogue import BENCHMARKS, wnid_folders


def test_numbers_of_sets():
    assert {name: len(form.sets()) for name, form in BENCHMARKS.items()} == {
        'clean': 1, 'imagenet-c': 75, 'imagenet-c-bar': 50, 'imagenet-3dcc': 60, 'imagenet-p': 10, 'imagenet-a': 1,
        'imagenet-r': 1, 'imagenet-v2': 3, 'imagenet-sketch': 1, 'coco-c': 75}
    assert BENCHMARKS['imagenet-c'].sets(['fog'], [3, 1]) == {'fog/3': ('fog', 3), 'fog/1': ('fog', 1)}
    assert BENCHMARKS['imagenet-v2'].sets(['top-images']) == {'top-images': ('top-images', 0)}
    assert {kind for form in BENCHMARKS.values() for kind in form.kinds} == set(GROUP_OF)


def test_published_folders():
    assert BENCHMARKS['imagenet-3dcc'].path('d', 'fog_3d', 2) == Path('d/fog_3d/2')
    assert BENCHMARKS['imagenet-v2'].path('d', 'threshold0.7', 0) == Path('d/imagenetv2-threshold0.7-format-val')
    assert BENCHMARKS['imagenet-r'].path('d', 'imagenet-r', 0) == Path('d')


def test_classes_are_known_by_wordnet_id_or_number():
    everything, numbers = wnid_folders(), wnid_folders('number')
    assert len(everything) == 1000 and list(everything) == sorted(everything) == list(everything.values())
    # Alphabetically, 10 comes after 1.
    assert (numbers['1'], numbers['10'], numbers['2']) == ('n01443537', 'n01530575', 'n01484850')
    assert numbers['999'] == list(everything)[999] == 'n15075141'
    adversarial, renditions = wnid_folders('imagenet_a'), wnid_folders('imagenet_r')
    assert len(adversarial) == len(renditions) == 200 and len(adversarial.keys() & renditions) < 200
    assert adversarial.keys() | renditions <= everything.keys()
